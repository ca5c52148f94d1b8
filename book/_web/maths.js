// What the pages compute, as sigcam_core computes it (cams/methods.py, cams/scalars.py, cams/score_maps.py,
// invariance.py, dual/linear.py). No page and no browser is needed: Node tests it against Python.
//
// Feature maps A are {values, channels, height, width}, channel by channel; a head is {weight, bias, classes, channels}
// with weight (C, K) row by row. A shift delta (K) is added to the weights of every class; null is no shift.

/** Softmax probabilities of logits (C). */
export function softmax(logits) {
  const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Float64Array.from(logits, (l) => Math.exp(l - top));
  const total = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / total);
}

export const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));

/** Mean of each feature map, f (K). */
export function pool(features) {
  const places = features.height * features.width;
  const pooled = new Float64Array(features.channels);
  for (let i = 0; i < pooled.length; i++) {
    let sum = 0;
    for (let p = i * places; p < (i + 1) * places; p++) sum += features.values[p];
    pooled[i] = sum / places;
  }
  return pooled;
}

export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

/** Weights (K) of class k, shifted. */
export function weightsOf(head, k, delta = null) {
  const row = Float64Array.from(head.weight.subarray(k * head.channels, (k + 1) * head.channels));
  if (delta) for (let i = 0; i < row.length; i++) row[i] += delta[i];
  return row;
}

/** Logits (C) = (W + 1 delta^T) f + b. */
export function logitsOf(head, pooled, delta = null) {
  const shift = delta ?? new Float64Array(head.channels);
  const logits = new Float64Array(head.classes);
  for (let k = 0; k < head.classes; k++) {
    const start = k * head.channels;
    let sum = head.bias[k];
    for (let i = 0; i < head.channels; i++) sum += (head.weight[start + i] + shift[i]) * pooled[i];
    logits[k] = sum;
  }
  return logits;
}

/** delta_i = -2 s w_i: 0.5 removes the map of the class with weights w, 1 turns it into its negative. */
export const collapseShift = (weights, s) => weights.map((w) => -2 * s * w);

/** Mean row of a head (K). */
export function meanRow(head) {
  const mean = new Float64Array(head.channels);
  for (let k = 0; k < head.classes; k++) {
    for (let i = 0; i < head.channels; i++) mean[i] += head.weight[k * head.channels + i] / head.classes;
  }
  return mean;
}

// Scalars: what a map explains, by the gradient a (C) with respect to the logits.

function oneHot(classes, k) {
  const a = new Float64Array(classes);
  a[k] = 1;
  return a;
}

function logOdds(logits, k) {
  const others = Float64Array.from(logits);
  others[k] = -Infinity;
  const a = softmax(others).map((p) => -p);
  a[k] = 1;
  return a;
}

function centred(logits, k) {
  return oneHot(logits.length, k).map((v) => v - 1 / logits.length);
}

/** Finer-CAM with the strength and number of classes of its authors' code. */
function finer(logits, k, gamma = 0.6, compared = 3) {
  const order = Array.from(logits.keys()).filter((m) => m !== k);
  order.sort((m, n) => Math.abs(logits[m] - logits[k]) - Math.abs(logits[n] - logits[k]));
  const a = oneHot(logits.length, k);
  for (const m of order.slice(0, compared)) a[m] = -gamma / Math.min(compared, order.length);
  return a;
}

export const SCALARS = {
  logit: { title: "logit", coefficients: (logits, k) => oneHot(logits.length, k) },
  log_odds: { title: "log-odds", coefficients: logOdds, linkOf: "sigmoid" },
  centred: { title: "centred logit", coefficients: centred },
  finer: { title: "Finer-CAM", coefficients: finer },
};

/** Coefficients a (C); the log-odds of the sigmoid head is its logit. */
export function coefficientsOf(scalar, headName, logits, k) {
  const name = SCALARS[scalar].linkOf === headName ? "logit" : scalar;
  return SCALARS[name].coefficients(logits, k);
}

/** Weights (K) whose map explains a scalar: sum_m a_m (w_m + delta). */
export function combinedWeights(head, a, delta = null) {
  const weights = new Float64Array(head.channels);
  let sum = 0;
  for (let k = 0; k < head.classes; k++) {
    if (a[k] === 0) continue;
    sum += a[k];
    for (let i = 0; i < head.channels; i++) weights[i] += a[k] * head.weight[k * head.channels + i];
  }
  if (delta) for (let i = 0; i < weights.length; i++) weights[i] += sum * delta[i];
  return weights;
}

// Methods. Behind global average pooling and one linear layer the gradient of channel i is w_i / (h w) everywhere, so
// that each of them weighs the channels by a closed form.

/** sum_i w_i A_i (h w). */
export function weightedSum(features, weights) {
  const places = features.height * features.width;
  const map = new Float64Array(places);
  for (let i = 0; i < features.channels; i++) {
    const w = weights[i];
    if (w === 0) continue;
    for (let p = 0; p < places; p++) map[p] += w * features.values[i * places + p];
  }
  return map;
}

const positive = (values) => values.map((v) => Math.max(v, 0));

function gradcamPlusPlus(features, weights) {
  const places = features.height * features.width;
  const pooled = pool(features);
  return weights.map((w, i) => {
    const g = w / places;
    const denominator = 2 * g * g + pooled[i] * places * g * g * g;
    return g > 0 && denominator !== 0 ? (places * (g * g) * g) / denominator : 0;
  });
}

function xgradcam(features, weights) {
  const places = features.height * features.width;
  const pooled = pool(features);
  return weights.map((w, i) => (pooled[i] !== 0 ? w / places : 0));
}

const divided = (features, weights) => weights.map((w) => w / (features.height * features.width));

export const METHODS = {
  cam: { title: "CAM", channels: (features, weights) => weights, rectified: false },
  gradcam: { title: "Grad-CAM", channels: divided, rectified: true },
  "gradcam++": { title: "Grad-CAM++", channels: gradcamPlusPlus, rectified: true },
  xgradcam: { title: "XGrad-CAM", channels: xgradcam, rectified: true },
  layercam: { title: "Layer-CAM", channels: (features, weights) => positive(divided(features, weights)), rectified: true },
  hirescam: { title: "HiResCAM", channels: divided, rectified: true },
};

/** The map (h w) of a method from the scalar's weights (K). */
export function mapOf(method, features, weights, truncated = false) {
  const { channels, rectified } = METHODS[method];
  const scaled = channels(features, weights);
  const map = weightedSum(features, truncated ? positive(scaled) : scaled);
  return rectified ? positive(map) : map;
}

// Score maps

const axes = new Map();

/** One axis of PyTorch's bicubic interpolation (a = -0.75, align_corners=False): rows of (index, weight). */
function bicubicAxis(old, size) {
  const key = `${old} ${size}`;
  if (!axes.has(key)) axes.set(key, makeBicubicAxis(old, size));
  return axes.get(key);
}

function makeBicubicAxis(old, size) {
  const a = -0.75;
  const near = (x) => ((a + 2) * x - (a + 3)) * x * x + 1;
  const far = (x) => ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return Array.from({ length: size }, (_, j) => {
    const real = ((j + 0.5) * old) / size - 0.5;
    const start = Math.floor(real);
    const t = real - start;
    const weights = [far(t + 1), near(t), near(1 - t), far(2 - t)];
    return weights.map((w, n) => [Math.min(Math.max(start - 1 + n, 0), old - 1), w]);
  });
}

/** A map (h w) resized bicubically to size x size, values kept; zeros where it is constant or not finite. */
export function resizeMap(map, height, width, size) {
  const resized = new Float64Array(size * size);
  const low = Math.min(...map);
  const high = Math.max(...map);
  if (!(high > low) || !Number.isFinite(high - low)) return resized;
  const columns = bicubicAxis(width, size);
  const between = new Float64Array(height * size);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < size; x++) {
      for (const [n, w] of columns[x]) between[y * size + x] += w * map[y * width + n];
    }
  }
  bicubicAxis(height, size).forEach((row, y) => {
    for (const [n, w] of row) {
      for (let x = 0; x < size; x++) resized[y * size + x] += w * between[n * size + x];
    }
  });
  return resized;
}

/** Stretched to [0, 1] by its least and greatest value; a constant becomes zeros. */
export function stretch(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const v of values) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  const span = high > low ? high - low : 1;
  return values.map((v) => (v - low) / span);
}

/** The score map of sigcam_core.cams.score_maps.normalize_maps. */
export const scoreMap = (map, height, width, size) => stretch(resizeMap(map, height, width, size));

// The least shift to a map

/** Eigenvalues and eigenvectors of a symmetric matrix (n x n, row by row), by Jacobi's rotations. */
function eigen(matrix, n) {
  const a = Float64Array.from(matrix);
  const v = new Float64Array(n * n);
  for (let i = 0; i < n; i++) v[i * n + i] = 1;
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0;
    let on = 0;
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) i === j ? (on += a[i * n + j] ** 2) : (off += a[i * n + j] ** 2);
    if (off <= 1e-30 * on) break;
    for (let p = 0; p < n - 1; p++) for (let q = p + 1; q < n; q++) rotate(a, v, n, p, q);
  }
  return { values: Float64Array.from({ length: n }, (_, i) => a[i * n + i]), vectors: v };
}

function rotate(a, v, n, p, q) {
  const apq = a[p * n + q];
  if (apq === 0) return;
  const theta = (a[q * n + q] - a[p * n + p]) / (2 * apq);
  const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (let k = 0; k < n; k++) {
    const kp = a[k * n + p];
    const kq = a[k * n + q];
    a[k * n + p] = c * kp - s * kq;
    a[k * n + q] = s * kp + c * kq;
  }
  for (let k = 0; k < n; k++) {
    const pk = a[p * n + k];
    const qk = a[q * n + k];
    a[p * n + k] = c * pk - s * qk;
    a[q * n + k] = s * pk + c * qk;
    const vp = v[k * n + p];
    const vq = v[k * n + q];
    v[k * n + p] = c * vp - s * vq;
    v[k * n + q] = s * vp + c * vq;
  }
}

/**
 * A function of a wanted change of a map (h w) that gives the least shift delta (K) whose sum_i delta_i A_i comes
 * nearest to it: delta = A (A^T A)^+ change. The decomposition is made once.
 */
export function leastShift(features) {
  const n = features.height * features.width;
  const gram = new Float64Array(n * n);
  for (let i = 0; i < features.channels; i++) {
    const start = i * n;
    for (let p = 0; p < n; p++) {
      const value = features.values[start + p];
      if (value !== 0) for (let q = 0; q < n; q++) gram[p * n + q] += value * features.values[start + q];
    }
  }
  const { values, vectors } = eigen(gram, n);
  const least = Math.max(...values) * n * Number.EPSILON;
  return (change) => {
    const solved = new Float64Array(n);
    for (let j = 0; j < n; j++) {
      if (values[j] <= least) continue;
      let along = 0;
      for (let p = 0; p < n; p++) along += vectors[p * n + j] * change[p];
      for (let p = 0; p < n; p++) solved[p] += (along / values[j]) * vectors[p * n + j];
    }
    const delta = new Float64Array(features.channels);
    for (let i = 0; i < features.channels; i++) {
      for (let p = 0; p < n; p++) delta[i] += features.values[i * n + p] * solved[p];
    }
    return delta;
  };
}

/** The largest difference of two lists. */
export function largestChange(before, after) {
  let largest = 0;
  for (let i = 0; i < before.length; i++) largest = Math.max(largest, Math.abs(before[i] - after[i]));
  return largest;
}

/** Positions of the n greatest values, greatest first. */
export function greatest(values, n) {
  return Array.from(values.keys())
    .sort((a, b) => values[b] - values[a])
    .slice(0, n);
}

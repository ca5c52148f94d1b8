// A photo made ready for the network as sigcam_core.prepare makes it: squashed to a square by Pillow's antialiased
// bilinear interpolation, then normalised. To the last bit where rows are resized first; Pillow from version 13 on resizes
// columns first if a photo is tall, and then some values differ by 1 of 255.

const PRECISION = 22; // bits behind the point of Pillow's weights for 8-bit images

/** Pillow's weights of one axis: for each new pixel its first old one and integer weights. */
function bilinearAxis(old, size) {
  const scale = old / size;
  const support = Math.max(scale, 1);
  return Array.from({ length: size }, (_, j) => {
    const centre = (j + 0.5) * scale;
    const first = Math.max(Math.trunc(centre - support + 0.5), 0);
    const last = Math.min(Math.trunc(centre + support + 0.5), old);
    const raw = [];
    for (let x = first; x < last; x++) raw.push(Math.max(1 - Math.abs((x - centre + 0.5) * (1 / support)), 0));
    const total = raw.reduce((a, b) => a + b, 0);
    const weights = Int32Array.from(raw, (w) => Math.trunc(0.5 + (total !== 0 ? w / total : w) * 2 ** PRECISION));
    return { first, weights };
  });
}

/**
 * RGBA pixels resized to size x size, RGB: uint8 (size, size, 3). Transparent pixels lie on white, as in
 * sigcam_core.prepare.decode.
 */
export function resizePixels(rgba, width, height, size) {
  const half = 1 << (PRECISION - 1);
  const columns = bilinearAxis(width, size);
  const between = new Uint8Array(height * size * 3);
  const line = new Uint8Array(width * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0, from = y * width * 4; x < width; x++, from += 4) {
      const alpha = rgba[from + 3];
      for (let c = 0; c < 3; c++) {
        const value = rgba[from + c];
        line[x * 3 + c] = alpha === 255 ? value : Math.round((alpha * value + (255 - alpha) * 255) / 255);
      }
    }
    for (let x = 0; x < size; x++) {
      const { first, weights } = columns[x];
      let [red, green, blue] = [half, half, half];
      for (let n = 0, at = first * 3; n < weights.length; n++, at += 3) {
        red += weights[n] * line[at];
        green += weights[n] * line[at + 1];
        blue += weights[n] * line[at + 2];
      }
      const to = (y * size + x) * 3;
      between[to] = red >> PRECISION;
      between[to + 1] = green >> PRECISION;
      between[to + 2] = blue >> PRECISION;
    }
  }
  return resizeRows(between, height, size, half);
}

function resizeRows(between, height, size, half) {
  const result = new Uint8Array(size * size * 3);
  const sums = new Int32Array(size * 3);
  bilinearAxis(height, size).forEach(({ first, weights }, y) => {
    sums.fill(half);
    weights.forEach((w, n) => {
      const start = (first + n) * size * 3;
      for (let x = 0; x < sums.length; x++) sums[x] += w * between[start + x];
    });
    for (let x = 0; x < sums.length; x++) result[y * size * 3 + x] = sums[x] >> PRECISION;
  });
  return result;
}

/** Pixels (size, size, 3) as the network takes them: float32 (3, size, size), (pixel / 255 - mean) / std. */
export function normalizePixels(pixels, mean, std) {
  const places = pixels.length / 3;
  const input = new Float32Array(pixels.length);
  for (let p = 0; p < places; p++) {
    for (let c = 0; c < 3; c++) input[c * places + p] = (pixels[p * 3 + c] / 255 - mean[c]) / std[c];
  }
  return input;
}

// One photo whose feature maps were computed beforehand, so that its maps need no network.

import { folderOf, loadFile } from "./files.js";
import { sigmoid, softmax } from "./maths.js";
import { unpack } from "./packs.js";

export const base = folderOf(document.currentScript);

/**
 * {features, logits, classes, names, rows, sigmoidRows, ...}: of the likeliest classes, the weights by both heads.
 *
 * A shift delta adds the same number to all logits, so that rows of other classes are not needed.
 */
async function openOnePhoto() {
  const { facts, arrays } = unpack(await loadFile(base, "one_photo"));
  const channels = arrays.mean_row.length;
  const side = Math.sqrt(arrays.features.length / channels);
  const rowsOf = (values) => facts.classes.map((_, n) => Float64Array.from(values.subarray(n * channels, (n + 1) * channels)));
  return {
    features: { values: arrays.features, channels, height: side, width: side },
    logits: Float64Array.from(arrays.logits),
    classes: facts.classes,
    names: facts.names,
    rows: rowsOf(arrays.rows),
    sigmoidRows: rowsOf(arrays.sigmoid_rows),
    sigmoidBias: arrays.sigmoid_bias,
    knows: facts.sigmoid_classes.map((place) => place >= 0),
    meanRow: Float64Array.from(arrays.mean_row),
    squaredNorm: facts.squared_norm,
    count: arrays.logits.length,
  };
}

/** Probabilities of all classes after `added` was added to every logit. */
export const probabilitiesOf = (one, added) => softmax(one.logits.map((l) => l + added));

/** The sigmoid probability of the n-th of the likeliest classes. */
export function sigmoidOf(one, n, pooled, delta) {
  let logit = one.sigmoidBias[n];
  for (let i = 0; i < pooled.length; i++) logit += (one.sigmoidRows[n][i] + (delta ? delta[i] : 0)) * pooled[i];
  return sigmoid(logit);
}

let opening = null;

/** Fill the element of the page with an id, where there is one, with what `make` gives for the photo. */
export function fill(id, make) {
  const root = document.getElementById(id);
  if (!root) return;
  opening ??= openOnePhoto();
  opening.then(
    (one) => root.replaceChildren(...make(one)),
    (error) => root.replaceChildren(error.message),
  );
}

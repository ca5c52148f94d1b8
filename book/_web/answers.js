// What a network says of one photo: logits of both heads, maps, and what a shift makes of them.

import {
  coefficientsOf,
  collapseShift,
  combinedWeights,
  dot,
  greatest,
  largestChange,
  logitsOf,
  mapOf,
  pool,
  sigmoid,
  softmax,
  weightsOf,
} from "./maths.js";

export const HEADS = ["softmax", "sigmoid"];

/**
 * Answers about a photo.
 *
 * `heads` are both heads by name, and `places` says for each class of the sigmoid head which of the softmax head's it
 * is. Classes are counted as the softmax head counts them.
 */
export function answersOf(features, heads, places) {
  const pooled = pool(features);
  const before = { softmax: logitsOf(heads.softmax, pooled), sigmoid: logitsOf(heads.sigmoid, pooled) };
  const probabilities = { softmax: softmax(before.softmax), sigmoid: before.sigmoid.map(sigmoid) };
  const placeIn = (head, k) => (head === "softmax" ? k : places.indexOf(k));
  const limits = new Map();

  // Both maps and the bars of one picture share the shifted logits.
  let last = { key: "" };
  function shiftedHeads(k, s) {
    const key = `${k} ${s}`;
    if (last.key === key) return last;
    if (s === 0) return { key, delta: null, logits: before };
    const delta = collapseShift(weightsOf(heads.softmax, k), s);
    const logits = Object.fromEntries(HEADS.map((name) => [name, logitsOf(heads[name], pooled, delta)]));
    last = { key, delta, logits };
    return last;
  }

  function mapWith(view, k, s) {
    const head = heads[view.head];
    const place = placeIn(view.head, k);
    if (place < 0) return null;
    const { delta, logits } = shiftedHeads(k, s);
    const weights =
      view.scalar === "logit"
        ? weightsOf(head, place, delta)
        : combinedWeights(head, coefficientsOf(view.scalar, view.head, logits[view.head], place), delta);
    return mapOf(view.method, features, weights, view.truncated);
  }

  return {
    features,
    probabilities,
    knows: (head, k) => placeIn(head, k) >= 0,
    likeliest: (head, n) => greatest(probabilities[head], n).map((i) => (head === "softmax" ? i : places[i])),
    probability: (head, k) => probabilities[head][placeIn(head, k)],

    /** The map of a view {head, method, scalar, truncated} of class k under the shift s, or null. */
    map: mapWith,

    /** The greatest magnitude of the view's map without a shift. */
    limit(view, k) {
      const key = `${k} ${Object.values(view)}`;
      if (!limits.has(key)) {
        const map = mapWith(view, k, 0);
        limits.set(key, map ? Math.max(...map.map(Math.abs)) : 0);
      }
      return limits.get(key);
    },

    /** Both heads after the shift s along class k: what is added to every logit, and all probabilities. */
    shifted(k, s) {
      const { delta, logits } = shiftedHeads(k, s);
      const after = { softmax: softmax(logits.softmax), sigmoid: logits.sigmoid.map(sigmoid) };
      return {
        added: delta ? dot(delta, pooled) : 0,
        probability: (head, m) => after[head][placeIn(head, m)],
        change: { softmax: largestChange(probabilities.softmax, after.softmax) },
      };
    },
  };
}

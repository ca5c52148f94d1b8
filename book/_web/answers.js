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

  function mapWith(view, k, delta) {
    const head = heads[view.head];
    const place = placeIn(view.head, k);
    if (place < 0) return null;
    const logits = view.scalar === "logit" ? null : logitsOf(head, pooled, delta);
    const weights = logits
      ? combinedWeights(head, coefficientsOf(view.scalar, view.head, logits, place), delta)
      : weightsOf(head, place, delta);
    return mapOf(view.method, features, weights, view.truncated);
  }

  return {
    features,
    probabilities,
    knows: (head, k) => placeIn(head, k) >= 0,
    likeliest: (head, n) => greatest(probabilities[head], n).map((i) => (head === "softmax" ? i : places[i])),
    probability: (head, k) => probabilities[head][placeIn(head, k)],

    /** The map of a view {head, method, scalar, truncated} of class k under the shift s, or null. */
    map: (view, k, s) => mapWith(view, k, s ? collapseShift(weightsOf(heads.softmax, k), s) : null),

    /** The greatest magnitude of the view's map without a shift. */
    limit(view, k) {
      const key = `${k} ${Object.values(view)}`;
      if (!limits.has(key)) {
        const map = mapWith(view, k, null);
        limits.set(key, map ? Math.max(...map.map(Math.abs)) : 0);
      }
      return limits.get(key);
    },

    /** Both heads after the shift s along class k: what is added to every logit, and all probabilities. */
    shifted(k, s) {
      const delta = collapseShift(weightsOf(heads.softmax, k), s);
      const after = {
        softmax: softmax(logitsOf(heads.softmax, pooled, delta)),
        sigmoid: logitsOf(heads.sigmoid, pooled, delta).map(sigmoid),
      };
      return {
        added: dot(delta, pooled),
        probability: (head, m) => after[head][placeIn(head, m)],
        change: { softmax: largestChange(probabilities.softmax, after.softmax) },
      };
    },
  };
}

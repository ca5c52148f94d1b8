// Packed files: the length of the head, the head as JSON, then arrays of numbers (book/_make/explorer_data.py writes them).

import { fromHalves } from "./halves.js";

/** {facts, arrays}, with each array as float32. */
export function unpack(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const arrays = {};
  for (const [name, { type, shape, offset }] of Object.entries(head.arrays)) {
    const count = shape.reduce((a, b) => a * b, 1);
    const start = 4 + length + offset;
    arrays[name] =
      type === "float16"
        ? fromHalves(bytes.slice(start, start + 2 * count))
        : new Float32Array(bytes.slice(start, start + 4 * count).buffer);
  }
  return { facts: head.facts, arrays };
}

/** A head from arrays named `name`_weight and `name`_bias. */
export function headOf(arrays, name) {
  const [weight, bias] = [arrays[`${name}_weight`], arrays[`${name}_bias`]];
  return { weight, bias, classes: bias.length, channels: weight.length / bias.length };
}

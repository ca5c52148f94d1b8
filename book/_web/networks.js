// The network, loaded once when it is first asked for.

import { loadFile, loadProgram } from "./files.js";
import { headOf, unpack } from "./packs.js";

let opening = null;

async function open(base, facts, tell) {
  const parts = ["wasm", "backbone", "heads"];
  let done = 0;
  const load = async (name) => {
    const bytes = await loadFile(base, name);
    done += 1;
    tell(`Loading the network: ${done} of ${parts.length} parts are here.`);
    return bytes;
  };
  await loadProgram(base, "runtime");
  const [wasm, model, packed] = await Promise.all(parts.map(load));
  tell("Starting the network.");
  const { arrays } = unpack(packed);
  const run = await globalThis.sigcamOpenNetwork(wasm, model, facts.size);
  await run(new Float32Array(3 * facts.size ** 2)); // the first pass is slow
  return { run, heads: { softmax: headOf(arrays, "softmax"), sigmoid: headOf(arrays, "sigmoid") } };
}

/** {run, heads}: a function from inputs to feature maps, and both heads. */
export function openNetwork(base, facts, tell) {
  opening ??= open(base, facts, tell).catch((error) => {
    opening = null;
    throw error;
  });
  return opening;
}

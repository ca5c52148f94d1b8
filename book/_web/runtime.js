// ONNX Runtime, its smallest build for the web, as a script of its own that is loaded when a reader asks for it.

import * as ort from "onnxruntime-web/wasm";

/** A function from images (1, 3, S, S) to feature maps, run on one thread, which needs no special headers. */
async function openNetwork(wasm, model, size) {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.proxy = false;
  ort.env.wasm.wasmBinary = wasm.buffer;
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  return async (input) => {
    const tensor = new ort.Tensor("float32", input, [1, 3, size, size]);
    const { features } = await session.run({ image: tensor });
    const [, channels, height, width] = features.dims;
    return { values: features.data, channels, height, width };
  };
}

globalThis.sigcamOpenNetwork = openNetwork;

// Photos: from a file or a sample to pixels.

import { loadFile } from "./files.js";
import { normalizePixels, resizePixels } from "./pixels.js";

/** An image as it is stored: upright, colours and pixels as they come. */
const OPTIONS = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };

/** A picture that can be drawn, from bytes of an image file. */
export async function openPhoto(blob) {
  try {
    return await createImageBitmap(blob, OPTIONS);
  } catch {
    throw new Error("This file is no image that your browser can read: choose a JPEG, PNG or WebP file.");
  }
}

export async function openSample(base, name) {
  return openPhoto(new Blob([await loadFile(base, `sample_${name}`)], { type: "image/webp" }));
}

/** The network's input of a picture: float32 (3, size, size). */
export function inputOf(picture, { size, mean, std }) {
  const { width, height } = picture;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  let pixels;
  try {
    pixels = context.getImageData(0, 0, width, height).data;
  } catch {
    throw new Error(`This photo of ${width} × ${height} pixels is too large for your browser: choose a smaller one.`);
  }
  return normalizePixels(resizePixels(pixels, width, height, size), mean, std);
}

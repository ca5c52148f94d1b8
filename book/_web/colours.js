// How maps are coloured over a photo.

import { resizeMap, stretch } from "./maths.js";

export const MAP_SIDE = 224; // pixels of the square that maps are resized to, the network's input

// Every sixteenth colour of matplotlib's viridis.
const VIRIDIS = [
  [68, 1, 84], [72, 26, 108], [71, 47, 125], [65, 68, 135], [57, 86, 140], [49, 104, 142], [42, 120, 142],
  [35, 136, 142], [31, 152, 139], [34, 168, 132], [53, 183, 121], [84, 197, 104], [122, 209, 81], [165, 219, 54],
  [210, 226, 27], [241, 229, 29], [253, 231, 37],
];
const STRETCHED_ALPHA = 153; // of 255, as in the book's figures
const SIGNED_ALPHA = 205;
const MORE = [255, 196, 0];
const LESS = [106, 27, 190];

export const SCALES = {
  signed: "signed",
  stretched: "stretched to 0–1",
};

function viridis(value) {
  const at = Math.min(Math.max(value, 0), 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return VIRIDIS[low].map((c, i) => c + (at - low) * (VIRIDIS[low + 1][i] - c));
}

const TABLE = Array.from({ length: 256 }, (_, i) => viridis(i / 255));

/** Draw a map (h w) on a canvas of MAP_SIDE; `limit` is the magnitude of full colour on the signed scale. */
export function drawMap(canvas, map, height, width, scale, limit) {
  if (canvas.width !== MAP_SIDE) canvas.width = canvas.height = MAP_SIDE;
  const context = canvas.getContext("2d");
  const image = context.createImageData(MAP_SIDE, MAP_SIDE);
  const low = Math.min(...map);
  const isFlat = !(Math.max(...map) > low);
  const resized = resizeMap(map, height, width, MAP_SIDE);
  const values = scale === "stretched" ? stretch(resized) : resized;
  if (scale === "stretched") paintStretched(image.data, values);
  else paintSigned(image.data, isFlat ? values.fill(low) : values, limit);
  context.putImageData(image, 0, 0);
}

function paintStretched(pixels, values) {
  for (let p = 0; p < values.length; p++) {
    const colour = TABLE[Math.round(255 * values[p])];
    pixels[4 * p] = colour[0];
    pixels[4 * p + 1] = colour[1];
    pixels[4 * p + 2] = colour[2];
    pixels[4 * p + 3] = STRETCHED_ALPHA;
  }
}

function paintSigned(pixels, values, limit) {
  const factor = limit > 0 ? SIGNED_ALPHA / limit : 0;
  for (let p = 0; p < values.length; p++) {
    const colour = values[p] >= 0 ? MORE : LESS;
    pixels[4 * p] = colour[0];
    pixels[4 * p + 1] = colour[1];
    pixels[4 * p + 2] = colour[2];
    pixels[4 * p + 3] = Math.min(Math.abs(values[p]) * factor, SIGNED_ALPHA);
  }
}

/** In words, where a map is greatest. */
export function placeOfGreatest(map, height, width) {
  let best = 0;
  for (let p = 1; p < map.length; p++) if (map[p] > map[best]) best = p;
  if (!(map[best] > Math.min(...map))) return "the same everywhere";
  const [row, column] = [Math.floor(best / width) / (height - 1), (best % width) / (width - 1)];
  const vertical = row < 1 / 3 ? "upper" : row > 2 / 3 ? "lower" : "middle";
  const horizontal = column < 1 / 3 ? "left" : column > 2 / 3 ? "right" : "centre";
  return `greatest in the ${vertical} ${horizontal}`;
}

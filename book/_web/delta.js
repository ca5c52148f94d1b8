// The theorem's delta as sliders: four channels, each of which answers in another corner of the photo.

import { placeOfGreatest } from "./colours.js";
import { eachFrame, element, formula, slider, small } from "./elements.js";
import { orbitView } from "./orbit.js";
import { fill } from "./small.js";

const CORNERS = ["upper left", "upper right", "lower left", "lower right"];
const OUTSHINE = 3; // of the map's greatest value, by a slider at its end

/** For each corner, of the channels that are greatest there, the one that answers most there and least elsewhere. */
function tellingChannels({ values, channels, height, width }) {
  const places = height * width;
  const best = CORNERS.map(() => ({ channel: 0, score: -Infinity }));
  for (let i = 0; i < channels; i++) {
    const map = values.subarray(i * places, (i + 1) * places);
    const corner = CORNERS.findIndex((name) => placeOfGreatest(map, height, width).endsWith(name));
    if (corner < 0) continue;
    const isThere = (p) =>
      Math.floor(p / width) > height / 2 === corner > 1 && p % width > width / 2 === (corner % 2 === 1);
    const score = map.reduce((sum, value, p) => sum + (isThere(p) ? value : -3 * value), 0);
    if (score > best[corner].score) best[corner] = { channel: i, score };
  }
  return best.map(({ channel }) => channel);
}

export function fillDelta(id) {
  fill(id, (one) => {
    const { features } = one;
    const view = orbitView(one);
    const said = element("p", { class: "sigcam-numbers" });
    const delta = new Float64Array(features.channels);
    const places = features.height * features.width;
    const draw = eachFrame(() => {
      const { added, change } = view.show(delta);
      said.replaceChildren(
        formula("Every logit moves by δ · *f* = "),
        element("b", {}, added.toFixed(3)),
        "; the largest change of a probability is ",
        element("b", {}, small(change)),
        ".",
      );
    });
    const sliders = tellingChannels(features).map((channel, corner) => {
      const most = Math.max(...features.values.subarray(channel * places, (channel + 1) * places));
      return slider(`δ of channel ${channel}, ${CORNERS[corner]}`, {
        min: -1,
        max: 1,
        step: 0.01,
        value: 0,
        text: (value) => ((value * OUTSHINE * view.limit) / most).toFixed(2),
        onchange(value) {
          delta[channel] = (value * OUTSHINE * view.limit) / most;
          draw();
        },
      });
    });
    const reset = element("button", { type: "button", class: "sigcam-button" }, "δ = 0");
    reset.addEventListener("click", () => {
      delta.fill(0);
      for (const one of sliders) one.set(0);
      draw();
    });
    draw();
    return [view.root, ...sliders.map(({ row }) => row), said, reset];
  });
}

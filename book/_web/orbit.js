// Members of one head's orbit on one photo: the likeliest class's map, and the probabilities that do not move.

import { barList } from "./bars.js";
import { drawMap, placeOfGreatest } from "./colours.js";
import { element } from "./elements.js";
import { dot, largestChange, pool, weightedSum } from "./maths.js";
import { base, probabilitiesOf, sigmoidOf } from "./small.js";
import { legend, stage } from "./stage.js";

/**
 * A photo with its map beside bars. `show` draws the head that is shifted by delta (K), and returns its map, what is
 * added to every logit, and the largest change of a probability.
 */
export function orbitView(one, hasSigmoid = false) {
  const { features, rows, classes, names, knows } = one;
  const pooled = pool(features);
  const before = probabilitiesOf(one, 0);
  const start = weightedSum(features, rows[0]);
  const limit = Math.max(...start.map(Math.abs));
  const picture = element("img", { class: "sigcam-photo", src: `${base}first.webp`, alt: "A cat's face", width: 451, height: 300 });
  const view = stage([`map of ${names[0]}`], picture);
  const colours = legend();
  colours.show("signed");
  const softmaxBars = barList("Softmax probabilities", "softmax");
  const sigmoidBars = barList("Sigmoid probability", "sigmoid");
  const root = element(
    "div",
    { class: "sigcam-columns" },
    element("div", {}, view.root, colours.root),
    element("div", {}, softmaxBars.root, hasSigmoid ? sigmoidBars.root : null),
  );
  return {
    root,
    frame: view.frame,
    start,
    limit,
    show(delta) {
      const added = dot(delta, pooled);
      const after = probabilitiesOf(one, added);
      const map = weightedSum(features, rows[0].map((w, i) => w + delta[i]));
      drawMap(view.layers[0], map, features.height, features.width, "signed", limit);
      const said = `Map of ${names[0]}: ${placeOfGreatest(map, features.height, features.width)}`;
      view.layers[0].setAttribute("aria-label", said);
      softmaxBars.show(
        classes.map((k, n) => ({ key: k, name: names[n], before: before[k], after: after[k], chosen: n === 0 })),
      );
      const n = knows.indexOf(true);
      const [old, fresh] = [sigmoidOf(one, n, pooled, null), sigmoidOf(one, n, pooled, delta)];
      if (hasSigmoid) sigmoidBars.show([{ key: n, name: names[n], before: old, after: fresh }]);
      return { map, added, change: largestChange(before, after) };
    },
  };
}

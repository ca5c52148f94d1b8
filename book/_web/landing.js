// The first screen of the book: one photo, one slider, and bars that stand still.

import { barList } from "./bars.js";
import { drawMap, placeOfGreatest } from "./colours.js";
import { eachFrame, element, formula, slider, small } from "./elements.js";
import { collapseShift, dot, largestChange, pool, weightedSum } from "./maths.js";
import { base, openOnePhoto, probabilitiesOf, sigmoidOf } from "./small.js";
import { legend, stage } from "./stage.js";

const root = document.getElementById("sigcam-landing");

function show(one) {
  const { features, rows, classes, names } = one;
  const pooled = pool(features);
  const before = probabilitiesOf(one, 0);
  const limit = Math.max(...weightedSum(features, rows[0]).map(Math.abs));
  const picture = element("img", { class: "sigcam-photo", src: `${base}first.webp`, alt: "A cat's face", width: 451, height: 300 });
  const view = stage([`map of ${names[0]}`], picture);
  const colours = legend();
  colours.show("signed");
  const bars = {
    softmax: barList("Softmax probabilities", "softmax"),
    sigmoid: barList("Sigmoid probability", "sigmoid"),
  };
  const said = element("p", { class: "sigcam-numbers" });
  let s = 0;
  const draw = eachFrame(() => {
    const delta = collapseShift(rows[0], s);
    const added = dot(delta, pooled);
    const after = probabilitiesOf(one, added);
    const map = weightedSum(features, rows[0].map((w, i) => w + delta[i]));
    drawMap(view.layers[0], map, features.height, features.width, "signed", limit);
    view.layers[0].setAttribute(
      "aria-label",
      `Map of ${names[0]}: ${placeOfGreatest(map, features.height, features.width)}`,
    );
    bars.softmax.show(classes.map((k, n) => ({ key: k, name: names[n], before: before[k], after: after[k], chosen: n === 0 })));
    const known = classes.map((_, n) => n).filter((n) => one.knows[n]);
    bars.sigmoid.show(
      known.slice(0, 1).map((n) => ({
        key: n,
        name: names[n],
        before: sigmoidOf(one, n, pooled, null),
        after: sigmoidOf(one, n, pooled, delta),
      })),
    );
    said.replaceChildren(
      formula("δ = −2*s* *w*_{k}, added to the weights of every class, moves every logit by δ · *f* = "),
      element("b", {}, added.toFixed(3)),
      "; the largest change of a softmax probability is ",
      element("b", {}, small(largestChange(before, after))),
      ".",
    );
  });
  const shift = slider("Shift s", {
    min: -1, max: 1.5, step: 0.01, value: 0, text: (value) => value.toFixed(2),
    onchange(value) {
      s = value;
      draw();
    },
  });
  root.replaceChildren(
    element("div", { class: "sigcam-columns" }, element("div", {}, view.root, colours.root), element("div", {}, bars.softmax.root, bars.sigmoid.root)),
    shift.row,
    said,
  );
  draw();
}

if (root) openOnePhoto().then(show, (error) => root.replaceChildren(element("p", {}, error.message)));

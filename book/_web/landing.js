// The first screen of the book: one photo, one slider, and bars that stand still.

import { eachFrame, element, formula, slider, small } from "./elements.js";
import { collapseShift } from "./maths.js";
import { orbitView } from "./orbit.js";
import { fill } from "./small.js";

fill("sigcam-landing", (one) => {
  const view = orbitView(one, true);
  const said = element("p", { class: "sigcam-numbers" });
  let s = 0;
  const draw = eachFrame(() => {
    const { added, change } = view.show(collapseShift(one.rows[0], s));
    said.replaceChildren(
      formula("δ = −2*s* *w*_{k}, added to the weights of every class, moves every logit by δ · *f* = "),
      element("b", {}, added.toFixed(3)),
      "; the largest change of a softmax probability is ",
      element("b", {}, small(change)),
      ".",
    );
  });
  const shift = slider("Shift s", {
    min: -1,
    max: 1.5,
    step: 0.01,
    value: 0,
    text: (value) => value.toFixed(2),
    onchange(value) {
      s = value;
      draw();
    },
  });
  draw();
  return [view.root, shift.row, said];
});

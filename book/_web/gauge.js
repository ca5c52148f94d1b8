// The gauge as a dial: how much of its mean row a head keeps.

import { eachFrame, element, formula, slider, small } from "./elements.js";
import { dot } from "./maths.js";
import { orbitView } from "./orbit.js";
import { fill } from "./small.js";

const MOST = 200; // times the mean row
const TURN = 135; // degrees of the needle at either end
const SVG = "http://www.w3.org/2000/svg";

function dial() {
  const make = (tag, attributes) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const root = make("svg", { viewBox: "-50 -50 100 100", class: "sigcam-dial", "aria-hidden": "true" });
  const needle = make("line", { x1: 0, y1: 8, x2: 0, y2: -38, class: "sigcam-needle" });
  root.append(make("circle", { r: 46, class: "sigcam-rim" }));
  for (let mark = -MOST; mark <= MOST; mark += 50) {
    root.append(make("line", { y1: -46, y2: mark ? -40 : -34, class: "sigcam-mark", transform: `rotate(${(TURN * mark) / MOST})` }));
  }
  root.append(needle);
  return { root, turn: (u) => needle.setAttribute("transform", `rotate(${(TURN * u) / MOST})`) };
}

export function fillGauge(id) {
  fill(id, (one) => {
    const view = orbitView(one);
    const said = element("p", { class: "sigcam-numbers" });
    const face = dial();
    const shared = one.count * dot(one.meanRow, one.meanRow); // C times the squared norm of the mean row
    const canonical = one.squaredNorm - shared;
    let u = 1;
    const draw = eachFrame(() => {
      face.turn(u);
      const { change } = view.show(one.meanRow.map((w) => (u - 1) * w));
      const norm = canonical + shared * u * u;
      said.replaceChildren(
        formula("Gauge energy ρ = "),
        element("b", {}, small((shared * u * u) / norm)),
        ", squared norm of the head ",
        element("b", {}, norm.toFixed(1)),
        "; the largest change of a probability is ",
        element("b", {}, small(change)),
        ".",
      );
    });
    const set = (value) => {
      u = value;
      draw();
    };
    const turned = slider("Mean row kept", {
      min: -MOST,
      max: MOST,
      step: 1,
      value: 1,
      text: (value) => `${value} ×`,
      onchange: set,
    });
    const buttons = [["As trained, 1", 1], ["Canonical, 0", 0]].map(([name, value]) => {
      const press = () => {
        turned.set(value);
        set(value);
      };
      return element("button", { type: "button", class: "sigcam-button", onclick: press }, name);
    });
    draw();
    return [view.root, element("div", { class: "sigcam-turn" }, face.root, element("div", {}, turned.row, ...buttons)), said];
  });
}

// Any map: the reader paints a target, and the least delta that makes the class's map that is solved for.

import { eachFrame, element, formula, small } from "./elements.js";
import { dot, leastShift } from "./maths.js";
import { orbitView } from "./orbit.js";
import { fill } from "./small.js";

const blob = (row, column) => (r, c) => Math.exp(-((r - row) ** 2 + (c - column) ** 2) / 3);
const SHAPES = {
  "Blob in a corner": blob(1, 1),
  Ring: (r, c, h, w) => (Math.abs(Math.hypot(r - (h - 1) / 2, c - (w - 1) / 2) - 2.3) < 0.7 ? 1 : 0),
  "Nothing at all": () => 0,
};

/** A grid of places over the photo to paint on, by pointer or by keyboard. */
function canvasOfPlaces({ height, width }, target, onpaint) {
  const cells = Array.from(target, (_, p) => {
    const [row, column] = [Math.floor(p / width), p % width];
    const label = `row ${row + 1}, column ${column + 1}`;
    return element("button", { type: "button", class: "sigcam-cell", "aria-label": label, tabindex: p ? -1 : 0 });
  });
  const grid = element("div", { class: "sigcam-grid", role: "group", "aria-label": "Places to paint: arrow keys move, space paints" }, ...cells);
  grid.style.gridTemplate = `repeat(${height}, 1fr) / repeat(${width}, 1fr)`;
  const show = () => cells.forEach((cell, p) => cell.setAttribute("aria-pressed", String(target[p] > 0.5)));
  const paint = (p, value) => {
    if (target[p] === value) return;
    target[p] = value;
    onpaint();
  };
  let brush = null;
  const under = (event) => cells.indexOf(document.elementFromPoint(event.clientX, event.clientY));
  grid.addEventListener("pointerdown", (event) => {
    const p = under(event);
    if (p < 0) return;
    grid.setPointerCapture(event.pointerId);
    brush = target[p] > 0.5 ? 0 : 1;
    paint(p, brush);
  });
  grid.addEventListener("pointermove", (event) => {
    const p = under(event);
    if (brush !== null && p >= 0) paint(p, brush);
  });
  for (const end of ["pointerup", "pointercancel"]) grid.addEventListener(end, () => (brush = null));
  grid.addEventListener("keydown", (event) => {
    const p = cells.indexOf(document.activeElement);
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width }[event.key];
    if (event.key === " " || event.key === "Enter") paint(p, target[p] > 0.5 ? 0 : 1);
    else if (step && cells[p + step]) move(p, p + step);
    else return;
    event.preventDefault();
  });
  const move = (from, to) => {
    cells[from].tabIndex = -1;
    cells[to].tabIndex = 0;
    cells[to].focus();
  };
  return { grid, show };
}

export function fillTarget(id) {
  fill(id, (one) => {
    const { features, rows } = one;
    const view = orbitView(one);
    const solve = leastShift(features);
    const said = element("p", { class: "sigcam-numbers" });
    const target = new Float64Array(features.height * features.width);
    const norm = Math.sqrt(dot(rows[0], rows[0]));
    const draw = eachFrame(() => {
      places.show();
      const delta = solve(target.map((t, p) => t * view.limit - view.start[p]));
      const { map, change } = view.show(delta);
      const missed = Math.max(...map.map((v, p) => Math.abs(v - target[p] * view.limit))) / view.limit;
      said.replaceChildren(
        formula("The least δ has the norm "),
        element("b", {}, Math.sqrt(dot(delta, delta)).toFixed(3)),
        formula(", and the weights of the class *w*_{k} "),
        element("b", {}, norm.toFixed(3)),
        ". The map misses the target by ",
        element("b", {}, small(missed)),
        " of its range; the largest change of a probability is ",
        element("b", {}, small(change)),
        ".",
      );
    });
    const places = canvasOfPlaces(features, target, draw);
    view.frame.append(places.grid);
    const fillWith = (shape) => {
      for (let p = 0; p < target.length; p++) {
        const [row, column] = [Math.floor(p / features.width), p % features.width];
        target[p] = shape(row, column, features.height, features.width);
      }
      draw();
    };
    const buttons = Object.entries(SHAPES).map(([name, shape]) =>
      element("button", { type: "button", class: "sigcam-button", onclick: () => fillWith(shape) }, name),
    );
    fillWith(SHAPES["Blob in a corner"]);
    const help = element("p", {}, "Paint on the photo: what you paint is the map of the class.");
    return [help, view.root, element("p", {}, ...buttons), said];
  });
}

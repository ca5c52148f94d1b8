// The page of the reader's own photo: everything is computed here, and nothing leaves the reader's machine.

import { answersOf, HEADS } from "./answers.js";
import { barList } from "./bars.js";
import { drawMap, placeOfGreatest, SCALES } from "./colours.js";
import { choice, eachFrame, element, formula, slider, small } from "./elements.js";
import { folderOf } from "./files.js";
import * as maths from "./maths.js";
import { openNetwork } from "./networks.js";
import { inputOf, openPhoto, openSample } from "./photos.js";
import { picker } from "./picker.js";
import { legend, stage } from "./stage.js";

const LIKELIEST = 5; // classes of each head that are shown
const base = folderOf(document.currentScript);
const facts = globalThis.sigcamExplorer;
const titles = (table) => Object.entries(table).map(([name, { title }]) => [name, title]);

const state = {
  answers: null,
  k: 0,
  shift: 0,
  scale: "signed",
  views: [
    { head: "softmax", method: "cam", scalar: "logit", truncated: false },
    { head: "sigmoid", method: "cam", scalar: "logit", truncated: true },
  ],
};

const status = element("p", { class: "sigcam-status", role: "status" });
const tell = (text) => (status.textContent = text);
const photo = element("canvas", { class: "sigcam-photo", role: "img", "aria-label": "the photo" });
const shownMaps = stage(["left map", "right map"], photo);
const said = [element("p", {}), element("p", {})];
shownMaps.root.append(element("div", { class: "sigcam-said" }, ...said));
const scaleLegend = legend();
const redraw = eachFrame(draw);

/** Choices of one map. */
function viewControls(title, view) {
  const options = [
    choice("Head", HEADS.map((name) => [name, `${name} head`]), view.head, (value) => change({ head: value })),
    choice("Method", titles(maths.METHODS), view.method, (value) => change({ method: value })),
    choice("Explains the", titles(maths.SCALARS), view.scalar, (value) => change({ scalar: value })),
    choice("Weights", [["", "with their sign"], ["cut", "negative ones cut"]], view.truncated ? "cut" : "", (value) =>
      change({ truncated: value === "cut" }),
    ),
  ];
  function change(part) {
    Object.assign(view, part);
    redraw();
  }
  return element("fieldset", {}, element("legend", {}, title), ...options.map(({ row }) => row));
}

const controls = [viewControls("Left map", state.views[0]), viewControls("Right map", state.views[1])];
const classChoice = choice("Class", facts.names.map((name, k) => [k, name]), 0, (value) => chooseClass(Number(value)));
const scaleChoice = choice("Colours", Object.entries(SCALES), state.scale, (value) => {
  state.scale = value;
  redraw();
});
const shift = slider("Shift s", {
  min: -1,
  max: 1.5,
  step: 0.01,
  value: 0,
  text: (s) => s.toFixed(2),
  onchange(s) {
    state.shift = s;
    redraw();
  },
});
const bars = {
  softmax: barList(`Softmax head, ${facts.names.length.toLocaleString("en")} classes`, "softmax", (k) => chooseClass(k)),
  sigmoid: barList(`Sigmoid head, ${facts.places.length} classes`, "sigmoid", (k) => chooseClass(k)),
};
const numbers = element("div", { class: "sigcam-numbers" });
const result = element(
  "div",
  { class: "sigcam-result", hidden: true },
  element("div", { class: "sigcam-columns" }, shownMaps.root, element("div", {}, bars.softmax.root, bars.sigmoid.root)),
  scaleLegend.root,
  element("div", { class: "sigcam-shift" }, shift.row, numbers),
  element("div", { class: "sigcam-choices" }, classChoice.row, scaleChoice.row),
  element("div", { class: "sigcam-columns" }, ...controls),
);

function chooseClass(k) {
  state.k = k;
  classChoice.select.value = k;
  redraw();
}

function draw() {
  const { answers, k, shift: s } = state;
  if (!answers) return;
  state.views.forEach((view, i) => drawView(view, i));
  scaleLegend.show(state.scale);
  const shifted = answers.shifted(k, s);
  for (const head of HEADS) {
    const shown = answers.likeliest(head, LIKELIEST);
    if (answers.knows(head, k) && !shown.includes(k)) shown.push(k);
    bars[head].show(
      shown.map((m) => ({
        key: m,
        name: facts.names[m],
        before: answers.probability(head, m),
        after: shifted.probability(head, m),
        chosen: m === k,
      })),
    );
  }
  drawNumbers(shifted);
}

function drawView(view, i) {
  const { answers, k, shift: s } = state;
  const { height, width } = answers.features;
  const map = answers.map(view, k, s);
  const layer = shownMaps.layers[i];
  drawMap(layer, map ?? new Float64Array(height * width), height, width, state.scale, answers.limit(view, k));
  const text = map
    ? `${maths.METHODS[view.method].title} of ${facts.names[k]}, ${view.head} head: ${placeOfGreatest(map, height, width)}`
    : `The sigmoid head knows ${facts.places.length} classes; ${facts.names[k]} is not among them.`;
  said[i].textContent = text;
  layer.setAttribute("aria-label", text);
}

function drawNumbers(shifted) {
  const { answers, k, shift: s } = state;
  const known = answers.knows("sigmoid", k);
  const number = (value) => element("b", {}, value);
  const pair = (head) => [answers.probability(head, k).toFixed(4), shifted.probability(head, k).toFixed(4)];
  numbers.replaceChildren(
    element("p", {}, formula("δ = −2*s* *w*_{k} is added to the weights of every class of both heads, with *w*_{k} the "
      + "softmax weights of the class. Every logit moves by δ · *f* = "), number(shifted.added.toFixed(4)), "."),
    element("p", {}, "Softmax: ", number(pair("softmax").join(" → ")), "; the largest change of any of the "
      + `${facts.names.length.toLocaleString("en")} probabilities is `, number(small(shifted.change.softmax)), "."),
    element("p", {}, "Sigmoid: ", known ? number(pair("sigmoid").join(" → ")) : "this class is not among its classes.",
      known ? formula(`. It is σ(*l* ${s === 0 ? "+ 0" : "+ δ · *f*"}).`) : ""),
  );
}

/** From a picture to maps. */
async function explain(open) {
  try {
    const opened = performance.now();
    const picture = await open();
    const opening = performance.now() - opened;
    const network = await openNetwork(base, facts, tell);
    tell("Looking at the photo.");
    await new Promise((resolve) => setTimeout(resolve)); // lets the sentence appear
    const start = performance.now() - opening; // as if the network had been there
    const features = await network.run(inputOf(picture, facts));
    state.answers = answersOf(features, network.heads, facts.places);
    showPhoto(picture);
    state.shift = 0;
    shift.set(0);
    chooseClass(state.answers.likeliest("softmax", 1)[0]);
    result.hidden = false;
    draw();
    const seconds = ((performance.now() - start) / 1000).toFixed(2);
    tell(`The network sees ${facts.names[state.k]} with probability `
      + `${state.answers.probability("softmax", state.k).toFixed(2)}. From photo to map: ${seconds} s.`);
  } catch (error) {
    tell(error.message);
  }
}

function showPhoto(picture) {
  const scale = Math.min(1, 640 / Math.max(picture.width, picture.height));
  photo.width = Math.round(picture.width * scale);
  photo.height = Math.round(picture.height * scale);
  const context = photo.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, photo.width, photo.height);
  context.drawImage(picture, 0, 0, photo.width, photo.height);
  photo.setAttribute("aria-label", `The photo, ${picture.width} × ${picture.height} pixels`);
}

const root = document.getElementById("sigcam-photo");
const pick = picker(root, facts, base, {
  file: (blob) => explain(() => openPhoto(blob)),
  sample: (name) => explain(() => openSample(base, name)),
  load: () => openNetwork(base, facts, tell).then(() => tell("The network is ready: choose a photo."), (e) => tell(e.message)),
});
root.replaceChildren(pick, status, result);
root.sigcam = { state, maths }; // for tests, and for readers who open the console

// A photo with maps over it, and a wipe between two of them.

import { element, slider } from "./elements.js";

/** A picture with one canvas over it for each of `names`; two are divided by a wipe. */
export function stage(names, picture) {
  const layers = names.map((name) => element("canvas", { class: "sigcam-map", role: "img", "aria-label": name }));
  const line = element("span", { class: "sigcam-wipe-line", "aria-hidden": "true" });
  const frame = element("div", { class: "sigcam-frame" }, picture, ...layers);
  const root = element("div", { class: "sigcam-stage" }, frame);
  if (layers.length < 2) return { root, frame, layers };

  frame.append(line);
  const show = (percent) => {
    layers[0].style.clipPath = `inset(0 ${100 - percent}% 0 0)`;
    layers[1].style.clipPath = `inset(0 0 0 ${percent}%)`;
    line.style.left = `${percent}%`;
  };
  const text = (percent) => `${percent} % left map, ${100 - percent} % right map`;
  const wipe = slider("Wipe", { min: 0, max: 100, step: 1, value: 50, text, onchange: show });
  const follow = (event) => {
    const box = frame.getBoundingClientRect();
    const percent = Math.round(Math.min(Math.max((100 * (event.clientX - box.left)) / box.width, 0), 100));
    wipe.set(percent);
    show(percent);
  };
  frame.addEventListener("pointerdown", (event) => {
    frame.setPointerCapture(event.pointerId);
    follow(event);
  });
  frame.addEventListener("pointermove", (event) => {
    if (frame.hasPointerCapture(event.pointerId)) follow(event);
  });
  show(50);
  root.append(wipe.row);
  return { root, frame, layers };
}

/** The two ends of a colour scale. */
export function legend() {
  const root = element("p", { class: "sigcam-legend" });
  return {
    root,
    show(scale) {
      const [from, to] = scale === "signed" ? ["evidence against", "evidence for"] : ["least", "greatest"];
      root.replaceChildren(from, element("span", { class: `sigcam-scale sigcam-scale-${scale}` }), to);
    },
  };
}

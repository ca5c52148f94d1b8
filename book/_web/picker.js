// Where a photo comes from: dropped, chosen, taken with the camera, or one of the samples.

import { element, freshId } from "./elements.js";

/** The part of the page that gives `on.file` a file, `on.sample` a name, or asks by `on.load` for the network alone. */
export function picker(zone, facts, base, on) {
  const megabytes = (facts.bytes / 1e6).toFixed(1);
  const input = (label, attributes) => {
    const id = freshId("file");
    const field = element("input", { id, type: "file", accept: "image/*", class: "sigcam-file", ...attributes });
    field.addEventListener("change", () => {
      if (field.files[0]) on.file(field.files[0]);
      field.value = ""; // so that the same file can be chosen again
    });
    return element("span", { class: "sigcam-file-choice" }, field, element("label", { for: id, class: "sigcam-button" }, label));
  };
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("sigcam-over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("sigcam-over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("sigcam-over");
    if (event.dataTransfer.files[0]) on.file(event.dataTransfer.files[0]);
  });
  const samples = facts.samples.map(({ name, about }) =>
    element(
      "button",
      { type: "button", class: "sigcam-sample", onclick: () => on.sample(name) },
      element("img", { src: `${base}${name}.webp`, alt: about, width: 96, height: 96 }),
    ),
  );
  return element(
    "div",
    { class: "sigcam-picker" },
    element(
      "p",
      {},
      input("Choose a photo", {}),
      input("Take a photo", { capture: "environment" }),
      element("button", { type: "button", class: "sigcam-button", onclick: on.load }, `Load the network (${megabytes} MB)`),
    ),
    element("p", {}, `Or drop a photo here, or pick one of these. The first photo loads the network, ${megabytes} MB, once.`),
    element("div", { class: "sigcam-samples", role: "group", "aria-label": "Sample photos" }, ...samples),
  );
}

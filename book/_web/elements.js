// Small helpers to make elements of a page.

let made = 0;

/** An id that no other element has. */
export const freshId = (name) => `sigcam-${name}-${(made += 1)}`;

/** An element with attributes (`on...` are listeners) and children. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** A slider with its label and the text of its value. */
export function slider(label, { min, max, step, value, text, onchange }) {
  const id = freshId("slider");
  const shown = element("span", { class: "sigcam-value", "aria-hidden": "true" }); // the slider tells its value itself
  const input = element("input", { id, type: "range", min, max, step, value });
  const update = () => {
    shown.textContent = text(Number(input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", () => {
    update();
    onchange(Number(input.value));
  });
  update();
  const row = element("div", { class: "sigcam-slider" }, element("label", { for: id }, label), input, shown);
  return {
    row,
    input,
    set(next) {
      input.value = next;
      update();
    },
  };
}

/** A list to choose from, of [value, title]. */
export function choice(label, options, value, onchange) {
  const id = freshId("choice");
  const select = element("select", { id, onchange: () => onchange(select.value) });
  for (const [name, title] of options) select.append(element("option", { value: name }, title));
  select.value = value;
  return { row: element("div", { class: "sigcam-choice" }, element("label", { for: id }, label), select), select };
}

/** Call `draw` once before the next picture, however often it is asked for. */
export function eachFrame(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}

/** Text with mathematics in it: _i_ is italic, and what stands behind _ in braces is a subscript. */
export function formula(text) {
  const node = element("span", { class: "sigcam-formula" });
  for (const part of text.split(/(_\{[^}]*\}|\*[^*]*\*)/)) {
    if (part.startsWith("_{")) node.append(element("sub", {}, part.slice(2, -1)));
    else if (part.startsWith("*") && part.length > 1) node.append(element("i", {}, part.slice(1, -1)));
    else if (part) node.append(part);
  }
  return node;
}

/** A small number as people write it. */
export function small(value) {
  if (value === 0) return "0";
  const power = Math.floor(Math.log10(Math.abs(value)));
  if (power >= -3) return value.toFixed(4);
  return `${(value / 10 ** power).toFixed(1)} · 10${String(power).replace(/./g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)])}`;
}

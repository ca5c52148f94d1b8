// Bars of class probabilities before and after a shift.

import { element } from "./elements.js";

const digits = (p) => (p > 0 && p < 0.0005 ? "<.001" : p.toFixed(3));

/**
 * A list of bars under a title.
 *
 * `show` takes rows of {name, before, after, chosen} and, for a list one chooses from, `pick`, called with a row's key.
 */
export function barList(title, kind, pick = null) {
  const list = element("ol", { class: `sigcam-bars sigcam-${kind}` });
  const root = element("section", { class: "sigcam-bar-list" }, element("h4", {}, title), list);
  let names = "";
  let rows = [];
  const rebuild = (entries) => {
    rows = entries.map((entry) => {
      const name = pick
        ? element("button", { type: "button", onclick: () => pick(entry.key) }, entry.name)
        : element("span", {}, entry.name);
      const before = element("span", { class: "sigcam-before" });
      const after = element("span", { class: "sigcam-after" });
      const number = element("span", { class: "sigcam-number" });
      const bar = element("span", { class: "sigcam-bar", "aria-hidden": "true" }, after, before);
      return { item: element("li", {}, name, bar, number), name, before, after, number };
    });
    list.replaceChildren(...rows.map((row) => row.item));
  };
  return {
    root,
    show(entries) {
      const next = entries.map((entry) => `${entry.key} ${entry.name}`).join("\n");
      if (next !== names) rebuild(entries);
      names = next;
      entries.forEach((entry, i) => {
        const row = rows[i];
        row.before.style.width = `${100 * entry.before}%`;
        row.after.style.width = `${100 * entry.after}%`;
        const text = [digits(entry.before), digits(entry.after)];
        row.number.textContent = text[0] === text[1] ? text[0] : `${text[0]} → ${text[1]}`;
        if (pick) row.name.setAttribute("aria-pressed", String(Boolean(entry.chosen)));
        row.item.classList.toggle("sigcam-chosen", Boolean(entry.chosen));
      });
    },
  };
}

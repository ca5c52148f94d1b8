/* Tables of class "sortable" sort by their headings, filter by choices and by text, and save what is shown as CSV.
   Plain JavaScript, no dependency, works from a file. Without it they are plain tables. */
(() => {
  "use strict";

  const make = (name, attributes, ...children) => {
    const element = Object.assign(document.createElement(name), attributes);
    element.append(...children);
    return element;
  };

  const textOf = (cell) => (cell.dataset.csv ?? cell.textContent).replace(/\s+/g, " ").trim();

  // What a cell sorts by: its own key, or its text; numbers before text, and nothing last.
  const keyOf = (cell) => {
    const key = cell.dataset.sort ?? textOf(cell);
    const isNothing = key === "" || key === "–";
    const isNumber = !isNothing && !Number.isNaN(Number(key));
    return { place: isNothing ? 2 : isNumber ? 0 : 1, value: isNumber ? Number(key) : key };
  };

  const compare = (one, other, sign) => {
    if (one.place !== other.place) return one.place - other.place;
    if (one.place === 0) return sign * (one.value - other.value);
    return sign * String(one.value).localeCompare(String(other.value), "en", { numeric: true });
  };

  const csvOf = (rows) => {
    // What a spreadsheet would take for a formula gets an apostrophe in front; numbers with intervals stay.
    const plain = (text) => (/^[=@]|^[+-](?![\d\s.,()[\]%e+−-]*$)/.test(text) ? `'${text}` : text);
    const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return rows.map((row) => row.map((text) => quoted(plain(text))).join(",")).join("\n") + "\n";
  };

  const save = (name, text) => {
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
    link.click();
    URL.revokeObjectURL(link.href);
  };

  const enhance = (table) => {
    const headings = [...table.tHead.rows[0].cells];
    const names = headings.map((heading) => heading.firstChild.textContent.trim());
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const count = make("span", { className: "count" });
    count.setAttribute("role", "status");
    const filters = [];

    const show = () => {
      const tests = filters.map((filter) => filter());
      for (const row of rows) row.hidden = !tests.every((test) => test(row));
      count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
    };

    const bar = make("form", { className: "filters", onsubmit: (event) => event.preventDefault() });
    for (const column of (table.dataset.filters ?? "").split(" ").filter(Boolean).map(Number)) {
      const choices = [...new Set(rows.map((row) => textOf(row.cells[column])))];
      const select = make("select", { onchange: show }, make("option", { value: "" }, "all"));
      select.append(...choices.map((choice) => make("option", { value: choice }, choice)));
      filters.push(() => (row) => !select.value || textOf(row.cells[column]) === select.value);
      bar.append(make("label", {}, `${names[column]} `, select));
    }
    const search = make("input", { type: "search", oninput: show, placeholder: "Grad-CAM++, GT-Loc" });
    filters.push(() => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      return (row) => words.every((word) => textOf(row).toLowerCase().includes(word));
    });
    bar.append(make("label", {}, "Words ", search));
    bar.append(make("button", { type: "reset", onclick: () => setTimeout(show) }, "All rows"));
    const csv = make("button", { type: "button" }, "Save these rows as CSV");
    csv.onclick = () => {
      const shown = [...body.rows].filter((row) => !row.hidden).map((row) => [...row.cells].map(textOf));
      save(`${table.dataset.name ?? "table"}.csv`, csvOf([names, ...shown]));
    };
    bar.append(csv, count);
    (table.closest(".scrolls") ?? table).before(bar);

    headings.forEach((heading, column) => {
      const button = make("button", { type: "button", className: "sorter" });
      button.append(...heading.childNodes);
      heading.append(button);
      button.onclick = () => {
        const isUp = heading.getAttribute("aria-sort") !== "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", isUp ? "ascending" : "descending");
        const keyed = rows.map((row) => [keyOf(row.cells[column]), row]);
        keyed.sort((one, other) => compare(one[0], other[0], isUp ? 1 : -1));
        body.append(...keyed.map((pair) => pair[1]));
      };
    });
    show();
  };

  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("table.sortable").forEach(enhance));
})();

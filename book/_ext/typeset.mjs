// Typesets formulas: a line of JSON in, {formula, display, macros}, and a line of JSON out, {html} or {error}.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const katex = createRequire(import.meta.url)(process.argv[2]);

for await (const line of createInterface({ input: process.stdin })) {
  const { formula, display, macros } = JSON.parse(line);
  const options = { displayMode: display, macros: { ...macros }, strict: "error", output: "htmlAndMathml" };
  let answer;
  try {
    answer = { html: katex.renderToString(formula, options) };
  } catch (error) {
    answer = { error: error.message };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}

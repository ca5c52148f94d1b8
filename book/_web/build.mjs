// Bundle the programs of the pages: `node build.mjs FOLDER`. Pages opened from a disk may not load modules, so each
// becomes one plain script.

import { build } from "esbuild";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
await build({
  entryPoints: process.argv.slice(3).map((name) => join(here, `${name}.js`)),
  outdir: process.argv[2],
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  legalComments: "eof",
  // ONNX Runtime asks where it lies to find files that are given to it here.
  define: { "import.meta.url": "globalThis.location.href" },
  logLevel: "warning",
});

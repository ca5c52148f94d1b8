"""JavaScript of the book's pages, run by the environment's Node from a test."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from explorer_files import SOURCES, node


def run_node(program: str, folder: Path, **values: Any) -> Any:
    """What a program prints as JSON.

    Args:
        program: body of a module, in which those of `book/_web` have their names, `given` is the values, and `print` a
            function that writes its argument.
        folder: where the files for it go.
        values: given to the program.
    """
    (folder / "given.json").write_text(json.dumps(values))
    imports = "\n".join(
        f'import * as {name} from "{(SOURCES / name).as_uri()}.js";'
        for name in ("maths", "pixels", "halves", "answers", "packs")
    )
    module = folder / "program.mjs"
    module.write_text(
        f'{imports}\nimport {{ readFileSync }} from "node:fs";\n'
        f'const given = JSON.parse(readFileSync("{(folder / "given.json").as_posix()}", "utf8"));\n'
        f"const print = (value) => console.log(JSON.stringify(value));\n{program}\n"
    )
    done = subprocess.run([node(), str(module)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

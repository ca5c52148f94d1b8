"""The page that lists every family of networks, with where each is cut and why some are not, from ``results/``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from sigcam_core.cams.methods import CAM_METHODS
from sigcam_core.common.errors import fail
from sigcam_core.common.files import read_json

PAGE = "architectures"
TITLES = {"torchvision": "torchvision", "timm": "timm", "transformers": "transformers (Hugging Face)"}
TEXT = """# Networks, family by family

{{py:mod}}`sigcam_core.dual.split` has no list of architectures. It cuts a network by trying, and keeps a cut only if
the two parts give the network's logits. So that you need not try first, a small network of every family of three
libraries was built with random weights and cut; nothing was downloaded. Of those of transformers that have equal
layers, two were built. Sizes are those for the image that the network takes by default.

*Maps* are channels × height × width. *Cut* says how the place was found: `parts` from the network's children or
methods, `pass` from what its modules give in one pass over an image. A head in which CAM is allowed is global average
pooling and one linear layer; in all others maps need gradients. What is refused gives the sentence that you would read,
and can still be given as `features` and `head` by hand ({{doc}}`your_own`). What was not built asks for a package or a
setting that is not there.

{tables}
"""
HEADER = """| Family | Network | Parameters (M) | Maps | Head (M) | Cut | Methods, or why not |
|:--|:--|--:|:--|--:|:--|:--|"""


def write_architectures(target: Path, results: Path) -> None:
    """Write the page to the book's sources in ``target``.

    Args:
        target: folder of the sources.
        results: folder with ``architectures/LIBRARY.json``, see :mod:`architectures`.

    Raises:
        SigcamError: if there is no file of a library.
    """
    (target / f"{PAGE}.md").write_text(page_of(results), encoding="utf-8")


def page_of(results: Path) -> str:
    """The page's text."""
    return TEXT.format(tables="\n\n".join(_table(_read(results / PAGE / f"{name}.json"), name) for name in TITLES))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        fail(f"the book needs {path}: run `python workflow/architectures.py --results {path.parent.parent}` first.")
    content: dict[str, Any] = read_json(path)
    return content


def _table(content: dict[str, Any], library: str) -> str:
    families = content["families"]
    counts = Counter(row["outcome"] for row in families.values())
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    rows = "\n".join(_row(family, row) for family, row in families.items())
    title = f"## {TITLES[library]} {content['release']}"
    return f"{title}\n\n{len(families)} of {content['of']} families: {told}.\n\n{HEADER}\n{rows}"


def _row(family: str, row: dict[str, Any]) -> str:
    size = f"{row['parameters'] / 1e6:.1f}" if "parameters" in row else "–"
    if row["outcome"] != "split":
        why = row["why"].replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
        return _cells(family, f"`{row['network']}`", size, "–", "–", "–", f"{row['outcome']}: {why}")
    methods = ", ".join(CAM_METHODS[name].title for name in row["methods"])
    maps = " × ".join(map(str, row["maps"]))
    cut = "pass" if row["is_observed"] else "parts"
    return _cells(family, f"`{row['network']}`", size, maps, f"{row['head_parameters'] / 1e6:.3f}", cut, methods)


def _cells(*values: object) -> str:
    return "| " + " | ".join(map(str, values)) + " |"

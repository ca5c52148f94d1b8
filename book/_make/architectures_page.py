"""The page that lists every family of networks, with where each is cut and why some are not, from ``results/``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from page_parts import cells, fold
from sigcam_core.common.errors import fail
from sigcam_core.common.files import read_json
from sigcam_core.common.titles import METHOD_TITLES

PAGE = "architectures"
TITLES = {"torchvision": "torchvision", "timm": "timm", "transformers": "transformers (Hugging Face)"}
TEXT = """# Networks, family by family

> {opening}

{summary}

{{py:mod}}`sigcam_core.split.split` has no list of architectures. It cuts a network by trying, and keeps a cut only if
the two parts give the network's logits. So that you need not try first, a small network of every family of three
libraries was built with random weights and cut; nothing was downloaded. Of those of transformers that have equal
layers, two were built, with weights wide enough that images do not vanish on their way through. Sizes are those for
the image that the network takes by default.

*Maps* are channels × height × width. *Cut* says how the place was found: `parts` from the network's children or
methods, `pass` from what its modules give in one pass over an image. A head in which CAM is allowed is global average
pooling and one linear layer; in all others maps need gradients. What is refused gives the sentence that you would read,
and can still be given as `features` and `head` by hand ({{doc}}`your_own`). What was not built asks for a package or a
setting that is not there.

{tables}
"""
UNSEEN = "unseen"
OUTCOMES = {
    "split": "split",
    "refused": "refused",
    "not built": "not built here",
    "not tried": "too large here",
    "given up": "too slow here",
    UNSEEN: "not looked at",
}
"""What may come of a family, in the survey's words and in those of the page's first table."""
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
    """Write the page's text."""
    surveys = {library: _read(results / PAGE / f"{library}.json") for library in TITLES}
    found = {f"{TITLES[library]} {content['release']}": content for library, content in surveys.items()}
    folds = [fold(f"{title}: every family", _table(content)) for title, content in found.items()]
    return TEXT.format(opening=_opening(found), summary=_summary(found), tables="\n\n".join(folds))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        fail(f"the book needs {path}: run `python book/_make/architectures.py --results {path.parent.parent}` first.")
    content: dict[str, Any] = read_json(path)
    return content


def _outcomes(content: dict[str, Any]) -> Counter[str]:
    """Count the families with each outcome, those that were not tried too."""
    families = content["families"]
    return Counter(row["outcome"] for row in families.values()) + Counter({UNSEEN: content["of"] - len(families)})


def _has_cam(content: dict[str, Any]) -> int:
    """Say how many families have a head in which CAM is allowed."""
    return sum("cam" in row.get("methods", ()) for row in content["families"].values())


def _opening(surveys: dict[str, dict[str, Any]]) -> str:
    outcomes = sum((_outcomes(content) for content in surveys.values()), Counter[str]())
    built = outcomes["split"] + outcomes["refused"]
    plain = sum(map(_has_cam, surveys.values()))
    others = outcomes.total() - built
    return (
        f"Of {built} families that were built, {outcomes['split']} are cut into a backbone and a head, {plain} of them "
        f"into one that CAM itself explains, and {outcomes['refused']} are refused with a sentence. {others} more were "
        "not tried here."
    )


def _summary(surveys: dict[str, dict[str, Any]]) -> str:
    """Count the families with each outcome, by library."""
    counts = {title: _outcomes(content) for title, content in surveys.items()}
    shown = [outcome for outcome in OUTCOMES if any(count[outcome] for count in counts.values())]
    header = ["Library", "families", *(OUTCOMES[outcome] for outcome in shown), "with CAM"]
    rows = [
        cells(title, content["of"], *(counts[title][outcome] for outcome in shown), _has_cam(content))
        for title, content in surveys.items()
    ]
    return "\n".join([cells(*header), "|:--|" + "--:|" * (len(header) - 1), *rows])


def _table(content: dict[str, Any]) -> str:
    return "\n".join([HEADER, *(_row(family, row) for family, row in content["families"].items())])


def _row(family: str, row: dict[str, Any]) -> str:
    size = f"{row['parameters'] / 1e6:.1f}" if "parameters" in row else "–"
    if row["outcome"] != "split":
        why = row["why"].replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
        return cells(family, f"`{row['network']}`", size, "–", "–", "–", f"{row['outcome']}: {why}")
    methods = ", ".join(METHOD_TITLES[name] for name in row["methods"])
    maps = " × ".join(map(str, row["maps"]))
    cut = "pass" if row["is_observed"] else "parts"
    return cells(family, f"`{row['network']}`", size, maps, f"{row['head_parameters'] / 1e6:.3f}", cut, methods)

"""The book of a profile of the matrix: a first page that says what was run, and the pages of the paper's tables."""

from __future__ import annotations

from pathlib import Path

import yaml

from companion.matrix import Entry, Profile
from sigcam_core.train.recipes import recipe_of_sigmoid_head

ROOT = "profile"
PAGES = ("notebooks/03_table1_wsol", "notebooks/04_table2_fidelity", "notebooks/05_table3_overhead")
PAGE = """# The paper's tables, profile `{name}`

{warning}Profile `{name}`: {about}.

The pages that follow show the rows of these runs next to the paper's. The method CAM is shown of a network's CAM form,
the gradient-based methods of its gradient form; ResNet-50 is the same network in both, with a sigmoid head of either
rate where the recipes name two.

| Data set | Network | Form | Built as | Recipe of the classifier | Recipe of the sigmoid head | Seed |
|:--|:--|:--|:--|:--|:--|--:|
{rows}
"""


def write_profile(target: Path, profile: Profile) -> None:
    """Put the first page and the table of contents of a profile's book into its sources.

    Args:
        target: folder of the sources, with those of the whole book.
        profile: which.
    """
    warning = "```{warning}\nThese numbers mean nothing: see below.\n```\n\n" if profile.is_miniature else ""
    rows = "\n".join(_row(entry) for entry in profile.entries())
    page = PAGE.format(name=profile.name, about=profile.about, warning=warning, rows=rows)
    (target / f"{ROOT}.md").write_text(page, encoding="utf-8")
    contents = {"format": "jb-book", "root": ROOT, "chapters": [{"file": page} for page in PAGES]}
    (target / "_toc.yml").write_text(yaml.safe_dump(contents, sort_keys=False), encoding="utf-8")


def _row(entry: Entry) -> str:
    run = entry.run()
    usual = "scratch" if entry.origin == "scratch" else entry.origin
    head = run.sigmoid_recipe or f"our own, {recipe_of_sigmoid_head('', run.backbone).epochs} epochs on cached features"
    cells = (
        entry.dataset,
        entry.network,
        entry.form,
        f"`{run.backbone}`",
        run.classifier_recipe or usual,
        head,
        run.seed,
    )
    return "| " + " | ".join(map(str, cells)) + " |"

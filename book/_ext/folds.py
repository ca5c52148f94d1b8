"""Sphinx extension: code cells that show nothing share the fold of the next one, and a page is no row of folds."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

FOLDED = "input"  # what myst-nb calls a cell whose code is folded


def is_folded(node: nodes.Node) -> bool:
    """Say whether a node is a cell of folded code."""
    is_cell = isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"
    return is_cell and node.get("hide_mode") == FOLDED and _parts(node)[:1] == ["cell_code_source"]


def is_silent(node: nodes.Node) -> bool:
    """Say whether a node is a cell of folded code that shows nothing."""
    return is_folded(node) and len(_parts(node)) == 1


def _parts(cell: nodes.Node) -> list[str]:
    return [child.get("nb_element", "") for child in cell.children if isinstance(child, nodes.Element)]


def share_folds(parent: nodes.Element) -> None:
    """Move the code of silent cells to the front of the cell of code that follows each at once.

    Args:
        parent: changed in place; what lies between two cells, such as prose, keeps them apart.
    """
    for node, following in pairwise(list(parent.children)):
        if is_silent(node) and is_folded(following):
            code, target = node.children[0], following.children[0]
            assert isinstance(code, nodes.Element)
            assert isinstance(target, nodes.Element)
            target.insert(0, code.children)
            parent.remove(node)


class ShareFolds(SphinxPostTransform):
    """Run :func:`share_folds` on every section, before myst-nb folds the cells."""

    default_priority = 198
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Change the document in place."""
        for parent in {id(node.parent): node.parent for node in self.document.findall(is_silent)}.values():
            share_folds(parent)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_post_transform(ShareFolds)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

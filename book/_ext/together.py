"""Sphinx extension: pages are read and written by several processes.

Two extensions that Jupyter Book brings do not say whether they allow it, and Sphinx takes that for a no. They do: the
one numbers chapters when all pages have been read, the other concerns LaTeX. A third says that it does, and merges its
proofs, but its domain does not say that it has nothing of its own to merge.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from sphinx.application import Sphinx
from sphinx_proof.domain import ProofDomain

SILENT = ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex")


class Proofs(ProofDomain):
    """Theorems and proofs, whose list lies in Sphinx's environment and is merged there."""

    def merge_domaindata(self, docnames: Set[str], otherdata: dict[str, Any]) -> None:
        """Nothing: the domain itself keeps no data."""


def speak_for_the_silent(app: Sphinx) -> None:
    """Allow it for those that say nothing; what an extension says of itself stays."""
    for name in SILENT:
        if name in app.extensions and app.extensions[name].parallel_read_safe is None:
            app.extensions[name].parallel_read_safe = True


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.setup_extension("sphinx_proof")
    app.add_domain(Proofs, override=True)
    app.connect("builder-inited", speak_for_the_silent)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

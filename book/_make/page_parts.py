"""Parts of the pages that are written in Markdown when the book is built: a line of a table, and what is folded."""

from __future__ import annotations


def cells(*values: object) -> str:
    """Write one row of a Markdown table.

    >>> cells("maps", 10)
    '| maps | 10 |'
    """
    return "| " + " | ".join(map(str, values)) + " |"


def fold(title: str, content: str) -> str:
    """Fold content under a title that opens it."""
    return f":::::{{dropdown}} {title}\n{content}\n:::::"

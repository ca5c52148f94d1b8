"""Parts of the pages that are written in Markdown when the book is built: a line of a table, and what is folded."""

from __future__ import annotations


def cells(*values: object) -> str:
    """A line of a table.

    >>> cells("maps", 10)
    '| maps | 10 |'
    """
    return "| " + " | ".join(map(str, values)) + " |"


def fold(title: str, content: str) -> str:
    """What a reader opens by its title."""
    return f":::::{{dropdown}} {title}\n{content}\n:::::"

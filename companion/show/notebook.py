"""What every notebook does first: refuse parameters that it does not know or cannot use."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sigcam_core.common.errors import check_choice, fail

PLAIN = (str, int, float, bool, list, dict, type(None))
TYPES: dict[Any, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a string"),
    bool: ((bool,), "True or False"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    list[str]: ((list,), "a list of one or more strings"),
}
"""What each annotation that papermill reads allows, as types and in words."""


def check_parameters(namespace: Mapping[str, Any], **allowed: Collection[Any]) -> dict[str, Any]:
    """Check the parameters of a notebook, right after the cell that papermill injects.

    Names and types are those of the cell that declares them, ``name: type = default``. papermill only warns of a name
    that the notebook does not know, and sets it, so every plain value in the namespace is compared with them.

    Args:
        namespace: ``globals()`` of the notebook, before it defines anything else.
        allowed: for a parameter, the values that it may have, such as names or a ``range``: what would otherwise be
            refused only after minutes of work.

    Returns:
        The parameters and their values, for the provenance.

    Raises:
        SigcamError: for an unknown name, a value of another type, or one that is not allowed.

    >>> check_parameters({"__annotations__": {"seed": int}, "seed": 3}, seed=range(10))
    {'seed': 3}
    """
    declared = namespace["__annotations__"]
    given = {
        name: value
        for name, value in namespace.items()
        if isinstance(value, PLAIN) and not name.startswith("_") and name not in ("In", "Out")
    }
    for name in given:
        check_choice("parameter", name, list(declared))
    for name, kind in declared.items():
        _check(name, given[name], kind, allowed.get(name))
    return given


def prose(text: str) -> Any:
    """Markdown that a cell works out, as an object that a notebook shows."""
    from IPython.display import Markdown  # comes with the notebooks, which other users of the package need not have

    return Markdown(text)  # type: ignore[no-untyped-call]


def _check(name: str, value: Any, kind: Any, allowed: Collection[Any] | None) -> None:
    types, words = TYPES[kind]
    is_of_type = isinstance(value, types) and (kind is bool or not isinstance(value, bool))
    if kind == list[str]:
        is_of_type = is_of_type and bool(value) and all(isinstance(item, str) for item in value)
    if not is_of_type:
        fail(f"parameter {name} is {value!r}: give {words}.")
    if allowed is not None and value not in allowed:
        low_to_high = isinstance(allowed, range) and f"{words} from {allowed[0]} to {allowed[-1]}"
        fail(f"parameter {name} is {value!r}: give {low_to_high or 'one of ' + ', '.join(map(repr, allowed))}.")


def bold(sentence: str) -> Any:
    """The sentence that opens a page, as a notebook shows it and the book at the top of the page.

    Args:
        sentence: plain text, or Markdown.
    """
    from IPython.display import Markdown  # comes with the notebooks

    return Markdown(f"**{sentence}**")  # type: ignore[no-untyped-call]

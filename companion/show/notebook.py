"""What every notebook does first: refuse parameters that it does not know or cannot use."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sigcam_core.common.errors import check_choice, fail

INJECTED = "# Parameters\n"
"""How the cell begins that papermill adds below the one that declares the parameters."""


class Kind(NamedTuple):
    """What an annotation of a parameter allows."""

    types: tuple[type, ...]
    words: str
    option: str  #: how papermill is given such a value, with ``{name}`` for the parameter


TYPES = {
    "str": Kind((str,), "a string", "-r {name} TEXT, since -p reads 010, True or None as a value of Python"),
    "bool": Kind((bool,), "True or False", "-p {name} True"),
    "int": Kind((int,), "a whole number", "-p {name} 1"),
    "float": Kind((int, float), "a number", "-p {name} 0.5"),
    "list[str]": Kind((list,), "a list of one or more strings", "-y '{{{name}: [a, b]}}'"),
}
"""Every annotation that papermill reads."""


def check_parameters(namespace: Mapping[str, Any], **allowed: Collection[Any]) -> dict[str, Any]:
    """Check the parameters of a notebook, right after the cell that papermill injects.

    Names and types are those of the cell that declares them, ``name: type = default``. papermill only warns of a name
    that the notebook does not know, and sets it, so the names in the cell that it injects are compared with them. What
    other cells define is nobody's business: all cells may run again in one kernel, below cells of the reader's own.

    Args:
        namespace: ``globals()`` of the notebook; IPython keeps there, in ``In``, the cells that have run.
        allowed: for a parameter, the values that it may have, such as names or a ``range``: what would otherwise be
            refused only after minutes of work.

    Returns:
        The parameters and their values, for the provenance.

    Raises:
        SigcamError: for an unknown name, a value of another type, a number that is not finite, or one that is not
            allowed.

    >>> check_parameters({"__annotations__": {"seed": int}, "seed": 3}, seed=range(10))
    {'seed': 3}
    """
    annotated = {name: _written(kind) for name, kind in namespace["__annotations__"].items()}
    # A cell of the reader's own may annotate what no parameter can be.
    declared = {name: kind for name, kind in annotated.items() if kind in TYPES}
    given = {name: namespace[name] for name in declared if name in namespace}
    for name in _injected_names(namespace.get("In", ())):
        check_choice("parameter", name, list(declared))
    for name, value in given.items():
        _check(name, value, declared[name], allowed.get(name))
    return given


def _written(annotation: Any) -> str:
    """Write an annotation as source text, which it is already after ``from __future__ import annotations``."""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _injected_names(cells: Sequence[str]) -> list[str]:
    """Names that the last cell assigns which papermill injected."""
    injected = next((cell for cell in reversed(cells) if cell.startswith(INJECTED)), "")
    assigned = [node for node in ast.parse(injected).body if isinstance(node, ast.Assign)]
    return [target.id for node in assigned for target in node.targets if isinstance(target, ast.Name)]


def prose(text: str) -> Any:
    """Markdown that a cell works out, as an object that a notebook shows."""
    from IPython.display import Markdown  # comes with the notebooks, which other users of the package need not have

    return Markdown(text)  # type: ignore[no-untyped-call]


def html(text: str) -> Any:
    """HTML that a cell works out, as an object that a notebook shows."""
    from IPython.display import HTML  # comes with the notebooks

    return HTML(text)  # type: ignore[no-untyped-call]


def _check(name: str, value: Any, kind: str, allowed: Collection[Any] | None) -> None:
    types, words, option = TYPES[kind]
    is_of_type = isinstance(value, types) and (kind == "bool" or not isinstance(value, bool))
    if kind == "list[str]":
        is_of_type = is_of_type and bool(value) and all(isinstance(item, str) for item in value)
    if not is_of_type:
        fail(f"parameter {name} is {value!r}: give {words}; to papermill, {option.format(name=name)}.")
    if isinstance(value, float) and not math.isfinite(value):
        fail(f"parameter {name} is {value!r}: give a finite number.")
    if allowed is not None and value not in allowed:
        low_to_high = isinstance(allowed, range) and f"{words} from {allowed[0]} to {allowed[-1]}"
        fail(f"parameter {name} is {value!r}: give {low_to_high or 'one of ' + ', '.join(map(repr, allowed))}.")


def bold(sentence: str) -> Any:
    """Show the sentence that opens a page, in the notebook and at the top of the book's page.

    Args:
        sentence: plain text, or Markdown.
    """
    return prose(f"**{sentence}**")

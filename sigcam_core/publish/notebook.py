"""What every notebook does first: refuse parameters that it does not know or cannot use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..common.errors import check_choice, fail

Check = Callable[[str, Any], None]


def check_parameters(namespace: Mapping[str, Any], **checks: Check) -> dict[str, Any]:
    """Check the parameters of a notebook, right after the cell that papermill injects.

    papermill only warns of a name that the notebook does not know, and sets it. Every plain value in the
    notebook's namespace is therefore compared with the declared names.

    Args:
        namespace: ``globals()`` of the notebook, before it defines anything else.
        checks: for each declared parameter, one of the checks below.

    Returns:
        The parameters and their values, for the provenance.

    Raises:
        SigcamError: for an unknown name or a value that fails its check.
    """
    plain = (str, int, float, bool, list, dict, type(None))
    given = {
        name: value
        for name, value in namespace.items()
        if isinstance(value, plain) and not name.startswith("_") and name not in ("In", "Out")
    }
    for name in given:
        check_choice("parameter", name, list(checks))
    for name, check in checks.items():
        check(name, given[name])
    return given


def one_of(*choices: str) -> Check:
    """A string among ``choices``."""

    def check(name: str, value: Any) -> None:
        if value not in choices:
            fail(f"parameter {name} is {value!r}: choose one of {', '.join(map(repr, choices))}.")

    return check


def some_of(*choices: str) -> Check:
    """A list of strings among ``choices``, at least one."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, list) or not value or any(item not in choices for item in value):
            fail(f"parameter {name} is {value!r}: give a list of one or more of {', '.join(map(repr, choices))}.")

    return check


def whole_number(low: int, high: int = 2**31 - 1) -> Check:
    """An integer from ``low`` to ``high``."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            fail(f"parameter {name} is {value!r}: give a whole number from {low} to {high}.")

    return check


def number(low: float, high: float) -> Check:
    """A number from ``low`` to ``high``."""

    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            fail(f"parameter {name} is {value!r}: give a number from {low} to {high}.")

    return check


def text() -> Check:
    """Any string."""

    def check(name: str, value: Any) -> None:
        if not isinstance(value, str):
            fail(f"parameter {name} is {value!r}: give a string.")

    return check

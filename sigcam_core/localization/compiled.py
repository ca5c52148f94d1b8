"""Loops compiled by numba, whose machine code is kept for the next process where there is a place for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function at its first call, to run without the interpreter's lock.

    In a read-only installation whose user has no folder for a cache either, it is compiled again in each process; numba
    would refuse to import the module.
    """
    try:
        return cast(Function, njit(cache=True, nogil=True)(function))
    except RuntimeError:  # "cannot cache function: no locator available"
        return cast(Function, njit(nogil=True)(function))

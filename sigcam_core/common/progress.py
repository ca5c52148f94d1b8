"""What a long run says while it runs: a live line on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from torch import Tensor

Report = Callable[[str], None]
SECONDS_BETWEEN_LINES = 30.0
REFRESHES_PER_SECOND = 4


def print_to_stderr(line: str) -> None:
    """Print one line of progress at once: the default report."""
    print(line, file=sys.stderr, flush=True)


class Advance(Protocol):
    """Count further images, with the loss of the last batch where there is one."""

    def __call__(self, count: int, loss: Tensor | None = None) -> None:
        """Count ``count`` images."""


@contextmanager
def progress_bar(total: int, name: str, report: Report, *, silent: bool = False) -> Iterator[Advance]:
    """Show how far a pass over images is.

    The loss is asked for only when it is shown, since a GPU has to be waited for.

    Args:
        total: images of the pass.
        name: what is done.
        report: gets a line every half minute where the error output is no terminal.
        silent: show nothing, as all but one of several processes should.
    """
    console = Console(stderr=True)
    live = console.is_terminal and not silent
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeRemainingColumn())
    start = last = time.perf_counter()
    done = 0
    with ExitStack() as stack:
        # Without a terminal there is no bar: some versions of rich end even a disabled one with an empty line.
        bars = stack.enter_context(Progress(*columns, console=console, transient=True)) if live else None
        bar = bars.add_task(name, total=total, text="") if bars else None

        def advance(count: int, loss: Tensor | None = None) -> None:
            nonlocal done, last
            done += count
            now = time.perf_counter()
            if silent or now - last < (1 / REFRESHES_PER_SECOND if live else SECONDS_BETWEEN_LINES):
                return
            last = now
            text = f"{done:,}/{total:,} images  {done / (now - start):,.0f} images/s"
            text += "" if loss is None else f"  loss {float(loss):.3f}"
            if bars and bar is not None:
                bars.update(bar, completed=done, text=text)
            else:
                report(f"{name}: {text}")

        yield advance

"""Progress: a line now and then, nothing from the other processes, and no loss asked for that is not shown."""

import io
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from sigcam_core.common import progress
from sigcam_core.common.progress import SECONDS_BETWEEN_LINES, print_to_stderr, progress_bar


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Loss:
    """Counts how often it is read."""

    reads = 0

    def __float__(self) -> float:
        self.reads += 1
        return 0.5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=clock))
    return clock


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], io.StringIO]:
    """Gives the error output, which is a terminal or not."""

    def replace_console(is_terminal: bool) -> io.StringIO:
        output = io.StringIO()
        monkeypatch.setattr(
            progress, "Console", lambda stderr: Console(file=output, force_terminal=is_terminal, width=200)
        )
        return output

    return replace_console


def run(clock: Clock, lines: list[str], seconds: list[float], *, silent: bool = False) -> Loss:
    """Ten images after each of some pauses, with a loss."""
    loss = Loss()
    with progress_bar(1000 * len(seconds), "epoch 1", lines.append, silent=silent) as advance:
        for pause in seconds:
            clock.now += pause
            advance(1000, loss)  # type: ignore[arg-type]
    return loss


def test_without_a_terminal_a_line_comes_every_half_minute(clock: Clock, screen: Callable[[bool], io.StringIO]) -> None:
    output, lines = screen(False), []
    loss = run(clock, lines, [10.0] * 8)
    assert lines == [
        "epoch 1: 3,000/8,000 images  100 images/s  loss 0.500",
        "epoch 1: 6,000/8,000 images  100 images/s  loss 0.500",
    ]
    assert loss.reads == 2
    assert output.getvalue() == ""


def test_the_half_minute_counts_from_the_last_line(clock: Clock, screen: Callable[[bool], io.StringIO]) -> None:
    screen(False)
    lines: list[str] = []
    run(clock, lines, [50.0, 20.0, 10.0, 29.0, 0.5, 0.5])  # lines after 50, 80 and 110 seconds
    assert [line.split("/")[0] for line in lines] == ["epoch 1: 1,000", "epoch 1: 3,000", "epoch 1: 6,000"]


def test_a_short_pass_says_nothing_and_reads_no_loss(clock: Clock, screen: Callable[[bool], io.StringIO]) -> None:
    output, lines = screen(False), []
    assert run(clock, lines, [SECONDS_BETWEEN_LINES / 100] * 99).reads == 0
    assert (lines, output.getvalue()) == ([], "")


@pytest.mark.parametrize("is_terminal", [False, True])
def test_silent_says_nothing_and_reads_no_loss(
    clock: Clock, screen: Callable[[bool], io.StringIO], is_terminal: bool
) -> None:
    output, lines = screen(is_terminal), []
    assert run(clock, lines, [100.0] * 5, silent=True).reads == 0
    assert (lines, output.getvalue()) == ([], "")


def test_a_pass_without_losses_shows_none(clock: Clock, screen: Callable[[bool], io.StringIO]) -> None:
    screen(False)
    lines: list[str] = []
    with progress_bar(64, "features", lines.append) as advance:
        clock.now += 32
        advance(16)
    assert lines == ["features: 16/64 images  0 images/s"]


def test_a_terminal_has_one_live_line_and_no_report(clock: Clock, screen: Callable[[bool], io.StringIO]) -> None:
    output, lines = screen(True), []
    loss = run(clock, lines, [0.1] * 10)
    assert lines == []
    assert 2 <= loss.reads <= 4  # four refreshes a second
    assert "epoch 1" in output.getvalue()
    assert "9,000/10,000 images" in output.getvalue()
    assert "loss 0.500" in output.getvalue()


def test_a_tensor_is_shown_as_a_number(clock: Clock, screen: Callable[[bool], io.StringIO]) -> None:
    screen(False)
    lines: list[str] = []
    with progress_bar(64, "epoch 2", lines.append) as advance:
        clock.now += SECONDS_BETWEEN_LINES
        advance(64, torch.tensor(1.25, requires_grad=True).detach())
    assert lines == ["epoch 2: 64/64 images  2 images/s  loss 1.250"]


def test_the_default_report_goes_to_the_error_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_to_stderr("one line")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "one line\n")

"""A mistake in the input ends in one sentence and a non-zero exit."""

import errno
import os

import pytest
from IPython.core.interactiveshell import InteractiveShell

from sigcam_core.common.errors import SigcamError, check_choice, fail, run_command_line


def test_a_command_line_ends_with_the_sentence_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command_line(lambda: fail("no such thing: choose another."))
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "error: no such thing: choose another.\n")


def test_a_command_line_that_succeeds_says_nothing_more(capsys: pytest.CaptureFixture[str]) -> None:
    run_command_line(lambda: print("done"))
    assert capsys.readouterr() == ("done\n", "")


def test_an_interrupt_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run_command_line(interrupted)
    assert caught.value.code == 130
    assert capsys.readouterr().err.startswith("interrupted; finished steps are kept")


def test_a_programming_error_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command_line(lambda: print(1 // 0))


def test_a_notebook_shows_the_sentence_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shell = InteractiveShell()
    shell.run_cell("from sigcam_core.common.errors import fail\nfail('no such class: choose another.')")
    assert capsys.readouterr().out.strip() == "SigcamError: no such class: choose another."


def test_choices_are_listed() -> None:
    assert check_choice("head", "gap", ("gap", "mlp")) == "gap"
    with pytest.raises(SigcamError, match=r"^unknown head 'x': choose one of gap, mlp\.$"):
        check_choice("head", "x", ("gap", "mlp"))
    with pytest.raises(ValueError, match="as before"):  # an error of values, for whoever catches those
        fail("as before")


@pytest.mark.parametrize(("number", "filename"), [(errno.EROFS, "/x/y"), (errno.ENOSPC, None), (errno.EACCES, "/x")])
def test_a_disk_that_refuses_is_said_in_one_sentence(
    number: int, filename: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    def write() -> None:
        raise OSError(number, os.strerror(number), filename)

    with pytest.raises(SystemExit) as caught:
        run_command_line(write)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {filename or 'the disk refuses'}")
    assert f"({os.strerror(number)}): make room" in said
    assert said.count("\n") == 1


def test_other_errors_of_the_system_are_no_mistake_of_the_input() -> None:
    def connect() -> None:
        raise OSError(errno.ECONNREFUSED, "refused")

    with pytest.raises(OSError, match="refused"):
        run_command_line(connect)

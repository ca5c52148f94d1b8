"""Running mutated files through a reader, with the lines of the readers' modules that this reaches."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from sigcam_core.common.errors import SigcamError

from .readers import MODULES, READERS

SECONDS_A_CASE = 30
MOST_KEPT = 300  # mutants that reached a new line, and are mutated in turn


def lines_of(module: str) -> set[int]:
    """The lines of all functions of a module, those that run at its import left out."""
    path = import_module(module).__file__ or ""
    todo = [compile(Path(path).read_text(encoding="utf-8"), path, "exec")]
    lines: set[int] = set()
    while todo:
        code = todo.pop()
        inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        todo += inner
        if code.co_flags & 0x2:  # CO_NEWLOCALS with fast locals: a function, not a module or the body of a class
            lines |= {line for _, _, line in code.co_lines() if line} - {code.co_firstlineno}
    return lines


@dataclass
class Tally:
    """What came of the cases of one reader."""

    cases: int = 0
    valid: int = 0
    refused: int = 0
    findings: dict[str, str] = field(default_factory=dict)  # by what was raised where, the seed of the first case
    reached: dict[str, set[int]] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Add the cases of another batch."""
        self.cases, self.valid = self.cases + other.cases, self.valid + other.valid
        self.refused += other.refused
        self.findings = other.findings | self.findings
        for module, lines in other.reached.items():
            self.reached.setdefault(module, set()).update(lines)

    def to_json(self) -> str:
        """As text, from one process to another."""
        reached = {module: sorted(lines) for module, lines in self.reached.items()}
        return json.dumps(vars(self) | {"reached": reached})

    @classmethod
    def from_json(cls, text: str) -> Tally:
        """The reverse."""
        values = json.loads(text)
        return cls(**values | {"reached": {module: set(lines) for module, lines in values["reached"].items()}})


@contextmanager
def _watched(reached: dict[str, set[int]]) -> Iterator[None]:
    """Note which lines of the readers' modules run."""
    files = {import_module(name).__file__: reached.setdefault(name, set()) for name in MODULES}

    def on_call(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        lines = files.get(frame.f_code.co_filename)
        if lines is None:
            return None

        def on_line(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
            lines.add(frame.f_lineno)
            return on_line

        return on_line

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        yield
    finally:
        sys.settrace(before)


def _too_long(*_: object) -> None:
    raise TimeoutError(f"took over {SECONDS_A_CASE} s")


def run_cases(name: str, numbers: range, seed: int, folder: Path) -> Tally:
    """Run numbered cases of a reader in this process.

    Args:
        name: of :data:`READERS`.
        numbers: of the cases; the same number and corpus give the same case.
        seed: of all.
        folder: to write to; mutants that reached new lines are kept in its folder ``kept``.
    """
    reader, tally = READERS[name], Tally()
    corpus = reader.seeds(folder)
    kept = folder / "kept"
    kept.mkdir(exist_ok=True)
    grown = [path.read_bytes() for path in sorted(kept.iterdir())]
    signal.signal(signal.SIGALRM, _too_long)
    for number in numbers:
        rng = random.Random(f"{seed} {name} {number}")
        content = reader.mutate(rng.choice(corpus + grown), corpus, rng)
        (folder / "case").write_bytes(content)
        before = sum(map(len, tally.reached.values()))
        signal.alarm(SECONDS_A_CASE)
        try:
            # Pillow warns of some damage before it refuses it, or mends it.
            with warnings.catch_warnings(action="ignore"), _watched(tally.reached):
                reader.read(folder, content)
            tally.valid += 1
        except SigcamError:
            tally.refused += 1
        except (Exception, TimeoutError) as error:
            tally.findings.setdefault(_place(error), f"case {number}")
        finally:
            signal.alarm(0)
        tally.cases += 1
        if sum(map(len, tally.reached.values())) > before and len(grown) < MOST_KEPT:
            grown.append(content)
            (kept / f"{number:09d}").write_bytes(content)
    return tally


def _place(error: BaseException) -> str:
    """What was raised, and the last line of the project on the way there."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "/sigcam_core/" in frame.filename
           or "/data_scripts/" in frame.filename]  # fmt: skip
    where = f"{Path(own[-1].filename).name}, {own[-1].name}" if own else "the reader's own check"
    return f"{type(error).__name__} in {where}"


def run_batch(name: str, numbers: range, seed: int, folder: Path) -> Tally:
    """Run cases in a process of their own, whose death is a finding like any other."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("r", suffix=".json") as answer:
        child = os.fork()
        if not child:
            status = 1
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(1, 2)
                Path(answer.name).write_text(run_cases(name, numbers, seed, folder).to_json())
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return Tally.from_json(Path(answer.name).read_text())
    case = (folder / "case").read_bytes().hex() if (folder / "case").exists() else ""
    return Tally(cases=1, findings={f"the process ended with status {status}": f"from {numbers.start}: {case[:200]}"})

"""The page of what was broken on purpose: every count on it is read from ``results/faults``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from page_parts import cells, fold
from sigcam_core.common.files import read_object

PAGE = "faults"
FOLDER = Path("results", "faults")  # within the project
FAULTS, FUZZ, FUZZ_BEFORE = "faults.json", "fuzz.json", "fuzz_before.json"
TEXT = """# What was broken on purpose

> {opening}

A result is worth its provenance only if no accident can change it unseen. So accidents are made, at moments drawn from
a seed, as the authors of SQLite and of LazyFS do: a process is killed at a line of its own or before one of its
operations on files; the power goes, and what was not yet on the disk is gone, torn or zeros; files are cut, altered,
swapped; two processes work in one folder.

After every fault the pipeline runs again. Where a message refuses to go on, its advice is followed to the letter. Then
three questions are asked: is anything gone, or altered, that had been finished? Was anything finished made a second
time? And does the run end with what an undisturbed one ends with, byte by byte, dates and times apart?

## Faults, and what was lost

*Injected*: how often. *Took hold*: how often it changed the course of things; a process may end before its moment
comes. *Noticed*: how many sentences refused to go on. *Lost* and *redone*: finished files. *Other end*: how often the
run did not end as it should. A workflow that is killed before it has seen a step end takes that step for unfinished,
and makes its file again.

{summary}

{faults}

Measured with {faults_from}, in {minutes:.0f} minutes, at {moments} of each kind. `python -m tests.faults`
(`make faults`) tries up to {most}; the test suite injects what takes seconds at another moment.

{earlier}

## Files that no program wrote

Everything that is read may have been altered by a disk, a transfer or a person. Files of every kind that this project
reads were changed by the byte, cut, repeated, spliced, and filled with values that do not belong there. What comes out
must be a valid object, or one sentence that says what is wrong: no traceback, no silence.

{fuzz}

{cases} in {fuzz_minutes:.0f} minutes, with {fuzz_from}.

{coverage}

{before}
"""
COVERAGE = "Lines of the functions of the modules that read, those that write among them, and how many were reached"
MOST_MOMENTS = 50  # of a kind, in a full run
KINDS = ("fault", "injected", "took hold", "noticed", "lost", "redone", "other end")


def _table(header: Iterable[str], rows: Iterable[Iterable[object]], align: str = "--:") -> str:
    header = list(header)
    lines = [_cells(header), "|:--|" + f"{align}|" * (len(header) - 1)]
    return "\n".join([*lines, *(_cells(row) for row in rows)])


def _cells(values: Iterable[object]) -> str:
    return cells(*(f"{value:,}" if isinstance(value, int) else value for value in values))


def _numbers(count: dict[str, Any]) -> list[int]:
    return [count[key] for key in ("injected", "took_hold", "refusals", "lost", "redone", "wrong")]


def _by_group(kinds: dict[str, dict[str, Any]]) -> dict[str, dict[str, list[int]]]:
    """By group and name of a kind, its numbers."""
    groups: dict[str, dict[str, list[int]]] = {}
    for name, count in kinds.items():
        groups.setdefault(count["group"], {})[name] = _numbers(count)
    return groups


def _summary(kinds: dict[str, dict[str, Any]]) -> str:
    """Write one row per group: how many kinds it has, and the sums of their numbers."""
    rows = [[name, len(own), *map(sum, zip(*own.values(), strict=True))] for name, own in _by_group(kinds).items()]
    return _table(["what was broken", "kinds", *KINDS[1:]], rows)


def _fault_tables(kinds: dict[str, dict[str, Any]]) -> str:
    """Write one folded table per group."""
    tables = {
        group: _table(KINDS, [[name, *numbers] for name, numbers in own.items()])
        for group, own in _by_group(kinds).items()
    }
    return "\n\n".join(fold(f"{group}: every kind", table) for group, table in tables.items())


def _opening(kinds: dict[str, dict[str, Any]]) -> str:
    injected, took_hold, _, lost, redone, wrong = map(sum, zip(*map(_numbers, kinds.values()), strict=True))
    ends = "every run ended as an undisturbed one" if not wrong else f"{wrong:,} runs did not end as an undisturbed one"
    return (
        f"{injected:,} faults of {len(kinds)} kinds were injected, of which {took_hold:,} took hold: {lost:,} finished "
        f"files were lost, {redone:,} {'was' if redone == 1 else 'were'} made again in vain, and {ends}."
    )


def _span(numbers: Sequence[int]) -> str:
    """Say how many, from the least to the most, in words."""
    least, most = min(numbers), max(numbers)
    return f"{least} moment{'s' * (least > 1)}" if least == most else f"{least} to {most} moments"


def _made_with(record: dict[str, Any]) -> str:
    made = record["provenance"]
    return f"commit `{str(made['commit'])[:12]}`, torch {made['versions']['torch']}, {made['date'][:10]}"


def _commits(record: dict[str, Any]) -> str:
    """With what faults were injected; not all kinds need be of one commit."""
    commits = dict.fromkeys(str(count.get("commit", ""))[:12] for count in record["kinds"].values())
    others = [f"`{commit}`" for commit in commits if commit and not record["provenance"]["commit"].startswith(commit)]
    return _made_with(record) + (f" (some kinds with {', '.join(others)})" if others else "")


def _earlier(record: dict[str, Any]) -> str:
    """Describe what earlier runs found in kinds that were then injected again."""
    rows = record.get("earlier", [])
    if not rows:
        return ""
    header = ("what was broken", "commit", "what was found", "what was done")
    told = [[row["kind"], f"`{row['commit'][:12]}`", row["found"], row["done"]] for row in rows]
    table = _table(header, told, align=":--")
    return fold("What earlier runs of these kinds found, before they were run again", table)


def _findings(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(name, finding) for name, reader in record["readers"].items() for finding in reader["findings"]]


def _before(record: dict[str, Any]) -> str:
    """Describe what the first run found, which has been fixed since."""
    found = _findings(record)
    if not found:
        return ""
    cases = sum(reader["cases"] for reader in record["readers"].values())
    rows = [(name, f"`{finding}`") for name, finding in found]
    return (
        f"The first run of {cases:,} cases found {len(found)} places where a damaged file was answered by an error of "
        f"Python, or taken for a whole one. They were fixed, and the run above is of the readers as they are now.\n\n"
        + fold("What the first run found", _table(("what was read", "what was raised"), rows))
    )


def write_faults_page(target: Path, project: Path) -> None:
    """Write the page to the sources in ``target``.

    Raises:
        SigcamError: if a record is missing.
    """
    faults, fuzz = (read_object(project / FOLDER / name) for name in (FAULTS, FUZZ))
    before = project / FOLDER / FUZZ_BEFORE
    readers = [
        [name, *(reader[key] for key in ("cases", "valid", "refused")), len(reader["findings"])]
        for name, reader in fuzz["readers"].items()
    ]
    lines = [
        [f"`{name}`", count["lines"], count["reached"], f"{100 * count['reached'] / count['lines']:.0f} %"]
        for name, count in fuzz["coverage"].items()
    ]
    text = TEXT.format(
        opening=_opening(faults["kinds"]),
        summary=_summary(faults["kinds"]),
        faults=_fault_tables(faults["kinds"]),
        faults_from=_commits(faults),
        earlier=_earlier(faults),
        minutes=faults["seconds"] / 60,
        moments=_span([count["injected"] for count in faults["kinds"].values()]),
        most=MOST_MOMENTS,
        fuzz=_table(("what was read", "cases", "valid", "refused", "neither"), readers),
        cases=f"{sum(int(row[1]) for row in readers):,} cases",
        fuzz_minutes=fuzz["seconds"] / 60,
        fuzz_from=_made_with(fuzz),
        coverage=fold(COVERAGE, _table(("module", "lines", "reached", "share"), lines)),
        before=_before(read_object(before)) if before.exists() else "",
    )
    (target / f"{PAGE}.md").write_text(text, encoding="utf-8")

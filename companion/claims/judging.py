"""The verdict on each claim: its numbers read from ``results/``, decided one by one, and handed to its rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sigcam_core.common.errors import fail
from sigcam_core.common.files import read_json

from ..paper.tables import paper_table
from .claims import LAYOUTS, Claim, Test, load_claims
from .verdicts import RULES, WORDS, Decision, Outcome, Verdict, decide, listed


@dataclass(frozen=True)
class Judged:
    """A claim, its verdict, why, and the rows of its evidence.

    Attributes:
        claim: what was judged.
        verdict: by its rule.
        reason: one sentence or two, made from the numbers.
        rows: one row a test, with columns ``role, measured, compared, where, value, low, high, interval, expected,
            decision``.
    """

    claim: Claim
    verdict: Verdict
    reason: str
    rows: pd.DataFrame


def judge(claim: Claim, results: Path) -> Judged:
    """The verdict on a claim.

    Args:
        claim: one of :func:`companion.claims.claims.load_claims`.
        results: folder of all that was measured; what is missing there is decided as ``"missing"``.

    Raises:
        SigcamError: if a table does not have the row's columns, or several rows answer one test.
    """
    outcomes, rows = [], []
    for test in claim.tests:
        numbers = read_numbers(test, results)
        decision: Decision = "missing"
        if numbers is not None:
            decision = decide(numbers[1], numbers[2], test.expected, reference_of(test))
        outcomes.append(Outcome(decision, test.role, test.source, test.place, test.label, test.condition, test.command))
        value, low, high = numbers or (float("nan"),) * 3
        words = {"role": test.role, "measured": test.label, "compared": test.compared, "where": test.place}
        figures = {"value": value, "low": low, "high": high, "interval": LAYOUTS[test.table].interval}
        rows.append(words | figures | {"expected": _expectation(test), "decision": decision})
    table = pd.DataFrame(rows)
    return Judged(claim, RULES[claim.rule](outcomes), _reason(claim, table), table)


def judge_all(results: Path, claims: Sequence[Claim] | None = None) -> list[Judged]:
    """The verdicts on all claims, first those that hold, in each verdict by the order of the file.

    Args:
        results: folder of all that was measured.
        claims: the project's where they are left out.
    """
    judged = [judge(claim, results) for claim in (load_claims() if claims is None else claims)]
    return sorted(judged, key=lambda one: WORDS.index(one.verdict.word))


def read_numbers(test: Test, results: Path) -> tuple[float, float, float] | None:
    """The number of a test and the ends of its interval, or ``None`` where it was not measured.

    A measurement counts once its record is there, which is written last.

    Args:
        test: what to look up.
        results: folder of all that was measured.

    Raises:
        SigcamError: if the table lacks a column, or several rows answer.
    """
    folder, is_record = results / test.experiment, test.table == "record"
    record = folder / ("cpu.json" if test.table == "cpu" else "record.json")
    path = record if is_record else folder / f"{test.table}.csv"
    if not record.exists() or not path.exists():
        return None
    columns = LAYOUTS[test.table].columns
    table = pd.DataFrame([{columns[0]: read_json(path)[columns[0]]}]) if is_record else pd.read_csv(path)
    if missing := [name for name in (*test.where, *columns) if name not in table]:
        fail(f"{path} lacks column {missing[0]}, which a claim asks for: measure it anew with `{test.command}`.")
    for column, value in test.where.items():
        table = table[table[column] == value]
    table = table.dropna(subset=list(columns))
    if table.empty:
        return None
    if len(table) > 1:
        fail(f"{path} has {len(table)} rows of {dict(test.where)}: name more columns in the claim's evidence.")
    row = table.iloc[0]
    number, low, high = (float(row[name]) for name in columns)
    return number, low, high


def reference_of(test: Test) -> float:
    """What the interval of a test is compared with."""
    if test.reference == "twice_chance":  # independent weights have 1/C on average, see the book on gauge energy
        return 2 / float(test.facts["classes"])
    if test.reference == "paper_ratio":
        rows = paper_table("table3_overhead")
        row = rows[(rows["backbone"] == test.where["network"]) & (rows["quantity"] == test.where["quantity"])]
        return float((row["dual_branch"] / row["baseline"]).item())
    return 0.0


def _expectation(test: Test) -> str:
    reference = reference_of(test)
    side = {"positive": "above", "negative": "below", "none": "no change from"}[test.expected]
    return f"{side} {reference:.3g}"


DECISIONS = {"favours": "for it", "against": "against it", "undecided": "undecided", "missing": "not measured"}
"""Decisions as the reason of a verdict words them."""


def _reason(claim: Claim, rows: pd.DataFrame) -> str:
    """Why: in what sense a theorem holds, how many numbers favour the claim, and how they range."""
    parts = [claim.sense] if claim.sense else []
    for role, words in (("main", "The claim's own numbers"), ("control", "Numbers of its controls")):
        some = rows[rows["role"] == role] if len(rows) else rows
        if some.empty:
            continue
        counts = [
            f"{(some['decision'] == key).sum()} {said}"
            for key, said in DECISIONS.items()
            if key in set(some["decision"])
        ]
        span = some["value"].agg(["min", "max"])
        sign = "+" if claim.tests[0].reference == "zero" else ""  # only a difference has a sign worth showing
        ranging = f", from {span['min']:{sign}.3g} to {span['max']:{sign}.3g}" if span.notna().all() else ""
        parts.append(f"{words}: {listed(counts)}{ranging}.")
    return " ".join([*parts, *_paper_rows(claim)])


def _paper_rows(claim: Claim) -> list[str]:
    """How many of the paper's own pairs of rows move as the claim says, as a sentence; none where it names no table."""
    if not claim.paper:
        return []
    changes = paper_changes(claim)
    wanted = {"positive": changes > 0, "negative": changes < 0, "none": changes == 0}[claim.paper["expected"]]
    table = claim.paper["table"].split("_")[0].replace("table", "Table ")
    return [f"In the paper's own {table}, {wanted.sum()} of {len(changes)} differences are as claimed."]


def paper_changes(claim: Claim) -> pd.Series[float]:
    """Sigmoid minus softmax in points, in the rows of the paper's table that the claim names."""
    spec, table = claim.paper, paper_table(claim.paper["table"])
    if "methods" in spec:
        table = table[table["method"].isin(spec["methods"])]
    wide = table.set_index(["dataset", "backbone", "method", "head"])[spec["metrics"]].stack().unstack("head")
    changes: pd.Series[float] = (wide["sigmoid"] - wide["softmax"]).dropna()
    return changes

"""The verdicts on each claim: its numbers, decided one by one as one family, and handed to its rule.

Every claim is judged twice: by the paper's protocol, and under controls. A number that stands in several rows counts
once in each of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..paper.tables import paper_table
from .claims import Claim, Test, load_claims, reasons_of_equality
from .distinct import Reason, first_same, why_same
from .family import Number, decide_at, in_family
from .numbers import read_number
from .verdicts import (
    RULES,
    WORDS,
    Decision,
    Outcome,
    Role,
    Verdict,
    by_protocol,
    deciding_sources,
    under_controls,
)

SIDES: dict[str, tuple[Role, ...]] = {"protocol": ("protocol",), "control": ("control", "baseline")}
"""The two verdicts of a claim, and the roles of the evidence that each rests on."""
UNCHECKED = "the numbers changed since this was checked"
"""Stands in place of a condition that was written for other decisions."""
LETTERS: dict[Decision, str] = {"favours": "f", "against": "a", "equivalent": "e", "undecided": "u", "missing": "m"}
COUNTED_ELSEWHERE = "="
"""Letter of a number that an earlier row has."""


@dataclass(frozen=True)
class Judged:
    """A claim, its two verdicts, and the rows of its evidence.

    Attributes:
        claim: what was judged.
        protocol: the verdict by the paper's protocol.
        control: the verdict under controls.
        conditions: by ``protocol`` and ``control``, the short condition; empty where there is none.
        sources: by the same, the data sets that have a number which decides.
        rows: one row per test, with columns ``role, measured, compared, where, value, low, high, family, expected,
            decision, edge, same, why, theorem``. Intervals hold for all numbers of the claim at once; ``same`` is the
            number of the row (from 1) that has the same number, 0 where none has.
    """

    claim: Claim
    protocol: Verdict
    control: Verdict
    conditions: dict[str, str]
    sources: dict[str, list[str]]
    rows: pd.DataFrame

    def verdict(self, side: str) -> Verdict:
        """Return the verdict by ``protocol`` or by ``control``."""
        return self.protocol if side == "protocol" else self.control


def judge(claim: Claim, results: Path, reasons: Sequence[Reason] | None = None) -> Judged:
    """Both verdicts on a claim.

    Args:
        claim: one of :func:`companion.claims.claims.load_claims`.
        results: folder of all that was measured; what is missing there is decided as ``"missing"``.
        reasons: why numbers are the same; the project's where they are left out.

    Raises:
        SigcamError: if a table does not have the row's columns, or several rows answer one test.
    """
    tests = [test for roles in SIDES.values() for test in claim.tests if test.role in roles]
    own = [read_number(test, results) for test in tests]
    size = family_size(own, [test.source for test in tests])
    known = reasons_of_equality() if reasons is None else reasons
    rows, outcomes = [], []
    for roles in SIDES.values():  # a number counts once in each verdict
        places = [place for place, test in enumerate(tests) if test.role in roles]
        same = first_same([own[place] for place in places], [tests[place].source for place in places])
        for place, earlier in zip(places, same, strict=True):
            test, number = tests[place], own[place]
            decision, row = _decided(test, number, size)
            if earlier is None:
                outcomes.append(_outcome(test, decision))
            else:
                reason = why_same(tests[places[earlier]].keys, test.keys, known)
                row |= {"same": places[earlier] + 1, "why": reason.words, "theorem": reason.theorem}
            rows.append(row)
    return _judged(claim, outcomes, pd.DataFrame(rows))


def _judged(claim: Claim, outcomes: Sequence[Outcome], rows: pd.DataFrame) -> Judged:
    rule = RULES[claim.rule]
    verdicts = {
        "protocol": by_protocol(rule, outcomes, claim.unit),
        "control": under_controls(rule, outcomes, claim.unit),
    }
    conditions = {side: _condition(claim, side, verdict, rows) for side, verdict in verdicts.items()}
    sources = {side: deciding_sources(o for o in outcomes if o.role in roles) for side, roles in SIDES.items()}
    return Judged(claim, verdicts["protocol"], verdicts["control"], conditions, sources, rows)


def judge_all(results: Path, claims: Sequence[Claim] | None = None) -> list[Judged]:
    """Give the verdicts on all claims, first those that hold by the paper's protocol, then under controls.

    Args:
        results: folder of all that was measured.
        claims: the project's where they are left out.
    """
    judged = [judge(claim, results) for claim in (load_claims() if claims is None else claims)]
    return sorted(judged, key=lambda one: (WORDS.index(one.protocol.word), WORDS.index(one.control.word)))


def family_size(numbers: Sequence[Number | None], sources: Sequence[str]) -> int:
    """How many different numbers with an interval a claim rests on; at least 1."""
    same = first_same(numbers, sources)
    return max(
        1,
        sum(
            number is not None and not number.is_exact and earlier is None
            for number, earlier in zip(numbers, same, strict=True)
        ),
    )


def letters(rows: pd.DataFrame, side: str) -> str:
    """Spell the decisions of one verdict, a letter per row, by which a condition that was written by hand is dated.

    ``f`` favours, ``a`` against, ``e`` equivalent, ``u`` undecided, ``m`` not measured; ``=`` has the number of an
    earlier row.

    Args:
        rows: of :class:`Judged`.
        side: ``"protocol"`` or ``"control"``.
    """
    if rows.empty:
        return ""
    part = rows[rows["role"].isin(SIDES[side])]
    return "".join(
        COUNTED_ELSEWHERE if same else LETTERS[decision]
        for same, decision in zip(part["same"], part["decision"], strict=True)
    )


def paper_changes(claim: Claim) -> pd.Series[float]:
    """Sigmoid minus softmax in the rows of the paper's table that the claim names, in points, or in % for ratios."""
    spec, table = claim.paper, paper_table(claim.paper["table"])
    if "quantity" in spec:
        table = table[table["quantity"] == spec["quantity"]]
        ratios: pd.Series[float] = 100 * (table["dual_branch"] / table["baseline"] - 1)
        return ratios
    if "methods" in spec:
        table = table[table["method"].isin(spec["methods"])]
    wide = table.set_index(["dataset", "backbone", "method", "head"])[spec["metrics"]].stack().unstack("head")
    changes: pd.Series[float] = (wide["sigmoid"] - wide["softmax"]).dropna()
    return changes


def paper_agrees(claim: Claim) -> tuple[int, int]:
    """How many of the paper's own differences are as the claim says, and how many there are."""
    changes, reference = paper_changes(claim), claim.paper.get("reference", 0.0)
    wanted = {"positive": changes > reference, "negative": changes < reference, "none": changes == reference}
    return int(wanted[claim.paper["expected"]].sum()), len(changes)


def _decided(test: Test, number: Number | None, size: int) -> tuple[Decision, dict[str, object]]:
    """Make the decision of one test, and the test as a row: words, the number with its interval in the family."""
    decision: Decision = "missing"
    shown, is_at_edge = Number(float("nan"), float("nan"), float("nan")), False
    if number is not None:
        shown = number if number.is_exact else in_family(number, size)
        decision, is_at_edge = decide_at(shown, test.expected, test.reference, test.smallest)
    row = {
        "role": test.role,
        "measured": test.label,
        "compared": test.compared,
        "where": test.place,
        "value": shown.value,
        "low": shown.low,
        "high": shown.high,
        "family": 0 if number is None or number.is_exact else size,
        "expected": _expectation(test),
        "decision": decision,
        "edge": is_at_edge,
        "same": 0,
        "why": "",
        "theorem": "",
    }
    return decision, row


def _outcome(test: Test, decision: Decision) -> Outcome:
    return Outcome(decision, test.role, test.source, test.place, test.label, test.condition, test.command)


def _expectation(test: Test) -> str:
    side = {"positive": "above", "negative": "below", "none": "no change from"}[test.expected]
    within = f", equivalent within ±{test.smallest:g}" if test.smallest else ""
    return f"{side} {test.reference:.3g}{within}"


def _condition(claim: Claim, side: str, verdict: Verdict, rows: pd.DataFrame) -> str:
    """Return the condition written by hand, where the decisions are those for which it was checked."""
    if side not in claim.conditions or verdict.word == "not tested":
        return ""
    return claim.conditions[side] if claim.checked.get(side) == letters(rows, side) else UNCHECKED

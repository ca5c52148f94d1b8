"""What the paper claims, and which numbers are to judge it: the file of claims, read and checked.

The claims lie in ``claims.toml`` beside this file, each with its evidence and its rule. A piece of evidence names rows
of tables in ``results/``, which :mod:`companion.claims.numbers` reads and :mod:`companion.claims.judging` decides.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any, Literal, get_args

import pandas as pd

from sigcam_core.common.errors import check_choice
from sigcam_core.common.titles import METHOD_TITLES

from ..controls.names import COMPARISONS, TITLES
from .distinct import Reason
from .verdicts import RULES, Role, Sign, Word


@dataclass(frozen=True)
class Layout:
    """How a table holds its numbers.

    Attributes:
        columns: of the number, and of the low and high end of its 95 % interval; one column for an exact number.
        compared: what the number compares, in words, where neither row nor evidence says.
        record: file beside the table that says how it was made.
        resamples: keys that lead to the draws of the bootstrap in that file.
        is_ratio: whether the numbers are ratios, to be read as percent over one.
        may_lack: columns that tables of older measurements lack; their numbers count as not measured.
    """

    columns: tuple[str, ...]
    compared: str = ""
    record: str = "record.json"
    resamples: tuple[str, ...] = ("resamples",)
    is_ratio: bool = False
    may_lack: tuple[str, ...] = ()


DIFFERENCE, GAUGE = ("difference", "low", "high"), ("gauge_energy",)
HEADS_COMPARED, WITH_CHANCE = "sigmoid minus softmax", "with twice that of independent weights"
LAYOUTS = {
    "differences": Layout(DIFFERENCE),
    "gains": Layout(DIFFERENCE),
    "wsol_differences": Layout(DIFFERENCE, HEADS_COMPARED, resamples=("tables", "resamples")),
    "fidelity_differences": Layout(DIFFERENCE, HEADS_COMPARED, resamples=("tables", "resamples")),
    "freezing": Layout(DIFFERENCE, "official freezing minus evaluation mode", "freezing.json"),
    "own_branch_gains": Layout(DIFFERENCE),
    "influence": Layout(("value", "low", "high")),
    "gauge": Layout(GAUGE, WITH_CHANCE),
    "record": Layout(GAUGE, WITH_CHANCE),
    "cpu": Layout(
        ("ratio", "low", "high"), "two heads over one, in percent", "cpu.json", is_ratio=True, may_lack=("low", "high")
    ),
}
"""The tables that evidence may name."""
TWICE_CHANCE = "twice_chance"
"""Name of the reference of gauge energies, twice that of independent weights."""


@dataclass(frozen=True)
class Test:
    """One number that a claim makes a prediction about.

    Attributes:
        experiment: folder in ``results/``.
        table: name of its CSV without suffix, one of :data:`LAYOUTS`; ``record`` is the record itself.
        where: the values that name one row.
        expected: the side of the reference on which the claim expects the number.
        role: see :class:`companion.claims.verdicts.Outcome`.
        label: what is measured, in words.
        compared: what is compared, in words.
        condition: see :class:`companion.claims.verdicts.Outcome`.
        reference: what the interval is compared with.
        smallest: the smallest effect of interest, in points; 0 where there is none.
        scale: factor by which the table's numbers are multiplied, so that a correlation reads as points.
        heads: which heads were compared, by what they were trained, in words.
        facts: of the experiment: ``dataset``, ``classes``.
    """

    __test__ = False  # pytest takes the name for a test of its own
    experiment: str
    table: str
    where: Mapping[str, str]
    expected: Sign
    role: Role
    label: str
    compared: str
    condition: str
    reference: float
    smallest: float
    scale: float
    heads: str
    facts: Mapping[str, Any]

    @property
    def source(self) -> str:
        """The data set; for times, which need none, the network."""
        return self.where["network"] if self.table == "cpu" else str(self.facts["dataset"])

    @property
    def place(self) -> str:
        """The source and, in brackets, the heads that were compared."""
        return f"{self.source} ({self.heads})" if self.heads else self.source

    @property
    def keys(self) -> dict[str, str]:
        """The columns that name its number, and the experiment."""
        return {"experiment": self.experiment.removeprefix("controls-").removeprefix("checks-"), **self.where}

    @property
    def command(self) -> str:
        """What measures it."""
        return f"python -m companion publish {self.experiment}"


@dataclass(frozen=True)
class Claim:
    """A sentence to judge.

    Attributes:
        id: name in the book's prose, ``{{ claims_ID_verdict }}``.
        title: the claim in a few words.
        sentence: as the paper, or this book, says it.
        plain: the same as a clause without its number, for the list of what held.
        wording: ``"quotation"``, ``"paraphrase"``, or ``"ours"`` for claims of this book, beyond the paper.
        stands: where.
        kind: ``"theorem"``, ``"empirical"`` or ``"cost"``.
        rule: one of :data:`companion.claims.verdicts.RULES`.
        tests: the evidence.
        theorem: page and label in the book of what is proved, such as ``softmax_invariance#thm-shift``.
        sense: in what sense a theorem holds.
        paper: rows of the paper's own table that the claim is about.
        before: the verdict that this book printed before claims were judged twice; empty for new claims.
        conditions: by ``protocol`` and ``control``, the condition in at most eight words, written and checked by hand.
        checked: by the same, the decisions for which that condition was checked, one letter a number
            (:func:`companion.claims.judging.letters`). Where they have changed since, the condition is not shown.
    """

    id: str
    title: str
    sentence: str
    plain: str
    wording: Literal["quotation", "paraphrase", "ours"]
    stands: str
    kind: Literal["theorem", "empirical", "cost"]
    rule: str
    tests: tuple[Test, ...] = ()
    theorem: str = ""
    sense: str = ""
    paper: Mapping[str, Any] = field(default_factory=dict)
    before: Word | Literal[""] = ""
    conditions: Mapping[str, str] = field(default_factory=dict)
    checked: Mapping[str, str] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """What a verdict needs two of."""
        return "network" if self.kind == "cost" else "data set"


@cache
def _claims_file() -> dict[str, Any]:
    return tomllib.loads((files(__package__) / "claims.toml").read_text(encoding="utf-8"))


def load_claims(text: str | None = None) -> list[Claim]:
    """Load the claims, in the order of the file.

    Args:
        text: of another file of claims, as TOML; the project's where it is left out.

    Raises:
        SigcamError: if the file names an unknown rule, role, table, comparison, metric, group or reference.
    """
    content = _claims_file() if text is None else tomllib.loads(text)
    claims = []
    for entry in content["claims"]:
        check_choice("rule", entry["rule"], RULES)
        evidence = [test for one in entry.get("evidence", []) for test in _expand(one, content)]
        plain = {key: value for key, value in entry.items() if key != "evidence"}
        claims.append(Claim(**plain, tests=tuple(evidence)))
    return claims


def smallest_effects() -> pd.DataFrame:
    """List the smallest effects of interest: columns ``metrics, points, why``."""
    rows = [(one["metrics"], one["points"], one["why"]) for one in _claims_file()["smallest"]]
    return pd.DataFrame(rows, columns=["metrics", "points", "why"])


def reasons_of_equality() -> list[Reason]:
    """Why some numbers are the same by theorem or by construction."""
    return [Reason(**one | {"values": tuple(one["values"])}) for one in _claims_file()["equal"]]


def rules_digest() -> str:
    """SHA-256 of all that decides a verdict, whose record shows what was fixed before a measurement.

    Conditions are left out, which are written once the decisions are known, and so are words that decide nothing.
    """
    content = dict(_claims_file())
    told = ("conditions", "checked", "before", "plain", "title")
    content["claims"] = [{key: one[key] for key in one if key not in told} for one in content["claims"]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _expand(evidence: Mapping[str, Any], content: Mapping[str, Any]) -> list[Test]:
    """List the tests of one entry: one per experiment of its group and combination of the lists under ``each``."""
    table = check_choice("table of evidence", evidence["table"], LAYOUTS)
    check_choice("group of experiments", evidence["experiments"], content["groups"])
    check_choice("role of evidence", evidence["role"], get_args(Role))
    each = evidence.get("each", {})
    tests = []
    for values in product(*each.values()):
        where = evidence.get("where", {}) | dict(zip(each, values, strict=True))
        label, compared = _words(evidence, table, where)
        tests += [
            Test(
                experiment=name,
                table=table,
                where=where,
                expected=evidence["expected"],
                role=evidence["role"],
                label=label,
                compared=compared,
                condition=evidence.get("condition", ""),
                reference=_reference(evidence.get("reference", 0.0), content["experiments"][name]),
                smallest=_smallest(where.get("metric", ""), content),
                scale=evidence.get("scale", 1.0),
                heads=evidence.get("heads", content["experiments"][name].get("heads", "")),
                facts=content["experiments"][name],
            )
            for name in content["groups"][evidence["experiments"]]
        ]
    return tests


def _words(evidence: Mapping[str, Any], table: str, where: Mapping[str, str]) -> tuple[str, str]:
    """Say what is measured, and what is compared."""
    label, compared = evidence.get("label", ""), evidence.get("compared", LAYOUTS[table].compared)
    if table == "differences":
        compared = COMPARISONS[check_choice("comparison", where["comparison"], COMPARISONS)].words
    if not label and "metric" in where:
        label = TITLES[check_choice("metric", where["metric"], TITLES)]
    if "method" in evidence.get("each", {}):
        label = f"{label} of {METHOD_TITLES[where['method']]}"
    return label, compared


def _reference(reference: float | str, facts: Mapping[str, Any]) -> float:
    if isinstance(reference, str):
        check_choice("reference", reference, (TWICE_CHANCE,))
        return 2 / float(facts["classes"])  # independent weights have 1/C on average, see the book on gauge energy
    return float(reference)


def _smallest(metric: str, content: Mapping[str, Any]) -> float:
    found = [one["points"] for one in content.get("smallest", []) if metric in one["metrics"]]
    return float(found[0]) if found else 0.0

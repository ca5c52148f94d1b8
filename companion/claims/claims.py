"""What the paper claims, and which numbers are to judge it: the file of claims, read and checked.

The claims lie in ``claims.toml`` beside this file, each with its evidence and its rule, and were committed before the
runs of crossed controls that they judge. A piece of evidence names rows of tables in ``results/``, which
:mod:`companion.claims.judging` reads and decides.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any, Literal

import pandas as pd

from sigcam_core.common.errors import check_choice
from sigcam_core.common.titles import METHOD_TITLES

from ..controls.names import COMPARISONS, TITLES
from .verdicts import RULES, Sign


@dataclass(frozen=True)
class Layout:
    """How a table holds its numbers.

    Attributes:
        columns: of the number, and of the low and high end of its interval.
        interval: its kind, in words.
        compared: what the number compares, in words, where the row does not tell.
    """

    columns: tuple[str, str, str]
    interval: str
    compared: str = ""


POINTWISE = ("difference", "low", "high")
GAUGE = ("gauge_energy",) * 3  # a fact of the weights: it has no uncertainty over images
LAYOUTS = {
    "differences": Layout(("difference", "low_all", "high_all"), "simultaneous"),
    "wsol_differences": Layout(POINTWISE, "95 %", "sigmoid minus softmax"),
    "fidelity_differences": Layout(POINTWISE, "95 %", "sigmoid minus softmax"),
    "freezing": Layout(POINTWISE, "95 %", "official freezing minus evaluation mode"),
    "gauge": Layout(GAUGE, "none", "with twice that of independent weights"),
    "record": Layout(GAUGE, "none", "with twice that of independent weights"),
    "cpu": Layout(("ratio",) * 3, "none", "two heads over one, with the paper's ratio"),
}
"""The tables that evidence may name."""
Reference = Literal["zero", "twice_chance", "paper_ratio"]


@dataclass(frozen=True)
class Test:
    """One number that a claim makes a prediction about.

    Attributes:
        experiment: folder in ``results/``.
        table: name of its CSV without suffix, one of :data:`LAYOUTS`; ``record`` is the record itself.
        where: the values that name one row.
        expected: the side of the reference on which the claim expects the number.
        role: ``"main"`` or ``"control"``.
        label: what is measured, in words.
        compared: what is compared, in words.
        condition: see :class:`companion.claims.verdicts.Outcome`.
        reference: ``"zero"``; ``"twice_chance"``, twice the gauge energy of independent weights; or ``"paper_ratio"``.
        facts: of the experiment: ``dataset``, ``origin``, ``classes``.
    """

    __test__ = False  # pytest takes the name for a test of its own
    experiment: str
    table: str
    where: Mapping[str, str]
    expected: Sign
    role: Literal["main", "control"]
    label: str
    compared: str
    condition: str
    reference: Reference
    facts: Mapping[str, Any]

    @property
    def source(self) -> str:
        """The data set; for times, which need none, the network."""
        return self.where["network"] if self.table == "cpu" else str(self.facts["dataset"])

    @property
    def place(self) -> str:
        """The source and, in brackets, where the classifier comes from."""
        origin = self.facts["origin"]
        return f"{self.source} ({origin})" if origin else self.source

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
        wording: ``"quotation"``, ``"paraphrase"``, or ``"ours"`` for claims of this book, beyond the paper.
        stands: where.
        kind: ``"theorem"``, ``"empirical"`` or ``"cost"``.
        rule: one of :data:`companion.claims.verdicts.RULES`.
        tests: the evidence.
        theorem: page and label in the book of what is proved, such as ``softmax_invariance#thm-shift``.
        sense: in what sense a theorem holds.
        paper: rows of the paper's own table that the claim is about.
    """

    id: str
    title: str
    sentence: str
    wording: Literal["quotation", "paraphrase", "ours"]
    stands: str
    kind: Literal["theorem", "empirical", "cost"]
    rule: str
    tests: tuple[Test, ...] = ()
    theorem: str = ""
    sense: str = ""
    paper: Mapping[str, Any] = field(default_factory=dict)


@cache
def _claims_file() -> dict[str, Any]:
    return tomllib.loads((files(__package__) / "claims.toml").read_text(encoding="utf-8"))


def load_claims(text: str | None = None) -> list[Claim]:
    """The claims, in the order of the file.

    Args:
        text: of another file of claims, as TOML; the project's where it is left out.

    Raises:
        SigcamError: if the file names an unknown rule, table, comparison, metric, group or reference.
    """
    content = _claims_file() if text is None else tomllib.loads(text)
    claims = []
    for entry in content["claims"]:
        check_choice("rule", entry["rule"], RULES)
        evidence = [test for one in entry.get("evidence", []) for test in _expand(one, content)]
        plain = {key: value for key, value in entry.items() if key != "evidence"}
        claims.append(Claim(**plain, tests=tuple(evidence)))
    return claims


def untested_cells() -> pd.DataFrame:
    """Cells of the paper's tables that nothing here tests: columns ``cells, why``."""
    return pd.DataFrame(_claims_file()["untested"])


def _expand(evidence: Mapping[str, Any], content: Mapping[str, Any]) -> list[Test]:
    """The tests of one entry: one an experiment of its group and combination of the lists under ``each``."""
    layout = LAYOUTS[check_choice("table of evidence", evidence["table"], LAYOUTS)]
    check_choice("group of experiments", evidence["experiments"], content["groups"])
    check_choice("reference", evidence.get("reference", "zero"), ("zero", "twice_chance", "paper_ratio"))
    each = evidence.get("each", {})
    tests = []
    for values in product(*each.values()):
        where = evidence.get("where", {}) | dict(zip(each, values, strict=True))
        label, compared = evidence.get("label", ""), layout.compared
        if evidence["table"] == "differences":
            label = TITLES[check_choice("metric", where["metric"], TITLES)]
            compared = COMPARISONS[check_choice("comparison", where["comparison"], COMPARISONS)].words
        elif "method" in each:
            label = f"{label} of {METHOD_TITLES[where['method']]}"
        tests += [
            Test(
                experiment=name,
                table=evidence["table"],
                where=where,
                expected=evidence["expected"],
                role=evidence.get("role", "main"),
                label=label,
                compared=compared,
                condition=evidence.get("condition", ""),
                reference=evidence.get("reference", "zero"),
                facts=content["experiments"][name],
            )
            for name in content["groups"][evidence["experiments"]]
        ]
    return tests

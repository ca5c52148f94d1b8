"""The file of claims: it can be read, names only what there is, and links to what the book proves."""

import re
from pathlib import Path

import pytest

from companion.claims.claims import LAYOUTS, Claim, load_claims, untested_cells
from companion.claims.verdicts import RULES
from companion.controls.names import COMPARISONS, TITLES
from companion.experiments import EXPERIMENTS, OVERHEAD
from companion.paper.tables import paper_table
from sigcam_core.common.errors import SigcamError

BOOK = Path(__file__).parents[3] / "book"
CLAIMS = load_claims()
BY_ID = {claim.id: claim for claim in CLAIMS}
PUBLISHED = {OVERHEAD, *EXPERIMENTS, *(f"controls-{name}" for name in EXPERIMENTS)}
"""Folders of `results/` that evidence may name."""


def test_slugs_are_unique_and_fit_the_names_of_values() -> None:
    assert len(BY_ID) == len(CLAIMS) > 10
    assert all(re.fullmatch(r"[a-z0-9_]+", claim.id) for claim in CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS, ids=list(BY_ID))
def test_every_claim_says_what_it_is_and_where_it_stands(claim: Claim) -> None:
    assert claim.kind in ("theorem", "empirical", "cost")
    assert claim.wording in ("quotation", "paraphrase", "ours")
    assert claim.title
    assert claim.sentence
    assert claim.stands
    assert bool(claim.theorem) == (claim.kind == "theorem") == (claim.rule == "proved")
    assert claim.sense or claim.kind != "theorem"
    assert claim.tests or claim.kind == "theorem"
    assert claim.rule in RULES


@pytest.mark.parametrize("claim", CLAIMS, ids=list(BY_ID))
def test_evidence_names_experiments_tables_comparisons_and_metrics_that_there_are(claim: Claim) -> None:
    for test in claim.tests:
        assert test.experiment in PUBLISHED
        assert test.table in LAYOUTS
        assert test.label
        assert test.compared
        assert test.role in ("main", "control")
        assert test.expected in ("positive", "negative", "none")
        assert bool(test.condition) == (test.role == "control")
        if test.table == "differences":
            assert test.experiment.startswith("controls-")
            assert test.where["comparison"] in COMPARISONS
            assert test.where["metric"] in TITLES
        if test.reference == "twice_chance":
            assert test.facts["classes"] > 1
    names = [(test.experiment, test.table, tuple(sorted(test.where.items()))) for test in claim.tests]
    assert len(set(names)) == len(names), "one number counts once"


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.theorem], ids=lambda claim: claim.id)
def test_what_is_proved_is_in_the_book(claim: Claim) -> None:
    page, label = claim.theorem.split("#")
    text = (BOOK / f"{page}.md").read_text()
    headings = {re.sub(r"\W+", "-", heading.lower()) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    assert label in {*re.findall(r"^:label: (\S+)$", text, re.MULTILINE), *headings}


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.paper], ids=lambda claim: claim.id)
def test_cells_of_the_paper_are_there(claim: Claim) -> None:
    table = paper_table(claim.paper["table"])
    assert set(claim.paper["metrics"]) <= set(table.columns)
    assert set(claim.paper.get("methods", ())) <= set(table["method"])


def test_the_signs_are_those_of_the_claims() -> None:
    """Lower is better for average drop and deletion, higher for what else there is."""
    lower = {"average_drop", "drop_at_50", "deletion_auc"}
    for name in (
        "localises_better",
        "pixels_better",
        "more_faithful",
        "faithful_at_equal_coverage",
        "truncation_helps",
    ):
        for test in BY_ID[name].tests:
            assert test.expected == ("negative" if test.where["metric"] in lower else "positive"), (name, test.where)


def test_the_claims_of_the_paper_cover_its_tables() -> None:
    asked = {test.where.get("metric") for claim in CLAIMS if claim.wording != "ours" for test in claim.tests}
    columns = {*paper_table("table1_wsol").columns[4:], *paper_table("table2_fidelity").columns[4:]}
    assert columns <= asked
    assert {f"Table {number}" for number in (1, 2, 3)} <= {cells[:7] for cells in untested_cells()["cells"]}


FILE = """
[experiments]
one = { dataset = "A", origin = "probe" }
[groups]
some = ["one"]
[[claims]]
id = "a"
title = "a"
sentence = "a"
wording = "ours"
stands = "here"
kind = "empirical"
rule = "shown"
[[claims.evidence]]
experiments = "some"
table = "differences"
where = { comparison = "truncation_softmax" }
each = { metric = ["gt_loc", "pxap"] }
expected = "positive"
"""


def test_evidence_stands_for_every_experiment_and_combination() -> None:
    (claim,) = load_claims(FILE.replace('["one"]', '["one", "one"]'))
    assert [test.where["metric"] for test in claim.tests] == ["gt_loc", "gt_loc", "pxap", "pxap"]
    assert claim.tests[0].place == "A (probe)"
    assert claim.tests[0].command == "python -m companion publish one"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"shown"', '"guess"', "unknown rule 'guess'"),
        ('table = "differences"', 'table = "opinions"', "unknown table of evidence 'opinions'"),
        ("truncation_softmax", "truncation", "unknown comparison 'truncation'"),
        ("pxap", "px", "unknown metric 'px'"),
        ('experiments = "some"', 'experiments = "none"', "unknown group of experiments 'none'"),
        ('"positive"', '"positive"\nreference = "hope"', "unknown reference 'hope'"),
    ],
)
def test_what_there_is_not_is_refused(old: str, new: str, sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        load_claims(FILE.replace(old, new))

"""The file of claims: it can be read, names only what there is, and links to what the book proves."""

import re
from pathlib import Path

import pytest

from companion.claims import claims as module
from companion.claims.claims import LAYOUTS, Claim, load_claims, rules_digest, smallest_effects
from companion.claims.judging import SIDES, UNCHECKED, judge_all, letters
from companion.claims.verdicts import RULES, WORDS
from companion.controls.names import COMPARISONS, TITLES
from companion.experiments import EXPERIMENTS, OVERHEAD
from companion.paper.tables import paper_table
from sigcam_core.common.errors import SigcamError

BOOK = Path(__file__).parents[3] / "book"
CLAIMS = load_claims()
BY_ID = {claim.id: claim for claim in CLAIMS}
PUBLISHED = {OVERHEAD, *(f"{kind}{name}" for kind in ("", "controls-", "checks-") for name in EXPERIMENTS)}
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
    assert claim.plain[0].islower()
    assert not claim.plain.endswith(".")
    assert claim.before in ("", *WORDS)
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
        assert test.role in ("protocol", "control", "baseline")
        assert test.expected in ("positive", "negative", "none")
        assert bool(test.condition) == (test.role == "baseline" or claim.rule == "proved")
        assert test.heads or test.table == "cpu", "which head, and by what it was trained, is in every label"
        if test.table == "differences":
            assert test.experiment.startswith(("controls-", "checks-"))
            assert test.where["comparison"] in COMPARISONS
            assert test.where["metric"] in TITLES or test.experiment.startswith("checks-")
        if test.table in ("gauge", "record"):
            assert test.reference == 2 / test.facts["classes"]
        elif test.table != "cpu":
            assert test.smallest > 0, "every difference has a smallest effect of interest"
    for roles in SIDES.values():
        names = [
            (test.experiment, test.table, *sorted(test.where.items())) for test in claim.tests if test.role in roles
        ]
        assert len(set(names)) == len(names), "one number counts once"


@pytest.mark.parametrize("claim", CLAIMS, ids=list(BY_ID))
def test_conditions_are_short_and_say_for_what_they_were_checked(claim: Claim) -> None:
    assert claim.conditions.keys() == claim.checked.keys()
    assert set(claim.conditions) <= set(SIDES)
    for words in claim.conditions.values():
        assert 1 <= len(words.split()) <= 8
        assert not words.endswith(".")


def test_conditions_were_checked_for_the_numbers_that_are_committed() -> None:
    """Where this fails, numbers were measured again: read each condition, change it or not, and copy the letters."""
    stale = {
        (one.claim.id, side): letters(one.rows, side)
        for one in judge_all(BOOK.parent / "results")
        for side in SIDES
        if one.conditions[side] == UNCHECKED
        or (one.verdict(side).word == "holds only under" and not one.conditions[side])
    }
    assert stale == {}


def test_every_smallest_effect_has_its_reason() -> None:
    effects = smallest_effects()
    names = [name for metrics in effects["metrics"] for name in metrics]
    assert len(set(names)) == len(names)
    assert (effects["points"] > 0).all()
    assert all(len(why) > 30 for why in effects["why"])
    smallest = {
        test.where["metric"]: test.smallest for claim in CLAIMS for test in claim.tests if "metric" in test.where
    }
    assert smallest["maxboxacc_v2"] == 1.0


def test_the_digest_is_of_what_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    before, content = rules_digest(), module._claims_file()
    words = {**content, "claims": [{**one, "conditions": {}, "checked": {}, "plain": "a"} for one in content["claims"]]}
    monkeypatch.setattr(module, "_claims_file", lambda: words)
    assert rules_digest() == before
    for change in ({"claims": content["claims"][1:]}, {"smallest": content["smallest"][1:]}, {"groups": {}}):
        monkeypatch.setattr(module, "_claims_file", lambda change=change: {**content, **change})
        assert rules_digest() != before


def test_ours_are_not_the_paper_s() -> None:
    assert BY_ID["truncation_helps"].wording == "ours"  # the paper defines its maps so, and claims nothing of it
    for name in ("weight_is_influence", "sign_is_evidence", "comparable_within_class"):
        assert BY_ID[name].wording == "paraphrase"


def test_the_paper_s_own_network_and_optimiser_are_a_control_of_all_they_bear_on() -> None:
    own = "tiny_imagenet-resnet50_64px-scratch"
    for name in ("localises_better", "top1_localisation", "cam_variants", "more_faithful"):
        roles = {test.role for test in BY_ID[name].tests if test.experiment == own}
        assert roles == {"protocol", "control"}, name
    assert own in {test.experiment for test in BY_ID["gauge_in_practice"].tests}


def test_fidelity_is_judged_by_each_map_s_own_branch_and_by_one_judge() -> None:
    claim = BY_ID["more_faithful"]
    own = [test for test in claim.tests if test.role == "protocol"]
    assert {test.where.get("scorer", "own_branch") for test in own} == {"own_branch"}
    assert {test.where["metric"][-4:] for test in own if test.table == "own_branch_gains"} == {"_own"}
    one_judge = [test for test in claim.tests if test.role == "control"]
    assert {test.where.get("scorer", "softmax") for test in one_judge} == {"softmax"}
    for part in (own, one_judge):
        assert {test.where["method"] for test in part if "method" in test.where} == {
            "cam",
            "gradcam",
            "gradcam++",
            "xgradcam",
            "layercam",
        }


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.theorem], ids=lambda claim: claim.id)
def test_what_is_proved_is_in_the_book(claim: Claim) -> None:
    page, label = claim.theorem.split("#")
    text = (BOOK / f"{page}.md").read_text()
    headings = {re.sub(r"\W+", "-", heading.lower()) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    assert label in {*re.findall(r"^:label: (\S+)$", text, re.MULTILINE), *headings}


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.paper], ids=lambda claim: claim.id)
def test_cells_of_the_paper_are_there(claim: Claim) -> None:
    table = paper_table(claim.paper["table"])
    assert set(claim.paper.get("metrics", ())) <= set(table.columns)
    assert "quantity" not in claim.paper or claim.paper["quantity"] in set(table["quantity"])
    assert "methods" not in claim.paper or set(claim.paper["methods"]) <= set(table["method"])


def test_the_signs_are_those_of_the_claims() -> None:
    """Lower is better for average drop and deletion, higher for all else."""
    lower = {"average_drop", "average_drop_own", "drop_at_50", "deletion_auc"}
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


FILE = """
[experiments]
one = { dataset = "A", classes = 4, heads = "by SGD" }
[groups]
some = ["one"]
[[claims]]
id = "a"
title = "a"
sentence = "a"
wording = "ours"
stands = "here"
kind = "empirical"
plain = "a"
rule = "all_favour"
[[claims.evidence]]
role = "protocol"
experiments = "some"
table = "differences"
where = { comparison = "truncation_softmax" }
each = { metric = ["gt_loc", "pxap"] }
expected = "positive"
"""


def test_evidence_stands_for_every_experiment_and_combination() -> None:
    (claim,) = load_claims(FILE.replace('["one"]', '["one", "one"]'))
    assert [test.where["metric"] for test in claim.tests] == ["gt_loc", "gt_loc", "pxap", "pxap"]
    assert claim.tests[0].place == "A (by SGD)"
    assert claim.tests[0].reference == claim.tests[0].smallest == 0
    assert claim.tests[0].command == "python -m companion publish one"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"all_favour"', '"guess"', "unknown rule 'guess'"),
        ('"protocol"', '"judge"', "unknown role of evidence 'judge'"),
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

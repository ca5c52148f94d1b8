"""The page of claims: every claim with its words, verdicts and evidence; nothing that is missing is left out."""

import re
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest
from made_up_claims import write_claims

from companion.claims import page as page
from companion.claims import told
from companion.claims.claims import load_claims
from companion.claims.judging import SIDES, Judged, judge_all
from companion.claims.verdicts import RULES, WORDS, Verdict


@pytest.fixture(params=["nothing measured", "all favourable", "as committed"])
def judged(request: pytest.FixtureRequest, tmp_path: Path) -> list[Judged]:
    if request.param == "as committed":
        return judge_all(Path("results"))
    return judge_all(write_claims(tmp_path) if request.param == "all favourable" else tmp_path)


@pytest.fixture
def one() -> Judged:
    """A claim that holds on some data sets, as committed."""
    return next(one for one in judge_all(Path("results")) if one.claim.id == "localises_better")


def test_the_paper_s_claims_and_ours_are_all_claims(judged: list[Judged]) -> None:
    paper, ours = page.of_paper(judged), page.beyond_paper(judged)
    assert sorted(one.claim.id for one in paper + ours) == sorted(claim.id for claim in load_claims())
    assert {one.claim.wording for one in ours} == {"ours"}
    scope = page.scope_table(paper)
    assert scope["by the paper's protocol"].tolist() == [one.protocol.word for one in paper]
    assert scope["under controls"].tolist() == [one.control.word for one in paper]
    assert scope["verdict before"].tolist() == [one.claim.before or "–" for one in paper]


def test_every_claim_has_its_block_and_every_number_its_row(judged: list[Judged]) -> None:
    html = page.claims_page(judged)
    blocks = html.split('<details class="claim">')[1:]
    assert len(blocks) == len(judged)
    for one, block in zip(judged, blocks, strict=True):
        assert f'id="claim-{one.claim.id}"' in block
        assert f"By the paper's protocol: <strong>{one.protocol.word}</strong>" in block
        assert f"Under controls: <strong>{one.control.word}</strong>" in block
        assert len(re.findall(r"<tr>\s*<td", block)) == len(one.rows)
        assert block.count("<details>") == block.count("</details>") - 1 == bool(len(one.rows))
        assert block.count("not measured</td>") == list(one.rows.get("decision", [])).count("missing")
    assert html.count("<div") == html.count("</div>")
    assert 'href="../softmax_invariance.html#thm-shift"' in html


def test_chips_say_both_verdicts_and_the_one_before(one: Judged) -> None:
    html = page.scope_html([one])
    assert html.count('<span class="chip') == 3
    assert html.count('chip-holds-only-under">holds only under</span>') == 3
    assert f"<td>{page.independent(one)}</td><td>{escape(page.condition(one))}</td>" in html
    assert "–" in page.scope_html([replace(one, claim=replace(one.claim, before=""))])


def test_a_condition_that_both_verdicts_share_is_said_once(one: Judged) -> None:
    assert page.condition(replace(one, conditions={"protocol": "on A", "control": "on A"})) == "on A"
    assert (
        page.condition(replace(one, conditions={"protocol": "on A", "control": ""})) == "by the paper's protocol: on A"
    )
    assert page.condition(replace(one, conditions={"protocol": "", "control": ""})) == ""


def test_independent_data_sets_stand_beside_each_verdict(one: Judged) -> None:
    assert page.independent(replace(one, sources={"protocol": ["A", "B"], "control": ["A", "B"]})) == "2"
    assert page.independent(replace(one, sources={"protocol": ["A"], "control": []})) == "1; 0 under controls"
    assert page.independent(replace(one, claim=replace(one.claim, kind="theorem"))) == "a proof"


def test_a_number_stands_with_its_interval_and_what_became_of_it(one: Judged) -> None:
    numbers = {"value": 2.0, "low": 1.0, "high": 3.5, "family": 12, "decision": "favours", "edge": False, "same": 0}
    table = page.evidence_table(replace(one, rows=one.rows.assign(**numbers)))
    assert set(table["value"]) == {"+2.00 [+1.00, +3.50]"}
    assert set(table["interval"]) == {"family of 12"}
    assert set(table["decision"]) == {"favours"}
    assert table["row"].tolist() == list(range(1, len(one.rows) + 1))
    exact = page.evidence_table(replace(one, rows=one.rows.assign(**numbers | {"family": 0, "value": 0.12345})))
    assert set(exact["interval"]) == {"exact"}
    assert set(exact["value"]) <= {"0.1234", "0.1235"}
    edge = page.evidence_table(replace(one, rows=one.rows.assign(**numbers | {"edge": True})))
    assert set(edge["decision"]) == {"favours, at the edge"}
    same = page.evidence_table(replace(one, rows=one.rows.assign(**numbers | {"same": 4, "why": "One map."})))
    assert set(same["decision"]) == {"counted in row 4. One map."}


def test_what_proves_that_numbers_are_one_is_linked(one: Judged) -> None:
    assert (one.rows["same"] > 0).any()
    html = page.claims_page([one])
    assert 'so centring it changes nothing. <a href="../softmax_invariance.html#thm-gauge">Proof.</a>' in html


def test_sentences_are_escaped_and_quotations_marked(judged: list[Judged]) -> None:
    first = judged[0]
    claim = replace(first.claim, sentence="a < b", wording="quotation")
    html = page.claims_page([replace(first, claim=claim)])
    assert "“a &lt; b”" in html
    assert "the paper&#x27;s words" in html or "the paper's words" in html


def test_every_rule_is_told_in_words(judged: list[Judged]) -> None:
    assert set(page.RULE_WORDS) == set(RULES)
    assert all(page.rules_table(judged)["claims"])


def test_values_for_the_prose(judged: list[Judged]) -> None:
    values = page.verdict_values(judged)
    for one in judged:
        assert values[f"{one.claim.id}_protocol"] == one.protocol.word
        assert values[f"{one.claim.id}_control"] == one.control.word
        assert one.control.word in str(values[f"{one.claim.id}_verdict"])
    for side in SIDES:
        counts = [values[f"paper_{side}_{word.replace(' ', '_')}"] for word in WORDS]
        assert sum(int(count) for count in counts) == len(page.of_paper(judged))


def test_every_claim_is_reached_from_the_table_of_its_scope_and_leads_to_its_evidence(judged: list[Judged]) -> None:
    html = page.claims_page(judged)
    anchors = re.findall(r'href="#([^"]+)"', page.scope_html(judged))
    assert anchors == [f"claim-{one.claim.id}" for one in judged]
    assert all(f'id="{anchor}"' in html for anchor in anchors)
    for one, block in zip(judged, html.split('<details class="claim">')[1:], strict=True):
        names = {test.experiment for test in one.claim.tests}
        assert ("11_what_maps_know.html" in block) == any(name.startswith(("controls-", "checks-")) for name in names)
        assert ("05_table3_overhead.html" in block) == ("overhead" in names)


def test_the_opening_counts_the_paper_s_claims_by_both_verdicts(one: Judged) -> None:
    ours = replace(one, claim=replace(one.claim, wording="ours"))
    first = replace(one, protocol=Verdict("holds"), control=Verdict("equivalent"))
    second = replace(one, protocol=Verdict("holds"), control=Verdict("not tested"))
    assert page.opening([first, second, ours]) == (
        "Of the paper's 2 claims: by the paper's protocol, 2 hold; "
        "under controls, 1 makes no difference that matters and 1 was not tested."
    )


def test_every_claim_is_told_once_in_the_plain_list(judged: list[Judged]) -> None:
    sentences = [sentence for _, part in told.plain_list(judged) for sentence in part]
    assert sorted(sentences) == sorted(told.plain_sentence(one) for one in judged)
    assert told.plain_markdown(judged).count("\n- ") == len(judged)


def test_a_plain_sentence_says_both_answers(one: Judged) -> None:
    short = {"protocol": "on A", "control": ""}
    mixed = replace(one, protocol=Verdict("holds only under"), control=Verdict("does not hold"), conditions=short)
    assert told.plain_sentence(mixed) == (
        "Maps of the sigmoid head overlap better with boxes: by the paper's protocol in part (on A), under controls no."
    )
    same = replace(mixed, control=Verdict("holds only under"), conditions={"protocol": "", "control": ""})
    assert told.plain_sentence(same) == "Maps of the sigmoid head overlap better with boxes: in part."


def test_a_reason_counts_distinct_numbers_and_names_their_ranges(one: Judged) -> None:
    numbers = {"measured": "GT-Loc", "family": 3, "edge": False, "same": 0}
    rows = one.rows.head(4).assign(role="protocol", value=[1.0, 2.0, -3.0, 2.0], **numbers)
    rows["decision"] = ["favours", "favours", "against", "favours"]
    rows.loc[3, "same"] = 2
    rows.loc[0, "edge"] = True
    assert told.reason_of(replace(one, rows=rows), "protocol") == (
        "Distinct numbers: 2 for it and 1 against it (GT-Loc -3.00 to +2.00). 1 more row repeats one of these. "
        "1 lies at the edge. In the paper's own Table 1, 6 of 6 differences are as claimed."
    )


@pytest.mark.parametrize(
    ("protocol", "control", "group"),
    [
        ("holds", "holds", 0),
        ("holds", "not tested", 1),
        ("does not hold", "holds only under", 1),
        ("does not hold", "undecided", 2),
        ("not tested", "equivalent", 2),
        ("undecided", "not tested", 3),
    ],
)
def test_claims_are_grouped_by_both_verdicts(protocol: str, control: str, group: int) -> None:
    assert told.group_of(protocol, control) == told.GROUPS[group]  # type: ignore[arg-type]

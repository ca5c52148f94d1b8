"""The page of claims: every claim with its words, verdict and evidence; nothing that is missing is left out."""

import re
from pathlib import Path

import pytest
from made_up_claims import CONTROLS, made_up, write

from companion.claims import page as page
from companion.claims.claims import load_claims
from companion.claims.judging import Judged, judge_all
from companion.claims.verdicts import RULES, WORDS


@pytest.fixture(params=["nothing measured", "controls measured"])
def judged(request: pytest.FixtureRequest, tmp_path: Path) -> list[Judged]:
    return judge_all(write(tmp_path, made_up(), CONTROLS if request.param == "controls measured" else []))


def test_the_paper_s_claims_and_ours_are_all_claims(judged: list[Judged]) -> None:
    paper, ours = page.of_paper(judged), page.beyond_paper(judged)
    assert sorted(one.claim.id for one in paper + ours) == sorted(claim.id for claim in load_claims())
    assert {one.claim.wording for one in ours} == {"ours"}
    scope = page.scope_table(paper)
    assert scope["verdict"].tolist() == [one.verdict.word for one in paper]


def test_every_claim_has_its_block_and_every_number_its_row(judged: list[Judged]) -> None:
    html = page.claims_page(judged)
    blocks = html.split('<details class="claim">')[1:]
    assert len(blocks) == len(judged)
    for one, block in zip(judged, blocks, strict=True):
        assert f'id="claim-{one.claim.id}"' in block
        assert f"Verdict: <strong>{one.verdict.word}" in block
        assert len(re.findall(r"<tr>\s*<td", block)) == len(one.rows)
        assert block.count("<details>") == block.count("</details>") - 1 == bool(len(one.rows))
        assert block.count("not measured</td>") == list(one.rows.get("decision", [])).count("missing")
    assert html.count("<div") == html.count("</div>")
    assert 'href="../softmax_invariance.html#thm-shift"' in html


def test_a_number_stands_with_its_interval() -> None:
    one = next(iter(judge_all(Path("nowhere"))[::-1]))
    rows = one.rows.assign(value=2.0, low=1.0, high=3.5, decision="favours")
    measured = page.evidence_table(Judged(one.claim, one.verdict, "", rows))
    assert set(measured["value"]) == {"+2.00 [+1.00, +3.50]"}
    assert set(measured["interval"]) == {"simultaneous"}
    bare = page.evidence_table(Judged(one.claim, one.verdict, "", rows.assign(interval="none", value=0.12345)))
    assert set(bare["value"]) == {"0.1235"} or set(bare["value"]) == {"0.1234"}


def test_sentences_are_escaped_and_quotations_marked(judged: list[Judged]) -> None:
    one = judged[0]
    claim = one.claim.__class__(**(one.claim.__dict__ | {"sentence": "a < b", "wording": "quotation"}))
    html = page.claims_page([Judged(claim, one.verdict, one.reason, one.rows)])
    assert "“a &lt; b”" in html
    assert "the paper&#x27;s words" in html or "the paper's words" in html


def test_every_rule_is_told_in_words(judged: list[Judged]) -> None:
    assert set(page.RULE_WORDS) == set(RULES)
    assert all(page.rules_table(judged)["claims"])


def test_values_for_the_prose(judged: list[Judged]) -> None:
    values = page.verdict_values(judged)
    for one in judged:
        assert values[f"{one.claim.id}_verdict"] == one.verdict.word
        assert values[f"{one.claim.id}_in_full"] == str(one.verdict)
    counts = [values[f"paper_{word.replace(' ', '_')}"] for word in WORDS]
    assert sum(int(count) for count in counts) == len(page.of_paper(judged))


def test_every_claim_is_reached_from_the_table_of_its_scope_and_leads_to_its_evidence(judged: list[Judged]) -> None:
    html = page.claims_page(judged)
    anchors = re.findall(r'href="#([^"]+)"', page.scope_html(judged))
    assert anchors == [f"claim-{one.claim.id}" for one in judged]
    assert all(f'id="{anchor}"' in html for anchor in anchors)
    for one, block in zip(judged, html.split('<details class="claim">')[1:], strict=True):
        names = {test.experiment for test in one.claim.tests}
        assert ("11_what_maps_know.html" in block) == any(name.startswith("controls-") for name in names)
        assert ("05_table3_overhead.html" in block) == ("overhead" in names)

"""The rules as truth tables: each row of evidence has one verdict, and nothing rests on one data set."""

from itertools import product

import pytest

from companion.claims.verdicts import (
    RULES,
    Decision,
    Outcome,
    Role,
    Verdict,
    all_favour,
    by_protocol,
    decide,
    deciding_sources,
    most_favour,
    proved,
    under_controls,
)

WORDS_OF: dict[str, Decision] = {
    "f": "favours",
    "a": "against",
    "e": "equivalent",
    "u": "undecided",
    "m": "missing",
}
ALL_OF_THREE = ["".join(letters) for letters in product(WORDS_OF, repeat=3)]
"""Every outcome of three measurements."""


def outcomes(letters: str, sources: str = "", role: Role = "protocol") -> list[Outcome]:
    """One outcome a letter, on data sets A, B, C unless ``sources`` names them."""
    places = sources or "ABCDEFGH"[: len(letters)]
    return [
        Outcome(WORDS_OF[letter], role, source, f"{source} (probe)", "GT-Loc", f"condition {number}", f"run {source}")
        for number, (letter, source) in enumerate(zip(letters, places, strict=True))
    ]


@pytest.mark.parametrize(
    ("low", "high", "expected", "decision"),
    [
        (0.1, 0.2, "positive", "favours"),
        (0.1, 0.2, "negative", "against"),
        (0.1, 0.2, "none", "against"),
        (-0.2, -0.1, "positive", "against"),
        (-0.2, -0.1, "negative", "favours"),
        (-0.2, -0.1, "none", "against"),
        (-0.1, 0.2, "positive", "undecided"),
        (-0.1, 0.2, "none", "undecided"),
        (0.0, 0.2, "positive", "undecided"),
        (-0.2, 0.0, "negative", "undecided"),
        (0.0, 0.0, "none", "undecided"),
    ],
)
def test_an_interval_decides_where_it_lies_wholly_on_one_side(
    low: float, high: float, expected: str, decision: Decision
) -> None:
    assert decide(low, high, expected) == decision  # type: ignore[arg-type]
    assert decide(low + 7, high + 7, expected, reference=7) == decision  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("low", "high", "expected", "decision"),
    [
        (-0.9, 0.9, "positive", "equivalent"),
        (0.1, 0.9, "positive", "equivalent"),  # off zero, and too small to matter
        (-0.9, -0.1, "positive", "equivalent"),
        (-0.9, 0.9, "none", "favours"),
        (0.1, 1.1, "positive", "favours"),
        (0.1, 1.1, "none", "against"),
        (-1.1, -0.1, "positive", "against"),
        (-0.9, 1.0, "positive", "undecided"),  # an end on the limit is not within it
        (-1.0, 0.9, "positive", "undecided"),
        (-0.9, 1.1, "positive", "undecided"),
        (-1.1, 0.9, "none", "undecided"),
        (0.0, 0.0, "none", "favours"),
        (1.0, 1.0, "positive", "favours"),
    ],
)
def test_an_interval_within_the_smallest_effect_is_evidence_of_none(
    low: float, high: float, expected: str, decision: Decision
) -> None:
    assert decide(low, high, expected, smallest=1) == decision  # type: ignore[arg-type]
    assert decide(low + 50, high + 50, expected, reference=50, smallest=1) == decision  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("letters", "sources", "word"),
    [
        ("ff", "", "holds"),
        ("ffm", "", "not tested"),  # what is missing is never taken as held
        ("fam", "", "holds only under"),
        ("aam", "", "does not hold"),
        ("ufm", "", "holds only under"),
        ("fff", "AAB", "holds"),
        ("fa", "", "holds only under"),
        ("fu", "", "holds only under"),
        ("fe", "", "holds only under"),
        ("fuu", "AAB", "holds only under"),
        ("aa", "", "does not hold"),
        ("au", "", "does not hold"),
        ("ae", "", "does not hold"),
        ("ee", "", "equivalent"),
        ("eem", "", "not tested"),
        ("eum", "", "undecided"),
        ("eu", "", "undecided"),
        ("uu", "", "undecided"),
        ("f", "", "not tested"),
        ("ee", "AA", "not tested"),
        ("ff", "AA", "not tested"),
        ("aa", "AA", "not tested"),
        ("fm", "", "not tested"),
        ("mm", "", "not tested"),
        ("", "", "not tested"),
    ],
)
def test_all_must_favour(letters: str, sources: str, word: str) -> None:
    verdict = all_favour(outcomes(letters, sources))
    assert verdict.word == word
    assert by_protocol(all_favour, outcomes(letters, sources)) == verdict
    as_controls = outcomes(letters, sources, role="control")
    assert under_controls(all_favour, as_controls) == verdict
    # Evidence of the other kind has no say.
    assert by_protocol(all_favour, outcomes(letters, sources) + outcomes("aa", role="control")) == verdict
    assert under_controls(all_favour, as_controls + outcomes("aa")) == verdict


@pytest.mark.parametrize(
    ("letters", "sources", "word"),
    [
        ("ffafff", "AAABBB", "holds"),
        ("ffeffe", "AAABBB", "holds"),
        ("ffefee", "AAABBB", "holds only under"),
        ("fefe", "AABB", "does not hold"),  # half is not most
        ("fffeee", "AAABBB", "holds only under"),
        ("feefee", "AAABBB", "equivalent"),
        ("feaeee", "AAABBB", "does not hold"),
        ("eeeeee", "AAABBB", "equivalent"),
        ("aaaaaa", "AAABBB", "does not hold"),
        ("fueeee", "AAABBB", "undecided"),  # A could still have a majority
        ("eueeee", "AAABBB", "equivalent"),
        ("eeuuee", "AAAABB", "undecided"),  # A could still be equivalent
        ("aauuee", "AAAABB", "does not hold"),
        ("fff", "AAA", "not tested"),
        ("mm", "", "not tested"),
        ("ffmffm", "AAABBB", "not tested"),
        ("eemeee", "AAABBB", "not tested"),
        ("ffmeee", "AAABBB", "holds only under"),
    ],
)
def test_most_must_favour_on_every_data_set(letters: str, sources: str, word: str) -> None:
    assert most_favour(outcomes(letters, sources)).word == word


def test_data_sets_without_a_majority_are_named() -> None:
    assert most_favour(outcomes("fffeee", "AAABBB")).detail == "these conditions: on A, not on B"


@pytest.mark.parametrize(
    ("control", "baseline", "word", "detail"),
    [
        ("ff", "", "holds", ""),
        ("ff", "ff", "holds", ""),
        ("ff", "a", "holds only under", "condition 0"),
        ("ff", "u", "holds only under", "condition 0"),
        ("ff", "e", "holds only under", "condition 0"),
        ("ff", "fua", "holds only under", "condition 1 and condition 2"),
        ("ff", "fm", "not tested", "baselines are not measured yet: run B"),
        ("ff", "mam", "holds only under", "condition 1"),
        ("ee", "ff", "equivalent", ""),
        ("aa", "ff", "does not hold", ""),
        ("", "ff", "not tested", "not measured yet: it names no evidence"),
    ],
)
def test_a_baseline_that_does_as_well_leaves_its_condition(control: str, baseline: str, word: str, detail: str) -> None:
    evidence = outcomes(control, role="control") + outcomes(baseline, role="baseline")
    assert under_controls(all_favour, evidence) == Verdict(word, detail)  # type: ignore[arg-type]


def test_a_condition_of_a_baseline_joins_those_of_the_controls() -> None:
    evidence = outcomes("fa", role="control") + outcomes("a", role="baseline")
    verdict = under_controls(all_favour, evidence)
    assert verdict.detail == "these conditions: on A (probe), not on B (probe); and under condition 0"


@pytest.mark.parametrize("rule", ["all_favour", "most_favour"])
def test_no_measured_verdict_rests_on_one_source(rule: str) -> None:
    for letters in ALL_OF_THREE:
        assert RULES[rule](outcomes(letters, "AAA"), "data set").word == "not tested", letters
        only_one = outcomes(letters[:2], "AA") + outcomes("m", "B")
        assert RULES[rule](only_one, "data set").word == "not tested", letters


@pytest.mark.parametrize("rule", ["all_favour", "most_favour"])
def test_better_evidence_never_makes_a_worse_verdict(rule: str) -> None:
    order = {"does not hold": 0, "not tested": 1, "undecided": 1, "equivalent": 1, "holds only under": 2, "holds": 3}
    for letters in (one for one in ALL_OF_THREE if "m" not in one):
        before = order[RULES[rule](outcomes(letters), "data set").word]
        for place in range(3):
            better = letters[:place] + "f" + letters[place + 1 :]
            assert order[RULES[rule](outcomes(better), "data set").word] >= before, (letters, better)


@pytest.mark.parametrize("rule", ["all_favour", "most_favour"])
def test_nothing_holds_or_is_equivalent_while_a_number_is_missing(rule: str) -> None:
    for letters in (one for one in ALL_OF_THREE if "m" in one):
        assert RULES[rule](outcomes(letters), "data set").word not in ("holds", "equivalent"), letters


def test_data_sets_that_contradict_one_another_are_both_named() -> None:
    verdict = str(all_favour(outcomes("fa")))
    assert verdict == "holds only under these conditions: on A (probe), not on B (probe)"


def test_metrics_that_contradict_one_another_are_both_named() -> None:
    def row(decision: Decision, label: str, place: str) -> Outcome:
        return Outcome(decision, "protocol", place, place, label)

    rows = [row("favours", "GT-Loc", "A"), row("favours", "GT-Loc", "B"), row("against", "PxAP", "A")]
    detail = "these conditions: for GT-Loc, not everywhere for PxAP"
    assert all_favour([*rows, row("favours", "PxAP", "B")]).detail == detail
    crossed = [*rows[:1], row("against", "GT-Loc", "B"), row("against", "PxAP", "A"), row("favours", "PxAP", "B")]
    assert all_favour(crossed).detail == "these conditions: GT-Loc on A and PxAP on B"


def test_what_is_missing_is_told_with_its_command() -> None:
    assert str(all_favour(outcomes("mmm"))) == "not tested (not measured yet: run A and 2 more)"
    assert all_favour(outcomes("ffm")).detail == "1 of 3 numbers are not measured yet: run C"
    assert "one data set only, A" in all_favour(outcomes("f")).detail
    assert "one network only, A" in all_favour(outcomes("f"), "network").detail


@pytest.mark.parametrize(("letters", "word"), [("", "holds"), ("ume", "holds"), ("ua", "holds only under")])
def test_only_a_measurement_against_it_bounds_a_proof(letters: str, word: str) -> None:
    assert proved(outcomes(letters)).word == word
    assert proved(outcomes(letters)).detail == ("condition 1" if "a" in letters else "")


def test_a_data_set_counts_where_a_number_decides() -> None:
    assert deciding_sources(outcomes("faeumf", "ABCDEA")) == ["A", "B", "C"]

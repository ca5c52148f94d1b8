"""The rules as truth tables: each row of evidence has one verdict, and nothing rests on one data set."""

from itertools import product

import pytest

from companion.claims.verdicts import (
    RULES,
    Decision,
    Outcome,
    Verdict,
    decide,
    proved,
    shown,
    shown_for_networks,
    survives_controls,
)

WORDS_OF = {"f": "favours", "a": "against", "u": "undecided", "m": "missing"}
ALL_OF_THREE = ["".join(letters) for letters in product(WORDS_OF, repeat=3)]
"""Every outcome of three measurements."""


def outcomes(main: str, control: str = "", sources: str = "") -> list[Outcome]:
    """One outcome a letter; main evidence on data sets A, B, C unless ``sources`` names them."""
    places = sources or "ABC"[: len(main)]
    rows = [Outcome(WORDS_OF[d], "main", s, f"{s} (probe)", "GT-Loc", command=s) for d, s in zip(main, places)]  # type: ignore[arg-type]  # noqa: B905
    return rows + [
        Outcome(WORDS_OF[d], "control", "A", "A (probe)", "GT-Loc", f"condition {n}", f"run {n}")  # type: ignore[arg-type]
        for n, d in enumerate(control)
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
    ],
)
def test_an_interval_decides_where_it_lies_wholly_on_one_side(
    low: float, high: float, expected: str, decision: Decision
) -> None:
    assert decide(low, high, expected) == decision  # type: ignore[arg-type]
    assert decide(low + 7, high + 7, expected, reference=7) == decision  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("main", "sources", "word"),
    [
        ("ff", "", "holds"),
        ("ffm", "", "holds"),
        ("fff", "AAB", "holds"),
        ("fa", "", "holds only under"),
        ("fu", "", "holds only under"),
        ("fuu", "AAB", "holds only under"),
        ("aa", "", "does not hold"),
        ("au", "", "does not hold"),
        ("uu", "", "not tested"),
        ("f", "", "not tested"),
        ("ff", "AA", "not tested"),
        ("aa", "AA", "not tested"),
        ("fm", "", "not tested"),
        ("mm", "", "not tested"),
        ("", "", "not tested"),
    ],
)
def test_the_main_evidence(main: str, sources: str, word: str) -> None:
    assert shown(outcomes(main, sources=sources)).word == word
    # Controls have no say in this rule, and the others start from it.
    assert shown(outcomes(main, "au", sources)) == shown(outcomes(main, sources=sources))
    assert survives_controls(outcomes(main, sources=sources)) == shown(outcomes(main, sources=sources))


@pytest.mark.parametrize(
    ("control", "word", "detail"),
    [
        ("f", "holds", ""),
        ("ff", "holds", ""),
        ("a", "holds only under", "condition 0"),
        ("u", "holds only under", "condition 0"),
        ("fua", "holds only under", "condition 1 and condition 2"),
        ("fm", "not tested", "the controls are not measured yet: run 1"),
        ("mam", "holds only under", "condition 1"),
    ],
)
def test_a_control_that_does_not_favour_leaves_its_condition(control: str, word: str, detail: str) -> None:
    assert survives_controls(outcomes("ff", control)) == Verdict(word, detail)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["shown", "survives_controls", "shown_for_networks"])
def test_no_measured_verdict_rests_on_one_source(rule: str) -> None:
    for main in ALL_OF_THREE:
        assert RULES[rule](outcomes(main, "f", sources="AAA")).word == "not tested", main
        only_one = outcomes(main[:2], "f", sources="AA") + outcomes("m", sources="B")
        assert RULES[rule](only_one).word == "not tested", main


def test_better_evidence_never_makes_a_worse_verdict() -> None:
    order = {"does not hold": 0, "not tested": 1, "holds only under": 2, "holds": 3}
    for main in ALL_OF_THREE:
        before = order[shown(outcomes(main, sources="ABC")).word]
        for place in range(3):
            better = main[:place] + "f" + main[place + 1 :]
            if main[place] != "m":  # a first measurement may well bring down what was not tested
                assert order[shown(outcomes(better, sources="ABC")).word] >= before, (main, better)


def test_data_sets_that_contradict_one_another_are_both_named() -> None:
    verdict = str(shown(outcomes("fa")))
    assert verdict == "holds only under these conditions: on A (probe), not on B (probe)"
    both = survives_controls(outcomes("fa", "a"))
    assert both.detail == "these conditions: on A (probe), not on B (probe); and under condition 0"


def test_metrics_that_contradict_one_another_are_both_named() -> None:
    def row(decision: Decision, label: str, place: str) -> Outcome:
        return Outcome(decision, "main", place, place, label)

    rows = [row("favours", "GT-Loc", "A"), row("favours", "GT-Loc", "B"), row("against", "PxAP", "A")]
    detail = "these conditions: for GT-Loc, not everywhere for PxAP"
    assert shown([*rows, row("favours", "PxAP", "B")]).detail == detail
    crossed = [*rows[:1], row("against", "GT-Loc", "B"), row("against", "PxAP", "A"), row("favours", "PxAP", "B")]
    assert shown(crossed).detail == "these conditions: GT-Loc on A and PxAP on B"


def test_what_is_missing_is_told_with_its_command() -> None:
    assert str(shown(outcomes("mmm"))) == "not tested (not measured yet: A and 2 more)"
    assert "one data set only, A" in shown(outcomes("f")).detail
    assert "one network only, A" in shown_for_networks(outcomes("f")).detail


@pytest.mark.parametrize(("control", "word"), [("", "holds"), ("um", "holds"), ("ua", "holds only under")])
def test_only_a_measurement_against_it_bounds_a_proof(control: str, word: str) -> None:
    assert proved(outcomes("", control)).word == word
    assert proved(outcomes("", control)).detail == ("condition 1" if "a" in control else "")

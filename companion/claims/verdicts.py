"""Rules that turn decisions into a verdict: pure functions of what intervals say.

A *decision* is what one number says about a claim: its interval lies wholly on the expected side, wholly on the other,
wholly within effects too small to matter, or none of these. A *rule* turns the decisions of a claim into one of six
verdicts. Numbers decide by their intervals alone, and no verdict rests on one data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Sign = Literal["positive", "negative", "none"]
"""The side of the reference on which a claim expects a number, or that it expects it on neither."""
Decision = Literal["favours", "against", "equivalent", "undecided", "missing"]
Role = Literal["protocol", "control", "baseline"]
Word = Literal["holds", "holds only under", "equivalent", "does not hold", "undecided", "not tested"]
WORDS: tuple[Word, ...] = ("holds", "holds only under", "equivalent", "does not hold", "undecided", "not tested")
"""The verdicts, in the order in which pages show them, first where the paper is right."""


def decide(low: float, high: float, expected: Sign, reference: float = 0.0, smallest: float = 0.0) -> Decision:
    """Decide what one interval shows.

    Args:
        low: end of the interval.
        high: its other end; equal to ``low`` for a number without uncertainty.
        expected: the side of ``reference``; ``"none"`` for a claim that nothing changes.
        reference: what no effect looks like.
        smallest: the smallest effect of interest. An interval that lies wholly nearer to the reference is evidence of
            no effect, whether or not it contains the reference; 0 for numbers that have no such limit.

    Returns:
        ``"equivalent"`` for such an interval, which favours a claim that nothing changes; else ``"favours"``,
        ``"against"``, or ``"undecided"``, which an interval is that contains or touches the reference.

    >>> decide(0.2, 1.4, "positive", smallest=1), decide(0.2, 1.4, "negative", smallest=1)
    ('favours', 'against')
    >>> decide(-0.2, 0.6, "positive", smallest=1), decide(-0.2, 1.4, "positive", smallest=1)
    ('equivalent', 'undecided')
    """
    if reference - smallest < low and high < reference + smallest:
        return "favours" if expected == "none" else "equivalent"
    side = "positive" if low > reference else "negative" if high < reference else None
    if side is None:
        return "undecided"
    return "favours" if side == expected else "against"


@dataclass(frozen=True)
class Outcome:
    """One decision, and what a verdict needs to know of where it comes from.

    Attributes:
        decision: see :func:`decide`; ``"missing"`` where nothing was measured.
        role: ``"protocol"`` for the comparison of the paper, ``"control"`` for one that changes the claim's factor
            alone, ``"baseline"`` for one with a map that knows less.
        source: the data set, or the network where a claim is about cost. A verdict needs two.
        place: the source with the heads that were compared, in words, such as ``Stanford Cars (softmax by SGD)``.
        label: what was measured, in words, such as ``MaxBoxAccV2``.
        condition: of a baseline, under what the claim still holds where the baseline does as well.
        command: what would measure it.
    """

    decision: Decision
    role: Role = "protocol"
    source: str = ""
    place: str = ""
    label: str = ""
    condition: str = ""
    command: str = ""


@dataclass(frozen=True)
class Verdict:
    """One of six words, and what goes with it.

    Attributes:
        word: the verdict.
        detail: the condition of ``"holds only under"``, why for ``"undecided"`` and ``"not tested"``; else empty.
    """

    word: Word
    detail: str = ""

    def __str__(self) -> str:
        """Write the verdict in words, such as ``holds only under these conditions: on Stanford Cars``."""
        if not self.detail:
            return self.word
        return f"{self.word} {self.detail}" if self.word == "holds only under" else f"{self.word} ({self.detail})"


EQUIVALENCE: dict[Word, tuple[Decision, ...]] = {
    "equivalent": ("equivalent",),
    "undecided": ("equivalent", "undecided"),
}
"""What most numbers of every data set must be where most favour on none, from the surer to the less sure."""
Rule = Callable[[Sequence[Outcome], str], Verdict]
"""From outcomes of one role, and the name of what two are needed of, to the verdict."""


def all_favour(outcomes: Sequence[Outcome], unit: str = "data set") -> Verdict:
    """All numbers must favour the claim, on two data sets or more.

    ===========================================  ==================================================
    nothing measured, or from one source only    ``not tested``
    all that was measured favours, some is not   ``not tested``
    all favour                                   ``holds``
    some favour, some do not                     ``holds only under`` the conditions where they do
    none favours, some are against               ``does not hold``
    all are equivalent                           ``equivalent``
    none of these                                ``undecided``: the measurement cannot tell
    ===========================================  ==================================================

    Args:
        outcomes: of one role.
        unit: what two are needed of, in words.
    """
    measured, verdict = _enough(outcomes, unit)
    if verdict:
        return verdict
    favouring = [outcome for outcome in measured if outcome.decision == "favours"]
    if len(favouring) == len(measured):
        return _if_complete(Verdict("holds"), outcomes)
    if favouring:
        return Verdict("holds only under", _where(favouring, measured))
    return _if_complete(_none_favours(measured), outcomes)


def most_favour(outcomes: Sequence[Outcome], unit: str = "data set") -> Verdict:
    """On every data set, more than half of what was measured must favour the claim.

    Half is not most. Where the undecided numbers could still make a majority, for the claim or for equivalence, it is
    ``undecided``; where most are equivalent on every data set, ``equivalent``; in all other cases it does not hold.

    Args:
        outcomes: of one role.
        unit: what two are needed of, in words.
    """
    measured, verdict = _enough(outcomes, unit)
    if verdict:
        return verdict
    by_source = {name: [one for one in measured if one.source == name] for name in _unique(o.source for o in measured)}
    majority = [name for name, part in by_source.items() if _is_most(part, "favours")]
    if len(majority) == len(by_source):
        return _if_complete(Verdict("holds"), outcomes)
    if majority:
        others = [name for name in by_source if name not in majority]
        return Verdict("holds only under", f"these conditions: on {listed(majority)}, not on {listed(others)}")
    if any(_is_most(part, "favours", "undecided") for part in by_source.values()):
        return Verdict("undecided", "intervals that decide nothing could make a majority")
    for word, decisions in EQUIVALENCE.items():
        if all(_is_most(part, *decisions) for part in by_source.values()):
            return _if_complete(Verdict(word), outcomes)
    return Verdict("does not hold")


def proved(outcomes: Sequence[Outcome], unit: str = "data set") -> Verdict:
    """Judge a proof, which a measurement can only bound: a number against the claim leaves its condition.

    Missing, equivalent or undecided measurements do not weaken a proof.

    Args:
        outcomes: that look whether the premises are met in practice; there may be none.
        unit: as other rules have it; a proof needs no second one.
    """
    against = [outcome for outcome in outcomes if outcome.decision == "against"]
    if against:
        return Verdict("holds only under", _conditions(against))
    return Verdict("holds")


RULES: dict[str, Rule] = {"proved": proved, "all_favour": all_favour, "most_favour": most_favour}
"""The rules by the names that claims give."""


def by_protocol(rule: Rule, outcomes: Sequence[Outcome], unit: str = "data set") -> Verdict:
    """Give the verdict on the paper's own comparison.

    Args:
        rule: one of :data:`RULES`.
        outcomes: of the claim; those of another role are passed over.
        unit: what two are needed of, in words.
    """
    return rule(_of_role(outcomes, "protocol"), unit)


def under_controls(rule: Rule, outcomes: Sequence[Outcome], unit: str = "data set") -> Verdict:
    """Give the verdict on comparisons that change the claim's factor alone, and then on baselines.

    A claim that holds, or holds in part, by its controls must also beat its baselines: one that does as well, or that
    is not known to do worse, leaves its condition. A claim that does not hold by its controls needs no baseline.

    Args:
        rule: one of :data:`RULES`.
        outcomes: of the claim; those of the paper's protocol are passed over.
        unit: what two are needed of, in words.
    """
    verdict = rule(_of_role(outcomes, "control"), unit)
    baselines = _of_role(outcomes, "baseline")
    if verdict.word not in ("holds", "holds only under"):
        return verdict
    if failed := [outcome for outcome in baselines if outcome.decision not in ("favours", "missing")]:
        under = _conditions(failed)
        return Verdict("holds only under", f"{verdict.detail}; and under {under}" if verdict.detail else under)
    missing = [outcome for outcome in baselines if outcome.decision == "missing"]
    return _not_measured(missing, "baselines are ") if missing else verdict


def deciding_sources(outcomes: Iterable[Outcome]) -> list[str]:
    """Names of the data sets that have a number which decides something: favours, is against, or is equivalent."""
    return _unique(one.source for one in outcomes if one.decision in ("favours", "against", "equivalent"))


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence.

    >>> listed(["GT-Loc", "PxAP", "coverage"])
    'GT-Loc, PxAP and coverage'
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _enough(outcomes: Sequence[Outcome], unit: str) -> tuple[list[Outcome], Verdict | None]:
    """Return what was measured, and ``not tested`` where that is nothing or of one source."""
    measured = [outcome for outcome in outcomes if outcome.decision != "missing"]
    sources = _unique(outcome.source for outcome in measured)
    if not measured:
        return measured, _not_measured(outcomes)
    if len(sources) < 2:
        return measured, Verdict(
            "not tested", f"measured on one {unit} only, {sources[0]}, and no verdict rests on one"
        )
    return measured, None


def _if_complete(verdict: Verdict, outcomes: Sequence[Outcome]) -> Verdict:
    """Let a verdict about all numbers stand only where none is missing."""
    missing = [outcome for outcome in outcomes if outcome.decision == "missing"]
    if not missing or verdict.word not in ("holds", "equivalent"):
        return verdict
    return _not_measured(missing, f"{len(missing)} of {len(outcomes)} numbers are ")


def _none_favours(measured: Sequence[Outcome]) -> Verdict:
    decisions = {outcome.decision for outcome in measured}
    if "against" in decisions:
        return Verdict("does not hold")
    if decisions == {"equivalent"}:
        return Verdict("equivalent")
    return Verdict("undecided", "some intervals lie on neither side and are too wide for equivalence")


def _is_most(outcomes: Sequence[Outcome], *decisions: Decision) -> bool:
    return 2 * sum(outcome.decision in decisions for outcome in outcomes) > len(outcomes)


def _of_role(outcomes: Sequence[Outcome], role: Role) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.role == role]


def _not_measured(missing: Sequence[Outcome], what: str = "") -> Verdict:
    first, *others = _unique(outcome.command for outcome in missing) or ["it names no evidence"]
    more = f" and {len(others)} more" if others else ""
    return Verdict("not tested", f"{what}not measured yet: {first}{more}")


def _where(favouring: Sequence[Outcome], measured: Sequence[Outcome]) -> str:
    """Where a claim holds that does not hold everywhere: by place or by what was measured if that parts them."""
    failing = [outcome for outcome in measured if outcome.decision != "favours"]
    places, labels = _unique(one.place for one in favouring), _unique(one.label for one in favouring)
    not_places, not_labels = _unique(one.place for one in failing), _unique(one.label for one in failing)
    if set(places).isdisjoint(not_places):
        return f"these conditions: on {listed(places)}, not on {listed(not_places)}"
    if whole := [label for label in labels if label not in not_labels]:
        return f"these conditions: for {listed(whole)}, not everywhere for {listed(not_labels)}"
    return f"these conditions: {listed(_unique(f'{one.label} on {one.place}' for one in favouring))}"


def _conditions(failed: Sequence[Outcome]) -> str:
    return " and ".join(_unique(outcome.condition for outcome in failed))


def _unique(words: Iterable[str]) -> list[str]:
    return [word for word in dict.fromkeys(words) if word]

"""Rules that turn decisions into a verdict: pure functions, fixed before the runs that they judge.

A *decision* is what one number says about a claim: its interval lies wholly on the expected side, wholly on the other,
or neither. A *rule* turns all decisions of a claim into one of four verdicts. Numbers decide by their intervals alone,
and no verdict rests on one data set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Sign = Literal["positive", "negative", "none"]
"""The side of the reference on which a claim expects a number, or that it expects it on neither."""
Decision = Literal["favours", "against", "undecided", "missing"]
Word = Literal["holds", "does not hold", "holds only under", "not tested"]
WORDS: tuple[Word, ...] = ("holds", "holds only under", "does not hold", "not tested")
"""The verdicts, in the order in which pages show them, first where the paper is right."""


def decide(low: float, high: float, expected: Sign, reference: float = 0.0) -> Decision:
    """What one interval says.

    Args:
        low: end of the interval.
        high: its other end; equal to ``low`` for a number without uncertainty.
        expected: the side of ``reference``. For ``"none"``, an interval off the reference is against the claim, and
            one that holds it is undecided: that nothing was seen to change is no proof that nothing did.
        reference: what no effect looks like.

    Returns:
        ``"favours"``, ``"against"``, or ``"undecided"``, which an interval is that holds or touches the reference.

    >>> decide(0.2, 1.4, "positive"), decide(0.2, 1.4, "negative"), decide(-0.2, 1.4, "positive")
    ('favours', 'against', 'undecided')
    """
    side = "positive" if low > reference else "negative" if high < reference else None
    if side is None:
        return "undecided"
    return "favours" if side == expected else "against"


@dataclass(frozen=True)
class Outcome:
    """One decision, and what a verdict needs to know of where it comes from.

    Attributes:
        decision: see :func:`decide`; ``"missing"`` where nothing was measured.
        role: ``"main"`` for the claim's own comparison, ``"control"`` for one that it should survive.
        source: the data set, or the network where a claim is about cost. A verdict needs two.
        place: the source with its network and origin, in words, such as ``Stanford Cars (linear probe)``.
        label: what was measured, in words, such as ``MaxBoxAccV2``.
        condition: of a control, under what the claim still holds where the control does not favour it.
        command: what would measure it.
    """

    decision: Decision
    role: Literal["main", "control"] = "main"
    source: str = ""
    place: str = ""
    label: str = ""
    condition: str = ""
    command: str = ""


@dataclass(frozen=True)
class Verdict:
    """One of four words, and what goes with it.

    Attributes:
        word: the verdict.
        detail: the condition of ``"holds only under"``, why for ``"not tested"``; else empty.
    """

    word: Word
    detail: str = ""

    def __str__(self) -> str:
        """The verdict in words, such as ``holds only under the paper's comparison``."""
        if not self.detail:
            return self.word
        return f"{self.word} ({self.detail})" if self.word == "not tested" else f"{self.word} {self.detail}"


Rule = Callable[[Sequence[Outcome]], Verdict]


def shown(outcomes: Sequence[Outcome], unit: str = "data set") -> Verdict:
    """The main evidence alone: it must exist from two sources, and all that was measured must favour the claim.

    ===========================================  ==================================================
    nothing measured, or from one source only    ``not tested``
    all favour                                   ``holds``
    some favour, some do not                     ``holds only under`` the sources that do
    none favours, some are against               ``does not hold``
    all undecided                                ``not tested``: the measurement cannot tell
    ===========================================  ==================================================

    Args:
        outcomes: of the claim; controls are passed over.
        unit: what two are needed of, in words.
    """
    main = [outcome for outcome in outcomes if outcome.role == "main"]
    measured = [outcome for outcome in main if outcome.decision != "missing"]
    sources = _unique(outcome.source for outcome in measured)
    if not measured:
        return _not_measured(main)
    if len(sources) < 2:
        return Verdict("not tested", f"measured on one {unit} only, {sources[0]}, and no verdict rests on one")
    favouring = [outcome for outcome in measured if outcome.decision == "favours"]
    if len(favouring) == len(measured):
        return Verdict("holds")
    if favouring:
        return Verdict("holds only under", _where(favouring, measured))
    if any(outcome.decision == "against" for outcome in measured):
        return Verdict("does not hold")
    return Verdict("not tested", "undecided: no interval lies on either side, so this measurement cannot tell")


def survives_controls(outcomes: Sequence[Outcome]) -> Verdict:
    """The main evidence, and then the controls: a claim holds where every control favours it too.

    Where the main evidence alone, see :func:`shown`, neither holds nor holds in part, its verdict stands. A control
    that does not favour the claim, against it or undecided, leaves ``holds only under`` its condition: the claim has
    not been shown to survive it. If no control failed but some were not measured, the claim is ``not tested``.

    Args:
        outcomes: of the claim.
    """
    verdict = shown(outcomes)
    if verdict.word not in ("holds", "holds only under"):
        return verdict
    controls = [outcome for outcome in outcomes if outcome.role == "control"]
    failed = [outcome for outcome in controls if outcome.decision in ("against", "undecided")]
    if failed:
        under = _conditions(failed)
        return Verdict("holds only under", f"{verdict.detail}; and under {under}" if verdict.detail else under)
    missing = [outcome for outcome in controls if outcome.decision == "missing"]
    return _not_measured(missing, "the controls are ") if missing else verdict


def proved(outcomes: Sequence[Outcome]) -> Verdict:
    """A proof, which a measurement can only bound: a control against the claim leaves the control's condition.

    Missing or undecided measurements do not weaken a proof.

    Args:
        outcomes: controls that look whether the premises are met in practice; there may be none.
    """
    against = [outcome for outcome in outcomes if outcome.decision == "against"]
    if against:
        return Verdict("holds only under", _conditions(against))
    return Verdict("holds")


def shown_for_networks(outcomes: Sequence[Outcome]) -> Verdict:
    """:func:`shown` for claims about cost, where two networks stand for two data sets."""
    return shown(outcomes, unit="network")


RULES: dict[str, Rule] = {
    "proved": proved,
    "shown": shown,
    "survives_controls": survives_controls,
    "shown_for_networks": shown_for_networks,
}
"""The rules by the names that claims give."""


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


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence.

    >>> listed(["GT-Loc", "PxAP", "coverage"])
    'GT-Loc, PxAP and coverage'
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _unique(words: Iterable[str]) -> list[str]:
    return [word for word in dict.fromkeys(words) if word]

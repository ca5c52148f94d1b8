"""Verdicts in sentences, made from the numbers so that they turn when these do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ..show.shown import sentence_list
from .judging import SIDES, Judged, paper_agrees
from .verdicts import WORDS, Word

SIDE_WORDS = {"protocol": "by the paper's protocol", "control": "under controls"}
DECISIONS = {
    "favours": "for it",
    "against": "against it",
    "equivalent": "equivalent",
    "undecided": "undecided",
    "missing": "not measured",
}
"""Decisions as the reason of a verdict words them."""
PHRASES: Mapping[Word, str] = {
    "holds": "yes",
    "holds only under": "in part",
    "equivalent": "no difference that matters",
    "does not hold": "no",
    "undecided": "undecided",
    "not tested": "not tested",
}
"""Verdicts as answers."""
VERBS: Mapping[Word, tuple[str, str]] = {
    "holds": ("holds", "hold"),
    "holds only under": ("holds only under a condition", "hold only under a condition"),
    "equivalent": ("makes no difference that matters", "make no difference that matters"),
    "does not hold": ("does not hold", "do not hold"),
    "undecided": ("is undecided", "are undecided"),
    "not tested": ("was not tested", "were not tested"),
}
GROUPS = ("What held", "What held in part", "What did not hold", "What is not known yet")
"""Headings of the list, see :func:`group_of`."""


def reason_of(one: Judged, side: str) -> str:
    """Why a verdict is as it is: how many distinct numbers say what, and how they range, metric by metric.

    Args:
        one: a claim that was judged.
        side: ``"protocol"`` or ``"control"``.
    """
    parts = []
    for role in SIDES[side]:
        rows = one.rows[one.rows["role"] == role] if len(one.rows) else one.rows
        if rows.empty:
            continue
        distinct = rows[rows["same"] == 0]
        counts = [
            f"{(distinct['decision'] == key).sum()} {said}"
            for key, said in DECISIONS.items()
            if key in set(distinct["decision"])
        ]
        what = "Against maps that know less" if role == "baseline" else "Distinct numbers"
        parts.append(f"{what}: {sentence_list(counts)}{_ranges(distinct)}.")
        if repeated := len(rows) - len(distinct):
            parts.append(f"{repeated} more {'row repeats' if repeated == 1 else 'rows repeat'} one of these.")
        if edges := int(distinct["edge"].sum()):
            parts.append(f"{edges} {'lies' if edges == 1 else 'lie'} at the edge.")
    if side == "protocol" and one.claim.paper:
        as_claimed, count = paper_agrees(one.claim)
        table = one.claim.paper["table"].split("_")[0].replace("table", "Table ")
        parts.append(f"In the paper's own {table}, {as_claimed} of {count} differences are as claimed.")
    return " ".join(parts)


def _ranges(rows: pd.DataFrame) -> str:
    """How the numbers of each metric range, in brackets; empty where none was measured."""
    measured = rows.dropna(subset=["value"])
    parts = []
    for label, part in measured.groupby("measured", sort=False):
        # Only a difference has a sign worth showing; an exact number may be tiny.
        text = _signed if part["family"].any() else "{:.3g}".format
        low, high = text(part["value"].min()), text(part["value"].max())
        parts.append(f"{label} {low}" if low == high else f"{label} {low} to {high}")
    return f" ({'; '.join(parts)})" if parts else ""


def _signed(value: float) -> str:
    """Print a difference to two decimals.

    >>> _signed(-0.001), _signed(1.5)
    ('+0.00', '+1.50')
    """
    return f"{round(value, 2) + 0.0:+.2f}"  # no minus before a zero


def verdicts_sentence(words: Sequence[Word], how: str) -> str:
    """How many of some verdicts are which.

    >>> verdicts_sentence(["holds", "holds", "equivalent"], "under controls")
    'under controls, 2 hold and 1 makes no difference that matters'
    """
    counts = {word: sum(one == word for one in words) for word in WORDS}
    return f"{how}, {sentence_list([f'{count} {VERBS[word][count != 1]}' for word, count in counts.items() if count])}"


def group_of(protocol: Word, control: Word) -> str:
    """Under which heading a claim with these verdicts is listed, one of :data:`GROUPS`.

    >>> group_of("holds", "holds"), group_of("holds", "equivalent"), group_of("equivalent", "not tested")
    ('What held', 'What held in part', 'What did not hold')
    """
    both = {protocol, control}
    if both == {"holds"}:
        return GROUPS[0]
    if both & {"holds", "holds only under"}:
        return GROUPS[1]
    return GROUPS[2] if both & {"does not hold", "equivalent"} else GROUPS[3]


def plain_sentence(one: Judged) -> str:
    """Say what became of a claim, in a sentence without numbers."""
    claim = one.claim.plain[0].upper() + one.claim.plain[1:]
    answers = {side: _answer(one, side) for side in SIDES}
    if answers["protocol"] == answers["control"]:
        return f"{claim}: {answers['protocol']}."
    return f"{claim}: {', '.join(f'{SIDE_WORDS[side]} {answer}' for side, answer in answers.items())}."


def _answer(one: Judged, side: str) -> str:
    short = one.conditions[side]
    return PHRASES[one.verdict(side).word] + (f" ({short})" if short else "")


def plain_list(judged: Sequence[Judged]) -> list[tuple[str, list[str]]]:
    """List what held and what did not: headings of :data:`GROUPS` that are needed, with a sentence per claim."""
    groups: dict[str, list[str]] = {name: [] for name in GROUPS}
    for one in judged:
        groups[group_of(one.protocol.word, one.control.word)].append(plain_sentence(one))
    return [(name, sentences) for name, sentences in groups.items() if sentences]


def plain_markdown(judged: Sequence[Judged]) -> str:
    """Write the same as Markdown."""
    return "\n\n".join(
        f"**{name}**\n\n" + "\n".join(f"- {sentence}" for sentence in sentences)
        for name, sentences in plain_list(judged)
    )

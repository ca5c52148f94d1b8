"""The page of claims: its tables and fold-outs as HTML, in the order of the ML reproducibility report.

HTML, since a fold-out is beyond Markdown, and reads the same in the book, in Jupyter and on Colab.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd

from ..show.saved import Value
from ..show.shown import show
from .judging import SIDES, Judged
from .told import SIDE_WORDS, reason_of, verdicts_sentence
from .verdicts import WORDS, Verdict

WORDING = {
    "quotation": "the paper's words",
    "paraphrase": "our paraphrase of the paper",
    "ours": "our words",
}
RULE_WORDS = {
    "proved": "A proof. Only a measurement against it, where its premises fail in practice, leaves a condition.",
    "all_favour": "All distinct numbers must favour the claim, on two data sets or more; for cost, on two networks.",
    "most_favour": "On every data set more than half of the distinct numbers must favour the claim; half is not most.",
}
"""The rules of :data:`companion.claims.verdicts.RULES` in words."""
PAGES = {
    "controls": ("11_what_maps_know.html", "What the maps know"),
    "overhead": ("05_table3_overhead.html", "Table 3"),
    "results": ("10_real_images.html", "Real images"),
}
"""The pages that show evidence, of crossed controls, of times, and of all other experiments."""
HEADINGS = (
    "claim",
    "verdict before",
    "by the paper's protocol",
    "under controls",
    "independent data sets",
    "condition",
)


def of_paper(judged: Sequence[Judged]) -> list[Judged]:
    """Select the claims that are the paper's."""
    return [one for one in judged if one.claim.wording != "ours"]


def beyond_paper(judged: Sequence[Judged]) -> list[Judged]:
    """Select the claims that this book adds."""
    return [one for one in judged if one.claim.wording == "ours"]


def scope_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """One row per claim, in the order given: both verdicts, what they rest on, and what stood before."""
    rows = [
        (
            one.claim.title,
            one.claim.kind,
            one.claim.stands,
            one.claim.before or "–",
            one.protocol.word,
            one.control.word,
            independent(one),
            condition(one),
        )
        for one in judged
    ]
    first, *others = HEADINGS
    return pd.DataFrame(rows, columns=[first, "kind", "where it stands", *others])


def scope_html(judged: Sequence[Judged]) -> str:
    """Write the same as HTML with verdicts as chips, where each claim leads to what stands below about it."""
    rows = [
        f'<tr><th scope="row"><a href="#claim-{one.claim.id}">{escape(one.claim.title)}</a></th>'
        f"<td>{_chip(one.claim.before)}</td><td>{_chip(one.protocol.word)}</td><td>{_chip(one.control.word)}</td>"
        f"<td>{escape(independent(one))}</td><td>{escape(condition(one))}</td></tr>"
        for one in judged
    ]
    head = "".join(f'<th scope="col">{name}</th>' for name in HEADINGS)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="scrolls wraps scope" tabindex="0">{table}</div>'


def independent(one: Judged) -> str:
    """How many data sets, or networks, have a number that decides: for the paper's protocol and for the controls."""
    if one.claim.kind == "theorem":
        return "a proof"
    counts = [len(one.sources[side]) for side in SIDES]
    return str(counts[0]) if counts[0] == counts[1] else f"{counts[0]}; {counts[1]} under controls"


def condition(one: Judged) -> str:
    """Join the short conditions of both verdicts, those that there are."""
    parts = {side: one.conditions[side] for side in SIDES if one.conditions[side]}
    if len(set(parts.values())) == 1 and len(parts) == len(SIDES):
        return next(iter(parts.values()))
    return "; ".join(f"{SIDE_WORDS[side]}: {words}" for side, words in parts.items())


def _chip(word: str) -> str:
    if not word:
        return "–"
    return f'<span class="chip chip-{word.replace(" ", "-")}">{escape(word)}</span>'


def rules_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """Tabulate the rules in words, and the claims that each judges."""
    rows = [
        (rule.replace("_", " "), words, ", ".join(one.claim.title for one in judged if one.claim.rule == rule))
        for rule, words in RULE_WORDS.items()
    ]
    return pd.DataFrame(rows, columns=["rule", "what it asks", "claims"])


def evidence_table(one: Judged) -> pd.DataFrame:
    """Tabulate the evidence of a claim as text, one row per number, including what was not measured."""
    rows = []
    for number, row in enumerate(one.rows.to_dict("records"), 1):
        cells = {"row": number, "role": row["role"], "measured": row["measured"], "compared": row["compared"]}
        rows.append(cells | {"on": row["where"]} | _figures(row) | {"expected": row["expected"]})
    names = ["row", "role", "measured", "compared", "on", "value", "interval", "expected", "decision"]
    return pd.DataFrame(rows)[names]


def _figures(row: dict[str, object] | dict[object, object]) -> dict[str, str]:
    """Value, kind of interval and decision of a row, as text."""
    values: dict[str, object] = {str(key): value for key, value in row.items()}
    decision = str(values["decision"])
    if decision == "missing":
        return {"value": "", "interval": "", "decision": "not measured"}
    value, low, high = (float(str(values[name])) for name in ("value", "low", "high"))
    family = int(str(values["family"]))
    text = f"{value:+.2f} [{low:+.2f}, {high:+.2f}]" if family else f"{value:.4g}"
    if values["edge"]:
        decision += ", at the edge"
    if values["same"]:
        decision = f"counted in row {values['same']}. {values['why']}"
    return {"value": text, "interval": f"family of {family}" if family else "exact", "decision": decision}


def claims_page(judged: Sequence[Judged], theorems: str = "..") -> str:
    """Claim by claim, a fold each: the sentence, where it stands, both verdicts and why, and the evidence in one more.

    Args:
        judged: in the order of the page.
        theorems: folder of the book's pages as seen from the page, for the links to what is proved.

    Returns:
        HTML.
    """
    return "\n".join(_block(one, theorems) for one in judged)


def _block(one: Judged, theorems: str) -> str:
    claim, quote = one.claim, ("“{}”" if one.claim.wording == "quotation" else "{}").format(one.claim.sentence)
    # The anchor lies inside the fold: a browser that follows a link to it opens the fold.
    parts = [
        '<details class="claim">',
        f"<summary>{escape(claim.title)}: <strong>{escape(both_words(one))}</strong></summary>",
        f'<div id="claim-{claim.id}">',
        f"<p><em>{escape(quote)}</em> ({escape(claim.stands)}; {WORDING[claim.wording]})</p>",
    ]
    if claim.sense:
        parts.append(f"<p>{escape(claim.sense)}{_proof(one, theorems)}</p>")
    for side in SIDES:
        verdict = _in_full(one.verdict(side), one.conditions[side])
        parts.append(f"<p>{SIDE_WORDS[side].capitalize()}: {verdict}. {escape(reason_of(one, side))}</p>")
    if len(one.rows):
        table = show(evidence_table(one), "", wrap=True).to_html()
        fold = f"<summary>Evidence: {len(one.rows)} rows</summary>"
        parts.append(
            f'<details>{fold}<div class="scrolls" tabindex="0">{table}</div>{_theorems(one, theorems)}</details>'
        )
        parts.append(f"<p>Where the numbers stand: {_pages(one)}.</p>")
    return "\n".join([*parts, "</div></details>"])


def _in_full(verdict: Verdict, short: str) -> str:
    """Write a verdict with its condition: the short one where there is one, else what the rule says."""
    detail = short or verdict.detail
    return f"<strong>{escape(verdict.word)}</strong>" + (f" ({escape(detail)})" if detail else "")


def both_words(one: Judged) -> str:
    """Both verdicts in a few words."""
    if one.protocol.word == one.control.word:
        return one.protocol.word
    return f"{one.protocol.word} by the paper's protocol, {one.control.word} under controls"


def _pages(one: Judged) -> str:
    """Links to the pages of the book that show a claim's evidence."""
    names = dict.fromkeys(test.experiment for test in one.claim.tests)
    pages = dict.fromkeys("controls" if name.startswith(("controls-", "checks-")) else name for name in names)
    links = dict.fromkeys(PAGES.get(name, PAGES["results"]) for name in pages)
    return " and ".join(f'<a href="{page}">{title}</a>' for page, title in links)


def _proof(one: Judged, theorems: str) -> str:
    if not one.claim.theorem:
        return ""
    page, label = one.claim.theorem.split("#")
    return f' <a href="{theorems}/{page}.html#{label}">See the book, {page.replace("_", " ")}.</a>'


def _theorems(one: Judged, theorems: str) -> str:
    """Why some rows are one number, with a link to what proves it."""
    links = []
    for theorem in dict.fromkeys(one.rows["theorem"]):
        if theorem:
            page, label = theorem.split("#")
            words = one.rows.loc[one.rows["theorem"] == theorem, "why"].iloc[0]
            links.append(f'{escape(words)} <a href="{theorems}/{page}.html#{label}">Proof.</a>')
    return f"<p>{' '.join(links)}</p>" if links else ""


def verdict_values(judged: Sequence[Judged]) -> dict[str, Value]:
    """Collect the verdicts for the book's prose.

    Returns:
        For each claim ``ID_protocol`` and ``ID_control``, the words; ``ID_verdict``, both in a few words; and
        ``ID_condition``. For each word with ``_`` for spaces, how many of the paper's claims have it, as
        ``paper_protocol_HOLDS`` and ``paper_control_HOLDS``.
    """
    values: dict[str, Value] = {}
    for one in judged:
        values[f"{one.claim.id}_verdict"] = both_words(one)
        values[f"{one.claim.id}_condition"] = condition(one)
        for side in SIDES:
            values[f"{one.claim.id}_{side}"] = one.verdict(side).word
    for side in SIDES:
        for word in WORDS:
            count = sum(one.verdict(side).word == word for one in of_paper(judged))
            values[f"paper_{side}_{word.replace(' ', '_')}"] = count
    return values


def opening(judged: Sequence[Judged]) -> str:
    """How many of the paper's claims have which verdict, by the paper's protocol and under controls.

    Args:
        judged: all claims.
    """
    own = of_paper(judged)
    parts = [verdicts_sentence([one.verdict(side).word for one in own], SIDE_WORDS[side]) for side in SIDES]
    return f"Of the paper's {len(own)} claims: {'; '.join(parts)}."

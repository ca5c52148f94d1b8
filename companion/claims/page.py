"""The page of claims: its tables and fold-outs as HTML, in the order of the ML reproducibility report.

HTML, since a fold-out is beyond Markdown, and reads the same in the book, in Jupyter and on Colab.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd

from ..show.saved import Value
from ..show.shown import sentence_list, show
from .judging import Judged
from .verdicts import WORDS

WORDING = {
    "quotation": "the paper's words",
    "paraphrase": "our paraphrase of the paper",
    "ours": "our words",
}
RULE_WORDS = {
    "proved": "A proof. Only a measurement against it, where its premises fail in practice, leaves a condition.",
    "shown": "All numbers of the claim must favour it, on two data sets or more.",
    "survives_controls": "The same, and every control must favour it too; one that does not leaves its condition.",
    "shown_for_networks": "All numbers of the claim must favour it, for two networks or more.",
}
"""The rules of :data:`companion.claims.verdicts.RULES` in words."""
PAGES = {
    "controls": ("11_what_maps_know.html", "What the maps know"),
    "overhead": ("05_table3_overhead.html", "Table 3"),
    "results": ("10_real_images.html", "Real images"),
}
"""The pages that show evidence, of crossed controls, of times, and of all other experiments."""


def of_paper(judged: Sequence[Judged]) -> list[Judged]:
    """The claims that are the paper's."""
    return [one for one in judged if one.claim.wording != "ours"]


def beyond_paper(judged: Sequence[Judged]) -> list[Judged]:
    """The claims that this book adds."""
    return [one for one in judged if one.claim.wording == "ours"]


def scope_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """What is claimed, where it stands, and the word of the verdict: one row a claim, in the order given."""
    rows = [(one.claim.title, one.claim.kind, one.claim.stands, one.verdict.word) for one in judged]
    return pd.DataFrame(rows, columns=["claim", "kind", "where it stands", "verdict"])


def scope_html(judged: Sequence[Judged]) -> str:
    """The same as HTML, where each claim leads to what stands below about it."""
    rows = [
        f'<tr><th scope="row"><a href="#claim-{one.claim.id}">{escape(one.claim.title)}</a></th>'
        f"<td>{escape(one.verdict.word)}</td><td>{escape(one.claim.kind)}</td><td>{escape(one.claim.stands)}</td></tr>"
        for one in judged
    ]
    names = ("claim", "verdict", "kind", "where it stands")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f'<div class="scrolls wraps" tabindex="0">{table}</div>'


def rules_table(judged: Sequence[Judged]) -> pd.DataFrame:
    """The rules in words, and the claims that each judges."""
    rows = [
        (rule.replace("_", " "), words, ", ".join(one.claim.title for one in judged if one.claim.rule == rule))
        for rule, words in RULE_WORDS.items()
    ]
    return pd.DataFrame(rows, columns=["rule", "what it asks", "claims"])


def evidence_table(one: Judged) -> pd.DataFrame:
    """The evidence of a claim as text, one row a number: nothing is left out, also what was not measured."""
    rows = []
    for row in one.rows.to_dict("records"):
        cells = {"role": row["role"], "measured": row["measured"], "compared": row["compared"], "on": row["where"]}
        if row["decision"] == "missing":
            cells |= {"value": "", "interval": "", "decision": "not measured"}
        elif row["interval"] == "none":
            cells |= {"value": f"{row['value']:.4g}", "interval": "none", "decision": row["decision"]}
        else:
            text = f"{row['value']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
            cells |= {"value": text, "interval": row["interval"], "decision": row["decision"]}
        rows.append(cells | {"expected": row["expected"]})
    return pd.DataFrame(rows)[["role", "measured", "compared", "on", "value", "interval", "expected", "decision"]]


def claims_page(judged: Sequence[Judged], theorems: str = "..") -> str:
    """Claim by claim, a fold each: the sentence, where it stands, the verdict and why, and the evidence in one more.

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
        f"<summary>{escape(claim.title)}: <strong>{escape(one.verdict.word)}</strong></summary>",
        f'<div id="claim-{claim.id}">',
        f"<p><em>{escape(quote)}</em> ({escape(claim.stands)}; {WORDING[claim.wording]})</p>",
        f"<p>Verdict: <strong>{escape(str(one.verdict))}</strong>. {escape(one.reason)}{_proof(one, theorems)}</p>",
    ]
    if len(one.rows):
        table = show(evidence_table(one), "", wrap=True).to_html()
        fold = f"<summary>Evidence: {len(one.rows)} numbers</summary>"
        parts.append(f'<details>{fold}<div class="scrolls" tabindex="0">{table}</div></details>')
        parts.append(f"<p>Where the numbers stand: {_pages(one)}.</p>")
    return "\n".join([*parts, "</div></details>"])


def _pages(one: Judged) -> str:
    """Links to the pages of the book that show a claim's evidence."""
    names = dict.fromkeys(test.experiment for test in one.claim.tests)
    pages = dict.fromkeys("controls" if name.startswith("controls-") else name for name in names)
    links = dict.fromkeys(PAGES.get(name, PAGES["results"]) for name in pages)
    return " and ".join(f'<a href="{page}">{title}</a>' for page, title in links)


def _proof(one: Judged, theorems: str) -> str:
    if not one.claim.theorem:
        return ""
    page, label = one.claim.theorem.split("#")
    return f' <a href="{theorems}/{page}.html#{label}">See the book, {page.replace("_", " ")}.</a>'


def verdict_values(judged: Sequence[Judged]) -> dict[str, Value]:
    """The verdicts for the book's prose.

    Returns:
        For each claim ``ID_verdict``, the word, ``ID_in_full``, the word with its condition or why, and ``ID_reason``;
        and ``paper_HOLDS``, for each word with ``_`` for spaces, how many of the paper's claims have it.
    """
    values: dict[str, Value] = {}
    for one in judged:
        values[f"{one.claim.id}_verdict"] = one.verdict.word
        values[f"{one.claim.id}_in_full"] = str(one.verdict)
        values[f"{one.claim.id}_reason"] = one.reason
    for word in WORDS:
        values[f"paper_{word.replace(' ', '_')}"] = sum(one.verdict.word == word for one in of_paper(judged))
    return values


def verdicts_sentence(judged: Sequence[Judged]) -> str:
    """How many of the paper's claims hold, hold under a condition, do not, or were not tested.

    Args:
        judged: all claims.
    """
    own = of_paper(judged)
    verbs = {
        "holds": ("holds", "hold"),
        "holds only under": ("holds only under a condition", "hold only under a condition"),
        "does not hold": ("does not hold", "do not hold"),
        "not tested": ("was not tested", "were not tested"),
    }
    counts = {word: sum(one.verdict.word == word for one in own) for word in WORDS}
    parts = [f"{count} {verbs[word][count != 1]}" for word, count in counts.items() if count]
    return f"Of the paper's {len(own)} claims, {sentence_list(parts)}."

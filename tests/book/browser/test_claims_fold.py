"""A claim is folded until a link leads to it."""

from __future__ import annotations

from playwright.sync_api import Page, expect


def test_a_link_to_a_claim_opens_its_fold(page: Page, book: str) -> None:
    page.goto(f"{book}/notebooks/12_claims.html")
    link = page.locator('a[href^="#claim-"]').nth(5)
    claim = page.locator(str(link.get_attribute("href")))
    expect(claim).to_be_hidden()
    link.click()
    expect(claim).to_be_visible()

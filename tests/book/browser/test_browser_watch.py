"""The fixtures see what they are for: no request leaves the machine unseen, and no complaint of a page is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from browser_watch import missing, watch
from playwright.sync_api import Browser, Error

from browse import find_chromium

Serve = Callable[[Path], str]

FROM_WORKER = "new Worker(URL.createObjectURL(new Blob(['fetch(\"http://example.org/b\")'])))"


def complaints_about(html: str, folder: Path, browser: Browser, serve: Serve) -> list[str]:
    (folder / "index.html").write_text(f'<link rel="icon" href="data:,"><title>t</title>{html}')
    context = browser.new_context()
    complaints = watch(context)
    page = context.new_page()
    page.goto(f"{serve(folder)}/index.html")
    page.wait_for_timeout(100)
    context.close()
    return complaints


@pytest.mark.parametrize(
    ("html", "told"),
    [
        ("<script>console.error('first')</script>", ["console error: first"]),
        ("<script>console.warn('beware')</script>", ["console warning: beware"]),
        ("<script>throw new Error('second')</script>", ["uncaught: second"]),
        ("<script>Promise.reject(new Error('third'))</script>", ["uncaught: third"]),
        ("<img src='none.png'>", ["404: ", "console error: "]),
        ("<img src='http://example.org/a.png'>", ["console error: ", "request to another host: http://example.org/"]),
        (f"<script>{FROM_WORKER}</script>", ["request to another host: http://example.org/b"]),
        ("<p>nothing</p><script>console.log('fine')</script>", []),
    ],
)
def test_each_complaint_is_told(html: str, told: list[str], tmp_path: Path, browser: Browser, serve: Serve) -> None:
    complaints = sorted(complaints_about(html, tmp_path, browser, serve))
    assert bool(complaints) == bool(told)
    for start in told:
        assert any(one.startswith(start) for one in complaints), complaints


def test_no_other_host_answers(browser: Browser) -> None:
    context = browser.new_context()
    with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
        context.new_page().goto("http://example.org/")
    context.close()


def test_what_is_missing_skips_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGCAM_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no such thing"):
        missing("no such thing")
    monkeypatch.setenv("SIGCAM_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="but no such thing"):
        missing("no such thing")


def test_the_browser_that_is_named_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGCAM_BROWSER", "/opt/browser")
    assert find_chromium() == "/opt/browser"

"""A real Chromium with the network off, a server for a folder, and a page that fails its test on any complaint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from browser_watch import missing, watch
from playwright.sync_api import Browser, Page

from browse import chromium, find_chromium, served

ROOT = Path(__file__).resolve().parents[3]
SITE = ROOT / "build" / "book" / "_build" / "html"


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[Path], str]]:
    """A function that serves a folder until the tests of the module are over, and returns the address."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(served(folder))


# Of a module and not of the session: while Playwright runs, nothing else in the process can start an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a way to any other host."""
    if find_chromium() is None:
        missing("no Chromium on the PATH or in SIGCAM_BROWSER")
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own context; anything that :func:`browser_watch.watch` objects to fails the test."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    complaints = watch(context)
    yield context.new_page()
    context.close()
    assert not complaints, "\n".join(complaints)


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built book."""
    if not (SITE / "index.html").is_file():
        missing("the book is not built (make reproduce)")
    return SITE


@pytest.fixture(scope="module")
def book(site: Path, serve: Callable[[Path], str]) -> str:
    """The address of the built book, without a slash at its end."""
    return serve(site)

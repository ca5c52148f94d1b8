"""A real Chromium with the network off, a server for a folder, and a page that fails its test on any complaint."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser_watch import LOCAL, find_chromium, missing, watch
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
SITE = ROOT / "build" / "book" / "_build" / "html"

# No name is looked up and no proxy asked, so that nothing beyond this machine can answer, workers' requests included.
OFFLINE = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server"]


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files with the types that browsers insist on, and says nothing."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".onnx": "application/octet-stream",
    }

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address under which ``folder`` is served, without a slash at its end."""
    with ThreadingHTTPServer((LOCAL, 0), functools.partial(QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://{LOCAL}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[Path], str]]:
    """A function that serves a folder until the tests of the module are over, and returns the address."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(served(folder))


# Of a module and not of the session: while Playwright runs, nothing else in the process can start an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a way to any other host."""
    executable = find_chromium()
    if executable is None:
        missing("no Chromium on the PATH or in SIGCAM_BROWSER")
    with sync_playwright() as playwright:
        sandbox = [] if os.geteuid() else ["--no-sandbox"]  # Chromium's sandbox refuses root
        chromium = playwright.chromium.launch(executable_path=executable, args=[*OFFLINE, *sandbox])
        yield chromium
        chromium.close()


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

"""A browser and a small server for the built book, for the tests and for what is made from its pages."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from sigcam_core.common.errors import fail
from sigcam_core.common.paths import user_path

LOCAL = "127.0.0.1"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No name is looked up and no proxy asked, so that nothing beyond this machine can answer, workers' requests included.
OFFLINE = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server"]


class _Handler(SimpleHTTPRequestHandler):
    """Serves files with the types that browsers insist on, and says nothing."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".onnx": "application/octet-stream",
    }

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of a request."""


class _Server(ThreadingHTTPServer):
    """Says nothing of a browser that left before it had all."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what is not the browser's leaving."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve ``folder``, and yield its address without a slash at the end."""
    with _Server((LOCAL, 0), functools.partial(_Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://{LOCAL}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def find_chromium() -> str | None:
    """Find the executable that SIGCAM_BROWSER names, or the first browser on the PATH."""
    if named := os.environ.get("SIGCAM_BROWSER"):
        return str(user_path(named))
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium, without a way to any other host.

    Raises:
        SigcamError: if there is none.
    """
    executable = find_chromium()
    if executable is None:
        fail("no Chromium found: install one, or name it in SIGCAM_BROWSER.")
    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # Chromium's sandbox refuses root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=[*OFFLINE, *sandbox])
        yield browser
        browser.close()


def built_site(work_dir: Path) -> Path:
    """Find the folder of the built book.

    Raises:
        SigcamError: if it has not been built.
    """
    site = work_dir / "book" / "_build" / "html"
    if not (site / "index.html").is_file():
        fail(f"{site} holds no book: build it first (`make reproduce`).")
    return site

"""What tests in a browser share: where Chromium is, what a page may not do, and when a test may be skipped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, ConsoleMessage, Request, Response

from browse import LOCAL

AXE = Path(__file__).resolve().parent.parent / "node_modules" / "axe-core" / "axe.min.js"


def missing(what: str) -> NoReturn:
    """Skip the test, or fail it where SIGCAM_REQUIRE_BROWSER=1 says that nothing may be missing."""
    if os.environ.get("SIGCAM_REQUIRE_BROWSER") == "1":
        pytest.fail(f"SIGCAM_REQUIRE_BROWSER=1, but {what}", pytrace=False)
    pytest.skip(what)


def watch(context: BrowserContext) -> list[str]:
    """A list that fills with whatever the pages of a context should not do.

    These are errors and warnings on the console, errors that nobody caught, answers of 400 and above, and requests to
    any other host, which the browser lets go nowhere.
    """
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"console {message.type}: {message.text} ({message.location.get('url', '')})")

    def on_request(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob", "about") and address.hostname != LOCAL:
            complaints.append(f"request to another host: {request.url}")

    def on_response(response: Response) -> None:
        if response.status >= 400:
            complaints.append(f"{response.status}: {response.url}")

    context.on("console", on_console)
    context.on("weberror", lambda error: complaints.append(f"uncaught: {error.error}"))
    context.on("request", on_request)
    context.on("response", on_response)
    return complaints

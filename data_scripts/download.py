"""Downloads that survive a bad connection: a broken one goes on where it stopped, and the result is checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import pooch
import requests
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
    track,
)

from sigcam_core.common.errors import SigcamError, fail

ATTEMPTS = 5
# Doubled after every failure: 15 seconds in all.
FIRST_WAIT_SECONDS = 1.0
CONNECT_SECONDS, READ_SECONDS = 10, 60
# What has arrived of a chunk is lost when the connection breaks, so chunks are small.
CHUNK_BYTES = 1 << 16
THREADS = 16
# Refusals that may be lifted a moment later; other 4xx answers are final.
PASSING_STATUS = (408, 425, 429)

Report = Callable[[int, int | None], None]


class _BrokenOffError(Exception):
    """The transfer ended early or astray, and another attempt may mend it."""


def download(url: str, path: Path, checksum: str | None = None, advice: str = "try again later") -> Path:
    """Download one file with a progress bar; a part that an earlier run left behind is continued.

    Args:
        url: HTTP address; redirects are followed.
        path: file to write. It appears once it is complete and checked.
        checksum: ``algorithm:hexadecimal digest``, or None where none is published.
        advice: end of the sentence that tells of a failure: what to do by hand.

    Raises:
        SigcamError: if the server refuses, the connection keeps failing, or the bytes do not match the checksum.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task(path.name, total=None)
        _fetch(url, path, checksum, advice, lambda done, total: progress.update(task, completed=done, total=total))
    return path


def download_all(files: Sequence[tuple[str, Path]], description: str, advice: str = "try again later") -> None:
    """Download many small files side by side, those that are missing; the first failure stops the others.

    Args:
        files: addresses and the files to write.
        description: of the progress bar.
        advice: as for :func:`download`.

    Raises:
        SigcamError: as :func:`download`.
    """
    missing = [(url, path) for url, path in files if not path.exists()]
    if not missing:
        return
    with requests.Session() as session, ThreadPoolExecutor(THREADS) as pool:
        # One connection a thread is kept open: thousands of handshakes would cost more than the files.
        for scheme in ("http://", "https://"):
            session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=THREADS))
        jobs = [pool.submit(_fetch, url, path, None, advice, session=session) for url, path in missing]
        try:
            for job in track(as_completed(jobs), description, total=len(jobs)):
                job.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _fetch(
    url: str,
    path: Path,
    checksum: str | None,
    advice: str,
    report: Report = lambda done, total: None,
    session: requests.Session | None = None,
) -> None:
    # pooch checks the sum and moves the file into place; it would say so at every call.
    pooch.get_logger().setLevel("WARNING")
    downloader = partial(_download_part, part=_part(path), advice=advice, report=report, session=session)
    try:
        pooch.retrieve(url, known_hash=checksum, fname=path.name, path=path.parent, downloader=downloader)
    except SigcamError:
        raise
    except ValueError:
        fail(f"{path.name} from {url} does not match its checksum ({checksum}), so it was removed: {advice}.")


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _download_part(
    url: str, output: str, _: Any, *, part: Path, advice: str, report: Report, session: requests.Session | None
) -> None:
    """A downloader for pooch that continues ``part`` until it is whole, then moves it to ``output``."""
    reason: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
        try:
            _continue_part(url, part, advice, report, session)
        except (
            _BrokenOffError,
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            reason = error
        except requests.RequestException as error:
            fail(f"{url} cannot be downloaded ({type(error).__name__}): {advice}.")
        else:
            part.replace(output)
            return
    kept = f"; what has arrived is kept in {part}, and the same command goes on from there" if part.exists() else ""
    fail(f"{url} could not be downloaded in {ATTEMPTS} attempts ({type(reason).__name__}{kept}): {advice}.")


def _continue_part(url: str, part: Path, advice: str, report: Report, session: requests.Session | None) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    with (session or requests).get(url, headers=headers, stream=True, timeout=timeout) as response:
        content_range = response.headers.get("Content-Range", "")
        if response.status_code == 416:
            # Nothing is left to send: the part is whole, or longer than the file and so not a part of it.
            if content_range == f"bytes */{have}":
                return
            part.unlink()
            raise _BrokenOffError
        if response.status_code >= 500 or response.status_code in PASSING_STATUS:
            raise _BrokenOffError
        if response.status_code >= 400:
            fail(f"{url} cannot be downloaded ({response.status_code} {response.reason}): {advice}.")
        resumed = response.status_code == 206
        if resumed and not content_range.startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise _BrokenOffError
        # A server that ignores the Range header sends the file from its beginning.
        done = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                report(done, total)
    # urllib3 2 tells of an early end itself, urllib3 1 does not.
    if total is not None and done != total:
        raise _BrokenOffError

"""Downloads that survive a bad connection: a broken one goes on where it stopped, and the result is checked."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import pooch
import requests
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
    track,
)
from urllib3.util import Retry

from sigcam_core.common.errors import SigcamError, fail

ATTEMPTS = 5
# Doubled after every failure: about 15 seconds in all.
FIRST_WAIT_SECONDS = 1.0
# A server may ask for hours (Retry-After), in which a program seems to hang.
LONGEST_WAIT_SECONDS = 60
CONNECT_SECONDS, READ_SECONDS = 10, 60
# What has arrived of a chunk is lost when the connection breaks, so chunks are small.
CHUNK_BYTES = 1 << 16
THREADS = 16
MOST_BYTES = 300 * 10**9  # twice the largest archive, that of ImageNet's training images
# Refusals that may be lifted a moment later; other 4xx answers are final.
PASSING_STATUS = (408, 425, 429, *range(500, 600))

Report = Callable[[int, int | None], None]


class _BrokenOffError(Exception):
    """The transfer ended early or went wrong, and another attempt may succeed."""


class _EndlessError(Exception):
    """More came than any file here has."""


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
    with Progress(*columns, TimeRemainingColumn()) as progress, _start_session() as session:
        task = progress.add_task(escape(path.name), total=None)

        def report(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        _fetch(session, url, path, checksum, advice, report)
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
    # One connection a thread is kept open: thousands of handshakes would cost more than the files.
    with _start_session(THREADS) as session, ThreadPoolExecutor(THREADS) as pool:
        jobs = [pool.submit(_fetch, session, url, path, None, advice) for url, path in missing]
        try:
            for job in track(as_completed(jobs), description, total=len(jobs)):
                job.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start_session(connections: int = 1) -> requests.Session:
    """Start a session in which urllib3 retries requests that get no answer or a temporary refusal, after a wait."""
    retry = Retry(
        total=ATTEMPTS - 1,
        status_forcelist=PASSING_STATUS,
        backoff_factor=FIRST_WAIT_SECONDS,
        retry_after_max=LONGEST_WAIT_SECONDS,
    )
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=connections, max_retries=retry))
    return session


def _fetch(
    session: requests.Session,
    url: str,
    path: Path,
    checksum: str | None,
    advice: str,
    report: Report = lambda done, total: None,
) -> None:
    # pooch checks the sum and moves the file into place; it would say so at every call.
    pooch.get_logger().setLevel("WARNING")
    downloader = partial(_download_part, session=session, part=_part(path), advice=advice, report=report)
    try:
        pooch.retrieve(url, known_hash=checksum, fname=path.name, path=path.parent, downloader=downloader)
    except SigcamError:
        raise
    except ValueError:
        fail(f"{path.name} from {url} does not match its checksum ({checksum}), so it was removed: {advice}.")


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _download_part(
    url: str, output: str, _: Any, *, session: requests.Session, part: Path, advice: str, report: Report
) -> None:
    """Download for pooch: continue ``part`` until it is whole, then move it to ``output``."""
    reason = ""
    # urllib3 repeats requests, not transfers: one that breaks off in the middle is ours to go on with.
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
        try:
            _continue_part(session, url, part, advice, report)
        except _BrokenOffError as error:
            reason = str(error)
        except requests.exceptions.RetryError as error:
            reason = str(error.args[0].reason)  # such as "too many 503 error responses"
            break  # here and below: the session has made all attempts
        except (requests.ConnectionError, requests.Timeout) as error:
            reason = type(error).__name__
            break
        except requests.RequestException as error:
            fail(f"{url} cannot be downloaded ({type(error).__name__}): {advice}.")
        else:
            part.replace(output)
            _version(part).unlink(missing_ok=True)
            return
    kept = f"; what has arrived is kept in {part}, and the same command goes on from there" if part.exists() else ""
    fail(f"{url} could not be downloaded in {ATTEMPTS} attempts ({reason}{kept}): {advice}.")


def _continue_part(session: requests.Session, url: str, part: Path, advice: str, report: Report) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | (_wanted(part, have) if have else {})
    timeout = (CONNECT_SECONDS, READ_SECONDS)
    with session.get(url, headers=headers, stream=True, timeout=timeout) as response:
        content_range = response.headers.get("Content-Range", "")
        if response.status_code == 416:
            # Nothing is left to send: the part is whole, or longer than the file and so not a part of it.
            if content_range == f"bytes */{have}":
                return
            part.unlink()
            _version(part).unlink(missing_ok=True)
            raise _BrokenOffError("the part was no part of it")
        if response.status_code >= 400:
            fail(f"{url} cannot be downloaded ({response.status_code} {response.reason}): {advice}.")
        _check_is_file(url, response, advice)
        resumed = response.status_code == 206
        if resumed and not content_range.startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise _BrokenOffError("other bytes came than were asked for")
        # A server that ignores the Range header sends the file from its beginning.
        done = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        _check_room(url, part, int(length or 0))
        _note_version(part, response)
        try:
            with part.open("ab" if resumed else "wb") as file:
                # urllib3 2 raises where the transfer ends early.
                for chunk in response.iter_content(CHUNK_BYTES):
                    done += len(chunk)
                    if done > MOST_BYTES:
                        raise _EndlessError
                    file.write(chunk)
                    report(done, total)
        except requests.RequestException as error:
            raise _BrokenOffError(type(error).__name__) from error
        except _EndlessError:
            part.unlink()
            _version(part).unlink(missing_ok=True)
            fail(f"{url} sends more than {MOST_BYTES // 10**9} GB, which no data set here has: {advice}.")


def _version(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _note_version(part: Path, response: requests.Response) -> None:
    """Keep what the server says of the version of its file, by which the next request asks for the rest of that one."""
    tag = response.headers.get("ETag", "")
    stated = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")
    if stated:
        _version(part).write_text(stated, encoding="utf-8")
    else:
        _version(part).unlink(missing_ok=True)


def _wanted(part: Path, have: int) -> dict[str, str]:
    """Headers that ask for the rest, or for the whole file if it is no longer the one that the part is of."""
    version = _version(part)
    return {"Range": f"bytes={have}-"} | ({"If-Range": version.read_text(encoding="utf-8")} if version.exists() else {})


def _check_is_file(url: str, response: requests.Response, advice: str) -> None:
    """Refuse a page in place of a file, such as one that asks to log in, and a way to the file that others can read.

    Raises:
        SigcamError: saying which.
    """
    addresses = [url, *(step.headers.get("Location", "") for step in response.history), response.url]
    if url.startswith("https:") and any(address.startswith("http:") for address in addresses):
        fail(f"{url} leads to an address without encryption, {response.url}, where the file may be changed: {advice}.")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        fail(f"{url} gives a web page in place of the file: open it in a browser, see what it asks for, then {advice}.")


def _check_room(url: str, part: Path, length: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if length > free:
        fail(f"{url} has {length / 1e9:.1f} GB to come, and {part.parent} has room for {free / 1e9:.1f} GB: make room.")

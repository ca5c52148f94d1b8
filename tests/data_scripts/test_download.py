"""Downloads against a local server that truncates, resets, redirects, refuses and lies."""

import hashlib
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from data_scripts import download as downloads
from data_scripts.download import download, download_all
from sigcam_core.common.errors import SigcamError

CONTENT = bytes(range(256)) * 4096
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@dataclass
class Server:
    """``script`` says what to do with each request in turn; when it is used up, the server behaves."""

    url: str = ""
    script: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    version: str = ""


class Handler(BaseHTTPRequestHandler):
    state: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.state.ranges.append(self.headers["Range"])
        self.state.paths.append(self.path)
        act = self.state.script.pop(0) if self.state.script else "behave"
        start = int(self.headers["Range"].split("=")[1].rstrip("-")) if self.headers["Range"] else 0
        version = {"ETag": self.state.version} if self.state.version else {}
        if self.headers["If-Range"] not in (None, self.state.version):
            start = 0  # the file is no longer that of which a part is there
        if act == "page":
            return self.answer(200, b"<html>Log in</html>", **{"Content-Type": "text/html; charset=utf-8"})
        if act.startswith("to "):
            return self.answer(302, b"", Location=act.removeprefix("to "))
        if act == "redirect":
            return self.answer(302, b"", Location=f"{self.state.url}/elsewhere")
        if act == "later":
            return self.answer(503, b"", **{"Retry-After": "3600"})
        if act.isdigit():
            return self.answer(int(act), b"not here")
        if start >= len(CONTENT):
            return self.answer(416, b"", **{"Content-Range": f"bytes */{len(CONTENT)}"})
        if act == "wrong":
            return self.answer(200, CONTENT[::-1])
        if act == "lie":
            start, claimed = 0, f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"
            return self.answer(206, CONTENT, **{"Content-Range": claimed})
        if act == "ignore range":
            start = 0
        body = CONTENT[start:]
        extra = {"Content-Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
        extra |= version
        if act in ("truncate", "reset"):
            self.answer(206 if start else 200, body[: len(body) // 2], length=len(body), **extra)
            if act == "reset":
                # Closing with this option sends RST instead of FIN.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            return None
        return self.answer(206 if start else 200, body, **extra)

    def answer(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "FIRST_WAIT_SECONDS", 0)
    state = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Scripted", (Handler,), {"state": state}))
    http.handle_error = lambda *_: None  # a connection that was reset on purpose
    state.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.mark.parametrize(
    ("script", "requests"),
    [
        ([], 1),
        (["truncate"], 2),
        (["truncate", "truncate", "truncate"], 4),
        (["reset", "reset"], 3),
        (["redirect"], 2),
        (["truncate", "redirect"], 3),
        (["truncate", "ignore range"], 2),
        (["truncate", "lie"], 3),
        (["503", "429"], 3),
    ],
)
def test_a_bad_connection_is_mended(server: Server, tmp_path: Path, script: list[str], requests: int) -> None:
    server.script = script
    path = download(f"{server.url}/file.zip", tmp_path / "file.zip", CHECKSUM)
    assert path.read_bytes() == CONTENT
    assert len(server.ranges) == requests
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.zip"]


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.script = ["truncate", "truncate"]
    download(f"{server.url}/file.zip", tmp_path / "file.zip", CHECKSUM)
    assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-", f"bytes={len(CONTENT) * 3 // 4}-"]


def test_attempts_are_bounded_and_the_next_run_goes_on(server: Server, tmp_path: Path) -> None:
    server.script = ["truncate"] * downloads.ATTEMPTS
    with pytest.raises(SigcamError, match=r"could not be downloaded in 5 attempts .*kept in .*\.part.*: do it by hand"):
        download(f"{server.url}/file.zip", tmp_path / "file.zip", CHECKSUM, advice="do it by hand")
    assert not (tmp_path / "file.zip").exists()
    kept = (tmp_path / "file.zip.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    download(f"{server.url}/file.zip", tmp_path / "file.zip", CHECKSUM)
    assert server.ranges[-1] == f"bytes={kept}-"
    assert (tmp_path / "file.zip").read_bytes() == CONTENT


def test_a_part_that_was_whole_needs_no_byte_more(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(CONTENT)
    download(f"{server.url}/file.zip", tmp_path / "file.zip", CHECKSUM)
    assert len(server.ranges) == 1


def test_a_part_longer_than_the_file_is_no_part_of_it(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(CONTENT * 2)
    download(f"{server.url}/file.zip", tmp_path / "file.zip", CHECKSUM)
    assert server.ranges == [f"bytes={2 * len(CONTENT)}-", None]


def test_wrong_bytes_are_refused_and_removed(server: Server, tmp_path: Path) -> None:
    server.script = ["wrong"]
    with pytest.raises(
        SigcamError, match=r"file.zip from .* does not match its checksum \(sha256:.*removed: try again"
    ):
        download(f"{server.url}/file.zip", tmp_path / "file.zip", CHECKSUM)
    assert list(tmp_path.iterdir()) == []


def test_a_final_refusal_is_not_repeated(server: Server, tmp_path: Path) -> None:
    server.script = ["404"]
    with pytest.raises(SigcamError, match=r"cannot be downloaded \(404 Not Found\): try again later\.$"):
        download(f"{server.url}/file.zip", tmp_path / "file.zip", CHECKSUM)
    assert len(server.ranges) == 1


def test_a_server_that_asks_to_wait_is_waited_for_but_not_for_hours(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "LONGEST_WAIT_SECONDS", 1)
    server.script = ["later"]
    start = time.monotonic()
    download(f"{server.url}/file.zip", tmp_path / "file.zip", CHECKSUM)
    assert 1 <= time.monotonic() - start < 30
    assert len(server.ranges) == 2


def test_a_refusal_that_stays_is_one_sentence_and_the_part_is_kept(server: Server, tmp_path: Path) -> None:
    server.script = ["truncate", *["503"] * downloads.ATTEMPTS]
    with pytest.raises(
        SigcamError, match=r"in 5 attempts \(too many 503 error responses; what has .*\.part.*: try again"
    ):
        download(f"{server.url}/file.zip", tmp_path / "file.zip", CHECKSUM)
    assert len(server.ranges) == 1 + downloads.ATTEMPTS
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.zip.part"]


def test_no_server_is_one_sentence(server: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(SigcamError, match=r"in 5 attempts \(ConnectionError\): try again later"):
        download(f"http://127.0.0.1:{port}/file.zip", tmp_path / "file.zip")
    with pytest.raises(SigcamError, match=r"cannot be downloaded \(InvalidURL\)"):
        download("http://", tmp_path / "file.zip")


@pytest.mark.parametrize("changed", [False, True])
def test_a_part_of_a_file_that_has_changed_is_not_gone_on_with(server: Server, tmp_path: Path, changed: bool) -> None:
    server.version, server.script = '"first"', ["truncate"] * downloads.ATTEMPTS
    with pytest.raises(SigcamError, match="could not be downloaded in 5 attempts"):
        download(f"{server.url}/file.zip", tmp_path / "file.zip")
    part = tmp_path / "file.zip.part"
    part.write_bytes(b"?" + part.read_bytes()[1:])  # what came then, which no checksum will tell apart
    server.version = '"second"' if changed else '"first"'
    download(f"{server.url}/file.zip", tmp_path / "file.zip")
    assert (tmp_path / "file.zip").read_bytes()[:1] == (CONTENT[:1] if changed else b"?")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.zip"]


def test_a_page_in_place_of_a_file_is_refused(server: Server, tmp_path: Path) -> None:
    server.script = ["page"]
    with pytest.raises(SigcamError, match=r"gives a web page in place of the file: open it .*, then try again later"):
        download(f"{server.url}/file.zip", tmp_path / "file.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_way_to_another_kind_of_address_is_refused(server: Server, tmp_path: Path) -> None:
    server.script = ["to file:///etc/hostname"]
    with pytest.raises(SigcamError, match=r"cannot be downloaded \(InvalidSchema\)"):
        download(f"{server.url}/file.zip", tmp_path / "file.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "reached", "is_refused"),
    [
        ("https://a.org/f", "http://a.org/f", True),
        ("https://a.org/f", "https://cdn.net/f", False),
        ("http://a.org/f", "http://b.org/f", False),
        ("http://a.org/f", "https://a.org/f", False),
    ],
)
def test_encryption_is_not_given_up_on_the_way(asked: str, reached: str, is_refused: bool) -> None:
    response = requests.Response()
    response.url = reached
    if is_refused:
        with pytest.raises(SigcamError, match=r"leads to an address without encryption, http://a\.org/f"):
            downloads._check_is_file(asked, response, "try again")
    else:
        downloads._check_is_file(asked, response, "try again")


def test_what_has_no_room_or_no_end_is_refused(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "MOST_BYTES", len(CONTENT) - 1)
    with pytest.raises(SigcamError, match="sends more than 0 GB, which no data set here has"):
        download(f"{server.url}/file.zip", tmp_path / "file.zip")
    assert list(tmp_path.iterdir()) == []
    usage = shutil.disk_usage(tmp_path)._replace(free=len(CONTENT) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SigcamError, match=r"has 0.0 GB to come, and .* has room for 0.0 GB: make room"):
        download(f"{server.url}/file.zip", tmp_path / "file.zip")


def test_many_files_come_side_by_side_and_those_there_are_left(server: Server, tmp_path: Path) -> None:
    server.script = ["truncate", "503"]
    (tmp_path / "0.jpg").write_bytes(b"here already")
    files = [(f"{server.url}/{index}.jpg", tmp_path / f"{index}.jpg") for index in range(40)]
    download_all(files, "downloading")
    assert (tmp_path / "0.jpg").read_bytes() == b"here already"
    assert all(path.read_bytes() == CONTENT for _, path in files[1:])
    assert len(server.paths) == 39 + 2
    download_all(files, "downloading")
    assert len(server.paths) == 39 + 2


def test_one_failure_among_many_stops_them_with_its_sentence(server: Server, tmp_path: Path) -> None:
    server.script = ["404"]
    files = [(f"{server.url}/{index}.jpg", tmp_path / f"{index}.jpg") for index in range(200)]
    with pytest.raises(SigcamError, match="404 Not Found"):
        download_all(files, "downloading")
    assert len(server.paths) < 200

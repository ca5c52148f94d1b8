"""Miniature archives in the layouts of the real ones."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from data_scripts import metadata
from data_scripts.small_archives import Files, encoded, tar_bytes, text, write_tar, write_zip

__all__ = ["Files", "encoded", "jpeg", "pin_metadata", "serve", "tar_bytes", "text", "write_tar", "write_zip"]


def jpeg(width: int = 8, height: int = 6, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return encoded(pixels, "JPEG")


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """A local web server of a folder; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pin_metadata(monkeypatch: pytest.MonkeyPatch, folder: Path, texts: Files) -> None:
    """Write miniature metadata below ``folder`` and pin their checksums in place of the published ones."""
    pins = {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in texts.items()}
    published = metadata.pinned()
    own = {name: replace(published[name], size=len(texts[name]), checksum=pin) for name, pin in pins.items()}
    monkeypatch.setattr(metadata, "pinned", lambda: own)
    for name, content in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

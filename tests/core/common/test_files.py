"""JSON files that are none, of every kind of damage, in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json, write_json

DAMAGED = {
    "latin-1": '{"name": "café"}'.encode("latin-1"),
    "utf-16": '{"a": 1}'.encode("utf-16"),
    "a mark of bytes": b"\xef\xbb\xbf{}",
    "zeros": bytes(8),
    "no end of digits": b"1" * 5000,
    "brackets in brackets": b"[" * 100_000,
    "cut off": b'{"a": [1,',
    "nothing": b"",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(DAMAGED[kind])
    with pytest.raises(SigcamError, match=rf"^{path} is not valid JSON \(.*\): delete it and run the step that writes"):
        read_json(path)
    write_json(path, {"a": "é"})
    assert read_json(path) == {"a": "é"}

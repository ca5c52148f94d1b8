"""A photo of one's own: the class that is meant, the map of it, and sentences where something is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sigcam_core.__main__ import main
from sigcam_core.ask.explain import Question, explain_photo, find_class
from sigcam_core.common.errors import SigcamError

NAMES = ["tabby", "tiger cat", "Egyptian cat", "tiger", "bulbul"]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a cost of $5 and $x_{ 'photo'.png"  # as file names may be
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(
    ("wanted", "found"), [("tabby", 0), ("TIGER", 3), ("egypt", 2), ("4", 4), ("ger c", 1), ("bulbul", 4)]
)
def test_a_class_is_found_by_name_part_or_index(wanted: str, found: int) -> None:
    assert find_class(wanted, NAMES) == found


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("cat", r"'cat' may be tiger cat \(1\), Egyptian cat \(2\): give more of the name, or the index"),
        ("dog", "no class is called 'dog': give a part of its name, or its index from 0 to 4"),
        ("5", "there is no class 5: give a name, or an index from 0 to 4"),
    ],
)
def test_a_class_that_is_not_meant_is_not_taken(wanted: str, sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        find_class(wanted, NAMES)


def test_the_command_draws_the_map_and_tells_the_likeliest_classes(
    photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = photo.parent / "heat.png"
    arguments = ["explain", str(photo), "--class", "goldfish", "--scalar", "log_odds", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["sigcam_core", *arguments])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    shares = [float(line.split("%")[0]) for line in lines[:5]]
    assert shares == sorted(shares, reverse=True)
    assert lines[-1] == f"saved the map of goldfish to {out}"
    with Image.open(out) as picture:
        assert picture.width > 800


def test_a_trained_sigmoid_head_is_explained_where_there_is_one(photo: Path) -> None:
    question = Question("efficientnet_lite0-tiny_imagenet", head="sigmoid", truncated=True, method="gradcam")
    answer = explain_photo(photo, photo.with_suffix(".svg"), question)
    assert answer.method == "gradcam"
    assert answer.class_name == answer.likeliest[0][0]
    assert answer.picture.stat().st_size > 1000
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("question", "name", "sentence"),
    [
        (Question(head="sigmoid"), "a.png", "efficientnet_lite0 has no trained sigmoid head: explain the softmax head"),
        (Question(model="resnet5000"), "a.png", "unknown backbone 'resnet5000'"),
        (Question(), "a.docx", "unknown ending of the picture '.docx': choose one of .*.png"),
        (Question(method="heat"), "a.png", "unknown method 'heat'"),
        (Question(scalar="joy"), "a.png", "unknown scalar 'joy'"),
    ],
)
def test_what_cannot_be_asked_is_said(question: Question, name: str, sentence: str, photo: Path) -> None:
    with pytest.raises(SigcamError, match=sentence):
        explain_photo(photo, photo.parent / name, question)
    assert not (photo.parent / name).exists()


def test_what_is_no_photo_is_said(tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match="it does not exist"):
        explain_photo(tmp_path / "none.jpg", tmp_path / "heat.png")


@pytest.mark.parametrize("spelling", ["{photo}", "{folder}/../{inside}/{name}", "{folder}/link.png", "~/{name}"])
def test_the_photo_is_never_written_over(spelling: str, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(photo.parent))
    (photo.parent / "link.png").symlink_to(photo)
    before = photo.read_bytes()
    out = spelling.format(photo=photo, folder=photo.parent, inside=photo.parent.name, name=photo.name)
    monkeypatch.setattr(sys, "argv", ["sigcam_core", "explain", str(photo), "--out", out])
    with pytest.raises(SigcamError, match=r"^the output .* is the input .*: choose another output\.$"):
        main()
    assert photo.read_bytes() == before
    assert (photo.parent / "link.png").is_symlink()


def test_a_home_that_no_shell_put_in_is_found(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(photo.parent))
    answer = explain_photo(Path("~") / photo.name, Path("~/heat.png"), Question(class_name="goldfish"))
    assert answer.picture == photo.parent / "heat.png"
    assert answer.picture.exists()

"""Files that are too large, cut short, of another format or no files at all are refused in one sentence."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_pictures import RGB, SIDE, pixels, png, save

from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.decode import FORMATS, LIMIT_VARIABLE, decode_values, image_size


def large_header(path: Path, width: int, height: int) -> Path:
    """A PNG that says it is large: its pixels are missing, so that whoever decodes them finds damage."""
    return png(path, (width, height, 8, 2), b"")


def test_a_large_picture_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = large_header(tmp_path / "large.png", 13_000, 13_000)
    sentence = (
        rf"large\.png has 13000 x 13000 pixels, more than the limit of 100 megapixels: make it smaller, or raise the "
        rf"limit by setting the environment variable {LIMIT_VARIABLE} to 169\."
    )
    for read in (pixels, decode_values, lambda path: image_size(path, f"image {path}", "fail")):
        with pytest.raises(SigcamError, match=sentence):
            read(path)
    monkeypatch.setenv(LIMIT_VARIABLE, "169")
    assert image_size(path, "image", "fail") == (13_000, 13_000)
    largest = large_header(tmp_path / "panorama.png", 100_000, 30_000)  # beyond what Pillow takes
    monkeypatch.setenv(LIMIT_VARIABLE, "3000")
    assert image_size(largest, "image", "fail") == (100_000, 30_000)


def test_the_limit_can_be_lowered_and_holds_to_the_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "small.png", RGB)
    monkeypatch.setenv(LIMIT_VARIABLE, "0.000256")
    np.testing.assert_array_equal(pixels(path), RGB)
    monkeypatch.setenv(LIMIT_VARIABLE, "0.000255")
    with pytest.raises(SigcamError, match=r"16 x 16 pixels, more than the limit of 0\.000255 megapixels"):
        pixels(path)


@pytest.mark.parametrize("text", ["many", "0", "-3", "nan"])
def test_a_limit_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = save(tmp_path / "small.png", RGB)
    monkeypatch.setenv(LIMIT_VARIABLE, text)
    with pytest.raises(SigcamError, match=rf"{LIMIT_VARIABLE} is '{text}': give it a number of megapixels"):
        pixels(path)


def test_what_pillow_finds_too_large_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "WEBP", lossless=True)
    content = bytearray(buffer.getvalue())
    content[21:25] = (16382 | 16382 << 14).to_bytes(4, "little")  # width and height, less one
    (tmp_path / "large.webp").write_bytes(content)
    with pytest.raises(
        SigcamError, match=r"large\.webp (is a WebP or GIF of more than 179 mega|has 16383 x 16383 pix)"
    ):
        pixels(tmp_path / "large.webp")


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n(x) run\n%%EOF\n"


@pytest.mark.parametrize(
    "content",
    [POSTSCRIPT, b"", b"broken", b"P6 1 1 255\nabc", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"RIFF....WAVEfmt "],
)
def test_another_format_is_refused_whatever_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    for read in (pixels, decode_values):
        with pytest.raises(
            SigcamError, match=r"damaged, or of a format other than JPEG, PNG, WebP, GIF, BMP and TIFF\): prepare the"
        ):
            read(path)


# Of a TIFF without its table of contents, Pillow also warns.
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_short_is_refused(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "picture", np.tile(RGB, (4, 4, 1)), format=kind)
    content = path.read_bytes()
    for length in (len(content) // 2, 20, 9):
        path.write_bytes(content[:length])
        for upright, remedy in ((False, "prepare the data set again"), (True, "give another photo")):
            with pytest.raises(SigcamError, match=rf"picture cannot be read \(it is damaged.*\): {remedy}\.$"):
                pixels(path, upright)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for path in (Path("/dev/zero"), tmp_path / "folder.png", tmp_path / "pipe.png"):
        for read in (pixels, decode_values, lambda path: image_size(path, "image", "give a file")):
            with pytest.raises(SigcamError, match="is a folder, a pipe or a device, not a file: "):
                read(path)


def test_a_missing_file_and_one_below_a_file_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "picture.png", RGB)
    with pytest.raises(SigcamError, match=r"image .*other\.png cannot be read \(it does not exist\): prepare the data"):
        pixels(tmp_path / "other.png")
    with pytest.raises(SigcamError, match=r"picture\.png/x cannot be read \(Not a directory\)"):
        pixels(path / "x")


def test_the_size_of_content_is_that_of_its_file(tmp_path: Path) -> None:
    path = save(tmp_path / "picture.jpg", RGB[:5])
    assert image_size(path.read_bytes(), "image", "fail") == image_size(path, "image", "fail") == (SIDE, 5)
    with pytest.raises(SigcamError, match=r"^image 3 cannot be read \(it is damaged, or of .*\): try again\.$"):
        image_size(b"no image", "image 3", "try again")

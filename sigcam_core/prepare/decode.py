"""Files of images and masks, decoded to 8 bits: what is taken, what is refused, and by what rule pixels are made.

Files are taken in the formats of :data:`FORMATS`, recognised by their first bytes and not by their names; of an
animation or a file of several pages, the first. Their pixels become 8-bit RGB, or what else of :data:`CHANNELS` a
network takes:

- 16 bits per channel: the upper 8, floor(v / 256). That takes 0..65535 to 0..255, and returns 8-bit values exactly that
  were stored in 16 bits, be it as 257 v or as 256 v. 12 bits of a TIFF: likewise, floor(v / 16).
- Numbers whose range the file does not tell (floats, signed or 32-bit ones) are refused, never guessed.
- Transparent pixels lie on :data:`BACKGROUND`: round(alpha c + (1 - alpha) 255), alpha in [0, 1]. What an invisible
  pixel hides is not shown.
- More than :data:`MOST_MEGAPIXELS` are refused by the file's header, before memory is taken.

Cameras store a photo as the sensor lay, with a note of how to turn it (EXIF orientation). A photo of one's own is
turned upright (``upright``). The images of data sets are not, since their published boxes refer to the pixels as
stored. A TIFF is an exception: it always arrives turned, and of the size it then has, since to Pillow that is decoding.
"""

from __future__ import annotations

import io
import math
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ExifTags import Base
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from ..common.errors import SigcamError, fail

FORMATS: dict[str, tuple[bytes, type[ImageFile]]] = {
    "JPEG": (rb"\xff\xd8\xff", JpegImageFile),
    "PNG": (rb"\x89PNG\r\n\x1a\n", PngImageFile),
    "WebP": (rb"RIFF....WEBP", WebPImageFile),
    "GIF": (rb"GIF8[79]a", GifImageFile),
    "BMP": (rb"BM", BmpImageFile),
    "TIFF": (rb"II[*+]\0|MM\0[*+]", TiffImageFile),
}
"""The formats that are opened, with a pattern of their first bytes and what reads them.

Not by ``PIL.Image.open``: that hands PostScript to another program, whatever the file is called, and warns of large
images by a limit that holds for the whole process.
"""
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
"""What an image becomes for a network of so many channels, as Pillow calls it.

Gray is 0.299 R + 0.587 G + 0.114 B, and the opacity of an image that tells of none is 255. With four channels, nothing
is laid on a background.
"""
BACKGROUND = (255, 255, 255)
"""White, on which transparent pixels lie."""
MOST_MEGAPIXELS = 100.0
"""Largest image that is decoded, in millions of pixels, unless :data:`LIMIT_VARIABLE` says otherwise."""
LIMIT_VARIABLE = "SIGCAM_MAX_MEGAPIXELS"
"""Environment variable that sets another limit."""

PREPARE_AGAIN = "prepare the data set again"
_NO_RANGE = {
    "F": "floating-point numbers, whose black and white the file does not tell",
    "I": "signed or 32-bit numbers, whose black and white the file does not tell",
    "LAB": "Lab colours",
}
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, struct.error)
"""What Pillow raises on damaged files; SyntaxError is its own choice, the others come from its parsers."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of each EXIF orientation upright; 1 is upright already."""


def decode_image(
    path: Path, size: int, upright: bool = False, channels: int = 3, remedy: str = ""
) -> npt.NDArray[np.uint8]:
    """Decode an image, squashed to a square by antialiased bilinear interpolation.

    Args:
        path: of the file.
        size: side wanted, pixels.
        upright: whether to turn it as its EXIF orientation says, for photos of one's own; data sets' images stay as
            they are stored.
        channels: a key of :data:`CHANNELS`.
        remedy: what to do if it cannot be read, without a full stop; empty for the usual advice.

    Returns:
        uint8 (size, size, channels).

    Raises:
        SigcamError: for another number of channels, or if the file is missing, damaged, no regular file, of another
            format, too large, or holds numbers of unknown range.
    """
    check_channels(channels)
    with _opened(path, f"image {path}", remedy or ("give another photo" if upright else PREPARE_AGAIN)) as image:
        turn = _TURNS.get(_orientation(image)) if upright else None
        picture = _eight_bits(image, path)
        picture = _opaque(picture) if channels < 4 else picture
        picture = picture if picture.mode == CHANNELS[channels] else picture.convert(CHANNELS[channels])
        if turn is not None:
            picture = picture.transpose(turn)
        # torchvision's Resize on a PIL image is this call.
        pixels = np.array(picture.resize((size, size), Image.Resampling.BILINEAR))
        return pixels.reshape(size, size, channels)


def check_channels(channels: int) -> None:
    """Refuse a number of channels that files of images do not have.

    Raises:
        SigcamError: unless it is a key of :data:`CHANNELS`.
    """
    if channels not in CHANNELS:
        fail(f"files of images give 1, 3 or 4 channels, not {channels}: pass the network tensors that are normalised.")


def decode_values(path: Path) -> npt.NDArray[np.uint8]:
    """Decode the numbers that a mask stores, at any bit depth; colours become gray, and transparency is dropped.

    Args:
        path: of the file.

    Returns:
        uint8 (H, W).

    Raises:
        SigcamError: as :func:`decode_image`, or if a number is none of 0, 1, ..., 255.
    """
    with _opened(path, f"mask {path}", PREPARE_AGAIN) as image:
        if image.mode in ("1", "P"):  # black and white are 0 and 1, and colours their places in the palette, as stored
            return np.array(image).astype(np.uint8)
        if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
            image.info.pop("transparency", None)  # Pillow warns of what is lost, though nothing else changes
            return np.array(image.convert("L"))
        numbers = np.array(image)
        if not np.isin(numbers, np.arange(256)).all():
            fail(f"mask {path} holds numbers other than 0, 1, ..., 255: save it with 8 bits per pixel.")
        return numbers.astype(np.uint8)


def image_size(source: Path | bytes, name: str, remedy: str, *, upright: bool = False) -> tuple[int, int]:
    """Width and height of an image in pixels, from its header alone.

    Args:
        source: path of the file, or its content.
        name: what sentences call the image.
        remedy: what to do if it cannot be read, without a full stop.
        upright: whether the size shall be that after turning, as in :func:`decode_image`.

    Raises:
        SigcamError: as :func:`decode_image`, as far as the header tells.
    """
    with _opened(source, name, remedy) as image:
        width, height = image.size
        turned = upright and _orientation(image) >= 5
        return (height, width) if turned else (width, height)


@contextmanager
def _opened(source: Path | bytes, name: str, remedy: str) -> Iterator[ImageFile]:
    """Open an image: its header is read, its pixels are not; damage found while it is open becomes an error message."""
    try:
        if isinstance(source, Path) and not stat.S_ISREG(source.stat().st_mode):
            fail(f"{name} is a folder, a pipe or a device, not a file: {remedy}.")
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            image = _header(file)
            if image is None:
                taken = f"{', '.join(list(FORMATS)[:-1])} and {list(FORMATS)[-1]}"
                _refuse(source, name, f"it is damaged, or of a format other than {taken}", remedy)
            _check_pixels(image.size, name)
            yield image
    except SigcamError:
        raise
    except Image.DecompressionBombError:  # Pillow's own limit, which it minds while it reads headers of two formats
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        fail(f"{name} is a WebP or GIF of more than {most:.0f} megapixels: make it smaller, or save it as PNG.")
    except _DAMAGE as error:
        if isinstance(error, FileNotFoundError):
            reason = "it does not exist"
        else:  # Pillow's own errors have no number
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is damaged"
        _refuse(source, name, reason, remedy)


def _refuse(source: Path | bytes, name: str, reason: str, remedy: str) -> NoReturn:
    """Say that a file cannot be read. One that a link leads to is the user's: preparing again does not repair it."""
    if remedy == PREPARE_AGAIN and isinstance(source, Path) and (own := source.resolve()) != source.absolute():
        name, remedy = name.replace(str(source), str(own)), f"delete it or save it again, and {PREPARE_AGAIN}"
    fail(f"{name} cannot be read ({reason}): {remedy}.")


def _header(file: BinaryIO) -> ImageFile | None:
    start = file.read(16)
    for pattern, kind in FORMATS.values():
        if re.match(pattern, start, re.DOTALL):
            file.seek(0)
            return kind(file)
    return None


def _check_pixels(size: tuple[int, int], name: str) -> None:
    text = os.environ.get(LIMIT_VARIABLE, "")
    try:
        limit = float(text or MOST_MEGAPIXELS)
    except ValueError:
        limit = math.nan
    if not limit > 0:
        fail(f"the environment variable {LIMIT_VARIABLE} is {text!r}: give it a number of megapixels, such as 200.")
    megapixels = size[0] * size[1] / 1e6
    if megapixels > limit:
        fail(
            f"{name} has {size[0]} x {size[1]} pixels, more than the limit of {limit:g} megapixels: make it smaller, "
            f"or raise the limit by setting the environment variable {LIMIT_VARIABLE} to {math.ceil(megapixels)}."
        )


def _orientation(image: ImageFile) -> int:
    if isinstance(image, TiffImageFile):
        return 1  # Pillow turns it
    try:
        return int(image.getexif().get(Base.Orientation, 1))
    except _DAMAGE:
        return 1  # as other programs do, which show a photo whose notes are damaged


def _eight_bits(image: ImageFile, path: Path) -> Image.Image:
    """Convert pixels to 8 bits per channel, as gray, RGB or RGBA, not turned; what is transparent stays so."""
    if image.mode in _NO_RANGE and not (image.mode == "I" and isinstance(image, PngImageFile)):
        fail(f"image {path} holds {_NO_RANGE[image.mode]}: convert it to gray or RGB of 8 or 16 bits per channel.")
    if image.mode.startswith("I"):
        return _upper_bits(image)
    image.load()
    key = image.info.get("transparency")
    if isinstance(key, tuple) and max(key) > 255:  # of 16-bit colours, whose upper bits Pillow has taken
        image.info["transparency"] = tuple(value >> 8 for value in key)
    if key is not None or "A" in image.getbands():
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _opaque(picture: Image.Image) -> Image.Image:
    """Put a picture on :data:`BACKGROUND` where it is transparent."""
    if picture.mode != "RGBA":
        return picture
    canvas = Image.new("RGB", picture.size, BACKGROUND)
    canvas.paste(picture, mask=picture)
    return canvas


def _upper_bits(image: ImageFile) -> Image.Image:
    """Take the upper 8 bits of 16-bit grays, as gray or RGBA."""
    bits, negative = 16, False
    if isinstance(image, TiffImageFile):
        bits = max(image.tag_v2.get(BITSPERSAMPLE, (16,)))
        negative = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0  # white is 0, which Pillow minds in 8 bits alone
    values = np.array(image)
    key = image.info.get("transparency")
    gray = (values >> (bits - 8)).astype(np.uint8)
    if key is not None:
        opacity = np.where(values == key, 0, 255).astype(np.uint8)
        return Image.fromarray(np.stack([gray, gray, gray, opacity], axis=2))
    return Image.fromarray(255 - gray if negative else gray)

"""Pictures of a few pixels, also of kinds that Pillow does not write."""

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sigcam_core.prepare.decode import decode_image

Pixels = npt.NDArray[np.uint8]
SIDE = 16
RGB = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def save(path: Path, picture: Image.Image | npt.NDArray[np.generic], **options: object) -> Path:
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
    return path


def pixels(path: Path, upright: bool = False) -> Pixels:
    """The file's pixels: at their own size, nothing is interpolated."""
    return decode_image(path, SIDE, upright)


def tiff(path: Path, data: bytes, bits: int, photometric: int, byte_order: str = "<") -> Path:
    """A TIFF of SIDE x SIDE grays in one strip, of kinds that Pillow does not write."""
    tags = [(256, SIDE), (257, SIDE), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, SIDE)]
    entries = [struct.pack(f"{byte_order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags]
    entries.append(struct.pack(f"{byte_order}HHII", 279, 4, 1, len(data)))
    start = struct.pack(f"{byte_order}2sHI", b"II" if byte_order == "<" else b"MM", 42, 8 + len(data))
    path.write_bytes(start + data + struct.pack(f"{byte_order}H", len(entries)) + b"".join(entries) + bytes(4))
    return path


def png(path: Path, header: tuple[int, int, int, int], lines: bytes, extra: bytes = b"") -> Path:
    """A PNG of a kind that Pillow does not write: width, height, bits and type of colour, and its filtered lines."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    chunks = [chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0)), chunk(b"tRNS", extra) if extra else b""]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join([*chunks, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")])
    )
    return path


def png_lines(values: npt.NDArray[np.uint16]) -> bytes:
    return b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)


def coloured_folders(folder: Path, classes: dict[str, int]) -> Path:
    """Folders of pictures, each class in a colour of its own, with noise."""
    generator = np.random.default_rng(0)
    for channel, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            picture = generator.integers(0, 90, (24, 32, 3), dtype=np.uint8)
            picture[..., channel % 3] += 150
            save(folder / name / f"{number}.png", picture)
    return folder

"""Pictures as people have them arrive with the right 8-bit pixels, or are refused where these cannot be known."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_pictures import RGB, SIDE, Pixels, pixels, png, png_lines, save, tiff

from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.decode import decode_image, decode_values, image_size

GRAY = RGB[..., 0]
DEEP = np.random.default_rng(1).integers(0, 65536, (SIDE, SIDE), dtype=np.uint16)
DEEP[0, :4] = [0, 255, 256, 65535]


def three(gray: Pixels) -> Pixels:
    return np.repeat(gray[..., None], 3, axis=2)


# More than 8 bits


def test_sixteen_bits_of_gray_lose_their_lower_half(tmp_path: Path) -> None:
    expected = three((DEEP // 256).astype(np.uint8))
    little, big = (DEEP.astype(order).tobytes() for order in ("<u2", ">u2"))
    files = [
        save(tmp_path / "gray.png", DEEP),
        save(tmp_path / "gray.tif", DEEP),
        tiff(tmp_path / "little.tif", little, 16, 1),
        tiff(tmp_path / "big.tif", big, 16, 1, ">"),
        tiff(tmp_path / "negative.tif", (65535 - DEEP).astype("<u2").tobytes(), 16, 0),
    ]
    for path in files:
        np.testing.assert_array_equal(pixels(path), expected, err_msg=path.name)
    assert pixels(files[0])[0, :4, 0].tolist() == [0, 0, 1, 255]


def test_sixteen_bits_of_colour_lose_their_lower_half(tmp_path: Path) -> None:
    colours = np.stack([DEEP, DEEP.T, 65535 - DEEP], axis=-1)
    path = png(tmp_path / "rgb.png", (SIDE, SIDE, 16, 2), png_lines(colours))
    np.testing.assert_array_equal(pixels(path), colours // 256)


@pytest.mark.parametrize("factor", [256, 257])
def test_eight_bits_that_were_stored_in_sixteen_come_back(tmp_path: Path, factor: int) -> None:
    path = save(tmp_path / "gray.png", (GRAY.astype(np.uint16) * factor).astype(np.uint16))
    np.testing.assert_array_equal(pixels(path), three(GRAY))


def test_twelve_bits_are_not_taken_for_sixteen(tmp_path: Path) -> None:
    values = DEEP // 16  # 0..4095
    packed = bytearray()
    for first, second in values.reshape(-1, 2).tolist():  # two in three bytes
        packed += bytes([first >> 4, (first & 15) << 4 | second >> 8, second & 255])
    path = tiff(tmp_path / "gray.tif", bytes(packed), 12, 1)
    np.testing.assert_array_equal(pixels(path), three((values // 16).astype(np.uint8)))


@pytest.mark.parametrize(
    ("picture", "what"),
    [
        (Image.fromarray(GRAY.astype(np.float32)), "floating-point numbers"),
        (Image.fromarray(GRAY.astype(np.float32) / 255), "floating-point numbers"),
        (Image.fromarray(GRAY.astype(np.int32)), "signed or 32-bit numbers"),
        (Image.fromarray(RGB).convert("LAB"), "Lab colours"),
    ],
)
def test_numbers_of_unknown_range_are_refused(tmp_path: Path, picture: Image.Image, what: str) -> None:
    path = save(tmp_path / "deep.tif", picture)
    with pytest.raises(SigcamError, match=rf"deep\.tif holds {what}.*: convert it to gray or RGB of 8 or 16 bits"):
        pixels(path)


# Masks: numbers, not light


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32])
def test_a_mask_keeps_its_numbers_whatever_its_bits(tmp_path: Path, kind: type[np.generic]) -> None:
    mask = np.random.default_rng(0).choice([0, 1, 255], (5, 7))
    np.testing.assert_array_equal(decode_values(save(tmp_path / "mask.tif", mask.astype(kind))), mask)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(256, np.uint16), (65535, np.uint16), (-1, np.int32), (256, np.int32), (0.5, np.float32), (np.nan, np.float32)],
)
def test_a_mask_of_other_numbers_is_refused(tmp_path: Path, value: float, kind: type[np.generic]) -> None:
    path = save(tmp_path / "mask.tif", np.full((4, 4), value, kind))
    with pytest.raises(SigcamError, match=r"mask\.tif holds numbers other than 0, 1, \.\.\., 255: save it with 8 bits"):
        decode_values(path)


def test_transparency_of_a_mask_is_no_matter(tmp_path: Path) -> None:
    layer = np.stack([GRAY, 255 - GRAY], axis=-1)
    np.testing.assert_array_equal(decode_values(save(tmp_path / "la.png", Image.fromarray(layer, "LA"))), GRAY)
    palette = Image.fromarray(GRAY).convert("P")
    path = save(tmp_path / "p.png", palette, transparency=bytes(range(256)))
    np.testing.assert_array_equal(decode_values(path), np.array(palette.convert("L")))


# Transparency


def on_white(colours: Pixels, alpha: Pixels) -> Pixels:
    share = alpha[..., None].astype(np.float64) / 255
    return np.floor(share * colours + (1 - share) * 255 + 0.5).astype(np.uint8)


def test_transparent_pixels_lie_on_white(tmp_path: Path) -> None:
    alpha = np.random.default_rng(2).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    alpha[0, :2] = [0, 255]
    rgba = Image.fromarray(np.dstack([RGB, alpha]))
    for kind, options in (("png", {}), ("webp", {"lossless": True, "exact": True}), ("tif", {})):
        path = save(tmp_path / f"rgba.{kind}", rgba, **options)
        np.testing.assert_array_equal(pixels(path), on_white(RGB, alpha), err_msg=kind)
    assert pixels(tmp_path / "rgba.png")[0, 0].tolist() == [255, 255, 255]
    gray = save(tmp_path / "la.png", Image.fromarray(np.dstack([GRAY, alpha]), "LA"))
    np.testing.assert_array_equal(pixels(gray), on_white(three(GRAY), alpha))


def test_transparent_colours_of_a_palette_lie_on_white(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB).quantize(8)
    indices, colours = np.array(palette), np.array(palette.convert("RGB"))
    alphas = np.array([0, 128, 255, 7, 255, 255, 255, 255], dtype=np.uint8)
    path = save(tmp_path / "p.png", palette, transparency=alphas.tobytes())
    np.testing.assert_array_equal(pixels(path), on_white(colours, alphas[indices]))
    gif = save(tmp_path / "p.gif", palette, transparency=3)
    np.testing.assert_array_equal(pixels(gif), np.where((indices == 3)[..., None], 255, colours))


def test_a_transparent_colour_lies_on_white(tmp_path: Path) -> None:
    gray = save(tmp_path / "gray.png", GRAY, transparency=int(GRAY[3, 4]))
    np.testing.assert_array_equal(pixels(gray), three(np.where(np.equal(GRAY, GRAY[3, 4]), 255, GRAY).astype(np.uint8)))
    rgb = save(tmp_path / "rgb.png", RGB, transparency=tuple(RGB[3, 4].tolist()))
    there = np.equal(RGB, RGB[3, 4]).all(axis=2, keepdims=True)
    np.testing.assert_array_equal(pixels(rgb), np.where(there, 255, RGB))
    key = int(DEEP[3, 4])
    deep = save(tmp_path / "deep.png", DEEP, transparency=key)
    np.testing.assert_array_equal(pixels(deep), three(np.where(np.equal(DEEP, key), 255, DEEP // 256).astype(np.uint8)))
    colours = np.stack([DEEP, DEEP.T, 65535 - DEEP], axis=-1)
    key_of_three = colours[3, 4]
    path = png(tmp_path / "x.png", (SIDE, SIDE, 16, 2), png_lines(colours), key_of_three.astype(">u2").tobytes())
    there = (colours // 256 == key_of_three // 256).all(axis=2, keepdims=True)
    np.testing.assert_array_equal(pixels(path), np.where(there, 255, colours // 256))


# What is right without any rule


def test_files_that_need_no_rule_come_as_pillow_reads_them(tmp_path: Path) -> None:
    picture = Image.fromarray(RGB)
    opaque = picture.convert("RGBA")
    frames = [picture.quantize(8), Image.new("P", (SIDE, SIDE))]
    files = [
        save(tmp_path / "rgb.jpg", picture),
        save(tmp_path / "progressive.jpg", picture, progressive=True),
        save(tmp_path / "gray.jpg", GRAY),
        save(tmp_path / "cmyk.jpg", picture.convert("CMYK")),
        save(tmp_path / "rgb.png", picture),
        save(tmp_path / "gray.png", GRAY),
        save(tmp_path / "line art.png", picture.convert("1")),
        save(tmp_path / "palette.png", frames[0]),
        save(tmp_path / "opaque.png", opaque),
        save(tmp_path / "lossy.webp", picture),
        save(tmp_path / "rgb.bmp", picture),
        save(tmp_path / "palette.bmp", frames[0]),
        save(tmp_path / "packed.tif", picture, compression="tiff_lzw"),
        save(tmp_path / "plain.tif", picture),
        save(tmp_path / "cmyk.tif", picture.convert("CMYK")),
        save(tmp_path / "animated.gif", frames[0], save_all=True, append_images=frames[1:]),
        save(tmp_path / "animated.webp", picture, save_all=True, append_images=[Image.new("RGB", (SIDE, SIDE))]),
        save(tmp_path / "two pages.tif", picture, save_all=True, append_images=[Image.new("RGB", (SIDE, SIDE))]),
        save(tmp_path / "a png.jpg", picture, format="PNG"),
        save(tmp_path / "a jpeg.png", picture, format="JPEG"),
        save(tmp_path / "no suffix", picture, format="PNG"),
        save(tmp_path / "phone.jpg", picture, format="MPO", save_all=True, append_images=[picture]),
        save(tmp_path / "Zürich 東京 \N{CAT FACE}.png", picture),
        save(tmp_path / 'it\'s "quoted"\nand in two lines.png', picture),
    ]
    for path in files:
        with Image.open(path) as opened:
            expected = np.array(opened.convert("RGB"))
        np.testing.assert_array_equal(pixels(path), expected, err_msg=path.name)
        assert image_size(path, "image", "fail") == (SIDE, SIDE)
    for name in ("rgb.png", "opaque.png", "rgb.bmp", "plain.tif", "packed.tif", "a png.jpg", "no suffix"):
        np.testing.assert_array_equal(pixels(tmp_path / name), RGB, err_msg=name)


def test_a_webp_is_known_by_its_name_in_the_file_whatever_its_length(tmp_path: Path) -> None:
    path, notes = tmp_path / "picture.webp", b"x"
    while save(path, RGB, lossless=True, xmp=notes).read_bytes()[4] != ord("\n"):  # the lowest byte of the length
        notes += b"x"
    np.testing.assert_array_equal(pixels(path), RGB)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5000), (5000, 1)])
def test_the_narrowest_pictures_are_squashed(tmp_path: Path, width: int, height: int) -> None:
    ramp = np.linspace(0, 255, width * height).astype(np.uint8).reshape(height, width)
    path = save(tmp_path / "narrow.png", ramp)
    squashed = decode_image(path, 8)[..., 0]
    assert squashed.shape == (8, 8)
    along = squashed[0] if width > height else squashed[:, 0]
    middles = np.zeros(8) if width == height else (np.arange(8) + 0.5) / 8 * 255
    np.testing.assert_allclose(along, middles, atol=4)  # the filter reaches over the ends
    assert image_size(path, "image", "fail") == (width, height)


# Orientation

TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
"""How what is stored is turned to be upright, by the table of the EXIF standard."""


def noted(orientation: object) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["png", "webp", "jpg"])
def test_a_photo_of_ones_own_is_turned_and_a_data_set_is_not(tmp_path: Path, orientation: int, kind: str) -> None:
    tall = np.repeat(RGB, 2, axis=0)
    options = {"png": {}, "webp": {"lossless": True}, "jpg": {"quality": 95}}[kind]
    path = save(tmp_path / f"photo.{kind}", tall, exif=noted(orientation), **options)
    plain = np.array(Image.open(save(tmp_path / f"plain.{kind}", tall, **options)))
    turned = TURNS[orientation](plain)
    upright = save(tmp_path / "upright.png", np.ascontiguousarray(turned))
    np.testing.assert_array_equal(pixels(path, upright=True), pixels(upright))
    np.testing.assert_array_equal(pixels(path), pixels(tmp_path / f"plain.{kind}"))
    assert image_size(path, "image", "fail") == (SIDE, 2 * SIDE)
    assert image_size(path, "image", "fail", upright=True) == turned.shape[1::-1]


@pytest.mark.parametrize("orientation", TURNS)
def test_a_tiff_is_always_turned_and_only_once(tmp_path: Path, orientation: int) -> None:
    tall = np.repeat(RGB, 2, axis=0)
    path = save(tmp_path / "photo.tif", tall, exif=noted(orientation))
    turned = TURNS[orientation](tall)
    expected = pixels(save(tmp_path / "upright.png", np.ascontiguousarray(turned)))
    for upright in (False, True):
        np.testing.assert_array_equal(pixels(path, upright), expected)
        assert image_size(path, "image", "fail", upright=upright) == turned.shape[1::-1]


WORD = b"Exif\0\0II*\0" + struct.pack("<IHHHI4sI", 8, 1, 0x0112, 2, 3, b"up", 0)


@pytest.mark.parametrize("note", [noted(0), noted(9), WORD, b"Exif\0\0nonsense"])
def test_a_note_that_says_nothing_turns_nothing(tmp_path: Path, note: Image.Exif | bytes) -> None:
    path = save(tmp_path / "photo.png", RGB, exif=note)
    np.testing.assert_array_equal(pixels(path, upright=True), RGB)

"""Manifests are checked when written and read; images arrive as the network expects them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision.transforms.v2.functional as transforms
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from sigcam_core.backbones import InputFormat
from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.images import (
    has_masks,
    image_batches,
    known_masks,
    load_images,
    load_inputs,
    load_masks,
    normalize,
    scale_boxes,
    scaled_boxes,
)
from sigcam_core.prepare.manifest import Manifest, read_manifest, write_manifest
from sigcam_core.prepare.views import AUGMENTATIONS, View

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def rows(count: int = 6) -> pd.DataFrame:
    return pd.DataFrame({
        "image_id": [f"i{index}" for index in range(count)],
        "path": [f"{index}.png" for index in range(count)],
        "label": [index % 2 for index in range(count)],
        "split": ["train"] * (count - 1) + ["test"],
        "width": [20] * count,
        "height": [16] * count,
        "boxes": [[[index, 1, 9, 12]] for index in range(count)],
        "mask": [f"m{index}.png" for index in range(count)],
    })  # fmt: skip


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    rng = np.random.default_rng(0)
    for index in range(6):
        Image.fromarray(rng.integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
        Image.fromarray(rng.choice([0, 1, 255], (16, 20)).astype(np.uint8)).save(tmp_path / f"m{index}.png")
    return write_manifest(tmp_path / "manifest.parquet", rows(), name="tiny", class_names=["a", "b"])


def test_what_is_written_is_read_back(manifest: Manifest) -> None:
    again = read_manifest(manifest.root / "manifest.parquet")
    assert (again.name, again.class_names, again.checksum) == ("tiny", ("a", "b"), manifest.checksum)
    assert again.labels.tolist() == [0, 1, 0, 1, 0, 1]
    description = json.loads((manifest.root / "manifest.json").read_text())
    assert description["counts"] == {"test": 1, "train": 5}


def test_inputs_are_images_as_the_network_expects_them(manifest: Manifest) -> None:
    inputs = load_inputs(manifest, InputFormat(8, MEAN, STD))
    assert inputs.shape == (6, 3, 8, 8)
    pixels = load_images(manifest, 8).double() / 255
    expected = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    torch.testing.assert_close(inputs.double(), expected, atol=1e-5, rtol=0)
    gray = load_inputs(manifest, InputFormat(8, (0.5,), (0.25,)))
    assert gray.shape == (6, 1, 8, 8)


def test_a_split_keeps_order_and_starts_at_zero(manifest: Manifest) -> None:
    test = manifest.split("test")
    assert test.table["image_id"].tolist() == ["i5"]
    assert test.table.index.tolist() == [0]
    with pytest.raises(SigcamError, match="unknown split of tiny 'val': choose one of test, train"):
        manifest.split("val")
    with pytest.raises(SigcamError, match="no image of tiny was selected"):
        manifest.take([])
    with pytest.raises(SigcamError, match="row 6 of tiny"):
        manifest.take([0, 6])
    with pytest.raises(SigcamError, match="row -1 of tiny"):
        manifest.take([-1, 3])


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("label", 2, r"row 3 \(i3\): label 2 is out of range; the data set has 2 classes, 0 to 1"),
        ("label", -1, r"row 3 \(i3\): label -1 is out of range"),
        ("image_id", "i0", r"row 3 \(i0\): the image_id occurs twice"),
        ("boxes", [[5, 1, 4, 2]], r"row 3 \(i3\): box \[5, 1, 4, 2\] ends before it begins"),
        ("boxes", [[5, 1, 21, 2]], r"row 3 \(i3\): box \[5, 1, 21, 2\] leaves its image of 20 x 16 pixels"),
        ("boxes", [[-1, 1, 4, 2]], r"row 3 \(i3\): box .* leaves its image"),
        ("boxes", [[1, 1, 4]], r"row 3 \(i3\): box \[1, 1, 4\] is not four whole numbers"),
        ("width", 0, r"row 3 \(i3\): image size 0 x 16 is not positive"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, column: str, value: object, sentence: str) -> None:
    table = rows()
    table.at[3, column] = value
    with pytest.raises(SigcamError, match=sentence):
        write_manifest(tmp_path / "manifest.parquet", table, name="tiny", class_names=["a", "b"])
    assert list(tmp_path.iterdir()) == []


def test_a_box_may_end_one_past_the_last_pixel(tmp_path: Path) -> None:
    table = rows()
    table.at[3, "boxes"] = [[0, 0, 20, 16]]
    write_manifest(tmp_path / "manifest.parquet", table, name="tiny", class_names=["a", "b"])
    assert scaled_boxes(read_manifest(tmp_path / "manifest.parquet"), 224)[3].tolist() == [[0, 0, 224, 224]]


def test_missing_and_edited_manifests_are_refused(manifest: Manifest) -> None:
    path = manifest.root / "manifest.parquet"
    with pytest.raises(SigcamError, match="does not exist"):
        read_manifest(manifest.root / "other.parquet")
    with pytest.raises(SigcamError, match="lacks column boxes, mask"):
        write_manifest(path, rows().drop(columns=["boxes", "mask"]), name="tiny", class_names=["a", "b"])
    rows().assign(label=0).to_parquet(path)
    with pytest.raises(SigcamError, match="do not match the checksum"):
        read_manifest(path)
    path.write_bytes(b"not a table")
    with pytest.raises(SigcamError, match="cannot be read as Parquet"):
        read_manifest(path)


def test_images_are_resized_as_torchvision_resizes_them(manifest: Manifest) -> None:
    images = load_images(manifest, 8)
    for image, path in zip(images, manifest.table["path"], strict=True):
        expected = transforms.resize(Image.open(manifest.root / path), [8, 8])
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), np.array(expected))


def test_masks_take_the_nearest_pixel(manifest: Manifest) -> None:
    masks = load_masks(manifest, 8)
    original = np.array(Image.open(manifest.root / "m2.png"))
    # OpenCV's nearest neighbour of output pixel i is input pixel floor(i * scale).
    expected = original[np.ix_(np.arange(8) * 16 // 8, np.arange(8) * 20 // 8)]
    np.testing.assert_array_equal(masks[2].numpy(), expected)


def test_unreadable_images_and_masks_are_named(manifest: Manifest) -> None:
    (manifest.root / "2.png").write_bytes(b"broken")
    (manifest.root / "m2.png").unlink()
    with pytest.raises(SigcamError, match=r"2\.png cannot be read \(it is damaged"):
        load_images(manifest, 8)
    with pytest.raises(SigcamError, match=r"2\.png cannot be read \(it is damaged"):
        list(image_batches(manifest, 2, InputFormat(8, MEAN, STD), memory_budget=0))
    with pytest.raises(SigcamError, match=r"m2\.png cannot be read \(it does not exist"):
        load_masks(manifest, 8)
    Image.fromarray(np.full((16, 20), 7, np.uint8)).save(manifest.root / "m2.png")
    with pytest.raises(SigcamError, match="values other than 0, 1 and 255"):
        load_masks(manifest, 8)


@given(
    st.integers(1, 5000), st.integers(1, 5000), st.lists(st.tuples(*[st.integers(0, 5000)] * 4), min_size=1, max_size=4)
)
def test_boxes_scale_as_the_reference_scales_each_edge(
    width: int, height: int, boxes: list[tuple[int, int, int, int]]
) -> None:
    expected = [
        [int(float(edge) * 224.0 / float(side)) for edge, side in zip(box, (width, height) * 2, strict=True)]
        for box in boxes
    ]
    assert scale_boxes(boxes, (width, height), (224, 224)).tolist() == expected


def test_boxes_that_cannot_be_scaled_are_refused() -> None:
    assert scale_boxes([], (10, 10), (5, 5)).shape == (0, 4)
    with pytest.raises(SigcamError, match="NaN"):
        scale_boxes([[0, 0, float("nan"), 1]], (10, 10), (5, 5))
    with pytest.raises(SigcamError, match=r"shape \(1, 3\)"):
        scale_boxes([[0, 0, 1]], (10, 10), (5, 5))
    with pytest.raises(SigcamError, match="sizes must be positive"):
        scale_boxes([[0, 0, 1, 1]], (0, 10), (5, 5))


def test_normalize_refuses_what_it_would_spoil() -> None:
    images = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    with pytest.raises(SigcamError, match="give uint8 images"):
        normalize(images.float(), MEAN, STD)
    with pytest.raises(SigcamError, match="cannot normalise"):
        normalize(images, (float("nan"), 0, 0), STD)
    with pytest.raises(SigcamError, match="cannot normalise"):
        normalize(images, MEAN, (0, 1, 1))


def test_batches_cover_every_image_once(manifest: Manifest) -> None:
    seen = list(image_batches(manifest, 4, InputFormat(8, MEAN, STD)))
    assert [batch[0].tolist() for batch in seen] == [[0, 1, 2, 3], [4, 5]]
    torch.testing.assert_close(torch.cat([batch[2] for batch in seen]), manifest.labels)
    torch.testing.assert_close(torch.cat([b[1] for b in seen]).double(), expected_inputs(manifest), rtol=0, atol=1e-6)


@pytest.mark.parametrize("budget", [0, 2**20])
def test_batches_hold_the_rows_asked_for(manifest: Manifest, budget: int) -> None:
    rows = [torch.tensor([5, 0, 3]), torch.tensor([4]), torch.tensor([2, 1])]
    seen = list(image_batches(manifest, 3, InputFormat(8, MEAN, STD), batches=rows, memory_budget=budget))
    expected = expected_inputs(manifest)
    for wanted, (indices, images, labels) in zip(rows, seen, strict=True):
        assert torch.equal(indices, wanted)
        assert torch.equal(labels, manifest.labels[wanted])
        torch.testing.assert_close(images.double(), expected[wanted], rtol=0, atol=1e-6)
    assert list(image_batches(manifest, 3, InputFormat(8, MEAN, STD), batches=[], memory_budget=budget)) == []


def expected_inputs(manifest: Manifest) -> Tensor:
    pixels = load_images(manifest, 8).double() / 255
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (MEAN, STD))
    return (pixels - mean) / std


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_streamed_batches_equal_remembered_ones(manifest: Manifest, augment: str) -> None:
    rows = torch.randperm(6).split(4)
    first, second = (
        list(
            image_batches(
                manifest, 4, InputFormat(14, MEAN, STD), view=View(augment, 1), batches=rows, memory_budget=budget
            )
        )
        for budget in (0, 2**20)
    )
    for one, other in zip(first, second, strict=True):
        for left, right in zip(one, other, strict=True):
            assert torch.equal(left, right)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"batch_size": 0}, "batch size 0"),
        ({"form": InputFormat(0, MEAN, STD)}, "image size 0"),
    ],
)
def test_wrong_arguments_are_refused(manifest: Manifest, arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        next(image_batches(manifest, **{"batch_size": 2, "form": InputFormat(8, MEAN, STD), **arguments}))


# Masks


def manifest_of_masks(folder: Path, *masks: Image.Image | None) -> Manifest:
    """Images of 20 x 16 pixels with these masks; None where there is none."""
    table = rows(len(masks))
    table["mask"] = [None if mask is None else f"m{index}.png" for index, mask in enumerate(masks)]
    for index, mask in enumerate(masks):
        if mask is not None:
            mask.save(folder / f"m{index}.png")
    return write_manifest(folder / "manifest.parquet", table, name="masks", class_names=["a", "b"])


def square(value: int, *, ignored: int = 0) -> np.ndarray:
    """A mask with a square of one value, and as many ignored columns."""
    pixels = np.zeros((16, 20), dtype=np.uint8)
    pixels[4:8, 4:8] = value
    pixels[:, :ignored] = 255
    return pixels


def test_a_mask_whose_object_is_255_is_named(tmp_path: Path) -> None:
    good, white = Image.fromarray(square(1, ignored=2)), Image.fromarray(square(255))
    manifest = manifest_of_masks(tmp_path, good, white)
    for read in (load_masks, known_masks):
        with pytest.raises(
            SigcamError, match=r"m1\.png holds 255 but no 1: 255 is ignored here, so store objects as 1"
        ):
            read(manifest, 8)


def test_an_object_that_is_too_small_to_be_seen_when_resized_is_there(tmp_path: Path) -> None:
    pixels = np.zeros((16, 20), dtype=np.uint8)
    pixels[1, 1], pixels[8:] = 1, 255
    (mask,) = known_masks(manifest_of_masks(tmp_path, Image.fromarray(pixels)), 4)
    assert mask is not None
    assert set(np.unique(mask)) == {0, 255}


def test_an_image_may_have_a_mask_without_an_object_or_no_mask(tmp_path: Path) -> None:
    manifest = manifest_of_masks(tmp_path, Image.fromarray(square(0)), None, Image.fromarray(square(1)))
    empty, none, whole = known_masks(manifest, 16)
    assert none is None
    assert empty is not None
    assert not empty.any()
    np.testing.assert_array_equal(whole, load_masks(manifest.take([2]), 16)[0].numpy())
    assert has_masks(manifest)
    assert not has_masks(manifest.take([1]))
    with pytest.raises(SigcamError, match="image i1 of masks has no mask"):
        load_masks(manifest, 16)


def test_masks_are_read_as_they_were_stored(tmp_path: Path) -> None:
    pixels = square(1)
    palette = Image.fromarray(pixels).convert("P")
    palette.putdata(pixels.ravel().tolist())
    palette.putpalette([0, 0, 0, 128, 0, 0])
    forms = [
        Image.fromarray(pixels > 0),  # black and white
        palette,
        Image.fromarray(pixels.astype(np.uint16)),
        Image.fromarray(np.stack([pixels] * 3, axis=2)),
    ]
    for mask in known_masks(manifest_of_masks(tmp_path, *forms), 16):
        assert mask is not None
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, known_masks(manifest_of_masks(tmp_path, Image.fromarray(pixels)), 16)[0])


# Tables that were made by hand, and not written


@pytest.mark.parametrize("path", [None, 3, float("nan")])
def test_a_path_that_is_none_gets_one_sentence(manifest: Manifest, path: object) -> None:
    table = manifest.table.assign(path=manifest.table["path"].astype(object))
    table.at[2, "path"] = path
    by_hand = replace(manifest, table=table)
    with pytest.raises(SigcamError, match=f"the path of image i2 of tiny is {path}: give that of a file"):
        load_images(by_hand, 8)
    with pytest.raises(SigcamError, match="the path of image i2"):
        list(image_batches(by_hand, 2, InputFormat(8, MEAN, STD), memory_budget=0))
    masks = replace(manifest, table=manifest.table.assign(mask=[None] * 5 + [7]))
    with pytest.raises(SigcamError, match="the mask of image i5 of tiny is 7"):
        known_masks(masks, 8)


def test_tables_may_hold_paths_and_arrays(manifest: Manifest) -> None:
    table = manifest.table.assign(
        path=manifest.table["path"].map(Path),
        mask=manifest.table["mask"].map(Path),
        boxes=manifest.table["boxes"].map(np.array),
        image_id=range(6),
    )
    by_hand = replace(manifest, table=table)
    assert torch.equal(load_images(by_hand, 8), load_images(manifest, 8))
    assert torch.equal(load_masks(by_hand, 8), load_masks(manifest, 8))
    for one, other in zip(scaled_boxes(by_hand, 8), scaled_boxes(manifest, 8), strict=True):
        np.testing.assert_array_equal(one, other)
    assert by_hand.of_image("4").table["path"].item() == Path("4.png")

"""Scenes without one of their parts: nothing else changes, and it is known where the part was."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_scripts import shapes
from data_scripts.__main__ import main
from data_scripts.parts import PARTS, REMOVABLE
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json
from sigcam_core.prepare.manifest import read_manifest

COUNTS = ["--train", "3", "--val", "2", "--test", "9"]
PARTIAL = ["shapes", *COUNTS, "--context-correlation", "0.9", "--parts", "--name", "shapes_cue90"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    main([*PARTIAL, "--root", str(root)])
    main(["shapes", *COUNTS, "--context-correlation", "0.9", "--root", str(root)])
    return root


def scene(index: int, without: str = "") -> shapes.Scene:
    return shapes.draw_scene(0, "test", index, 96, 0.6, without=without)


def painted(index: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Coverage (layers, H, W) of every part of a scene, as it was painted: distractors, then object, then cue."""
    coverages: list[np.ndarray] = []
    paint = shapes._paint

    def spy(canvas: np.ndarray, coverage: np.ndarray, colours: np.ndarray) -> None:
        coverages.append(coverage)
        paint(canvas, coverage, colours)

    with monkeypatch.context() as patch:
        patch.setattr(shapes, "_paint", spy)
        scene(index)
    return {name: np.stack(some) for name, some in
            {"distractors": coverages[:-3], "object": coverages[-3:-1], "cue": coverages[-1:]}.items()}  # fmt: skip


@pytest.mark.parametrize("index", range(12))
@pytest.mark.parametrize("part", REMOVABLE)
def test_without_a_part_only_its_own_pixels_change(part: str, index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, without = scene(index), scene(index, part)
    changed = (whole.pixels != without.pixels).any(axis=2)
    layers = painted(index, monkeypatch)
    later = list(layers)[list(layers).index(part) + 1 :]
    hidden = np.any([(layers[name] == 1).any(axis=0) for name in later], axis=0)  # so also where there are none
    covered = (layers[part] > 0).any(axis=0)
    assert not (changed & ~(covered & ~hidden)).any()  # a pixel that the part does not touch is the same to the bit
    own = whole.parts == PARTS.index(part)
    assert (covered | ~own).all()
    assert changed[own].mean() > 0.97  # a painted pixel may equal what it hides, by chance
    for field in ("label", "box", "context_class", "context_box", "distractor_boxes"):
        assert getattr(whole, field) == getattr(without, field)
    assert (whole.parts == without.parts).all()
    assert (whole.mask == without.mask).all()


def test_what_an_object_hid_comes_to_light(monkeypatch: pytest.MonkeyPatch) -> None:
    """A distractor behind the object is painted when the object is not, rather than left out with it."""
    found = 0
    for index in range(60):
        layers = painted(index, monkeypatch)
        inner = (layers["distractors"][1::2] == 1).any(axis=0) & (layers["object"][1] == 1)  # wholly behind the object
        if inner.sum() < 30:
            continue
        found += 1
        without_object = scene(index, "object").pixels
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shapes, "_paint_distractor", no_paint(shapes._paint_distractor))
            neither = scene(index, "object").pixels
        assert (without_object != neither).any(axis=2)[inner].mean() > 0.97
    assert found >= 2


def no_paint(paint: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda rng, canvas, is_textured: paint(rng, canvas.copy(), is_textured)


def test_parts_agree_with_masks_and_boxes() -> None:
    for index in range(12):
        whole = scene(index)
        assert ((whole.parts == PARTS.index("object")) == (whole.mask == 1)).all()
        assert shapes._box(whole.parts == PARTS.index("cue")) == whole.context_box
        boxes = np.array(whole.distractor_boxes)
        around = [*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)]
        assert shapes._box(whole.parts == PARTS.index("distractors")) == around
        assert (whole.parts == 0).any()


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(SigcamError, match=r"unknown part 'sky': choose one of .*object, cue, distractors"):
        scene(0, "sky")


def test_parts_and_images_without_them_are_written_for_the_test_split(root: Path) -> None:
    folder = root / "shapes_cue90"
    manifest = read_manifest(folder / "manifest.parquet")
    assert manifest.name == "shapes_cue90"
    for index, row in enumerate(manifest.split("test").table.to_dict("records")):
        drawn = {part: shapes.draw_scene(0, "test", index, 96, 0.9, without=part) for part in ("", *REMOVABLE)}
        assert row["parts"] == f"parts/{row['image_id']}.png"
        assert (np.array(Image.open(folder / row["parts"])) == drawn[""].parts).all()
        for part in REMOVABLE:
            assert row[f"removed_{part}"] == f"removed/{part}/{row['image_id']}.png"
            assert (np.array(Image.open(folder / row[f"removed_{part}"])) == drawn[part].pixels).all()
    others = manifest.table[manifest.table["split"] != "test"]
    assert others[["parts", *(f"removed_{part}" for part in REMOVABLE)]].isna().all(axis=None)
    assert len(list(folder.glob("removed/*/*/*.png"))) == 3 * 9


def test_a_data_set_with_parts_has_the_same_images_and_one_without_is_as_it_was(root: Path) -> None:
    with_parts, plain = (read_manifest(root / name / "manifest.parquet") for name in ("shapes_cue90", "shapes"))
    extra = [column for column in with_parts.table if column not in plain.table]
    assert extra == ["parts", *(f"removed_{part}" for part in REMOVABLE), "parts_sha256"]
    pd.testing.assert_frame_equal(with_parts.table.drop(columns=extra), plain.table)
    recorded = [read_json(root / name / "manifest.json")["parameters"] for name in ("shapes_cue90", "shapes")]
    assert recorded[0] == recorded[1] | {"parts": True}
    assert plain.name == "shapes"
    assert not (root / "shapes" / "parts").exists()


def test_the_same_parameters_do_nothing_in_a_folder_of_another_name(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*PARTIAL, "--root", str(root), "--generated-only"])
    assert "nothing to do" in capsys.readouterr().out


def test_a_name_that_is_no_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match=r"^--name '\.\./x' is no name of a data set"):
        main(["shapes", "--name", "../x", "--root", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []

"""The embedded data set: the same everywhere, with the truth about every pixel."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data_scripts import shapes
from data_scripts.__main__ import main
from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.manifest import read_manifest

CHECKSUM = "31c9395f84cdc51572efbd48a9c1173dabb5ba5060b6dfb4cab95fda1cca01aa"
SMALL = ["shapes", "--train", "12", "--val", "12", "--test", "12"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    main([*SMALL, "--root", str(root)])
    return root / "shapes"


def test_every_machine_draws_the_same_pixels(folder: Path) -> None:
    assert read_manifest(folder / "manifest.parquet").checksum == CHECKSUM


def test_boxes_are_those_of_the_written_masks(folder: Path) -> None:
    table = read_manifest(folder / "manifest.parquet").table
    for row in table.itertuples():
        mask = np.array(Image.open(folder / row.mask))
        rows, columns = np.nonzero(mask)
        assert set(np.unique(mask)) == {0, 1}
        assert row.boxes[0].tolist() == [columns.min(), rows.min(), columns.max(), rows.max()]
        assert 0.05 < mask.mean() < 0.4


def test_splits_have_images_of_their_own_and_all_classes(folder: Path) -> None:
    table = read_manifest(folder / "manifest.parquet").table
    assert table["pixels_sha256"].is_unique
    assert table.groupby("split")["label"].nunique().tolist() == [8, 8, 8]


def test_an_image_does_not_depend_on_the_counts(folder: Path, tmp_path: Path) -> None:
    main(["shapes", "--train", "3", "--val", "1", "--test", "2", "--root", str(tmp_path)])
    fewer = read_manifest(tmp_path / "shapes" / "manifest.parquet").table.set_index("image_id")
    more = read_manifest(folder / "manifest.parquet").table.set_index("image_id")
    pd.testing.assert_series_equal(fewer["pixels_sha256"], more["pixels_sha256"].loc[fewer.index])


def test_another_seed_draws_other_pixels() -> None:
    first, second = (shapes.draw_scene(seed, "train", 0, 96, 0.6).pixels for seed in (0, 1))
    assert (first != second).mean() > 0.5


@pytest.mark.parametrize(("correlation", "agreement"), [(0.0, 1 / 8), (0.6, 0.65), (1.0, 1.0)])
def test_the_cue_agrees_with_the_class_as_often_as_asked(correlation: float, agreement: float) -> None:
    count = 400
    scenes = [shapes.draw_scene(0, "test", index, 32, correlation) for index in range(count)]
    hits = np.mean([scene.context_class == scene.label for scene in scenes])
    assert abs(hits - agreement) <= 4 * np.sqrt(agreement * (1 - agreement) / count)


def test_the_cue_lies_where_it_is_said_to_with_the_colour_of_its_class() -> None:
    scene = shapes.draw_scene(0, "train", 5, 96, 0.0)
    other = shapes.draw_scene(0, "train", 5, 96, 1.0)
    assert scene.context_class != other.context_class
    rows, columns = np.nonzero((scene.pixels != other.pixels).any(axis=2))
    x0, y0, x1, y1 = scene.context_box
    # The box holds pixels at least half covered; the anti-aliased rim is one pixel wider.
    assert x0 - 1 <= columns.min() <= x0
    assert y0 - 1 <= rows.min() <= y0
    assert x1 <= columns.max() <= x1 + 1
    assert y1 <= rows.max() <= y1 + 1


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_outlines_have_the_stated_area_and_circumradius(name: str) -> None:
    outline = shapes.SHAPES[name]
    axis = (np.arange(2000) + 0.5) / 1000 - 1
    x, y = axis[None, :], axis[:, None]
    inside = np.broadcast_to(outline(x, y) < 0, (2000, 2000))
    assert inside.mean() * 4 == pytest.approx(shapes.AREAS[outline], rel=2e-3)
    assert np.sqrt(np.max((x * x + y * y)[inside])) == pytest.approx(1, abs=5e-3)


def test_textures_cover_half_of_the_surface() -> None:
    axis = np.arange(1000) / 100
    for texture in shapes.TEXTURES.values():
        weight = np.broadcast_to(texture(axis[None, :], axis[:, None], 5.0), (1000, 1000))
        assert weight.mean() == pytest.approx(0.5, abs=0.01)
        assert weight.min() == 0
        assert weight.max() == 1


@pytest.mark.parametrize(
    ("option", "value"),
    [("--train", "0"), ("--seed", "-1"), ("--image-size", "8"), ("--context-correlation", "1.5"),
     ("--context-correlation", "nan")],
)  # fmt: skip
def test_a_parameter_out_of_range_is_refused_by_name(option: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match=f"^{option} {float(value):g} is out of range"):
        main(["shapes", option, value, "--root", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_data_set_is_refused_with_the_list(tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match=r"'nosuch'.*shapes.*photos"):
        main(["nosuch", "--root", str(tmp_path)])


def test_the_same_parameters_do_nothing_and_others_draw_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "images/train/000000.png").stat().st_mtime_ns
    main([*SMALL, "--root", str(folder.parent)])
    assert "nothing to do" in capsys.readouterr().out
    assert (folder / "images/train/000000.png").stat().st_mtime_ns == before


def test_a_run_killed_midway_leaves_what_was_there_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["shapes", "--train", "2", "--val", "1", "--test", "1", "--root", str(tmp_path)]
    main(arguments)
    before = {path: path.read_bytes() for path in (tmp_path / "shapes").rglob("*") if path.is_file()}
    draw = shapes.draw_scene

    def killed(seed: int, split: str, *rest: float) -> shapes.Scene:
        if split == "val":
            raise KeyboardInterrupt
        return draw(seed, split, *rest)

    monkeypatch.setattr(shapes, "draw_scene", killed)
    with pytest.raises(KeyboardInterrupt):
        main([*arguments, "--seed", "3"])
    assert {path: path.read_bytes() for path in (tmp_path / "shapes").rglob("*") if path.is_file()} == before
    monkeypatch.undo()
    main([*arguments, "--seed", "3"])
    assert len(read_manifest(tmp_path / "shapes/manifest.parquet")) == 4
    assert (tmp_path / "shapes/manifest.parquet").read_bytes() != before[tmp_path / "shapes/manifest.parquet"]


def test_a_root_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SigcamError, match="cannot write to folder"):
        main([*SMALL, "--root", str(tmp_path / "file")])

"""Tables whose meaning is plain are written in plain types; the others get one sentence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.manifest import Manifest, read_manifest, write_manifest


def rows() -> pd.DataFrame:
    return pd.DataFrame({
        "image_id": ["0", "1", "2"],
        "path": ["images/0.png", "images/1.png", "images/2.png"],
        "label": [0, 1, 0],
        "split": ["test"] * 3,
        "width": [20] * 3,
        "height": [16] * 3,
        "boxes": [[[0, 1, 9, 12]], [[3, 3, 4, 4], [5, 5, 6, 6]], []],
        "mask": ["masks/0.png", None, "masks/2.png"],
    })  # fmt: skip


def written(folder: Path, table: pd.DataFrame) -> Manifest:
    write_manifest(folder / "manifest.parquet", table, name="tiny", class_names=["a", "b"])
    return read_manifest(folder / "manifest.parquet")


def with_cells(column: str, values: list[object]) -> pd.DataFrame:
    return rows().assign(**{column: pd.Series(values, dtype=object)})


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("image_id", [0, np.int64(1), "2"]),
        ("path", [Path("images/0.png"), "images/1.png", Path("images") / "2.png"]),
        ("mask", [Path("masks/0.png"), float("nan"), "masks/2.png"]),
        ("boxes", [np.array([[0, 1, 9, 12]]), np.array([[3, 3, 4, 4], [5, 5, 6, 6]]), np.zeros((0, 4), dtype=int)]),
        ("boxes", [torch.tensor([[0, 1, 9, 12]]), [np.array([3.0, 3, 4, 4]), (5, 5, 6, 6)], ()]),
    ],
)
def test_the_same_table_in_other_types_is_the_same_manifest(tmp_path: Path, column: str, values: list[object]) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "other").mkdir()
    plain, other = written(tmp_path / "plain", rows()), written(tmp_path / "other", with_cells(column, values))
    assert other.checksum == plain.checksum
    pd.testing.assert_frame_equal(other.table, plain.table)


def test_ids_of_whole_numbers_are_text(tmp_path: Path) -> None:
    manifest = written(tmp_path, rows().assign(image_id=[10, 11, 12]))
    assert manifest.table["image_id"].tolist() == ["10", "11", "12"]
    assert manifest.of_image("11").labels.tolist() == [1]


def test_the_table_of_the_caller_is_left_as_it_is(tmp_path: Path) -> None:
    table = with_cells("boxes", [np.array([[0, 1, 9, 12]]), [], []]).assign(image_id=[10, 11, 12])
    before = table.copy()
    written(tmp_path, table)
    pd.testing.assert_frame_equal(table, before)
    assert isinstance(table.at[0, "boxes"], np.ndarray)


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("path", None, r"row 1 \(1\): path is None; give the path of an image"),
        ("path", 7, r"row 1 \(1\): path is 7; give the path of an image"),
        ("path", float("nan"), r"row 1 \(1\): path is nan; give the path of an image"),
        ("mask", 7, r"row 1 \(1\): mask is 7; give the path of a mask, or None"),
        ("image_id", None, r"row 1 \(None\): image_id is None; give text or a whole number"),
        ("image_id", 1.5, r"row 1 \(1.5\): image_id is 1.5; give text or a whole number"),
        ("image_id", 0, r"row 1 \(0\): the image_id occurs twice"),
        ("split", None, r"row 1 \(1\): split is None; give train, val or test"),
        ("boxes", None, r"row 1 \(1\): boxes are missing; give an empty list"),
        ("boxes", 5, r"row 1 \(1\): boxes are 5; give a list"),
        ("boxes", np.array([0, 1, 9, 12]), r"row 1 \(1\): box 0 is not four whole numbers"),
        ("boxes", np.array([[0.5, 1, 9, 12]]), r"row 1 \(1\): box \[0.5, 1, 9, 12\] is not four whole numbers"),
    ],
)
def test_what_is_not_plain_gets_one_sentence(tmp_path: Path, column: str, value: object, sentence: str) -> None:
    values = rows()[column].tolist()
    values[1] = value
    with pytest.raises(SigcamError, match=sentence):
        written(tmp_path, with_cells(column, values))
    assert list(tmp_path.iterdir()) == []

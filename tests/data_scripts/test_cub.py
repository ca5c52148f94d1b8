"""CUB-200-2011 from a miniature archive in its layout."""

from pathlib import Path

import pytest
from small_archives import Files, jpeg, text, write_tar

from data_scripts.__main__ import prepare
from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.images import load_images
from sigcam_core.prepare.manifest import Manifest

IMAGES = [
    f"{species}/{species[4:]}_{number:04d}.jpg"
    for species in ("001.Black_footed_Albatross", "002.Laysan_Albatross")
    for number in range(10)
]


@pytest.fixture(autouse=True)
def _no_archives_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGCAM_DATA", raising=False)


def miniature() -> Files:
    root = "CUB_200_2011/"
    lists = {
        "images.txt": [f"{number} {name}" for number, name in enumerate(IMAGES, 1)],
        "image_class_labels.txt": [f"{number} {1 + (number > 10)}" for number in range(1, 21)],
        "train_test_split.txt": [f"{number} {number % 2}" for number in range(1, 21)],
        # The first box is that of the real first image; the second ends beyond its image.
        "bounding_boxes.txt": ["1 60.0 27.0 325.0 304.0", "2 1.0 2.0 499.5 288.0"]
        + [f"{number} 3.0 4.0 10.0 20.0" for number in range(3, 21)],
        "classes.txt": ["1 001.Black_footed_Albatross", "2 002.Laysan_Albatross"],
    }
    files = {f"{root}{name}": text(*lines) for name, lines in lists.items()}
    files |= {f"{root}images/{name}": jpeg(500, 335 + index) for index, name in enumerate(IMAGES)}
    return files | {"attributes.txt": b"1 bill", f"{root}parts/parts.txt": b"1 back", f"{root}README": b"read me"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("data")
    write_tar(folder / "CUB_200_2011.tgz", miniature(), "w:gz")
    return prepare("cub", folder, archives=[folder], val_fraction=0.4)


def test_splits_and_classes_are_those_of_the_lists(manifest: Manifest) -> None:
    table = manifest.table
    assert manifest.class_names == ("Black footed Albatross", "Laysan Albatross")
    assert table["split"].value_counts().to_dict() == {"test": 10, "train": 6, "val": 4}
    assert table["split"].eq("test").tolist() == [False, True] * 10
    assert table["label"].tolist() == [0] * 10 + [1] * 10
    assert table[table["split"] == "val"]["label"].value_counts().to_dict() == {0: 2, 1: 2}


def test_boxes_are_wsolevaluations_and_stay_inside(manifest: Manifest) -> None:
    table = manifest.table
    assert table["image_id"][0] == "001.Black_footed_Albatross/Black_footed_Albatross_0000"
    assert table["boxes"][0] == [[60, 27, 385, 331]]
    assert table["boxes"][1] == [[1, 2, 500, 290]]
    assert table["height"].tolist() == list(range(335, 355))


def test_only_what_is_needed_is_unpacked(manifest: Manifest) -> None:
    assert load_images(manifest, 8).shape == (20, 3, 8, 8)
    assert not list(manifest.root.rglob("parts*"))
    assert not list(manifest.root.rglob("README"))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (f"images/{IMAGES[3]}", None, "1 of 20 images are missing"),
        (f"images/{IMAGES[3]}", b"no image", r"image .*_0003\.jpg cannot be read \(it is damaged"),
        ("bounding_boxes.txt", text("1 1.0 1.0 2.0 2.0"), r"bounding_boxes\.txt and images\.txt list different images"),
        ("classes.txt", None, r"classes\.txt is missing"),
    ],
)
def test_an_incomplete_archive_is_refused(tmp_path: Path, name: str, content: bytes | None, sentence: str) -> None:
    files = miniature()
    files.pop(f"CUB_200_2011/{name}")
    if content is not None:
        files[f"CUB_200_2011/{name}"] = content
    write_tar(tmp_path / "CUB_200_2011.tgz", files, "w:gz")
    with pytest.raises(SigcamError, match=sentence):
        prepare("cub", tmp_path, archives=[tmp_path])

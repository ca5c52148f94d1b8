"""Miniatures: the preparers of the originals read their archives, without a network."""

from pathlib import Path

import pytest

from companion.matrix import PROFILES
from companion.plan import MINIATURE
from data_scripts import miniature
from data_scripts.metadata import pinned, pinned_by
from data_scripts.miniature import WRITERS, write_data
from sigcam_core.common.files import read_json
from sigcam_core.prepare.images import has_masks, load_images, load_masks
from sigcam_core.prepare.manifest import read_manifest
from sigcam_core.run import manifest_path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All data sets, where no download could succeed."""
    folder = tmp_path_factory.mktemp("miniature")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SIGCAM_DATA", raising=False)
        for module in ("archive.download", "openimages.download_all", "stanford_cars.download"):
            patch.setattr(f"data_scripts.{module}", lambda *_: pytest.fail("a miniature needs no network"))
        patch.setattr("data_scripts.openimages.download_all", lambda jobs, *_: [path.stat() for _, path in jobs])
        write_data(folder)
    return folder


def test_every_data_set_of_the_profile_has_a_writer() -> None:
    assert tuple(WRITERS) == PROFILES["miniature"].data_sets


@pytest.mark.parametrize("name", WRITERS)
def test_the_preparers_read_the_archives(name: str, root: Path) -> None:
    manifest = read_manifest(manifest_path(name, root))
    counts = manifest.table["split"].value_counts().to_dict()
    assert counts == {"train": MINIATURE.train, "val": MINIATURE.val, "test": MINIATURE.test}
    for split in counts:
        assert sorted(set(manifest.split(split).labels.tolist())) == [0, 1]
    test = manifest.split("test")
    assert load_images(test, 32).float().std() > 10
    if name == "openimages":
        assert has_masks(test)
        assert {0, 1, 255} <= set(load_masks(test, 160).unique().tolist())
    else:
        assert all(len(boxes) == 1 for boxes in test.table["boxes"])
    archives = read_json(root / "data" / name / "manifest.json")["parameters"]["archives"]
    assert archives
    assert not any(record["published"] for record in archives if record["checksum"])


def test_imagenet_keeps_its_thousand_classes(root: Path) -> None:
    assert read_manifest(manifest_path("imagenet", root)).num_classes == 1000


def test_boxes_are_those_of_the_drawn_objects(root: Path) -> None:
    drawn = [one.box for one in miniature.pictures(1) if one.split == "test"]
    table = read_manifest(manifest_path("cub", root)).split("test").table
    assert [list(map(int, boxes[0])) for boxes in table["boxes"]] == drawn


def test_the_published_lists_are_pinned_again_afterwards(root: Path) -> None:
    published = pinned()
    with pinned_by(root / "archives" / "pins.csv"):
        assert len(pinned()) == 11
    assert pinned() == published

"""Miniatures: the preparers of the originals read their archives, and torchvision finds their weights offline."""

from pathlib import Path

import pytest
import torch

from data_scripts import miniature
from data_scripts.metadata import pinned, pinned_by
from data_scripts.miniature import WRITERS, write_data, write_weights
from sigcam_core.backbones import build
from sigcam_core.common.files import read_json
from sigcam_core.matrix import PROFILES
from sigcam_core.plan import MINIATURE
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


@pytest.fixture
def few_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One network is enough, and it is not the one of half a gigabyte."""
    monkeypatch.setattr("sigcam_core.backbones.paper_networks.RELEASES", {"resnet50": "ResNet50_Weights.IMAGENET1K_V1"})


@pytest.mark.usefixtures("few_layers")
def test_torchvision_finds_the_weights_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_weights(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *_, **__: pytest.fail("it was to be there"))
    network = build("resnet50", 1000, pretrained=True)
    state = torch.load(tmp_path / "hub/checkpoints/resnet50-0676ba61.pth", weights_only=True)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    logits = network(torch.randn(2, 3, 64, 64))
    assert logits.isfinite().all()
    assert 0.01 < logits.std() < 100
    assert "random" in read_json(tmp_path / "weights.json")["weights"]

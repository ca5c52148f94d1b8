"""A head ships with a card, and only where its classes are ImageNet's."""

from pathlib import Path

import pytest
from small_measurement import Made, copy_of

from companion.experiments import EXPERIMENTS
from companion.studies.ship import ship
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json
from sigcam_core.dual.shipped import SHIPPED_HEADS
from sigcam_core.prepare.manifest import read_manifest, write_manifest
from sigcam_core.stations import record_of


def test_a_head_ships_with_a_card(made: Made, tmp_path: Path) -> None:
    work_dir = copy_of(made, tmp_path, "data")
    run = made.run(work_dir=work_dir)
    shapes = read_manifest(made.run().manifest)
    classes = [900 - 7 * k for k in range(8)]
    table = shapes.table.assign(imagenet_class=[classes[label] for label in shapes.table["label"]])
    write_manifest(run.manifest, table, name="shapes", class_names=shapes.class_names)
    for folder in ("images", "masks"):
        (run.manifest.parent / folder).symlink_to(made.run().manifest.parent / folder)
    test_top1 = {"softmax": 58.0, "sigmoid": 66.0}
    ship(run, "head", test_top1, tmp_path / "weights")
    card = read_json(tmp_path / "weights" / "head.json")
    assert (tmp_path / "weights" / "head.safetensors").read_bytes() == run.sigmoid_head.read_bytes()
    assert card["imagenet_classes"] == classes
    assert card["class_names"] == list(shapes.class_names)
    assert (card["name"], card["backbone"], card["dataset"]) == ("head", "small_cnn", "shapes")
    assert card["num_train_images"] == 48
    assert card["training"] == record_of(run.sigmoid_head)
    assert card["test_top1"] == test_top1


def test_a_head_of_classes_that_are_not_imagenets_does_not_ship(made: Made, tmp_path: Path) -> None:
    with pytest.raises(SigcamError, match="the classes of shapes are not ImageNet's"):
        ship(made.run(), "head", {}, tmp_path)
    assert not list(tmp_path.glob("*.json"))


def test_every_head_that_ships_is_one_experiments() -> None:
    assert sorted(one.shipped_as for one in EXPERIMENTS.values() if one.shipped_as) == sorted(SHIPPED_HEADS)

"""A sigmoid head that ships with the package, with a card that says what it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from sigcam_core.common.files import write_atomically, write_json
from sigcam_core.dual.shipped import WEIGHTS
from sigcam_core.run import Run
from sigcam_core.stations import ensure_manifest, record_of
from sigcam_core.train.origins import imagenet_classes


def ship(run: Run, name: str, test_top1: dict[str, float], folder: Path = WEIGHTS) -> None:
    """Copy a run's sigmoid head to the heads that ship with the package, with its card.

    Args:
        run: which.
        name: of the head, one of :data:`~sigcam_core.dual.shipped.SHIPPED_HEADS`.
        test_top1: Top-1 of both branches on the test split, in %.
        folder: of the heads that ship.

    Raises:
        SigcamError: if the classes of the data set are not ImageNet's.
    """
    manifest = ensure_manifest(run.dataset, run.work_dir)
    classes = imagenet_classes(manifest)
    write_atomically(folder / f"{name}.safetensors", lambda temporary: shutil.copyfile(run.sigmoid_head, temporary))
    card = {
        "name": name,
        "what": "a sigmoid head for class activation maps; the backbone and the softmax head are the published "
        "ImageNet network, frozen, of whose classes those below are kept",
        "backbone": run.backbone,
        "dataset": run.dataset,
        "num_train_images": len(manifest.split("train")),
        "test_top1": test_top1,
        "limits": "trained on images of 64 x 64 pixels, shown at 224; maps of other classes, and of photos unlike "
        "ImageNet's, mean nothing",
        "imagenet_classes": classes,
        "class_names": list(manifest.class_names),
        "training": record_of(run.sigmoid_head),
    }
    write_json(folder / f"{name}.json", card)

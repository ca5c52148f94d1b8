"""Augmented views: some images mirrored, crops from every place, and each image alike whatever batch it comes in."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from small_networks import noise_images
from torch import Tensor

from sigcam_core.backbones import InputFormat
from sigcam_core.common.errors import SigcamError
from sigcam_core.prepare.images import image_batches, load_images, normalize
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.prepare.views import AUGMENTATIONS, View

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SIZE = 14  # of crops from images resized to 16 pixels


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return noise_images(tmp_path)


def shown(manifest: Manifest, view: View, batches: Sequence[Tensor] | None = None) -> Tensor:
    """All images of a view, in the manifest's order whatever ``batches`` they come in."""
    seen = list(image_batches(manifest, 6, InputFormat(SIZE, MEAN, STD), view=view, batches=batches))
    return torch.cat([images for _, images, _ in seen])[torch.cat([rows for rows, _, _ in seen]).argsort()]


def test_without_augmentation_images_are_shown_as_they_are(manifest: Manifest) -> None:
    assert torch.equal(shown(manifest, View("none", 1, 2)), normalize(load_images(manifest, SIZE), MEAN, STD))


def test_flip_mirrors_some_images_and_leaves_the_others(manifest: Manifest) -> None:
    plain = shown(manifest, View())
    mirrored = 0
    for seed in range(20):
        images = shown(manifest, View("flip", seed))
        is_flipped = [torch.equal(image, other.flip(2)) for image, other in zip(images, plain, strict=True)]
        is_same = [torch.equal(image, other) for image, other in zip(images, plain, strict=True)]
        assert all(a != b for a, b in zip(is_flipped, is_same, strict=True))
        mirrored += sum(is_flipped)
    assert 40 <= mirrored <= 80


def test_crops_are_windows_of_the_larger_image_from_every_place(manifest: Manifest) -> None:
    larger = normalize(load_images(manifest, 16), MEAN, STD)
    places = set()
    for number in range(20):
        for image, whole in zip(shown(manifest, View("crop_flip", number=number)), larger, strict=True):
            windows = {(x, y): whole[:, y : y + SIZE, x : x + SIZE] for x in range(3) for y in range(3)}
            found = [
                (place, flipped)
                for place, window in windows.items()
                for flipped in (False, True)
                if torch.equal(image, window.flip(2) if flipped else window)
            ]
            assert len(found) == 1
            places.update(found)
    assert len(places) == 18


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_an_image_looks_the_same_in_whatever_batch_it_comes(manifest: Manifest, augment: str) -> None:
    for number in range(3):
        view = View(augment, seed=5, number=number)
        expected = shown(manifest, view)
        assert torch.equal(shown(manifest, view, torch.randperm(6).split([3, 1, 2])), expected)
        assert torch.equal(shown(manifest, view, torch.arange(5, -1, -1).split(1)), expected)


@pytest.mark.parametrize("augment", ["flip", "crop_flip"])
def test_every_view_and_every_seed_draws_anew(manifest: Manifest, augment: str) -> None:
    views = [View(augment, seed, number) for seed in range(2) for number in range(3)]
    distinct = {tuple(view.draw(100, SIZE)[1].tolist()) for view in views}
    assert len(distinct) == len(views)
    assert not torch.equal(shown(manifest, views[0]), shown(manifest, views[1]))


def test_the_papers_crops_come_from_images_of_256_pixels() -> None:
    assert [View(augment).decoded_size(224) for augment in AUGMENTATIONS] == [224, 224, 256]
    corners, _ = View("crop_flip").draw(2000, 224)
    assert (corners.min(), corners.max()) == (0, 32)


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(SigcamError, match="unknown augmentation 'cutout': choose one of none, flip, crop_flip"):
        View("cutout")

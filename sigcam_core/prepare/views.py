"""Augmented views of a data set's images. Seed, view and image alone decide what is drawn.

torch is imported where it is used: recipes read the names of this module, and names are checked before anything slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..common.errors import check_choice
from ..common.seeds import derived_seed

if TYPE_CHECKING:
    from torch import Tensor

AUGMENTATIONS = ("none", "flip", "crop_flip")
# The paper trains on random 224 px crops of images resized to 256 px.
RESIZE_PER_CROP = 256 / 224


@dataclass(frozen=True)
class View:
    """How every image of a data set is shown once.

    An image looks the same in a view whatever batch it comes in, so a cached view is the one that training on the
    fly would see.

    Attributes:
        augment: ``none``; ``flip`` mirrors half of the images; ``crop_flip`` also resizes to ``size * 256 / 224`` and
            crops at random, as the paper trains.
        seed: of the draws.
        number: of the view; each has draws of its own.

    Raises:
        SigcamError: for an unknown augmentation.
    """

    augment: str = "none"
    seed: int = 0
    number: int = 0

    def __post_init__(self) -> None:
        check_choice("augmentation", self.augment, AUGMENTATIONS)

    def decoded_size(self, size: int) -> int:
        """Side at which images must be decoded to be shown at ``size``, in pixels.

        >>> View("crop_flip").decoded_size(224), View("flip").decoded_size(224)
        (256, 224)
        """
        return round(size * RESIZE_PER_CROP) if self.augment == "crop_flip" else size

    def draw(self, num_images: int, size: int) -> tuple[Tensor, Tensor]:
        """Draw how all images of a data set are shown, whatever batches they come in.

        Args:
            num_images: N, of the data set.
            size: at which images are shown, pixels.

        Returns:
            Upper left corners y, x of the crops in the decoded images, int64 (N, 2), and whether each image is
            mirrored, bool (N,).
        """
        import torch

        generator = torch.Generator().manual_seed(derived_seed(self.seed, "view", self.number))
        corners = torch.randint(self.decoded_size(size) - size + 1, (num_images, 2), generator=generator)
        mirrored = torch.rand(num_images, generator=generator) < 0.5
        return corners, mirrored & torch.tensor(self.augment != "none")


def show(images: Tensor, corners: Tensor, mirrored: Tensor, size: int) -> Tensor:
    """Crop and mirror a batch.

    Args:
        images: uint8 (B, D, S, S) as decoded, with S of :meth:`View.decoded_size`.
        corners: int64 (B, 2), the batch's of :meth:`View.draw`.
        mirrored: bool (B,), the batch's of :meth:`View.draw`.
        size: side wanted, pixels.

    Returns:
        uint8 (B, D, size, size).
    """
    import torch

    if images.shape[-1] != size:
        places = zip(images, corners.tolist(), strict=True)
        images = torch.stack([image[:, y : y + size, x : x + size] for image, (y, x) in places])
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images) if bool(mirrored.any()) else images

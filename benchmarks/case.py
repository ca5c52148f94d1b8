"""What the benchmarks of networks run on: a network with two heads, a batch of images, the classes to explain."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.timing import ForwardPass
from sigcam_core import DualBranch


class Case(NamedTuple):
    """A network and a batch, on one device."""

    name: str  #: of the network
    dual: DualBranch
    images: Tensor  #: (N, 3, H, W)
    class_idx: Tensor  #: (N,) the predicted classes

    @property
    def setting(self) -> str:
        """For the table."""
        return f"{self.name}, {len(self.images)} images of {self.images.shape[-1]} px"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.images.shape[2], self.images.shape[3]

    @property
    def forward(self) -> ForwardPass:
        """The classifier on the images."""
        network = nn.Sequential(self.dual.backbone, self.dual.softmax_head)
        return ForwardPass(torch.no_grad()(lambda: network(self.images)), len(self.images), self.images.device)

    def first(self, count: int) -> Case:
        """Keep the first ``count`` images."""
        return self._replace(images=self.images[:count], class_idx=self.class_idx[:count])


def make_case(model: nn.Module, name: str, batch_size: int, size: int, device: torch.device) -> Case:
    """Build a case: a second head on a classifier, random images, and the classes that the classifier predicts.

    Args:
        model: a classifier whose head is global average pooling and one linear layer.
        name: what to call it.
        batch_size: images.
        size: their side in pixels.
        device: where to run.
    """
    dual = DualBranch.from_classifier(model, init="fresh").to(device)
    images = torch.randn(batch_size, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    return Case(name, dual, images, dual(images).softmax_logits.argmax(dim=1))

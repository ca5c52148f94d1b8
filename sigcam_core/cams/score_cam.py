"""Score-CAM: the weight of a channel is what the network says of the image seen through it, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..common.errors import fail
from ..dual.branch import DualBranch
from ..split.probe import evaluation_mode

Score = Callable[[Tensor, Tensor], Tensor]
"""What turns the logits (M, C) of M masked images, and the image (M,) that each shows, into scores (M,)."""


@torch.no_grad()
def scorecam(
    dual: DualBranch,
    images: Tensor,
    maps: Tensor,
    scores: Mapping[str, Score],
    batch_size: int = 32,
    autocast: torch.dtype | None = None,
) -> dict[str, Tensor]:
    r"""Score-CAM (Wang et al. 2020, Eq. 6 to 8).

    .. math:: \mathrm{ReLU}\Bigl(\sum_k \alpha_k A_k\Bigr), \quad \alpha = \mathrm{softmax}_k \, y(X \odot
        \mathrm{stretch}(\mathrm{resize}(A_k)))

    The score y of channel k, in the paper the class's logit, is that of the image times A_k, resized bilinearly to the
    image and then stretched to [0, 1] (zeros for a constant channel). That is one pass of the backbone for every image
    and channel; it serves both heads, and its memory does not grow with the channels. Weights are positive.

    Args:
        dual: the network.
        images: (N, 3, H, W) normalised images.
        maps: (N, K, h, w), their feature maps.
        scores: what is scored, by head, ``"softmax"``, ``"sigmoid"`` or both.
        batch_size: masked images per pass.
        autocast: see :meth:`sigcam_core.dual.branch.DualBranch.extract`.

    Returns:
        ``{head: (N, h, w)}``, not negative.

    Raises:
        SigcamError: if the images are not those of the maps, or the batch size is below 1.
    """
    if len(images) != len(maps):
        fail(f"Score-CAM needs the images of the features: got {len(images)} images and features of {len(maps)}.")
    if batch_size < 1:
        fail(f"batch_size must be at least 1, got {batch_size}.")
    channels = maps.shape[1]
    flat = maps.flatten(2).flatten(0, 1)  # (N K, h w)
    varied = (flat.amax(dim=1) > flat.amin(dim=1)).nonzero()[:, 0]  # rows of channels that are not constant
    networks = {head: dual.head(head) for head in scores}

    def logits_of(masked: Tensor) -> dict[str, Tensor]:
        features = dual.extract(masked, autocast)
        return {head: network(features) for head, network in networks.items()}

    with evaluation_mode(*networks.values()):
        # A constant channel masks everything: its score (N K,) is that of one black image.
        scored = {}
        every = torch.arange(len(maps), device=maps.device)
        for head, logits in logits_of(images.new_zeros(1, *images.shape[1:])).items():
            scored[head] = scores[head](logits.expand(len(maps), -1), every).repeat_interleave(channels)
        for rows in torch.split(varied, batch_size):
            source = rows // channels
            masked = images[source] * _masks(flat[rows].view(-1, *maps.shape[2:]), images)  # (B, 3, H, W)
            for head, logits in logits_of(masked).items():
                scored[head][rows] = scores[head](logits, source)
    return {
        head: (values.view(len(maps), 1, channels).softmax(dim=2) @ maps.flatten(2)).relu().view_as(maps[:, 0])
        for head, values in scored.items()
    }


def _masks(maps: Tensor, images: Tensor) -> Tensor:
    """Convert maps (M, h, w) to masks (M, 1, H, W) in [0, 1]."""
    masks = interpolate(maps[:, None].to(images.dtype), images.shape[2:], mode="bilinear", align_corners=False)
    low = masks.amin(dim=(2, 3), keepdim=True)
    span = masks.amax(dim=(2, 3), keepdim=True) - low
    return torch.where(span > 0, (masks - low) / span, 0.0)

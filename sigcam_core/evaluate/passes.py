"""Forward passes of a frozen backbone, compiled where that pays: the floor of every figure of fidelity."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..common.progress import Report
from ..dual.branch import DualBranch

TOLERANCE = 1e-3  # of the largest feature; compiled kernels add up in another order, which leaves about 1e-6
MANY_PASSES = 4000
"""Images. Compilation takes about as long as a thousand of them."""

Extract = Callable[[Tensor], Tensor]
"""Images (B, 3, H, W) to feature maps (B, K, h, w)."""


def fast_extract(dual: DualBranch, images: Tensor, num_passes: int, report: Report = lambda _: None) -> Extract:
    """The backbone's pass, compiled with frozen weights where a compiler is found and passes are many.

    Compiled and plain features are compared on the images given; where they differ by more than rounding, and where
    compilation fails, the plain pass is used and a line says so.

    Args:
        dual: the network; its features must be maps.
        images: (B, 3, H, W) normalised, one full batch. Smaller batches are filled up to B, which costs less than
            compiling again.
        num_passes: images that will be shown; below :data:`MANY_PASSES` nothing is compiled.
        report: gets a line of what is used.
    """

    def plain(batch: Tensor) -> Tensor:
        return dual.feature_maps(dual.extract(batch))

    if num_passes < MANY_PASSES or images.device.type != "cpu":
        return plain
    full = len(images)
    compiled = torch.compile(dual.backbone, options={"freezing": True}, dynamic=False)

    @torch.no_grad()
    def padded(batch: Tensor) -> Tensor:
        filled = torch.cat([batch, batch.new_zeros((full - len(batch), *batch.shape[1:]))])
        return dual.feature_maps(compiled(filled.contiguous(memory_format=torch.channels_last)))[: len(batch)]

    try:
        expected, got = plain(images), padded(images)
    except Exception as error:  # whatever the compiler lacks on this machine
        report(f"forward passes are not compiled ({str(error).splitlines()[0][:80]})")
        return plain
    difference = float((expected - got).abs().max() / expected.abs().max())
    if not difference <= TOLERANCE:
        report(f"forward passes are not compiled: features would differ by {difference:.1g} of the largest")
        return plain
    report(f"forward passes are compiled; features differ by {difference:.1g} of the largest at most")
    return lambda batch: (
        padded(batch) if len(batch) <= full else torch.cat([padded(p) for p in torch.split(batch, full)])
    )

"""Forward passes of a frozen network, compiled where that pays: the floor of features and of every fidelity figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..common.progress import Report

TOLERANCE = 1e-4
"""Share of a pass's largest number. Compiled kernels add up in another order, which leaves about 1e-6."""
MANY_PASSES = 4000
"""Images. Compilation takes about as long as a thousand of them."""

AT_ONCE = 8
"""Images that a compiled pass takes. It is as fast with 8 as with 32, and fewer are filled up at the end of a batch."""

COMPILED, PLAIN, BFLOAT16 = "compiled", "plain", "bfloat16"


@dataclass(frozen=True, eq=False)
class Pass:
    """Images (B, 3, H, W) to what a network gives of them, B rows.

    Attributes:
        run: the pass.
        kind: ``"compiled"`` or ``"plain"``.
    """

    run: Callable[[Tensor], Tensor]
    kind: str

    def __call__(self, images: Tensor) -> Tensor:
        """Run it."""
        return self.run(images)


def fast_pass(network: nn.Module, images: Tensor, num_passes: int, report: Report = lambda _: None) -> Pass:
    """Choose the pass without gradients: compiled with frozen weights where there is a compiler and passes are many.

    Compiled and plain numbers are compared on the images given; where they differ by more than :data:`TOLERANCE`, where
    compilation fails, and where torch is set not to compile, the plain pass is used and a line says so.

    Args:
        network: in evaluation mode; it gives one tensor whose first axis is the images'.
        images: (B, 3, H, W) normalised, the first of what will be shown. Passes are compiled for the first
            :data:`AT_ONCE` of them; larger batches are split into as many, and smaller ones filled up, which costs
            less than compiling again.
        num_passes: images that will be shown; below :data:`MANY_PASSES` nothing is compiled, nor off the CPU.
        report: gets a line of what is used.
    """
    plain = Pass(torch.no_grad()(network), PLAIN)
    if num_passes < MANY_PASSES or images.device.type != "cpu":
        return plain
    from torch._dynamo import config as dynamo  # these take a second to import
    from torch._inductor import config as inductor

    images = images[:AT_ONCE]
    full = len(images)
    compiled = torch.compile(network, dynamic=False)
    if compiled is network or dynamo.disable:  # by TORCHDYNAMO_DISABLE, or by TORCH_COMPILE_DISABLE
        report("forward passes are not compiled: torch is set not to")
        return plain

    @torch.no_grad()
    def padded(batch: Tensor) -> Tensor:
        missing = full - len(batch)
        filled = torch.cat([batch, batch.new_zeros((missing, *batch.shape[1:]))]) if missing else batch
        return compiled(filled.contiguous(memory_format=torch.channels_last))[: len(batch)]  # type: ignore[no-any-return]

    try:
        # Not an option of torch.compile, which Dynamo would not see: it must hand weights over as constants, for
        # convolutions to be joined with what follows them. Where errors are suppressed, what runs is the plain network.
        with inductor.patch(freezing=True), dynamo.patch(suppress_errors=False):
            expected, got = plain(images), padded(images)
    except Exception as error:  # whatever the compiler lacks on this machine
        report(f"forward passes are not compiled ({str(error).splitlines()[0][:80]})")
        return plain
    difference = float((expected - got).abs().max() / expected.abs().max())
    if not difference <= TOLERANCE:
        report(f"forward passes are not compiled: features would differ by {difference:.1g} of the largest")
        return plain
    report(f"forward passes are compiled; features differ by {difference:.1g} of the largest at most")
    return Pass(
        lambda batch: padded(batch) if len(batch) <= full else torch.cat([padded(p) for p in torch.split(batch, full)]),
        COMPILED,
    )


class FastBackbone(nn.Module):
    """A frozen backbone that is run by :func:`fast_pass`; its parameters are those of the network.

    Args:
        network: in evaluation mode.
        images: (B, 3, H, W) normalised, one full batch.
        num_passes: images that will be shown.
        report: gets a line of what is used.
    """

    def __init__(self, network: nn.Module, images: Tensor, num_passes: int, report: Report = lambda _: None) -> None:
        super().__init__()
        self.network = network
        self.passes = fast_pass(network, images, num_passes, report)

    @property
    def kind(self) -> str:
        """Of its passes."""
        return self.passes.kind

    def forward(self, images: Tensor) -> Tensor:
        """Run the network on images (B, 3, H, W), without gradients."""
        return self.passes(images)


class InBfloat16(nn.Module):
    """A frozen backbone whose products are of bfloat16 numbers, good to the 256th part, and whose sums are float32's.

    Args:
        network: in evaluation mode.
    """

    kind = BFLOAT16

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Compute what the network gives of images (B, 3, H, W), without gradients, in the type of its weights."""
        with torch.autocast(images.device.type, torch.bfloat16):
            features = self.network(images)
        return features.to(next(self.network.parameters()).dtype)  # type: ignore[no-any-return]

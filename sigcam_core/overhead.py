"""What the second head costs: parameters, and time of inference with a map, measured side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .backbones import input_format
from .cams import maps_from_features, methods_of
from .dual import HEADS, DualBranch
from .errors import fail


def count_parameters(*modules: nn.Module) -> int:
    """Number of parameters of all ``modules``."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def measure_overhead(
    dual: DualBranch, backbone: str, batch_size: int = 8, repeats: int = 15, seed: int = 0
) -> dict[str, Any]:
    """Parameters, and time of a forward pass with one map an image, for the classifier and for the dual branch.

    The map is CAM where the head allows it, else Grad-CAM. The two networks take turns, so that whatever else the
    machine does falls on both; times are medians.

    Args:
        dual: the network, on the device to measure.
        backbone: name of the network, for its input size.
        batch_size: images a pass.
        repeats: pairs of passes.
        seed: of the random images.

    Returns:
        ``parameters`` and ``inference_time_with_cam`` (ms an image), each as (baseline, dual branch), and
        ``inference_ratio``, the median of the paired ratios.

    Raises:
        SigcamError: if ``repeats`` or ``batch_size`` is below 1.
    """
    if repeats < 1 or batch_size < 1:
        fail(f"measure at least 1 pair of passes on at least 1 image, not {repeats} on {batch_size}.")
    device = next(dual.parameters()).device
    size = input_format(backbone).size
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch_size, 3, size, size, generator=generator).to(device)
    method = methods_of(dual.softmax_head)[0]

    def passes(heads: tuple[str, ...]) -> Callable[[], None]:
        def run() -> None:
            features = dual.extract(images)
            class_idx = dual.softmax_head(features).argmax(dim=1)
            maps_from_features(dual, features, class_idx, [method], heads)

        return run

    baseline, both = passes(("softmax",)), passes(HEADS)
    with torch.no_grad():
        pairs = [(seconds_of(baseline, device), seconds_of(both, device)) for _ in range(repeats + 2)][2:]
    one, two = (1000 / batch_size * statistics.median(times) for times in zip(*pairs, strict=True))
    frozen = count_parameters(dual.backbone, dual.softmax_head)
    return {
        "method": method,
        "parameters": (frozen, frozen + count_parameters(dual.sigmoid_head)),
        "inference_time_with_cam": (one, two),
        "inference_ratio": statistics.median(after / before for before, after in pairs),
    }


def overhead_rows(network: str, measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of Table 3 in the paper's units: parameters in millions, inference in ms an image, training in hours."""
    units = {"training_time": ("h", 1 / 3600), "inference_time_with_cam": ("ms", 1.0), "parameters": ("M", 1e-6)}
    rows = []
    for quantity, (unit, scale) in units.items():
        if quantity in measured:
            before, after = (scale * value for value in measured[quantity])
            ratio = measured["inference_ratio"] if quantity.startswith("inference") else after / before
            names = {"network": network, "quantity": quantity, "unit": unit}
            rows.append(names | {"baseline": before, "dual_branch": after, "ratio": ratio})
    return rows


def seconds_of(run: Callable[[], Any], device: torch.device) -> float:
    """Seconds that ``run`` takes, with what it leaves to a GPU, and without what was left to it before."""
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

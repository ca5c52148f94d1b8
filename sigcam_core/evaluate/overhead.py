"""What the second head costs: parameters, and times of inference with a map and of training, side by side."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..cams.maps import MapOptions, maps_from_features, methods_of
from ..common.errors import fail
from ..dual.branch import HEADS, DualBranch
from ..dual.loss import class_balanced_bce
from ..split.split import split_pooling


def count_parameters(*modules: nn.Module) -> int:
    """Count the parameters of all ``modules``."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def measure_overhead(dual: DualBranch, batch_size: int = 8, repeats: int = 15, seed: int = 0) -> dict[str, Any]:
    """Parameters, and time of a forward pass with one map per image, for the classifier and for the dual branch.

    The map is CAM where the head allows it, else Grad-CAM. The two networks take turns, so that whatever else the
    machine does falls on both; times are medians.

    Args:
        dual: the network, on the device to measure.
        batch_size: images per pass.
        repeats: pairs of passes.
        seed: of the random images.

    Returns:
        ``parameters`` and ``inference_time_with_cam`` (ms per image), each as (baseline, dual branch), and
        ``inference_ratio``, the median of the paired ratios, which are ``inference_ratios``.

    Raises:
        SigcamError: if ``repeats`` or ``batch_size`` is below 1.
    """
    if repeats < 1 or batch_size < 1:
        fail(f"measure at least 1 pair of passes on at least 1 image, not {repeats} on {batch_size}.")
    device = next(dual.parameters()).device
    form = dual.input_format
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch_size, form.channels, form.size, form.size, generator=generator).to(device)
    method = methods_of(dual.softmax_head)[0]

    def passes(heads: tuple[str, ...]) -> Callable[[], None]:
        def run() -> None:
            features = dual.extract(images)
            class_idx = dual.softmax_head(features).argmax(dim=1)
            maps_from_features(dual, features, class_idx, MapOptions([method], heads))

        return run

    baseline, both = passes(("softmax",)), passes(HEADS)
    with torch.no_grad():
        pairs = [(seconds_of(baseline, device), seconds_of(both, device)) for _ in range(repeats + 2)][2:]
    one, two = (1000 / batch_size * statistics.median(times) for times in zip(*pairs, strict=True))
    ratios = [after / before for before, after in pairs]
    frozen = count_parameters(dual.backbone, dual.softmax_head)
    return {
        "method": method,
        "parameters": (frozen, frozen + count_parameters(dual.sigmoid_head)),
        "inference_time_with_cam": (one, two),
        "inference_ratio": statistics.median(ratios),
        "inference_ratios": ratios,
    }


def measure_head_training(
    dual: DualBranch, batch_size: int = 32, epochs: int = 10, repeats: int = 5, seed: int = 0
) -> dict[str, float]:
    """Time of training the sigmoid head, an image: on the fly as the official recipe does, and on cached features.

    A forward pass of the frozen backbone, a step of the head's training on what it gave, and both in a row take turns.
    On the fly, every epoch costs both; with cached features there is one forward pass, and a step an epoch.

    Args:
        dual: the network, on the device to measure. Its sigmoid head is left as it was.
        batch_size: images per step.
        epochs: of the training that is estimated.
        repeats: rounds.
        seed: of the random images.

    Returns:
        ``forward_pass``, ``on_the_fly`` and ``cached`` (ms per image), medians; ``on_the_fly_passes`` and
        ``cached_passes``, medians of the ratios to the forward pass of the same round.

    Raises:
        SigcamError: if a count is below 1, or the head is not a sequence of layers.
    """
    if min(batch_size, epochs, repeats) < 1:
        fail(f"measure at least 1 round, epoch and image, not {repeats}, {epochs} and {batch_size}.")
    device = next(dual.parameters()).device
    form = dual.input_format
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(batch_size, form.channels, form.size, form.size, generator=generator).to(device)
    labels = torch.arange(batch_size, device=device) % dual.softmax_head(dual.extract(images[:1])).shape[1]
    pool, rest = split_pooling(copy.deepcopy(dual.sigmoid_head))
    rest.train()
    optimizer: Any = torch.optim.SGD(rest.parameters(), lr=1e-4, momentum=0.9, nesterov=True)
    inputs = pool(dual.extract(images))

    def step(taken: Tensor) -> None:
        loss = class_balanced_bce(rest(taken), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    turns: list[Callable[[], Any]] = [
        lambda: pool(dual.extract(images)),
        lambda: step(inputs),
        lambda: step(pool(dual.extract(images))),
    ]
    rounds = [[seconds_of(turn, device) for turn in turns] for _ in range(repeats + 1)][1:]
    scale = 1000 / batch_size
    on_the_fly = [epochs * both for _, _, both in rounds]
    cached = [forward + epochs * alone for forward, alone, _ in rounds]
    forwards = [forward for forward, _, _ in rounds]
    return {
        "forward_pass": scale * statistics.median(forwards),
        "on_the_fly": scale * statistics.median(on_the_fly),
        "cached": scale * statistics.median(cached),
        "on_the_fly_passes": statistics.median(a / b for a, b in zip(on_the_fly, forwards, strict=True)),
        "cached_passes": statistics.median(a / b for a, b in zip(cached, forwards, strict=True)),
    }


def overhead_rows(network: str, measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of Table 3 in the paper's units: parameters in millions, inference in ms per image, training in hours."""
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

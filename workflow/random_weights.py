"""Random weights where torchvision looks for published ones, to run in minutes what would begin with a download.

``python workflow/random_weights.py --root DIR`` writes those of the paper's networks, which torchvision
takes for ImageNet's where ``TORCH_HOME`` is ``DIR``. Whatever is trained from them means nothing.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor
from torchvision import models

from sigcam_core.backbones.paper_networks import RELEASES
from sigcam_core.common.errors import CommandLine, run_command_line
from sigcam_core.common.files import write_atomically, write_json
from sigcam_core.common.provenance import provenance

LAST_OF_RESIDUAL_BLOCK = 0.2  # or sums would grow with every block


def write_random_weights(root: Path, seed: int = 0) -> None:
    """Write random weights under the names of torchvision's, and last ``weights.json``, which says so.

    Args:
        root: what ``TORCH_HOME`` is to be.
        seed: of the weights.
    """
    generator, files = torch.Generator().manual_seed(seed), []
    for name, release in RELEASES.items():
        with torch.device("meta"):
            layout = getattr(models, name)(**({"init_weights": False} if name == "inception_v3" else {}))
        weights = {key: _random(key, value.shape, generator) for key, value in layout.state_dict().items()}
        file = PurePosixPath(models.get_weight(release).url).name
        write_atomically(root / "hub" / "checkpoints" / file, partial(torch.save, weights))
        files.append(file)
    write_json(root / "weights.json", provenance(weights="random, not ImageNet's", files=files, seed=seed))


def _random(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """He's normal weights, so that signals neither fade nor grow; BatchNorm and biases as they start."""
    if len(shape) > 1:
        return torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if name.endswith("bn3.weight"):
        return torch.full(shape, LAST_OF_RESIDUAL_BLOCK)
    return torch.ones(shape) if name.endswith(("running_var", ".weight")) else torch.zeros(shape)


def main() -> None:
    """Command line of the module."""
    parser = CommandLine(prog="python workflow/random_weights.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="what TORCH_HOME is to be")
    write_random_weights(parser.parse_args().root)


if __name__ == "__main__":
    run_command_line(main)

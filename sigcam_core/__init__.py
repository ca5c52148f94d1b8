"""Dual-branch sigmoid heads, class activation maps, and their evaluation.

The companion module of *Beyond Softmax: Dual-Branch Sigmoid Architecture for Accurate Class Activation Maps*
(Oh and Noh, BMVC 2025). Data flows one way: manifest, checkpoint, evidence, tables and figures.
"""

from .cams import EXTRA_METHODS, METHODS, cam_maps
from .dual import DualBranch
from .errors import SigcamError
from .losses import class_balanced_bce
from .score_maps import normalize_maps

__all__ = [
    "EXTRA_METHODS",
    "METHODS",
    "DualBranch",
    "SigcamError",
    "cam_maps",
    "class_balanced_bce",
    "normalize_maps",
]

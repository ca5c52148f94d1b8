"""Dual-branch sigmoid heads, class activation maps, and their evaluation.

The companion module of *Beyond Softmax: Dual-Branch Sigmoid Architecture for Accurate Class Activation Maps*
(Oh and Noh, BMVC 2025). Data flows one way: manifest, checkpoint, evidence, tables and figures.
"""

from .cams import METHODS, cam_maps, normalize_maps
from .dual import DualBranch
from .errors import SigcamError
from .losses import class_balanced_bce

__all__ = ["METHODS", "DualBranch", "SigcamError", "cam_maps", "class_balanced_bce", "normalize_maps"]

"""How well maps find objects: MaxBoxAcc, GT-Loc, Top-1 Loc and PxAP (Choe et al. 2020).

The protocol for one map, the same as metrics that add up over a data set, and its columns of the evidence. Score
maps, boxes and masks come in; no network does.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

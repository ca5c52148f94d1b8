"""How any classifier is cut into a backbone and a head, and its output put as feature maps (N, K, h, w).

A cut is found by trying, and kept only if the parts give the classifier's own logits. No second head is made here.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

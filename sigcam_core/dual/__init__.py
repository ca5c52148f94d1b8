"""The dual-branch network: a frozen softmax classifier with a second, sigmoid head (Oh and Noh 2025, Section 4).

The two branches, the loss of the second head, and the heads that ship. No maps, no training loop.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

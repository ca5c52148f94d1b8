"""How notebooks show and save what they have: names, figures, tables with their downloads, values for the prose.

It knows no chapter and no claim. Names are loaded when they are asked for (PEP 562).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

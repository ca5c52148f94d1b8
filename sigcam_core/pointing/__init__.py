"""Whether a map belongs to its class: the pointing game, energy pointing, and grid pointing.

Raw maps come in, not stretched ones, since these games ask about the sign of the evidence. Grids of images are chosen,
composed and scored here; loading the images is another module's business.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

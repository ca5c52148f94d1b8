"""The networks, by name, with the input that each expects (Oh and Noh 2025, Section 5.1).

A network is one function in the module of its family and one line in the table of :mod:`.formats`. Whatever
is trained, split or explained belongs to other modules.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

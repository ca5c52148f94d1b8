"""How faithful maps are: what becomes of a class score when only what a map shows is kept.

Average drop and its kin, insertion and deletion, and their columns of the evidence.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

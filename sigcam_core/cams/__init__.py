"""Class activation maps: what a head says of each place of the image.

A method is one function and one entry of a table. Maps are made here and judged elsewhere: a batch carries boxes and
masks along for those who judge, and nothing in this module looks at them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

"""The pipeline's stages: prepare, train, evaluate. Each is a file, made where there is none.

A notebook, the command line and the workflow all come through here, so that they agree on names and places. A stage
that finds its file returns at once, and makes what it builds on first where that is missing; so a notebook runs alone,
and the workflow, which knows what is out of date, deletes a file to have it made again. There is one module per stage,
so that a file depends on what its module imports and on nothing else.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

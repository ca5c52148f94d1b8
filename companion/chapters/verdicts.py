"""The chapter on the claims: each judged twice, and what its numbers rest on.

What is imported here under its own name (``as``) is handed on to the notebook.
"""

from __future__ import annotations

from ..claims import claims as claims
from ..claims import judging as judging
from ..claims import page as page
from ..claims import registered as registered
from ..claims import told as told
from ..paper import own as own
from ..paper.own import read_cells as read_cells

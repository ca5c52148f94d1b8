"""The names that the paper's tables use, and ours. Names only."""

from __future__ import annotations

DATA_SETS = {
    "imagenet-1k": "imagenet",
    "openimages-30k": "openimages",
    "cub-200-2011": "cub",
    "stanford-cars": "stanford_cars",
}
"""The project's name of each of the paper's data sets; networks and methods have the same names in both."""

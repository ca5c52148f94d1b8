"""Images whose parts are known: which part each pixel shows, and the same images without one of them.

Only generated data can have them. Their manifest has these columns beside the usual ones, as
``python -m data_scripts shapes --parts`` writes them for the test split:

===========================  ===========  ==========================================================================
column                       type         meaning
===========================  ===========  ==========================================================================
``parts``                    str or null  uint8 PNG, relative path: each pixel's position in :data:`PARTS`
``removed_object``           str or null  the image without its object, drawn with the same clutter, light and noise
``removed_cue``              str or null  likewise without its context cue
``removed_distractors``      str or null  likewise without its distractors
===========================  ===========  ==========================================================================
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from sigcam_core.common.errors import check_choice, fail
from sigcam_core.prepare.images import load_masks
from sigcam_core.prepare.manifest import Manifest

PARTS = ("clutter", "object", "cue", "distractors")
"""What a pixel may show; its position is its value in the masks."""
REMOVABLE = PARTS[1:]
"""Parts that an image can be drawn without."""
MASK_COLUMN = "parts"


def removed_column(part: str) -> str:
    """Column of the manifest that names the image without a part."""
    return f"removed_{part}"


def load_parts(manifest: Manifest, size: int) -> Tensor:
    """Load the part that each pixel shows, at the size of the network's input, by nearest neighbour.

    Args:
        manifest: the N images.
        size: side wanted, pixels.

    Returns:
        uint8 tensor (N, size, size) of positions in :data:`PARTS`.

    Raises:
        SigcamError: if the parts of an image are not known.
    """
    _check_known(manifest, MASK_COLUMN)
    return load_masks(manifest, size, MASK_COLUMN, range(len(PARTS)))


def without_part(manifest: Manifest, part: str) -> Manifest:
    """Take the same images without one part: all else in the manifest still describes the whole images.

    Args:
        manifest: the N images.
        part: one of :data:`REMOVABLE`.

    Raises:
        SigcamError: for an unknown part, or if there is no such picture of an image.
    """
    column = removed_column(check_choice("part", part, REMOVABLE))
    _check_known(manifest, column)
    return replace(manifest, table=manifest.table.assign(path=manifest.table[column]))


def _check_known(manifest: Manifest, column: str) -> None:
    if column not in manifest.table or manifest.table[column].isna().any():
        fail(
            f"not every image of {manifest.name} has {column}: prepare it with "
            "`python -m data_scripts shapes --parts`, and take the test split."
        )

"""A photo of one's own as a data set of one image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..common.paths import user_path
from ..prepare.decode import image_size
from ..prepare.manifest import Manifest, manifest_checksum


def photo_manifest(path: Path | str, class_names: Sequence[str]) -> Manifest:
    """Build a manifest of one photo of the user's; it is shown upright, as its EXIF orientation says.

    Args:
        path: image file of a format in :data:`sigcam_core.prepare.decode.FORMATS`.
        class_names: of the network that looks at it.

    Raises:
        SigcamError: if the file is missing, is no image of such a format, or is too large.
    """
    path = user_path(path)
    remedy = "give the path of a photo, such as a JPEG or PNG file"
    width, height = image_size(path, f"image {path}", remedy, upright=True)
    row = {"image_id": path.stem, "path": path.name, "label": 0, "split": "test", "width": width, "height": height}
    table = pd.DataFrame([row | {"boxes": [], "mask": None}])
    # Not the folder of the file that a link leads to, where the name may be another.
    folder = path.absolute().parent
    return Manifest("photo", table, tuple(class_names), folder, manifest_checksum(table), upright=True)

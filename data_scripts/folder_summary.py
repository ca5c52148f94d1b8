"""What a folder of images was taken for, in a few lines: counts, copies, and what was passed over and why."""

from __future__ import annotations

from itertools import combinations

import pandas as pd
from rich.table import Table
from rich.text import Text

from data_scripts.folder_files import PassedOver, passed_over_lines, printable
from data_scripts.folder_splits import SPLITS
from sigcam_core.common.files import read_object
from sigcam_core.prepare.contents import recorded_files
from sigcam_core.prepare.manifest import Manifest

PASSED_OVER = "passed_over.json"
"""File next to the manifest: by reason, all that was passed over."""
MOST_CLASSES = 20
"""That are listed one by one."""


def summary(manifest: Manifest) -> list[Table | str]:
    """Summarise how files were read: images by split and class, what was drawn, copies, and what was passed over.

    Args:
        manifest: of a folder that :func:`prepare` has prepared.
    """
    parameters = read_object(manifest.root / "manifest.json")["parameters"]
    passed: PassedOver = read_object(manifest.root / PASSED_OVER)
    lines = [
        f"no folder {name}: {100 * parameters[f'{name}_fraction']:g} % of each class in train became {name}"
        for name in parameters["drawn"]
    ]
    without = int((manifest.table["boxes"].map(len) == 0).sum())
    if 0 < without < len(manifest):
        lines.append(f"no box: {without:,} of {len(manifest):,} images")
    lines += _lacking_lines(manifest) + copies_lines(manifest) + passed_over_lines(passed)
    last = f"all that was passed over is listed in {manifest.root / PASSED_OVER}" if passed else "passed over: nothing"
    title = f"{manifest.name}: {manifest.num_classes} classes, checksum {manifest.checksum[:12]}"
    return [title, _counts(manifest), *lines, last]


def _counts(manifest: Manifest) -> Table:
    """Count images per split and class, or per split where there are many classes."""
    rows = manifest.table.assign(boxes=manifest.table["boxes"].map(len))
    is_long = manifest.num_classes > MOST_CLASSES
    table = Table()
    for column in ("split", "class", "images", "boxes"):
        table.add_column(column, justify="left" if column in ("split", "class") else "right", overflow="fold")
    for split in SPLITS:
        part = rows[rows["split"] == split]
        sizes = part["label"].value_counts().reindex(range(manifest.num_classes), fill_value=0)
        if is_long:
            named = f"{(sizes > 0).sum()} classes of {sizes.min()} to {sizes.max()} images"
            table.add_row(split, named, f"{len(part)}", f"{part['boxes'].sum()}")
            continue
        for label, name in enumerate(manifest.class_names):
            boxes = part.loc[part["label"] == label, "boxes"].sum()
            table.add_row(split, Text(printable(name)), f"{sizes[label]}", f"{boxes}")
    return table


def _lacking_lines(manifest: Manifest) -> list[str]:
    """Report each split in which classes have no image, one line per split."""
    lines = []
    for split in SPLITS:
        there = set(manifest.table.loc[manifest.table["split"] == split, "label"])
        lacking = [name for label, name in enumerate(manifest.class_names) if label not in there]
        if lacking:
            lines.append(f"no image in {split}: {len(lacking)} classes, such as {printable(lacking[0])}")
    return lines


def copies_lines(manifest: Manifest) -> list[str]:
    """Report images of the same bytes, one line for each two splits that share some, and one for classes.

    The checksums are those that were recorded with the manifest, so no file is read for this.
    """
    records = recorded_files(manifest.root)
    rows = pd.DataFrame(
        {
            "bytes": [records[path].sha256 for path in manifest.table["path"]],
            "name": manifest.table["image_id"],
            "split": manifest.table["split"],
            "label": manifest.table["label"],
        }
    )
    rows = rows[rows["bytes"].duplicated(keep=False)]
    lines = []
    for first, second in combinations(SPLITS, 2):
        one_each = rows[rows["split"] == first].drop_duplicates("bytes")
        pairs = one_each.merge(rows[rows["split"] == second], on="bytes")
        if len(pairs):
            what = f"same bytes in {first} and {second}: {len(pairs):,} of {second}, such as {_example(pairs)}"
            lines.append(f"{what}: delete one of each two, since results on {second} look better than they are")
    pairs = rows.drop_duplicates("bytes").merge(rows, on="bytes")
    pairs = pairs[pairs["label_x"] != pairs["label_y"]]
    if len(pairs):
        count = pairs["bytes"].nunique()
        lines.append(f"same bytes in two classes: {count:,}, such as {_example(pairs)}: delete the wrong ones")
    return lines


def _example(pairs: pd.DataFrame) -> str:
    first = pairs.iloc[0]
    return f"{printable(first['name_x'])} and {printable(first['name_y'])}"

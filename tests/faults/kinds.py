"""The table of faults: by what a page calls each, how it is injected, and how many moments a full run tries."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from . import damage, interruptions, moments, together
from .outcome import Outcome, Place

MOMENTS = 50
FEW = 3  # of what takes minutes


class Kind(NamedTuple):
    """A fault: its group, what injects it, and how many moments a full run tries at most."""

    group: str
    inject: Callable[[Place], Outcome]
    moments: int = MOMENTS


STOPPED, ALTERED, SHARED = "A process is stopped", "A file is altered between two runs", "Several at once"
WEIGHTS = "checkpoints/*.safetensors"

KINDS: dict[str, Kind] = {
    **{f"kill -9 of {name}": Kind(STOPPED, interruptions.killed(name))
       for name in ("prepare", "classifier", "head", "evaluate", "summarise", "publish")},
    "kill -9 of all stations, by the clock": Kind(STOPPED, interruptions.killed_by_the_clock),
    "kill -9 of a notebook": Kind(STOPPED, together.killed_notebook, FEW),
    "kill -9 of the workflow": Kind(STOPPED, together.killed_workflow, FEW),
    **{f"power cut in {name}": Kind(STOPPED, interruptions.without_power(name))
       for name in ("prepare", "classifier", "head", "evaluate", "summarise", "publish")},
    "full disk": Kind(STOPPED, interruptions.refused_by_the_disk(moments.FULL)),
    "full disk, a real one": Kind(STOPPED, interruptions.on_a_small_disk),
    "read-only disk": Kind(STOPPED, interruptions.refused_by_the_disk(moments.READ_ONLY)),
    "folder of another user": Kind(STOPPED, interruptions.in_a_folder_of_others),
    "no more memory": Kind(STOPPED, interruptions.with_little_memory),
    "loss that is NaN": Kind(STOPPED, interruptions.with_a_loss_that_is_no_number),
    "features half written": Kind(ALTERED, damage.half_way("head", "features/*/*.npy", damage.cut)),
    "features with a bit flipped": Kind(ALTERED, damage.flipped_features),
    "features of other weights": Kind(ALTERED, damage.cache_of_other_weights),
    "features by other versions": Kind(ALTERED, damage.cache_of_other_versions),
    "training in progress, cut or altered": Kind(
        ALTERED,
        damage.half_way("classifier", "checkpoints/*.unfinished", damage.cut, damage.flip, damage.other_weights),
    ),
    "shard of evidence cut or altered": Kind(
        ALTERED, damage.half_way("evaluate", "evidence/*.shards/*", damage.cut, damage.flip)
    ),
    "shard of other weights": Kind(ALTERED, damage.shard_of_other_weights),
    "measurement cut, altered or of other facts": Kind(ALTERED, damage.altered_measurement),
    "evidence cut, altered or foreign": Kind(
        ALTERED, damage.damaged("evidence/*.parquet", damage.cut, damage.flip, damage.foreign_table)
    ),
    "manifest cut, altered or foreign": Kind(
        ALTERED, damage.damaged("data/shapes/*.parquet", damage.cut, damage.flip, damage.foreign_table)
    ),
    "record cut, foreign or gone": Kind(
        ALTERED, damage.damaged("[ce]*/*.json", damage.cut, damage.foreign_json, damage.gone)
    ),
    "manifest's JSON cut or foreign": Kind(
        ALTERED, damage.damaged("data/shapes/*.json", damage.cut, damage.foreign_json)
    ),
    "weights cut, altered or foreign": Kind(
        ALTERED,
        damage.damaged(WEIGHTS, damage.cut, damage.flip, damage.foreign_weights, damage.other_weights),
    ),
    "pickle named safetensors": Kind(ALTERED, damage.damaged(WEIGHTS, damage.pickled)),
    "image replaced by one of the same size": Kind(ALTERED, damage.replaced_image),
    "image or mask deleted": Kind(ALTERED, damage.deleted_image),
    "archive cut or altered": Kind(ALTERED, damage.damaged_archive),
    "data set asked for with other options": Kind(ALTERED, damage.prepared_with_other_options),
    "what a step made beside its file deleted": Kind(ALTERED, together.deleted_summary, FEW),
    "clock set back": Kind(ALTERED, together.clock_set_back),
    "two runs in one folder": Kind(SHARED, together.both_at_once("prepare", together.whole_line, "publish")),
    "two processes fill one cache": Kind(SHARED, together.both_at_once("classifier", damage.train_head, "head")),
    "one of two is killed": Kind(SHARED, together.one_of_two_is_killed),
}  # fmt: skip
"""Every kind."""
SLOW = [name for name, kind in KINDS.items() if kind.moments == FEW]
"""Kinds that start other programs; the test suite stops those elsewhere."""

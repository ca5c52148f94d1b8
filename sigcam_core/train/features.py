"""The head's inputs, computed once by the frozen backbone and kept on disk.

One NumPy file (N, D) a view, memory-mapped, in a folder whose name is a digest of all that decides its numbers: the
network and its weights, the images, the way they are shown, and the type. What is there is not computed again, and a
pass that was stopped goes on where it was.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..backbones.formats import required_format
from ..backbones.passes import Pass, fast_pass
from ..common.digests import digest_of, digest_of_weights
from ..common.errors import fail
from ..common.files import one_at_a_time, read_object, sha256_of_file, sync, write_atomically, write_json
from ..common.progress import Report, progress_bar
from ..common.provenance import provenance
from ..prepare.contents import marks_of_files
from ..prepare.images import image_batches
from ..prepare.manifest import Manifest
from ..prepare.views import View
from .fit import precision_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

BATCH_SIZE = 64  # images a forward pass
SECONDS_BETWEEN_FLUSHES = 10.0
SHARE_OF_GPU_MEMORY = 0.5
VERSIONS = ("torch", "torchvision", "timm", "pillow", "numpy")
"""Libraries that decode images, show them, and run networks, of which other versions may give other numbers."""


@dataclass(frozen=True)
class FeatureCache:
    """The head's inputs for every view of the images of a split.

    Attributes:
        views: files of (N, D) numbers, one per view.
        labels: class indices (N,).
    """

    views: tuple[Path, ...]
    labels: Tensor
    # The view that lies on a GPU, so that epochs after the first do not copy it again.
    _resident: dict[int, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def open(self, view: int) -> Tensor:
        """Open the inputs (N, D) of one view, memory-mapped: rows are read when they are used."""
        return _opened(self.views[view])

    def batches(self, view: int, rows: Sequence[Tensor], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Float32 inputs (B, D) and labels (B,) of the given rows, on ``device``.

        A view that takes up at most half of a GPU's free memory is copied there once; otherwise a thread reads the next
        batch while the present one is used.

        Args:
            view: number of the view.
            rows: rows (B,) of each batch.
            device: where the head trains.
        """
        inputs = self._resident.get(view)
        if inputs is None:
            self._resident.clear()
            inputs = self.open(view)
            if device.type == "cuda" and inputs.nbytes <= SHARE_OF_GPU_MEMORY * torch.cuda.mem_get_info(device)[0]:
                inputs = self._resident[view] = inputs.to(device)
        if not self._resident:
            yield from _read_ahead(inputs, self.labels, rows, device)
            return
        labels = self.labels.to(device)
        for batch in rows:
            index = batch.to(device)
            yield inputs[index].float(), labels[index]


def _read_ahead(
    inputs: Tensor, labels: Tensor, rows: Sequence[Tensor], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    def read(batch: Tensor) -> tuple[Tensor, Tensor]:
        taken = inputs[batch]
        return (taken.pin_memory() if device.type == "cuda" else taken), labels[batch]

    if not rows:  # a run may have been stopped after the last step of an epoch
        return
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(read, rows[0])
        for following in [*rows[1:], None]:
            taken, taken_labels = pending.result()
            if following is not None:
                pending = pool.submit(read, following)
            yield taken.to(device, non_blocking=True).float(), taken_labels.to(device)


def cache_features(
    network: nn.Module,
    manifest: Manifest,
    views: Sequence[View],
    folder: Path,
    *,
    cache_type: str = "float16",
    fabric: Fabric | None = None,
    report: Report = lambda _: None,
    earlier: FeatureCache | None = None,
) -> FeatureCache:
    """Run a frozen network once over each view of the images, unless that was done before.

    Args:
        network: images (N, 3, H, W) to the head's inputs (N, D), in evaluation mode, with the attribute
            ``input_format``. It is moved to Fabric's device.
        manifest: the images.
        views: how the images are shown.
        folder: of all caches; each has a folder of its own there.
        cache_type: ``"float16"`` or ``"float32"``.
        fabric: devices, which share the images; ``None`` for the one where the network is.
        report: gets a line now and then.
        earlier: what an earlier part of a network gave of the same images and views, which ``network`` takes instead of
            the images; ``None`` for the images themselves.

    Raises:
        SigcamError: if a number is not finite, or too large for float16; an image cannot be read; or there is no room.
    """
    facts = _facts(network, manifest, cache_type) | {"precision": precision_of(fabric)}
    paths = []
    for number, view in enumerate(views):
        taken = earlier.views[number] if earlier else None
        if taken:
            facts["earlier"] = taken.parent.name
        key = digest_of(
            {**facts, "view": [view.augment, *([view.seed, view.number] if view.augment != "none" else [])]}
        )
        paths.append(folder / key[:16] / "inputs.npy")
        # Several processes of one run share the work; of several runs, one does it and the others wait.
        alone = fabric is None or fabric.world_size == 1
        with one_at_a_time(paths[-1].with_name("lock"), report) if alone else nullcontext():
            if paths[-1].exists():
                _check(paths[-1])
            else:
                record = {**facts, "view": vars(view), "num_images": len(manifest)}
                _compute(network, manifest, view, paths[-1], cache_type, fabric, record, report, taken)
        if fabric is not None:
            fabric.barrier()
    return FeatureCache(tuple(paths), manifest.labels)


def _compute(
    network: nn.Module,
    manifest: Manifest,
    view: View,
    path: Path,
    cache_type: str,
    fabric: Fabric | None,
    facts: Mapping[str, Any],
    report: Report,
    taken: Path | None,
) -> None:
    """Fill the file at ``path``, of images or of what was ``taken`` of them, and write the record beside it."""
    start = time.perf_counter()
    rank, num_ranks = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    device = fabric.device if fabric else _device_of(network)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    form, batches = required_format(network), torch.split(torch.arange(len(manifest)), BATCH_SIZE)
    partial, done_file = path.with_suffix(".partial.npy"), path.with_suffix(".done.npy")
    if rank == 0:
        _start(network, taken, partial, done_file, (len(manifest), len(batches)), cache_type)
    if fabric:
        fabric.barrier()
    values: Any = np.load(partial, mmap_mode="r+", allow_pickle=False)
    done: Any = np.load(done_file, mmap_mode="r+", allow_pickle=False)
    todo = np.flatnonzero(done == 0)
    if fabric:
        fabric.barrier()  # everybody has the same list before anybody shortens it
    own = todo[rank::num_ranks]
    flushed, written = time.perf_counter(), []
    label = f"features of {manifest.name}"
    rows_to_show = [batches[i] for i in own]
    num_images = sum(map(len, rows_to_show))
    run: Pass | None = None
    with progress_bar(num_images, label, report, silent=rank > 0) as advance:
        if taken:
            shown = _rows_of(taken, rows_to_show)
        else:
            loaded = image_batches(manifest, BATCH_SIZE, form, view=view, batches=rows_to_show, memory_budget=0)
            shown = ((rows, images.to(memory_format=torch.channels_last)) for rows, images, _ in loaded)
        for number, (rows, images) in zip(own, shown, strict=True):
            images = images.to(device)
            if run is None:
                run = fast_pass(network, images, num_images if _is_plain(fabric) and not taken else 0, report)
            with torch.no_grad(), fabric.autocast() if fabric else nullcontext():
                inputs = run(images).float().cpu()  # (B, D)
            values[rows.numpy()] = _converted(inputs, cache_type, manifest, rows)
            written.append(number)
            if time.perf_counter() - flushed > SECONDS_BETWEEN_FLUSHES or number == own[-1]:
                values.flush()  # the numbers first: a batch that is marked as done is there
                done[written] = 1
                done.flush()
                flushed, written = time.perf_counter(), []
            advance(len(rows))
    if fabric:
        fabric.barrier()
    if rank == 0:
        sums = {"sha256": sha256_of_file(partial), "seconds": time.perf_counter() - start}
        write_json(path.with_suffix(".json"), provenance(**facts, **sums, device=device))
        sync(partial)
        partial.rename(path)
        done_file.unlink()


def _opened(path: Path) -> Tensor:
    # Copy on write: torch warns of arrays that it may not write to, though nobody writes here.
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))


def _rows_of(path: Path, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    values = _opened(path)
    return ((rows, values[rows].float()) for rows in batches)


def _check(path: Path) -> None:
    """Refuse features that are not those that their record tells of; each file is read through once per process."""
    status = path.stat()
    _check_once(path, status.st_mtime_ns, status.st_size)


@cache
def _check_once(path: Path, changed: int, size: int) -> None:  # a file that changed is another
    if sha256_of_file(path) != read_object(path.with_suffix(".json")).get("sha256"):
        fail(f"features in {path} are not those that their record tells of: delete {path.parent}.")


def _is_plain(fabric: Fabric | None) -> bool:
    """Say whether passes are of one process, which alone compiles, and in the precision of the weights."""
    return fabric is None or (fabric.world_size == 1 and fabric.strategy.precision.precision == "32-true")


def _start(
    network: nn.Module, taken: Path | None, partial: Path, done_file: Path, counts: tuple[int, int], cache_type: str
) -> None:
    """Make the files of a new pass, unless those of a stopped one are there."""
    num_images, num_batches = counts
    if _can_go_on(partial, done_file, counts):
        return
    with torch.inference_mode():
        form = required_format(network)
        one = _opened(taken)[:1].float() if taken else torch.zeros(1, form.channels, form.size, form.size)
        width = network(one.to(_device_of(network))).shape[1]
    num_bytes = num_images * width * np.dtype(cache_type).itemsize
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        # A memory-mapped file takes up room only as it is filled, and a disk that is full then kills the process.
        if shutil.disk_usage(partial.parent).free < num_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        np.lib.format.open_memmap(partial, "w+", np.dtype(cache_type), (num_images, width))
        # Written last and whole: its being there says that the other one is, too.
        write_atomically(done_file, lambda temporary: np.save(temporary, np.zeros(num_batches, np.uint8)))
    except OSError as error:
        gigabytes = f"{num_bytes / 1e9:.1f} GB"
        fail(f"cannot write {gigabytes} of features to {partial.parent} ({error.strerror}): make room there.")


def _can_go_on(partial: Path, done_file: Path, counts: tuple[int, int]) -> bool:
    """Say whether the files of a stopped pass are there and whole; a disk may have kept half of one."""
    try:
        files = (np.load(path, mmap_mode="r", allow_pickle=False) for path in (partial, done_file))
        return tuple(map(len, files)) == counts
    except (OSError, ValueError, EOFError):
        return False


def _converted(inputs: Tensor, cache_type: str, manifest: Manifest, rows: Tensor) -> npt.NDArray[Any]:
    with np.errstate(over="ignore"):  # it is looked for below
        converted = inputs.numpy().astype(cache_type)
    bad = np.flatnonzero(~np.isfinite(converted).all(axis=1))
    if bad.size:
        name = manifest.table["image_id"].iloc[int(rows[bad[0]])]
        if bool(inputs[bad[0]].isfinite().all()):
            fail(f"features of image {name} exceed float16: cache them as float32.")
        fail(f"features of image {name} are NaN or infinite: the network's weights are broken.")
    return converted


def _facts(network: nn.Module, manifest: Manifest, cache_type: str) -> dict[str, Any]:
    """All that decides the numbers but the view, as digests and plain values."""
    # The manifest does not tell copies of other sizes or other contents apart.
    names = [manifest.locate(path).relative_to(manifest.root).as_posix() for path in manifest.table["path"]]
    files = marks_of_files(manifest.root, names)
    return {
        "network": digest_of(repr(network)),
        "weights": digest_of_weights(network),
        "images": digest_of([manifest.checksum, files]),
        "form": list(required_format(network)),
        "cache_type": cache_type,
        "versions": {name: version(name) for name in VERSIONS},
    }


def _device_of(network: nn.Module) -> torch.device:
    return next(network.parameters()).device

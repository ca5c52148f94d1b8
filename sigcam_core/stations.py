"""The line that data travels: prepare, train, evaluate. Each station is a file, made where there is none.

A notebook, the command line and the workflow all come through here, so that they agree on names and places. A
station that finds its file returns at once, and makes what it builds on first where that is missing; so a notebook
runs alone, and the workflow, which knows what is out of date, deletes a file to have it made again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .backbones.networks import build
from .common.errors import fail
from .common.files import read_object, sha256_of_file, write_with_record
from .common.locks import one_at_a_time
from .common.progress import print_to_stderr
from .common.provenance import best_device, provenance
from .dual.branch import DualBranch
from .evaluate.evaluate import EvaluationOptions, evaluate_shards
from .evaluate.schema import read_evidence
from .evaluate.shards import ALONE, Part, facts_of, folder_of_shards, gather
from .prepare.command import run_first_station
from .prepare.contents import refuse_replaced
from .prepare.manifest import Manifest, read_manifest
from .run import Extent, Run, Shown, manifest_path
from .train.checkpoints import SECONDS_BETWEEN_SAVINGS, Checkpoint
from .train.fit import Session, precision_of
from .train.heads import Splits, Trained, train_classifier, train_head
from .train.origins import starting_point
from .train.recipes import Recipe, recipe_of_classifier, recipe_of_sigmoid_head

if TYPE_CHECKING:
    from lightning_fabric import Fabric

BACKBONE_PREFIX = "backbone/"
CONTENTS = "image_set_checksum"  # in a record; those of earlier versions have none
EVERYTHING = Extent()  # with insertion and deletion of some images: they take twenty times the passes of all else


def ensure_manifest(dataset: str, work_dir: Path) -> Manifest:
    """Read a data set's manifest; make that of a generated data set with its default parameters where there is none.

    The first station is run as the command that it is, ``python -m data_scripts``: it knows the data sets, and whatever
    comes after reads manifests only.

    Raises:
        SigcamError: for an unknown data set, one that was not prepared, or one of which an image was replaced since.
    """
    path = manifest_path(dataset, work_dir)
    if not path.exists():
        run_first_station([dataset, "--root", str(work_dir / "data"), "--generated-only"])
    manifest = read_manifest(path)
    refuse_replaced(manifest.root, manifest.name)
    return manifest


def ensure_classifier(
    run: Run,
    recipe: Recipe | None = None,
    fabric: Fabric | None = None,
    checkpoint_seconds: float = SECONDS_BETWEEN_SAVINGS,
) -> nn.Module:
    """Load the softmax classifier; make it where there is none.

    Some networks start from the convolutions of another, see :attr:`sigcam_core.run.Run.starts_from`.

    Args:
        run: which.
        recipe: instead of the run's.
        fabric: devices to train on; ``None`` for one device.
        checkpoint_seconds: between two savings of an unfinished run.
    """
    return _classifier(run, ensure_manifest(run.dataset, run.work_dir), recipe, fabric, checkpoint_seconds)


def _classifier(
    run: Run, manifest: Manifest, recipe: Recipe | None, fabric: Fabric | None, checkpoint_seconds: float
) -> nn.Module:
    """:func:`ensure_classifier` on a manifest that was read, of the run's data set."""
    if _is_made(run.classifier, fabric):
        _refuse_another(recipe, _checked(run.classifier, **_data_of(manifest)))
        model = build(run.backbone, manifest.num_classes)
        _load(model, run.classifier)
        return model.eval()
    facts: dict[str, Any] = {"origin": run.origin, **_data_of(manifest)}
    start_from = run.starts_from
    start = _classifier(start_from, manifest, None, fabric, checkpoint_seconds) if start_from else None
    torch.manual_seed(run.seed)  # new layers are drawn here
    model = starting_point(run.origin, run.backbone, manifest)
    if start_from and start:
        model.get_submodule("features").load_state_dict(start.get_submodule("features").state_dict())
        facts |= {"starts_from": start_from.name, "starts_from_sha256": _sha256(start_from.classifier)}
    recipe = recipe or recipe_of_classifier(run.classifier_recipe, run.origin, run.backbone)
    if recipe is None:
        _save(run, run.classifier, Trained(model, [], 0.0), fabric, **facts)
        return model
    facts["recipe"] = asdict(recipe)
    checkpoint = _checkpoint(run.classifier, facts, checkpoint_seconds)
    splits = Splits.of(manifest)
    session = Session(run.seed, fabric=fabric, checkpoint=checkpoint)
    if run.origin == "probe":
        dual = DualBranch.of_known(run.backbone, model, manifest.num_classes)
        probe = train_head(dual, "softmax", splits, recipe, run.features, session)
        trained = replace(probe, module=model)  # the head is part of it
    else:
        trained = train_classifier(model, splits, recipe, session)
    _save(run, run.classifier, trained, fabric, **facts)
    checkpoint.remove()
    return model.eval()


def ensure_sigmoid_head(
    run: Run,
    recipe: Recipe | None = None,
    fabric: Fabric | None = None,
    checkpoint_seconds: float = SECONDS_BETWEEN_SAVINGS,
) -> DualBranch:
    """Load the dual-branch network; train its sigmoid head on the frozen classifier where there is none.

    Args:
        run: which.
        recipe: instead of the run's.
        fabric: devices to train on; ``None`` for one device.
        checkpoint_seconds: between two savings of an unfinished run.
    """
    manifest = ensure_manifest(run.dataset, run.work_dir)
    return _sigmoid_head(run, manifest, recipe, fabric, checkpoint_seconds)


def _sigmoid_head(
    run: Run,
    manifest: Manifest,
    recipe: Recipe | None = None,
    fabric: Fabric | None = None,
    checkpoint_seconds: float = SECONDS_BETWEEN_SAVINGS,
) -> DualBranch:
    """:func:`ensure_sigmoid_head` on a manifest that was read, of the run's data set."""
    classifier = _classifier(run, manifest, None, fabric, checkpoint_seconds)
    torch.manual_seed(run.seed)  # the fresh head is drawn here
    dual = DualBranch.of_known(run.backbone, classifier, manifest.num_classes)
    if _is_made(run.sigmoid_head, fabric):
        made_from = _data_of(manifest) | {"classifier_sha256": _sha256(run.classifier)}
        _refuse_another(recipe, _checked(run.sigmoid_head, **made_from))
    else:
        recipe = recipe or recipe_of_sigmoid_head(run.sigmoid_recipe, run.backbone)
        facts = {"recipe": asdict(recipe), **_data_of(manifest)}
        facts["classifier_sha256"] = _sha256(run.classifier)
        checkpoint = _checkpoint(run.sigmoid_head, facts, checkpoint_seconds)
        splits = Splits.of(manifest)
        session = Session(run.seed, fabric=fabric, checkpoint=checkpoint)
        trained = train_head(dual, "sigmoid", splits, recipe, run.features, session)
        moved = dict(dual.backbone.named_buffers()) if recipe.freezing == "official" else {}
        _save(run, run.sigmoid_head, trained, fabric, moved, **facts)
        checkpoint.remove()
    _load(dual.sigmoid_head, run.sigmoid_head, dual)
    return dual.eval()


def ensure_evidence(run: Run, measured: Extent | None = None, part: Part = ALONE) -> Path:
    """Path of the evidence on the test split; evaluate where there is none.

    Args:
        run: which.
        measured: what new evidence is of; ``None`` for everything.
        part: of several processes that share the work, which this one is. Each measures its shards; whoever is alone
            finds them there and gathers them.
    """
    manifest = ensure_manifest(run.dataset, run.work_dir)
    dual = None if run.evidence.exists() else _sigmoid_head(run, manifest)
    # Two runs in one folder would otherwise take the shards away from each other.
    lock = run.evidence.with_name(f".{run.evidence.name}.lock")
    with one_at_a_time(lock, print_to_stderr) if part == ALONE and dual else nullcontext():
        if dual and not run.evidence.exists():
            _evaluate(run, manifest, dual, measured or EVERYTHING, part)
            return run.evidence
    head = {"sigmoid_head_sha256": sha256_of_file(run.sigmoid_head)} if run.sigmoid_head.exists() else {}
    return _checked(run.evidence, **_data_of(manifest), **head)


def _evaluate(run: Run, manifest: Manifest, dual: DualBranch, measured: Extent, part: Part) -> None:
    """Measure the shards of a part; whoever is alone gathers them."""
    device = best_device()
    perturbed = measured.perturbed_images if measured.with_fidelity else 0
    options = EvaluationOptions(
        with_fidelity=measured.with_fidelity,
        perturbation_images=perturbed,
        perturbation_steps=measured.perturbation_steps,
    )
    facts: dict[str, Any] = {
        "split": "test",
        **_data_of(manifest),
        "classifier_sha256": _sha256(run.classifier),
        "sigmoid_head_sha256": _sha256(run.sigmoid_head),
        "perturbation_images": perturbed,
        "device": device,
    }
    folder = folder_of_shards(run.evidence)
    shards = evaluate_shards(dual.to(device), manifest.split("test"), run.network, folder, options, part=part)
    if part == ALONE:
        facts |= facts_of(shards)
        write_with_record(run.evidence, partial(gather, shards), partial(_record, run, **facts))
        shutil.rmtree(folder)


def ensure_evidence_of_all(shown: Sequence[Shown]) -> dict[str, pd.DataFrame]:
    """The evidence of runs as a page shows them, by data set; evaluate where there is none.

    Args:
        shown: the runs, with what their networks are called, and the methods that are shown of each.
    """
    frames: dict[str, list[pd.DataFrame]] = {}
    for one in shown:
        rows = read_evidence(ensure_evidence(one.run, one.measured))
        if one.methods:
            rows = rows[rows["method"].isin(one.methods)]
        frames.setdefault(one.run.dataset, []).append(rows.assign(network=one.network))
    return {dataset: pd.concat(parts, ignore_index=True) for dataset, parts in frames.items()}


def seconds_of_training(run: Run) -> tuple[float, float]:
    """Seconds that the classifier took, that it starts from included, and both heads together, by their records."""
    start_from = run.starts_from
    classifiers = {run.classifier, start_from.classifier if start_from else run.classifier}
    seconds: float = sum(record_of(path)["seconds"] for path in classifiers)
    return seconds, seconds + record_of(run.sigmoid_head)["seconds"]


def record_of(path: Path) -> Any:
    """The provenance that lies beside a station's file."""
    return read_object(path.with_suffix(".json"))


def _data_of(manifest: Manifest) -> dict[str, str]:
    """What a record says of the data: the rows of the manifest, and what the files hold where that is known."""
    contents = {CONTENTS: manifest.contents} if manifest.contents else {}
    return {"manifest_checksum": manifest.checksum, **contents}


def _checked(path: Path, **made_from: str) -> Path:
    """A station's file, if it is the one that its record tells of, and was made from what is there now.

    Args:
        path: of the file.
        made_from: entries of the record, such as the checksum of the manifest, and what they must be.

    Raises:
        SigcamError: if it is not.
    """
    if not path.with_suffix(".json").exists():
        fail(f"{path} has lost its record {path.with_suffix('.json').name}: delete it, and it is made again.")
    record = record_of(path)
    if record.get("sha256") != sha256_of_file(path):
        fail(f"{path} is not the file that its record tells of: delete it, and it is made again.")
    known = {name: value for name, value in made_from.items() if name != CONTENTS or name in record}
    if other := [name for name, value in known.items() if record.get(name) != value]:
        source = other[0].removesuffix("_sha256").removesuffix("_checksum").replace("_", " ")
        fail(f"{path} was made from another {source} than is there now: delete it, and it is made again.")
    return path


def _sha256(path: Path) -> str:
    """Checksum of a station's file that was just loaded, and compared with its record, or written with it."""
    checksum: str = record_of(path)["sha256"]
    return checksum


def _record(run: Run, sha256: str, **facts: Any) -> dict[str, Any]:
    names = {"dataset": run.dataset, "network": run.network, "seed": run.seed, "sha256": sha256}
    return provenance(**names, **facts)


def _is_made(path: Path, fabric: Fabric | None) -> bool:
    """Whether the file is there, for all processes alike: the first may be writing it while another looks."""
    return path.exists() if fabric is None else bool(fabric.broadcast(path.exists()))


def _refuse_another(recipe: Recipe | None, path: Path) -> None:
    """Refuse a recipe that was asked for where the file that is there was made by another."""
    if recipe is None:
        return
    recorded, asked = record_of(path).get("recipe") or {}, asdict(recipe)
    if other := [name for name in asked if recorded.get(name) != asked[name]]:
        fail(
            f"{path} was made with {other[0]} {recorded.get(other[0])}, not {asked[other[0]]}: delete it, or choose "
            "another work dir."
        )


def _checkpoint(path: Path, facts: dict[str, Any], seconds: float) -> Checkpoint:
    return Checkpoint(path.with_suffix(".unfinished"), json.dumps(facts, sort_keys=True), seconds)


def _save(
    run: Run,
    path: Path,
    trained: Trained,
    fabric: Fabric | None,
    moved: Mapping[str, Tensor] = MappingProxyType({}),
    **facts: Any,
) -> None:
    """Write what was trained, and the averages of the backbone's BatchNorm where training has moved them."""
    if fabric is None or fabric.is_global_zero:
        state = trained.module.state_dict() | {f"{BACKBONE_PREFIX}{name}": value for name, value in moved.items()}
        whole = {name: value.contiguous() for name, value in state.items()}
        facts |= {"device": fabric.device if fabric else best_device(), "seconds": trained.seconds}
        facts |= {"history": trained.history, "precision": precision_of(fabric)}
        write_with_record(path, partial(save_file, whole), partial(_record, run, **facts))
    if fabric:
        fabric.barrier()


def _load(module: nn.Module, path: Path, dual: DualBranch | None = None) -> None:
    try:
        state = load_file(path)
        moved = {name: state.pop(name) for name in list(state) if name.startswith(BACKBONE_PREFIX)}
        module.load_state_dict(state)
        if moved and dual:
            buffers = {name.removeprefix(BACKBONE_PREFIX): value for name, value in moved.items()}
            dual.backbone.load_state_dict(buffers, strict=False)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        fail(f"checkpoint {path} does not fit this network ({reason}): delete it and train again.")

"""The second stage's files, the softmax classifier and the sigmoid head on it, trained where there are none."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..backbones.networks import build
from ..common.errors import fail
from ..common.files import write_with_record
from ..common.provenance import best_device
from ..dual.branch import DualBranch
from ..prepare.manifest import Manifest
from ..run import Run
from ..train.checkpoints import SECONDS_BETWEEN_SAVINGS, Checkpoint
from ..train.fit import Session, precision_of
from ..train.heads import Splits, Trained, train_behind_trunk, train_classifier, train_head
from ..train.origins import starting_point
from ..train.recipes import Recipe, recipe_of_classifier, recipe_of_sigmoid_head
from .manifest import ensure_manifest
from .records import checked, checksum_of, data_of, record, record_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric


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
    return classifier_on(run, ensure_manifest(run.dataset, run.work_dir), recipe, fabric, checkpoint_seconds)


def classifier_on(
    run: Run, manifest: Manifest, recipe: Recipe | None, fabric: Fabric | None, checkpoint_seconds: float
) -> nn.Module:
    """:func:`ensure_classifier` on a manifest that was read, of the run's data set."""
    if _is_made(run.classifier, fabric):
        _refuse_another(recipe, checked(run.classifier, **data_of(manifest)))
        model = build(run.backbone, manifest.num_classes)
        _load(model, run.classifier)
        return model.eval()
    facts: dict[str, Any] = {"origin": run.origin, **({"weights": run.weights} if run.weights else {})}
    facts |= data_of(manifest)
    start_from = run.starts_from
    start = classifier_on(start_from, manifest, None, fabric, checkpoint_seconds) if start_from else None
    torch.manual_seed(run.seed)  # new layers are drawn here
    model = starting_point(run.origin, run.backbone, manifest, run.weights)
    if start_from and start:
        own, theirs = (one.get_submodule("features").state_dict() for one in (model, start))
        # The other may have more layers behind the convolutions that both have.
        model.get_submodule("features").load_state_dict({name: theirs[name] for name in own})
        facts |= {"starts_from": start_from.name, "starts_from_sha256": checksum_of(start_from.classifier)}
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
    elif recipe.frozen_layers:
        trained = train_behind_trunk(model, splits, recipe, run.features, session)
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
    return dual_branch_on(run, ensure_manifest(run.dataset, run.work_dir), recipe, fabric, checkpoint_seconds)


def dual_branch_on(
    run: Run,
    manifest: Manifest,
    recipe: Recipe | None = None,
    fabric: Fabric | None = None,
    checkpoint_seconds: float = SECONDS_BETWEEN_SAVINGS,
) -> DualBranch:
    """:func:`ensure_sigmoid_head` on a manifest that was read, of the run's data set."""
    classifier = classifier_on(run, manifest, None, fabric, checkpoint_seconds)
    torch.manual_seed(run.seed)  # the fresh head is drawn here
    dual = DualBranch.of_known(run.backbone, classifier, manifest.num_classes)
    if _is_made(run.sigmoid_head, fabric):
        made_from = data_of(manifest) | {"classifier_sha256": checksum_of(run.classifier)}
        _refuse_another(recipe, checked(run.sigmoid_head, **made_from))
    else:
        recipe = recipe or recipe_of_sigmoid_head(run.sigmoid_recipe, run.backbone)
        facts = {"recipe": asdict(recipe), **data_of(manifest)}
        facts["classifier_sha256"] = checksum_of(run.classifier)
        checkpoint = _checkpoint(run.sigmoid_head, facts, checkpoint_seconds)
        splits = Splits.of(manifest)
        session = Session(run.seed, fabric=fabric, checkpoint=checkpoint)
        trained = train_head(dual, "sigmoid", splits, recipe, run.features, session)
        _save(run, run.sigmoid_head, trained, fabric, **facts)
        checkpoint.remove()
    _load(dual.sigmoid_head, run.sigmoid_head)
    return dual.eval()


def seconds_of_training(run: Run) -> tuple[float, float]:
    """Seconds that the classifier took, that it starts from included, and both heads together, by their records."""
    start_from = run.starts_from
    classifiers = {run.classifier, start_from.classifier if start_from else run.classifier}
    seconds: float = sum(record_of(path)["seconds"] for path in classifiers)
    return seconds, seconds + record_of(run.sigmoid_head)["seconds"]


def _is_made(path: Path, fabric: Fabric | None) -> bool:
    """Say whether the file is there, for all processes alike: the first may be writing it while another looks."""
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
    **facts: Any,
) -> None:
    """Write what was trained, and its record."""
    if fabric is None or fabric.is_global_zero:
        whole = {name: value.contiguous() for name, value in trained.module.state_dict().items()}
        facts |= {"device": fabric.device if fabric else best_device(), "seconds": trained.seconds}
        facts |= {"history": trained.history, "precision": precision_of(fabric)}
        write_with_record(path, partial(save_file, whole), partial(record, run, **facts))
    if fabric:
        fabric.barrier()


def _load(module: nn.Module, path: Path) -> None:
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        fail(f"checkpoint {path} does not fit this network ({reason}): delete it and train again.")

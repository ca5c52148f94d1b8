"""The linear heads that are crossed with scalars and weights: those of a recipe, and those at their optimum.

Both heads see the same cached features, their penalties come from one grid, and both are chosen by one criterion, so
that rate, recipe and seed leave the comparison.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sigcam_core.common.errors import fail
from sigcam_core.common.files import write_atomically
from sigcam_core.common.progress import Report
from sigcam_core.dual.branch import DualBranch
from sigcam_core.dual.linear import linear_head_weight
from sigcam_core.invariance import gauge_energy
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.prepare.views import View
from sigcam_core.run import Run
from sigcam_core.split.split import split_pooling
from sigcam_core.stations import ensure_classifier, ensure_manifest, ensure_sigmoid_head, record_of
from sigcam_core.train.features import FeatureCache, cache_features
from sigcam_core.train.fit import Session
from sigcam_core.train.heads import Splits, train_head
from sigcam_core.train.recipes import Recipe

from ..optimum.gauge import gauge_study
from ..optimum.optimum import Settings
from ..optimum.penalties import Rows, penalty_path
from .baselines import linear_head
from .maps import LinearHead

PENALTIES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)
"""Strengths of the L2 penalty that are tried for both heads, from strong to weak."""
GAUGE_SEEDS, MANY_IMAGES = 5, 10_000
"""Seeds of the study of gauge energy, and the number of training images above which there is one."""
SGD_RATES = (0.3, 1.0, 3.0, 10.0)
"""Learning rates that are tried for a head by SGD; features are small, so that rates are great."""


@dataclass(frozen=True, eq=False)
class ControlHeads:
    """The heads of one backbone.

    Attributes:
        dual: the network, with the heads of the recipe.
        heads: all heads by name.
        softmax: name of the softmax head that is compared: given, or at its optimum.
        sigmoid: name of the sigmoid head that is compared, at its optimum.
        tables: how they were made, by name of the table.
        paths: the optima of every penalty that was tried, by kind of head and penalty, from strong to weak.
        further: heads by name that are asked about weights alone: no table of maps has rows of them.
    """

    dual: DualBranch
    heads: dict[str, LinearHead]
    softmax: str
    sigmoid: str
    tables: dict[str, pd.DataFrame]
    paths: dict[str, dict[float, LinearHead]] = field(default_factory=dict)
    further: dict[str, LinearHead] = field(default_factory=dict)


def control_heads(run: Run, folder: Path, report: Report) -> ControlHeads:
    """Train, solve or read every head of a run whose recipe heads are there.

    The softmax head is solved again where it is a probe; a classifier that was trained as a whole, or that is given,
    has the softmax head that its backbone learned with.

    Args:
        run: whose classifier and sigmoid head are of a recipe.
        folder: where further heads are kept.
        report: called with a line now and then.

    Raises:
        SigcamError: if the heads are not global average pooling and one linear layer.
    """
    dual, manifest = ensure_sigmoid_head(run), ensure_manifest(run.dataset, run.work_dir)
    if linear_head_weight(dual.softmax_head) is None:
        fail(f"the heads of {run.network} are not linear: controls are made of channel weights.")
    splits = Splits.of(manifest)
    heads = {"softmax": linear_head(dual.softmax_head), "sigmoid": linear_head(dual.sigmoid_head, is_sigmoid=True)}
    recipe = Recipe(**record_of(run.sigmoid_head)["recipe"])
    started = _trained(run, "sigmoid", recipe, splits, folder / "sigmoid_from_softmax.safetensors", report)
    heads["sigmoid from softmax"] = replace(started, is_sigmoid=True)
    train, held_out = (pooled_rows(dual, split, run.features, report) for split in splits)
    tables: dict[str, pd.DataFrame] = {}
    settings = Settings(report=report, folder=folder / "optima")
    solved = ("softmax", "sigmoid") if run.origin == "probe" else ("sigmoid",)
    paths: dict[str, dict[float, LinearHead]] = {}
    further: dict[str, LinearHead] = {}
    for head in solved:
        choice = penalty_path(train, held_out, manifest.num_classes, head, PENALTIES, settings=settings)
        optimum = choice.optimum
        heads[f"{head} optimum"] = LinearHead(optimum.weight, optimum.bias, is_sigmoid=head == "sigmoid")
        tables[f"penalties_{head}"] = choice.table
        tried = zip(choice.table["l2"], choice.path, strict=True)
        paths[head] = {float(l2): LinearHead(one.weight, one.bias, head == "sigmoid") for l2, one in tried}
        seeds = range(GAUGE_SEEDS if len(train.labels) <= MANY_IMAGES else 1)
        study = partial(gauge_study, train, held_out, manifest.num_classes, optimum, seeds=seeds, kind=head)
        tables["gauge" if head == "softmax" else "gauge_sigmoid"] = study(session=Session(report=report))
        by_sgd = _by_sgd(run, head, splits, folder, report)
        if head == "softmax":
            heads["softmax sgd"] = by_sgd
        else:
            further["sigmoid sgd"] = replace(by_sgd, is_sigmoid=True)
    tables["heads"] = _heads_table(heads, dual, manifest, run, report)
    tables["heads_further"] = _heads_table(further, dual, manifest, run, report)
    softmax = "softmax optimum" if "softmax optimum" in heads else "softmax"
    test = pooled_rows(dual, manifest.split("test"), run.features, report)
    tables["log_odds"] = log_odds_likeness(heads, softmax, test.features.float(), test.labels)
    return ControlHeads(dual, heads, softmax, "sigmoid optimum", tables, paths, further)


def pooled_rows(dual: DualBranch, images: Manifest, features: Path, report: Report) -> Rows:
    """Collect what the linear layers take of the images as they are, and their labels."""
    cache = _pooled(dual, images, features, report)
    return Rows(cache.open(0), cache.labels)


def _pooled(dual: DualBranch, images: Manifest, features: Path, report: Report) -> FeatureCache:
    """Cache the inputs of the linear layers, for the images without augmentation."""
    pool, _ = split_pooling(dual.softmax_head)
    body = nn.Sequential(dual.backbone, pool).eval()
    body.input_format = dual.input_format  # type: ignore[assignment]  # torch types all attributes as modules
    return cache_features(body, images, [View()], features, report=report)


def _by_sgd(run: Run, kind: str, splits: Splits, folder: Path, report: Report) -> LinearHead:
    """Train a head as the paper would, by SGD; the rate is chosen on held-out images."""
    usual = Recipe(**record_of(run.classifier if kind == "softmax" else run.sigmoid_head)["recipe"])
    tried: list[tuple[float, LinearHead]] = []
    for rate in SGD_RATES:
        recipe = replace(usual, optimizer="sgd", learning_rate=rate, weight_decay=0.0)
        path = folder / f"{kind}_sgd_{rate:g}.safetensors"
        head = _trained(run, kind, recipe, splits, path, report)
        tried.append((float(load_file(path)["val_loss"]), head))
    return min(tried, key=lambda pair: pair[0])[1]


def _trained(run: Run, head: str, recipe: Recipe, splits: Splits, path: Path, report: Report) -> LinearHead:
    """Load a head, or train it by a recipe where there is no file: the sigmoid head starts from the softmax head."""
    if not path.exists():
        torch.manual_seed(run.seed)
        dual = DualBranch.from_classifier(ensure_classifier(run), init="copy")
        if head == "softmax" or recipe.optimizer == "sgd":  # from zero: what softmax classes share stays nothing
            for parameter in dual.head(head).parameters():
                nn.init.zeros_(parameter)
        trained = train_head(dual, head, splits, recipe, run.features, Session(run.seed, report))
        made = linear_head(trained.module)
        loss = torch.tensor(trained.history[-1]["val_loss"], dtype=torch.float64)
        state = {"weight": made.weight, "bias": made.bias, "val_loss": loss}
        write_atomically(path, lambda temporary: save_file(state, temporary))
    saved = load_file(path)
    return LinearHead(saved["weight"], saved["bias"])


def _heads_table(
    heads: dict[str, LinearHead], dual: DualBranch, manifest: Manifest, run: Run, report: Report
) -> pd.DataFrame:
    """Tabulate every head's gauge energy, and its Top-1 on held-out and on test images."""
    rows: dict[str, dict[str, float]] = {name: {"gauge_energy": gauge_energy(h.weight)} for name, h in heads.items()}
    for split in ("val", "test"):
        cache = _pooled(dual, manifest.split(split), run.features, report)
        inputs = cache.open(0).float()
        for name, head in heads.items():
            rows[name][f"{split}_top1"] = _top1(head.logits(inputs), cache.labels)
    return pd.DataFrame([{"head": name, **figures} for name, figures in rows.items()])


def log_odds_likeness(heads: dict[str, LinearHead], softmax: str, inputs: Tensor, labels: Tensor) -> pd.DataFrame:
    """Measure how near each head's logits are to a softmax head's log-odds: the sigmoid head is their linear stand-in.

    Args:
        heads: by name.
        softmax: name of the head whose log-odds these are.
        inputs: (N, K) pooled features.
        labels: (N,) classes.

    Returns:
        Columns ``head, all_classes, label``: Pearson's correlation over all N x C pairs of an image and a class, and
        over the N images for their labels.
    """
    log_p = heads[softmax].logits(inputs).double().log_softmax(dim=1)  # (N, C)
    # log(1 - p) from p itself, save where p is 1 up to rounding: there the other classes are added up.
    odds = log_p - torch.log1p(-log_p.exp().clamp(max=1 - 1e-12))
    rows = []
    for name, head in heads.items():
        logits = head.logits(inputs).double()
        pairs = {
            "all_classes": torch.stack([logits.flatten(), odds.flatten()]),
            "label": torch.stack([x.gather(1, labels[:, None])[:, 0] for x in (logits, odds)]),
        }
        rows.append({"head": name} | {key: float(torch.corrcoef(pair)[0, 1]) for key, pair in pairs.items()})
    return pd.DataFrame(rows)


def _top1(logits: Tensor, labels: Tensor) -> float:
    return 100 * float((logits.argmax(dim=1) == labels).double().mean())

"""Shares of evidence and effects of removal equal plain loops over images, pixels and classes."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from small_networks import calibrate, make_dual
from torch.nn.functional import interpolate

from companion.cue import measured as module
from companion.cue.measured import HEADS, MAPS, measure_parts, positive_shares
from data_scripts.__main__ import prepare
from data_scripts.parts import PARTS, REMOVABLE
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.cams.maps import cam_maps
from sigcam_core.cams.scalars import log_odds
from sigcam_core.common.errors import SigcamError
from sigcam_core.dual.branch import DualBranch
from sigcam_core.invariance import center_weights
from sigcam_core.prepare.images import normalize
from sigcam_core.prepare.manifest import Manifest

COUNT = 5


@pytest.fixture(scope="module")
def test_split(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    root = tmp_path_factory.mktemp("data")
    return prepare("shapes", root, train=1, val=1, test=COUNT, parts=True).split("test")


@pytest.fixture(scope="module")
def dual(test_split: Manifest) -> DualBranch:
    torch.manual_seed(1)
    dual = DualBranch.from_classifier(small_cnn(8), init="copy")
    for parameter in dual.sigmoid_head.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    dual.softmax_head[-1].weight.data += 0.05  # off centre
    calibrate(dual.backbone, torch.cat([picture(test_split, path) for path in test_split.table["path"]]))
    return dual


@pytest.fixture(scope="module")
def table(dual: DualBranch, test_split: Manifest) -> pd.DataFrame:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH_SIZE", 2)  # so that the batches, the last of them smaller, must fit together
        return measure_parts(dual, test_split, lambda _: None)


def picture(manifest: Manifest, path: str) -> torch.Tensor:
    form = small_cnn(8).input_format
    pixels = torch.from_numpy(np.array(Image.open(manifest.root / path))).permute(2, 0, 1)[None]
    return normalize(pixels, form.mean, form.std)


def centred_dual(dual: DualBranch) -> DualBranch:
    other = DualBranch(dual.backbone, torch.nn.Sequential(*dual.softmax_head), dual.sigmoid_head)
    last = torch.nn.Linear(48, 8)
    last.weight.data = center_weights(dual.softmax_head[-1].weight.data)
    last.bias.data = dual.softmax_head[-1].bias.data - dual.softmax_head[-1].bias.data.mean()
    other.softmax_head[-1] = last
    return other


def test_every_image_head_map_and_part_has_a_row(table: pd.DataFrame, test_split: Manifest) -> None:
    assert len(table) == COUNT * len(HEADS) * len(MAPS) * len(PARTS)
    assert not table.duplicated(["image_id", "head", "map", "part"]).any()
    assert table["image_id"].drop_duplicates().tolist() == test_split.table["image_id"].tolist()
    assert table[table["part"] == "clutter"][["logit_drop", "log_odds_drop"]].isna().all(axis=None)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", MAPS)
def test_shares_are_those_of_a_plain_loop(
    head: str, kind: str, table: pd.DataFrame, dual: DualBranch, test_split: Manifest
) -> None:
    network = centred_dual(dual) if "centred" in head else dual
    name = head.split()[0]
    rows = table[(table["head"] == head) & (table["map"] == kind)].set_index(["image_id", "part"])["share"]
    for image in test_split.table.to_dict("records"):
        x = picture(test_split, image["path"])
        (raw,) = cam_maps(network, x, image["label"], ["cam"], [name], evidence_only=kind == "truncated").values()
        if kind == "uniform":
            raw = torch.ones_like(raw)
        values = interpolate(raw[None].double(), (96, 96), mode="bicubic")[0, 0].clamp(min=0).detach().numpy()
        parts = np.array(Image.open(test_split.root / image["parts"]))
        for position, part in enumerate(PARTS):
            expected = sum(values[y, x] for y, x in np.argwhere(parts == position)) / values.sum()
            assert rows[image["image_id"], part] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_effects_are_differences_of_two_plain_passes(
    head: str, table: pd.DataFrame, dual: DualBranch, test_split: Manifest
) -> None:
    rows = table[(table["head"] == head) & (table["map"] == "signed")].set_index(["image_id", "part"])
    network = centred_dual(dual) if "centred" in head else dual

    @torch.no_grad()
    def judge(path: str, label: int) -> tuple[float, float, bool]:
        output = network(picture(test_split, path))
        logits = (output.sigmoid_logits if head == "sigmoid" else output.softmax_logits)[0].double()
        p = float(logits[label].sigmoid() if head == "sigmoid" else logits.softmax(dim=0)[label])
        return float(logits[label]), math.log(p / (1 - p)), int(logits.argmax()) == label

    for image in test_split.table.to_dict("records"):
        whole = judge(image["path"], image["label"])
        for part in REMOVABLE:
            without, row = judge(image[f"removed_{part}"], image["label"]), rows.loc[(image["image_id"], part)]
            assert row["logit_drop"] == pytest.approx(whole[0] - without[0], abs=1e-5)
            assert row["log_odds_drop"] == pytest.approx(whole[1] - without[1], abs=1e-5)
            assert (row["is_correct"], row["is_correct_without"]) == (whole[2], without[2])


def test_a_shift_of_the_weights_moves_the_softmax_rows_alone(
    table: pd.DataFrame, dual: DualBranch, test_split: Manifest
) -> None:
    shifted = DualBranch.from_classifier(small_cnn(8))
    shifted.load_state_dict(dual.state_dict())
    shifted.softmax_head[-1].weight.data += torch.linspace(-0.3, 0.3, 48)
    other = measure_parts(shifted, test_split, lambda _: None)
    moved = table["head"].eq("softmax")
    for column in ("share", "logit_drop"):
        numbers = [frame[column].to_numpy() for frame in (table, other)]
        assert numbers[0][~moved] == pytest.approx(numbers[1][~moved], abs=1e-4, nan_ok=True)
        signed = moved & table["map"].eq("signed") & ~table["part"].eq("clutter")
        assert np.abs(numbers[0] - numbers[1])[signed].max() > 0.01
    assert table["log_odds_drop"].to_numpy() == pytest.approx(other["log_odds_drop"].to_numpy(), abs=1e-4, nan_ok=True)


def test_shares_sum_to_one_and_those_of_a_uniform_map_are_areas(table: pd.DataFrame, test_split: Manifest) -> None:
    sums = table.groupby(["image_id", "head", "map"])["share"].sum(min_count=4).dropna()
    assert sums.to_numpy() == pytest.approx(np.ones(len(sums)))
    uniform = table[table["map"] == "uniform"].set_index(["image_id", "head", "part"])["share"]
    for image in test_split.table.to_dict("records"):
        parts = np.array(Image.open(test_split.root / image["parts"]))
        for position, part in enumerate(PARTS):
            assert uniform[image["image_id"], "sigmoid", part] == pytest.approx((parts == position).mean())


@pytest.mark.parametrize("part", range(4))
def test_a_perfect_map_has_all_its_evidence_on_its_part(part: int) -> None:
    masks = torch.randint(0, 4, (3, 12, 12), dtype=torch.uint8)
    maps = torch.where(masks == part, 2.0, -1.0)
    assert positive_shares(maps, masks).tolist() == [[float(i == part) for i in range(4)]] * 3


def test_a_map_without_positive_evidence_has_no_shares() -> None:
    assert positive_shares(-torch.ones(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)).isnan().all()


def test_log_odds_survive_logits_that_probabilities_do_not() -> None:
    logits = torch.tensor([[90.0, 0.0, 0.0], [0.0, 0.0, 500.0]], dtype=torch.float64)
    odds = log_odds(logits, torch.tensor([0, 0]))
    assert odds.tolist() == pytest.approx([90 - math.log(2), -500])


def test_another_kind_of_head_is_refused(test_split: Manifest) -> None:
    with pytest.raises(SigcamError, match="shares on parts need heads of global average pooling"):
        measure_parts(make_dual("small_cnn-mlp"), test_split)

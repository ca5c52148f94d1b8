"""The metrics of the pointing games: what is empty, ignored, added up over processes, and refused."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchmetrics import Metric

from sigcam_core.cams.score_maps import normalize_maps, resize_maps
from sigcam_core.common.errors import SigcamError
from sigcam_core.pointing.metrics import EnergyPointingGame, GridPointingGame, PointingGame

# Energy


def test_a_map_without_positive_energy_counts_as_zero_and_is_counted() -> None:
    metric = EnergyPointingGame()
    metric.update(torch.stack([torch.ones(4, 4), -torch.ones(4, 4)]), [np.array([[0, 0, 3, 3]])] * 2)
    assert {name: float(value) for name, value in metric.compute().items()} == {
        "energy_pointing": 50.0,
        "without_energy": 50.0,
    }


def test_ignored_pixels_of_a_mask_do_not_count_at_all() -> None:
    maps = torch.tensor([[[1.0, 2.0], [4.0, 8.0]], [[0.0, 0.0], [4.0, 0.0]]])
    masks = torch.tensor([[[1, 0], [255, 0]]] * 2, dtype=torch.uint8)
    metric = EnergyPointingGame()
    metric.update(maps, masks=masks)
    found = metric.compute()
    assert float(found["energy_pointing"]) == pytest.approx(100 / 11 / 2)
    assert float(found["without_energy"]) == 50  # the second has energy where it is ignored only


# Grids


@pytest.mark.parametrize("n", [2, 3])
def test_a_uniform_grid_map_scores_chance_a_perfect_one_all_and_a_negative_one_nothing(n: int) -> None:
    uniform = torch.full((2, n * n, 6, 6), 0.3)
    perfect = torch.eye(n * n).view(n * n, n, n).repeat_interleave(6 // n, 1).repeat_interleave(6 // n, 2)[None]
    for maps, share, empty in ((uniform, 1 / n**2, 0), (perfect, 1, 0), (perfect - 1e-9, 1, 0), (-uniform, 0, 1)):
        metric = GridPointingGame(n)
        metric.update(maps)
        found = metric.compute()
        assert float(found["grid_pointing"]) == pytest.approx(100 * share)
        assert float(found["without_energy"]) == 100 * empty


# All of them


def update(metric: Metric, maps: Tensor) -> None:
    if isinstance(metric, GridPointingGame):
        metric.update(maps.unflatten(0, (-1, 4)))
    else:
        metric.update(maps, [np.array([[1, 1, 5, 6]])] * len(maps))


@pytest.mark.parametrize("kind", [lambda: PointingGame(1), EnergyPointingGame, lambda: GridPointingGame(2)])
def test_states_of_several_processes_add_up(kind: type[Metric]) -> None:
    maps = torch.randn(12, 8, 8)
    maps[3] = -1
    whole, parts, together = kind(), [kind(), kind()], kind()
    update(whole, maps)
    for metric, part in zip(parts, (maps[:4], maps[4:]), strict=True):
        update(metric, part)
    for name in whole.metric_state:
        assert whole._reductions[name] is torchmetrics_sum(whole)
        setattr(together, name, sum(metric.metric_state[name] for metric in parts))
    together._update_count = 1
    for name, value in whole.compute().items():
        assert float(together.compute()[name]) == pytest.approx(float(value))


def torchmetrics_sum(metric: Metric) -> object:
    """What torchmetrics calls the sum over processes."""
    metric.add_state("a_sum", torch.tensor(0), dist_reduce_fx="sum")
    return metric._reductions["a_sum"]


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")  # torchmetrics' own, before our sentence
def test_bad_input_gets_one_sentence() -> None:
    box = [np.array([[0, 0, 1, 1]])]
    for metric in (PointingGame(), EnergyPointingGame(), GridPointingGame()):
        with pytest.raises(SigcamError, match=f"{type(metric).__name__} has no images: call update first"):
            metric.compute()
    with pytest.raises(SigcamError, match="tolerance of the pointing game is -1"):
        PointingGame(-1)
    with pytest.raises(SigcamError, match="raw map 1 holds NaN or infinity"):
        PointingGame().update(torch.tensor([0.0, torch.inf]).view(2, 1, 1), box * 2)
    with pytest.raises(SigcamError, match=r"raw maps must have shape \(N, height, width\)"):
        EnergyPointingGame().update(torch.zeros(2, 2), box)
    for given_regions in ({}, {"boxes": box, "masks": torch.zeros(1, 2, 2)}):
        with pytest.raises(SigcamError, match="boxes or masks: pass one of them"):
            EnergyPointingGame().update(torch.zeros(1, 2, 2), **given_regions)
    with pytest.raises(SigcamError, match="a grid of 1 x 1 images has no other cell"):
        GridPointingGame(1)
    with pytest.raises(SigcamError, match=r"must have shape \(G, 9, height, width\)"):
        GridPointingGame(3).update(torch.zeros(1, 4, 6, 6))
    with pytest.raises(SigcamError, match="maps of 7 x 6 cannot be cut into 3 x 3 cells"):
        GridPointingGame(3).update(torch.zeros(1, 9, 7, 6))


# Raw maps at another size


def test_raw_maps_are_resized_as_score_maps_are_but_not_stretched() -> None:
    maps = torch.randn(5, 7, 6, dtype=torch.float64)
    resized = resize_maps(maps, (56, 40))
    expected = interpolate(maps.double()[:, None], size=(56, 40), mode="bicubic", align_corners=False)[:, 0]
    torch.testing.assert_close(resized, expected, rtol=0, atol=1e-12)
    low, high = resized.amin(dim=(1, 2), keepdim=True), resized.amax(dim=(1, 2), keepdim=True)
    torch.testing.assert_close((resized - low) / (high - low), normalize_maps(maps, (56, 40)))
    torch.testing.assert_close(resize_maps(-3 * maps, (56, 40)), -3 * resized)


def test_constant_maps_stay_so_and_maps_with_nan_become_zeros() -> None:
    maps = torch.stack([torch.full((3, 3), -0.1), torch.full((3, 3), torch.nan), torch.full((3, 3), torch.inf)])
    maps = torch.cat([maps, torch.zeros(1, 3, 3)])
    maps[3, 1, 1] = torch.nan
    resized = resize_maps(maps, (8, 8))
    assert resized.flatten(1).unique(dim=1).tolist() == [[float(np.float32(-0.1))], [0], [0], [0]]

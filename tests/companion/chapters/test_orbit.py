"""Heads of one orbit give the same predictions and the maps that they promise."""

import numpy as np
import pytest
import torch
from small_networks import make_dual

from companion.chapters.orbit import Orbit, invariance_chapter, orbit_figure, orbit_of, orbit_tables, scalar_changes
from sigcam_core import SigcamError


@pytest.fixture
def orbit() -> Orbit:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8, generator=generator)
    return orbit_of(make_dual(dtype=torch.float32), images)


def test_predictions_stay_and_maps_do_not(orbit: Orbit) -> None:
    start, collapsed = orbit.heads["original"], orbit.heads["sign collapse"]
    assert orbit.class_idx == int(start.logits.argmax())
    assert list(orbit.heads) == ["original", "one channel", "any map", "sign collapse", "centred"]
    assert max(orbit.changes().values()) < 1e-9
    torch.testing.assert_close(collapsed.class_map, -start.class_map)
    for name in ("one channel", "any map", "centred"):
        assert not torch.allclose(orbit.heads[name].class_map, start.class_map)


def test_numbers_for_the_prose_are_those_of_the_heads(orbit: Orbit) -> None:
    chapter = invariance_chapter(orbit, photo="noise")
    assert chapter.values["map_correlation_after_collapse"] == pytest.approx(-1)
    assert chapter.values["photo"] == "noise"
    assert chapter.values["num_classes"] == 5
    assert chapter.formatted["max_probability_difference"] == f"{max(orbit.changes().values()):.1e}"
    assert 0 < chapter.values["gauge_energy_imagenet"] < 1
    start, mean = (orbit.heads[name].class_map for name in ("original", "centred"))
    ratio = (start - mean).var() / start.var()
    assert chapter.values["mean_map_variance_ratio"] == pytest.approx(ratio.item(), rel=1e-5)
    assert chapter.formatted["mean_map_variance_ratio"] == f"{ratio.item():.1e}"


def test_a_shift_changes_maps_as_much_as_their_coefficients_sum_to(orbit: Orbit) -> None:
    changes = scalar_changes(orbit)
    assert list(changes) == ["logit", "finer", "finer_full", "centred", "log_odds"]
    for name in ("finer_full", "centred", "log_odds"):
        assert changes[name] < 1e-12
    # From the same shift, drawn here again. Finer-CAM's changes by 0.4 of it, at its own scale.
    start = orbit.heads["original"]
    delta = torch.randn(len(orbit.features), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    delta *= orbit.weight.double().std()
    change = (delta[:, None, None] * orbit.features.double()).sum(0).abs().max()
    assert changes["logit"] == pytest.approx(float(change / start.class_map.abs().max()))
    nearest = (start.logits - start.logits[orbit.class_idx]).abs().argsort()[1:4]
    combined = orbit.weight[orbit.class_idx] - 0.6 * orbit.weight[nearest].mean(0)
    finer = (combined.double()[:, None, None] * orbit.features).sum(0)
    assert changes["finer"] == pytest.approx(float(0.4 * change / finer.abs().max()), rel=1e-5)
    chapter = invariance_chapter(orbit)
    assert chapter.formatted["change_logit"] == f"{changes['logit']:.2g}"
    assert scalar_changes(orbit, seed=1)["logit"] != changes["logit"]


def test_the_figure_shows_the_image_every_head_and_three_classes(orbit: Orbit) -> None:
    figure = orbit_figure(orbit, "noise", list("abcde"))
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == "noise"
    assert [title.split("\n")[0] for title in titles[1:6]] == list(orbit.heads)
    assert len(figure.axes[6].get_yticklabels()) == 3
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), orbit.images[0].permute(1, 2, 0))


def test_a_head_without_class_activation_maps_is_refused() -> None:
    with pytest.raises(SigcamError, match="the orbit needs a head of global average pooling and one linear layer"):
        orbit_of(make_dual("small_cnn-mlp", torch.float32), torch.zeros(1, 3, 96, 96, dtype=torch.uint8))


def test_tables_name_every_head_and_every_scalar(orbit: Orbit) -> None:
    heads, scalars = orbit_tables(orbit)
    assert heads["head"].tolist() == list(orbit.changes())
    probability = float(orbit.heads["sign collapse"].probabilities[orbit.class_idx])
    assert heads.set_index("head").loc["sign collapse", "probability"] == f"{probability:.15f}"
    assert scalars["scalar"].tolist()[1:3] == ["Finer-CAM, γ = 0.6", "Finer-CAM, γ = 1"]
    assert scalars["largest change"].tolist() == [f"{change:.2g}" for change in scalar_changes(orbit).values()]

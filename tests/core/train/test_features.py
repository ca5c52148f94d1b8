"""Cached features are the network's own, computed once; what decides their numbers decides where they are."""

import errno
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import noise_images
from torch import Tensor, nn

from sigcam_core.backbones import InputFormat
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import read_json
from sigcam_core.prepare.images import image_batches
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.prepare.views import View
from sigcam_core.train import features
from sigcam_core.train.features import FeatureCache, cache_features

FORM = InputFormat(8, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
PLAIN = InputFormat(8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
VIEWS = [View("crop_flip", 3, number) for number in range(2)]
CPU = torch.device("cpu")


class Network(nn.Module):
    """Remembers how many images it was given in each batch, and may stop."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.batches: list[int] = []
        self.stop_after: int | None = None

    def forward(self, images: Tensor) -> Tensor:
        if self.stop_after == len(self.batches):
            raise KeyboardInterrupt
        self.batches.append(len(images))
        outputs: Tensor = self.layers(images)
        return outputs


class OfBrightness(nn.Module):
    """A function of the mean colour, which is 1 for white."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images.mean((2, 3)))


def with_format(network: nn.Module, form: InputFormat) -> nn.Module:
    network.input_format = form
    return network


@pytest.fixture
def network() -> Network:
    return Network().eval()


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """Ten images, in batches of four."""
    monkeypatch.setattr(features, "BATCH_SIZE", 4)
    return noise_images(tmp_path, 10)


@torch.no_grad()
def direct(network: nn.Module, manifest: Manifest, view: View) -> Tensor:
    network = deepcopy(network).to(memory_format=torch.channels_last)
    batches = image_batches(manifest, 4, FORM, view=view)
    return torch.cat([network(images.to(memory_format=torch.channels_last)) for _, images, _ in batches])


def contents(cache: FeatureCache) -> list[bytes]:
    return [path.read_bytes() for path in cache.views]


@pytest.mark.parametrize(("cache_type", "tolerance"), [("float32", 0), ("float16", 1e-3)])
def test_cached_features_are_those_of_the_network(
    network: Network, manifest: Manifest, tmp_path: Path, cache_type: str, tolerance: float
) -> None:
    cache = cache_features(with_format(network, FORM), manifest, VIEWS, tmp_path / "cache", cache_type=cache_type)
    for number, view in enumerate(VIEWS):
        stored, expected = cache.open(number), direct(network, manifest, view)
        assert stored.dtype == getattr(torch, cache_type)
        torch.testing.assert_close(stored.float(), expected, rtol=tolerance, atol=0)
        assert expected.std(0).min() > 0  # images differ, so their order matters
    assert not torch.equal(cache.open(0), cache.open(1))
    assert torch.equal(cache.labels, manifest.labels)


def test_a_second_call_computes_nothing(network: Network, manifest: Manifest, tmp_path: Path) -> None:
    first = cache_features(with_format(network, FORM), manifest, VIEWS, tmp_path / "cache")
    assert network.batches == [1, 4, 4, 2] * 2  # the single image tells how many numbers there are
    network.batches.clear()
    second = cache_features(with_format(network, FORM), manifest, VIEWS, tmp_path / "cache")
    assert network.batches == []
    assert second.views == first.views
    third = cache_features(
        with_format(network, FORM), manifest, [VIEWS[1], View("crop_flip", 3, 2)], tmp_path / "cache"
    )
    assert network.batches == [1, 4, 4, 2]
    assert third.views[0] == first.views[1]


def test_nothing_is_left_behind_but_the_numbers_and_their_record(
    network: Network, manifest: Manifest, tmp_path: Path
) -> None:
    cache = cache_features(with_format(network, FORM), manifest, VIEWS, tmp_path / "cache")
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.name != "lock"]
    assert sorted(files) == sorted([*cache.views, *(path.with_suffix(".json") for path in cache.views)])
    record = read_json(cache.views[1].with_suffix(".json"))
    assert record["view"] == {"augment": "crop_flip", "seed": 3, "number": 1}
    assert (record["num_images"], record["cache_type"], record["precision"]) == (10, "float16", "32-true")
    assert record["seconds"] > 0


def test_everything_that_decides_the_numbers_gives_another_key(
    network: Network, manifest: Manifest, tmp_path: Path
) -> None:
    def key(network: nn.Module = network, manifest: Manifest = manifest, form: InputFormat = FORM,
            view: View = VIEWS[0], cache_type: str = "float16") -> str:  # fmt: skip
        (path,) = cache_features(
            with_format(network, form), manifest, [view], tmp_path / "cache", cache_type=cache_type
        ).views
        return path.parent.name

    def changed(change: Callable[[Any], object]) -> nn.Module:
        other = deepcopy(network)
        with torch.no_grad():
            change(other.layers)
        return other

    keys = [
        key(),
        key(changed(lambda layers: layers[0].bias[3].add_(1e-6))),
        key(changed(lambda layers: layers[1].running_mean[0].add_(1e-6))),
        key(changed(lambda layers: layers.__setitem__(2, nn.ReLU6()))),  # it has no weights
        key(view=View("crop_flip", 3, 1)),
        key(view=View("crop_flip", 4, 0)),
        key(view=View("flip", 3, 0)),
        key(view=View()),
        key(form=FORM._replace(size=9)),
        key(form=FORM._replace(mean=(0.5, 0.5, 0.6))),
        key(form=FORM._replace(std=(0.2, 0.25, 0.31))),
        key(cache_type="float32"),
        key(manifest=manifest.take([0, 1, 2, 3])),
        key(manifest=manifest.take([1, 0, 2, 3])),
        key(manifest=replace(manifest, checksum="of other rows")),
    ]
    assert len(set(keys)) == len(keys)
    assert key(deepcopy(network)) == keys[0]
    assert key(view=View("none", 5, 1)) == key(view=View())  # nothing is drawn
    Image.open(manifest.root / "4.png").resize((40, 32)).save(manifest.root / "4.png")
    assert key() not in keys


@pytest.mark.parametrize("name", ["torch", "torchvision", "timm"])
def test_another_version_of_a_library_gives_another_key(
    name: str, network: Network, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "cache").views
    usual = features.version
    monkeypatch.setattr(features, "version", lambda one: "0" if one == name else usual(one))
    (after,) = cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "cache").views
    assert after.parent != before.parent


def test_another_image_of_as_many_pixels_gives_another_key(
    network: Network, manifest: Manifest, tmp_path: Path
) -> None:
    (before,) = cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "cache").views
    path = manifest.root / "4.png"
    os.utime(path)  # a copy of the same bytes is the same image
    assert cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "cache").views == (before,)
    pixels = np.asarray(Image.open(path)) ^ 1
    Image.fromarray(pixels).save(path)
    (after,) = cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "cache").views
    assert after.parent != before.parent


@pytest.mark.parametrize(("seconds", "left"), [(0.0, [2]), (1e9, [4, 4, 2])])
def test_a_stopped_pass_goes_on_where_it_was(
    network: Network, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float,
    left: list[int],
) -> None:  # fmt: skip
    whole = cache_features(with_format(network, FORM), manifest, VIEWS, tmp_path / "whole")
    monkeypatch.setattr(features, "SECONDS_BETWEEN_FLUSHES", seconds)
    network.batches, network.stop_after = [], 3
    with pytest.raises(KeyboardInterrupt):
        cache_features(with_format(network, FORM), manifest, VIEWS, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("inputs.npy"))
    network.batches, network.stop_after = [], None
    cache = cache_features(with_format(network, FORM), manifest, VIEWS, tmp_path / "cache")
    assert network.batches == [*left, 1, 4, 4, 2]
    assert contents(cache) == contents(whole)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 2


@pytest.mark.parametrize(("renamed", "left"), [(0, [1, 4, 4, 2]), (1, []), (2, [])])
def test_a_pass_stopped_between_its_files_ends_well(
    network: Network, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: int,
    left: list[int],
) -> None:  # fmt: skip
    whole = cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "whole")
    files: list[Path] = []  # what is done, the record, the numbers
    replace = Path.replace

    def stopping(path: Path, target: Path) -> None:
        if len(files) == renamed:
            raise KeyboardInterrupt
        files.append(replace(path, target))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stopping)
        patch.setattr(Path, "replace", stopping)
        with pytest.raises(KeyboardInterrupt):
            cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "cache")
    network.batches.clear()
    assert contents(cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "cache")) == contents(
        whole
    )
    assert network.batches == left


@pytest.mark.parametrize("cache_type", ["float16", "float32"])
@pytest.mark.parametrize("function", [lambda mean: 1 / (1 - mean), lambda mean: (1 - mean) / (1 - mean)])
def test_an_image_whose_features_are_not_finite_is_named(
    manifest: Manifest, tmp_path: Path, cache_type: str, function: Callable[[Tensor], Tensor]
) -> None:
    Image.new("RGB", (20, 16), "white").save(manifest.root / "6.png")
    with pytest.raises(SigcamError, match="features of image i6 are NaN or infinite: the network's weights are broken"):
        cache_features(
            with_format(OfBrightness(function), PLAIN), manifest, [View()], tmp_path / "cache", cache_type=cache_type
        )
    assert not list((tmp_path / "cache").rglob("inputs.npy"))


def test_an_image_whose_features_exceed_float16_is_named(manifest: Manifest, tmp_path: Path) -> None:
    Image.new("RGB", (20, 16), "white").save(manifest.root / "5.png")
    network = OfBrightness(lambda mean: 7e4 * mean)
    with pytest.raises(SigcamError, match="features of image i5 exceed float16: cache them as float32"):
        cache_features(with_format(network, PLAIN), manifest, [View()], tmp_path / "cache")
    cache = cache_features(with_format(network, PLAIN), manifest, [View()], tmp_path / "cache", cache_type="float32")
    assert cache.open(0)[5].tolist() == pytest.approx([7e4] * 3)


def test_the_first_bad_image_of_a_batch_gets_the_sentence_about_it(manifest: Manifest, tmp_path: Path) -> None:
    for index, colour in ((1, (230, 230, 230)), (2, "white")):
        Image.new("RGB", (20, 16), colour).save(manifest.root / f"{index}.png")
    network = OfBrightness(lambda mean: torch.where(mean == 1, torch.nan, 8e4 * mean))
    with pytest.raises(SigcamError, match="features of image i1 exceed float16"):
        cache_features(with_format(network, PLAIN), manifest, [View()], tmp_path / "cache")


def test_missing_and_damaged_images_are_named(network: Network, manifest: Manifest, tmp_path: Path) -> None:
    cached = partial(cache_features, with_format(network, FORM), manifest, VIEWS, tmp_path / "cache")
    (manifest.root / "7.png").write_bytes(b"broken")
    with pytest.raises(SigcamError, match=r"7\.png cannot be read \(it is damaged"):
        cached()
    (manifest.root / "7.png").unlink()
    with pytest.raises(SigcamError, match=r"7\.png cannot be read \(No such file or directory\): prepare the data set"):
        cached()


def test_a_full_disk_and_a_folder_that_cannot_be_made_are_said(
    network: Network, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SigcamError, match=r"cannot write 0\.0 GB of features to .* \(Not a directory\): make room"):
        cache_features(with_format(network, FORM), manifest, VIEWS, tmp_path / "file")
    usage = SimpleNamespace(free=2 * 10 * 16 - 1)  # a byte too little for ten rows of 16 float16
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SigcamError, match=rf"cannot write .* \({os.strerror(errno.ENOSPC)}\): make room there"):
        cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "cache")
    usage.free += 1
    assert cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "cache").open(0).shape == (10, 16)


def test_batches_hold_the_rows_asked_for_in_their_order(network: Network, manifest: Manifest, tmp_path: Path) -> None:
    cache = cache_features(with_format(network, FORM), manifest, VIEWS, tmp_path / "cache")
    rows = torch.randperm(10).split([4, 1, 3, 2])
    for view in range(2):
        for wanted, (inputs, labels) in zip(rows, cache.batches(view, rows, CPU), strict=True):
            assert inputs.dtype == torch.float32
            assert torch.equal(inputs, cache.open(view)[wanted].float())
            assert torch.equal(labels, manifest.labels[wanted])
    assert list(cache.batches(0, [], CPU)) == []


def test_what_is_done_to_a_batch_does_not_reach_the_disk(network: Network, manifest: Manifest, tmp_path: Path) -> None:
    cache = cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "cache", cache_type="float32")
    before = contents(cache)
    for inputs, _ in cache.batches(0, [torch.arange(10)], CPU):
        inputs.zero_()
    cache.open(0).zero_()
    assert contents(cache) == before


def one_of_two(rank: int, meet: Callable[[], object]) -> Any:
    """What Fabric tells a process of two, which are threads here."""
    strategy = SimpleNamespace(precision=SimpleNamespace(precision="32-true"))
    ranks = {"global_rank": rank, "world_size": 2, "is_global_zero": rank == 0}
    return SimpleNamespace(**ranks, device=CPU, barrier=meet, autocast=nullcontext, strategy=strategy)


def test_two_devices_share_the_images(network: Network, manifest: Manifest, tmp_path: Path) -> None:
    networks = [deepcopy(network) for _ in range(2)]
    alone = cache_features(with_format(network, FORM), manifest, VIEWS, tmp_path / "alone")
    barrier = threading.Barrier(2, timeout=20)

    def run(rank: int) -> FeatureCache:
        fabric = one_of_two(rank, barrier.wait)
        return cache_features(with_format(networks[rank], FORM), manifest, VIEWS, tmp_path / "shared", fabric=fabric)

    with ThreadPoolExecutor(2) as pool:
        shared = list(pool.map(run, range(2)))
    assert [one.batches for one in networks] == [[1, 4, 2] * 2, [4] * 2]
    assert contents(shared[0]) == contents(shared[1]) == contents(alone)
    assert [path.parent.name for path in shared[0].views] == [path.parent.name for path in alone.views]


def test_one_device_ends_what_two_have_begun(
    network: Network, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "SECONDS_BETWEEN_FLUSHES", 0.0)
    alone = cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "alone")
    barrier = threading.Barrier(2, timeout=20)

    def run(rank: int) -> FeatureCache:
        own = deepcopy(network)
        own.stop_after = len(own.batches) if rank == 1 else None  # so the second of three batches stays undone
        meetings = iter([barrier.wait, barrier.wait])

        def meet() -> None:
            next(meetings)()  # at the end of the pass there is nobody to meet

        return cache_features(
            with_format(own, FORM), manifest, VIEWS[:1], tmp_path / "shared", fabric=one_of_two(rank, meet)
        )

    with ThreadPoolExecutor(2) as pool:
        stopped = [type(future.exception()) for future in [pool.submit(run, rank) for rank in range(2)]]
    assert stopped == [StopIteration, KeyboardInterrupt]
    network.batches.clear()
    assert contents(cache_features(with_format(network, FORM), manifest, VIEWS[:1], tmp_path / "shared")) == contents(
        alone
    )
    assert network.batches == [4]


def test_features_of_features_are_those_of_the_whole_network(manifest: Manifest, tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = with_format(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(1)), PLAIN).eval()
    second = with_format(nn.Sequential(nn.Linear(4 * 36, 5)), PLAIN).eval()
    earlier = cache_features(first, manifest, VIEWS, tmp_path, cache_type="float32")
    cache = cache_features(second, manifest, VIEWS, tmp_path, cache_type="float32", earlier=earlier)
    whole = with_format(nn.Sequential(*first, *second), PLAIN).eval()
    expected = cache_features(whole, manifest, VIEWS, tmp_path, cache_type="float32")
    for view in range(len(VIEWS)):
        torch.testing.assert_close(cache.open(view), expected.open(view))
    assert len({path.parent for path in (*cache.views, *earlier.views, *expected.views)}) == 3 * len(VIEWS)
    # Of other features it is another cache, even if the second network, the images and the views are the same.
    with torch.no_grad():
        first[0].weight.mul_(2)
    moved = cache_features(first, manifest, VIEWS, tmp_path, cache_type="float32")
    again = cache_features(second, manifest, VIEWS, tmp_path, cache_type="float32", earlier=moved)
    assert not set(again.views) & set(cache.views)

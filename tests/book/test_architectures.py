"""The survey of architectures tells what comes of a network, and the page and the weekly check tell what it told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torchvision.models as tv
from torch import Tensor, nn

import architectures
import architectures_page
from sigcam_core import SigcamError
from sigcam_core.backbones.small_cnn import small_cnn
from sigcam_core.cams.methods import METHODS

RESULTS = Path(architectures.__file__).resolve().parents[2] / "results"


class Endless(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        while True:
            images = images + 1


def without_its_package() -> nn.Module:
    raise ImportError("\nneeds the natten library\nwhich is not there")


def test_what_comes_of_a_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures, "CLASSES", 5)
    model = small_cnn(5)
    model.image_size = 64
    assert architectures.look_at(lambda: model) == {
        "outcome": "split",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "image": [3, 64, 64],
        "maps": [48, 8, 8],
        "has_tokens": False,
        "is_observed": False,
        "head_parameters": 48 * 5 + 5,
        "methods": list(METHODS),
    }
    refused = architectures.look_at(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 5)))
    assert (refused["outcome"], refused["parameters"]) == ("refused", 3 * 224 * 224 * 5 + 5)
    assert refused["why"].startswith("cannot split Sequential")
    large = architectures.look_at(lambda: nn.Linear(10_000, 15_001, bias=False))
    assert (large["outcome"], large["parameters"]) == ("not tried", 150_010_000)
    assert architectures.look_at(without_its_package) == {"outcome": "not built", "why": "needs the natten library"}
    assert architectures.look_at(Endless, seconds=1) == {"outcome": "given up", "why": "takes more than 1 seconds"}


def test_the_smallest_network_of_a_family_is_taken() -> None:
    found = {family: name for family, (name, _) in architectures.torchvision_builders().items()}
    assert found["squeezenet"] == "squeezenet1_1"
    assert found["resnet"] == "resnet18"
    assert found["vgg"] == "vgg11"
    assert set(found) == {tv.get_model_builder(name).__module__.split(".")[-1] for name in tv.list_models(module=tv)}


def test_what_is_there_is_left_and_the_check_names_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def build() -> nn.Module:
        calls.append("built")
        raise ValueError("no")

    monkeypatch.setitem(architectures.LIBRARIES, "timm", lambda: {"a": ("a1", build), "b": ("b1", build)})
    first = architectures.survey("timm", tmp_path / "one", families=["a"])
    assert list(json.loads(first.read_text())["families"]) == ["a"]
    assert json.loads(first.read_text())["of"] == 2
    architectures.survey("timm", tmp_path / "one")
    assert calls == ["built"] * 4  # each once to count its parameters
    architectures.survey("timm", tmp_path / "two")
    architectures.compare(tmp_path / "one", tmp_path / "two", ["timm"])
    content = json.loads(first.read_text())
    content["families"]["b"]["outcome"] = "split"
    first.write_text(json.dumps(content))
    with pytest.raises(SigcamError, match="is no longer true of timm b: run"):
        architectures.compare(tmp_path / "one", tmp_path / "two", ["timm"])


def test_the_page_has_a_row_for_every_family() -> None:
    page = architectures_page.page_of(RESULTS)
    for library in architectures.LIBRARIES:
        content = json.loads((RESULTS / "architectures" / f"{library}.json").read_text())
        title = f"{architectures_page.TITLES[library]} {content['release']}"
        part = page.split(f"dropdown}} {title}: every family")[1].split("\n:::::")[0]
        assert part.count("\n| ") == len(content["families"]) + 1
        outcomes = [row["outcome"] for row in content["families"].values()]
        (counts,) = (line for line in page.splitlines() if line.startswith(f"| {title} | {content['of']} |"))
        assert counts.split(" | ")[2] == str(outcomes.count("split"))
        for family, row in content["families"].items():
            line = next(line for line in part.splitlines() if line.startswith(f"| {family} | `{row['network']}` |"))
            assert (" × ".join(map(str, row["maps"])) if row["outcome"] == "split" else row["outcome"]) in line
            assert ("CAM, " in line.rsplit("|", 2)[1][:6]) == ("cam" in row.get("methods", []))


def test_a_library_without_results_is_named(tmp_path: Path) -> None:
    named = r"the book needs .*torchvision.json: run `python book/_make/architectures.py"
    with pytest.raises(SigcamError, match=named):
        architectures_page.page_of(tmp_path)


def test_the_page_opens_with_what_was_found_and_says_what_was_not_looked_at(tmp_path: Path) -> None:
    families = {
        "a": {"network": "a", "outcome": "refused", "why": "x", "parameters": 1},
        "b": {"network": "b", "outcome": "not built", "why": "x"},
    }
    for library in architectures.LIBRARIES:
        path = tmp_path / "architectures" / f"{library}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"release": "1", "of": 3, "families": families}))
    page = architectures_page.page_of(tmp_path)
    assert "> Of 3 families that were built, 0 are cut" in page
    assert "3 are refused with a sentence. 6 more were not tried here." in page
    assert "| Library | families | refused | not built here | not looked at | with CAM |" in page
    assert "| timm 1 | 3 | 1 | 1 | 1 | 0 |" in page

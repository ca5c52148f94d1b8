"""The card of the shipped head: complete front matter, numbers of its record, and an import that exists."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import yaml

import model_card
from sigcam_core.common.files import read_json


def test_the_folder_for_a_hub_is_complete(tmp_path: Path) -> None:
    model_card.write_model(tmp_path)
    record = read_json(tmp_path / f"{model_card.NAME}.json")
    card = (tmp_path / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert {"license", "tags", "datasets", "pipeline_tag"} <= front.keys()
    for value in record["test_top1"].values():
        assert f"{value} %" in card
    assert record["training"]["sha256"] in card
    assert (tmp_path / f"{model_card.NAME}.safetensors").stat().st_size > 0


def test_the_card_imports_what_there_is(tmp_path: Path) -> None:
    model_card.write_model(tmp_path)
    found = re.findall(r"from ([\w.]+) import (\w+)", (tmp_path / "README.md").read_text())
    assert found
    for module, name in found:
        assert hasattr(import_module(module), name)

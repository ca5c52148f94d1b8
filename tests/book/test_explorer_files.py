"""The files of the pages that compute where they are read: what is written, what is read back, and when it is made."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from test_book import BOOK, load
from torch import nn
from web_node import run_node

import explorer_files
from explorer_data import pack, photo_files, write_script
from explorer_model import HALVED_FROM, export_backbone, halve_weights, run_backbone
from sigcam_core.backbones.formats import InputFormat
from sigcam_core.common.errors import SigcamError
from sigcam_core.common.files import write_json
from sigcam_core.dual.branch import DualBranch

extension = load(BOOK / "_ext" / "explorer.py")


def test_a_pack_is_read_back(tmp_path: Path) -> None:
    arrays = {
        "odd": np.arange(3, dtype=np.float16) / 3,
        "matrix": np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32),
    }
    packed = pack({"names": ["tabby", "Käse"]}, arrays)
    program = """const { facts, arrays } = packs.unpack(Uint8Array.from(given.packed));
    print({ facts, odd: [...arrays.odd], matrix: [...arrays.matrix] });"""
    got = run_node(program, tmp_path, packed=list(packed))
    assert got["facts"] == {"names": ["tabby", "Käse"]}
    assert got["odd"] == arrays["odd"].astype(float).tolist()
    assert got["matrix"] == arrays["matrix"].flatten().astype(float).tolist()


def test_a_script_holds_the_file(tmp_path: Path) -> None:
    size = write_script(tmp_path, "some_file", b"content" * 100)
    script = (tmp_path / "some_file.js").read_text()
    assert size == len(script)
    (text,) = re.findall(r'\["some_file"\]="([^"]+)"', script)
    assert gzip.decompress(base64.b64decode(text)) == b"content" * 100


def test_large_tensors_alone_are_halved_and_computed_with_as_before() -> None:
    weight = np.random.default_rng(0).normal(size=(HALVED_FROM, 3)).astype(np.float32)
    bias = np.array([1.0, 2.0, 3.0], np.float32) / 3
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "weight", "bias"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, HALVED_FROM])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    halve_weights(model)
    onnx.checker.check_model(model)
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert types == {"weight_16": TensorProto.FLOAT16, "bias": TensorProto.FLOAT}
    x = np.ones((1, HALVED_FROM), np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"x": x})
    np.testing.assert_allclose(got, x @ weight.astype(np.float16).astype(np.float32) + bias, rtol=1e-4)


def test_the_exported_backbone_gives_the_networks_features(tmp_path: Path) -> None:
    backbone = nn.Sequential(nn.Conv2d(3, 16, 5, stride=2), nn.BatchNorm2d(16), nn.ReLU6())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
    form = InputFormat(16, (0.5,) * 3, (0.25,) * 3)
    dual = DualBranch(backbone, head, head, input_format=form).eval()
    images = torch.randn(2, 3, 16, 16)
    got = run_backbone(export_backbone(dual, tmp_path / "backbone.onnx"), images.numpy())
    assert got.shape == (2, 16, 6, 6)
    np.testing.assert_allclose(got, backbone(images).detach(), atol=5e-3)
    assert np.abs(got - backbone(images).detach().numpy()).max() > 0  # the weights are stored in 16 bits


def test_a_photo_travels_without_loss(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    whole, small = photo_files(tmp_path / "photo.png")
    (tmp_path / "whole.webp").write_bytes(whole)
    (tmp_path / "small.webp").write_bytes(small)
    with Image.open(tmp_path / "whole.webp") as image:
        assert (np.array(image) == pixels).all()
    with Image.open(tmp_path / "small.webp") as image:
        assert image.width == image.height


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is made, with nothing that takes long."""
    made: list[str] = []

    def make_data(folder: Path, photos: object) -> dict[str, object]:
        made.append("data")
        return {"difference": 0.001, "places": [1, 2], "names": ["a"]}

    def bundle(folder: Path) -> None:
        made.append("programs")
        for name in ("runtime.js", "wasm.js", "backbone.js", "heads.js", "derivation.js", "one_photo.js", "first.webp"):
            (folder / name).write_text("x" * 1000)

    monkeypatch.setattr(explorer_files, "ensure_manifest", lambda dataset, work_dir: None)
    monkeypatch.setattr(explorer_files, "make_data", make_data)
    monkeypatch.setattr(explorer_files, "bundle", bundle)
    return made


def test_what_takes_long_is_made_once(tmp_path: Path, counted: list[str]) -> None:
    for _ in range(2):
        folder = explorer_files.ensure_explorer(tmp_path)
    assert counted == ["data", "programs", "programs"]
    text = (folder / "facts.js").read_text()
    assert json.loads(text.removeprefix("globalThis.sigcamExplorer=").rstrip(";\n"))["bytes"] == 4000
    saved = json.loads((tmp_path / "summary" / "photo_page.json").read_text())
    assert saved["formatted"]["megabytes"] == "0.0"
    assert saved["formatted"]["sigmoid_classes"] == "2"
    assert saved["provenance"]["parameters"]["photo"] == explorer_files.FIRST
    assert "torch" in saved["provenance"]["made_of"]


def test_it_is_made_anew_of_something_else(tmp_path: Path, counted: list[str]) -> None:
    folder = explorer_files.ensure_explorer(tmp_path)
    record = json.loads((folder / "record.json").read_text())
    write_json(folder / "record.json", record | {"made_of": record["made_of"] | {"torch": "0.1"}})
    explorer_files.ensure_explorer(tmp_path)
    assert counted == ["data", "programs"] * 2


def test_missing_scripts_are_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explorer_files, "RUNTIME", tmp_path / "none.wasm")
    with pytest.raises(SigcamError, match=r"none\.wasm is missing: run `make setup`"):
        explorer_files.ensure_explorer(tmp_path)


def test_every_sample_photo_says_what_it_shows() -> None:
    from data_scripts.photos import PHOTOS

    assert explorer_files.PHOTOS.keys() == PHOTOS.keys()


def test_the_site_gets_what_its_pages_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "explorer"
    made.mkdir()
    for name in ("photo.js", "still.webp", "record.json", "backbone.onnx"):
        (made / name).touch()
    app = SimpleNamespace(outdir=tmp_path / "html", builder=SimpleNamespace(format="html"))
    monkeypatch.delenv("SIGCAM_EXPLORER", raising=False)
    extension.copy_explorer(app)
    assert not (tmp_path / "html").exists()
    monkeypatch.setenv("SIGCAM_EXPLORER", str(made))
    extension.copy_explorer(app)
    copied = tmp_path / "html" / "_static" / "explorer"
    assert {path.name for path in copied.iterdir()} == {"photo.js", "still.webp"}

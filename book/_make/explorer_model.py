"""The backbone of the page that computes maps where it is read: EfficientNet-Lite0 in ONNX, with weights of 16 bits."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sigcam_core.dual.branch import DualBranch

HALVED_FROM = 256
"""Numbers from which on a tensor is kept in 16 bits; smaller ones weigh nothing and stay as they are."""


def export_backbone(dual: DualBranch, path: Path) -> Path:
    """Write the backbone, images (1, 3, S, S) named ``image`` to feature maps named ``features``, with 16-bit weights.

    What does not depend on the image is computed beforehand. Only the stored weights are halved: all is computed in 32.

    Args:
        dual: the network.
        path: of the ONNX file.
    """
    size = dual.input_format.size
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch tells of a newer exporter, which needs another package
        exported, folded = Path(folder, "exported.onnx"), Path(folder, "folded.onnx")
        torch.onnx.export(
            dual.backbone.eval(),
            (torch.zeros(1, 3, size, size),),
            str(exported),
            dynamo=False,
            input_names=["image"],
            output_names=["features"],
        )
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(str(exported), options, providers=["CPUExecutionProvider"])
        model = onnx.load(str(folded))
    halve_weights(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def halve_weights(model: onnx.ModelProto) -> None:
    """Store the large float32 tensors of a model in 16 bits, each behind a cast back to 32."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or int(np.prod(tensor.dims)) < HALVED_FROM:
            continue
        name, stored = tensor.name, f"{tensor.name}_16"
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    for cast in reversed(casts):
        model.graph.node.insert(0, cast)


def run_backbone(path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Feature maps (N, K, h, w) of normalised images (N, 3, S, S) by the model of a file."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    features = [session.run(["features"], {"image": image[None]})[0] for image in images]
    return np.concatenate(features)

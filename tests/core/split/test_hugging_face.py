"""Image classifiers of Hugging Face's transformers, built from their configurations, are taken as they are."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
import transformers as hf
from small_networks import random_images, sampled
from torch import nn

from sigcam_core import DualBranch, cam_maps
from sigcam_core.dual.linear import linear_head_weight

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


class Case(NamedTuple):
    make: Callable[[], nn.Module]
    maps: tuple[int, int, int]  # K, h, w
    is_linear: bool  # global average pooling and one linear layer
    side: int = 64


def resnet() -> nn.Module:
    config = hf.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5, image_size=64
    )
    return hf.ResNetForImageClassification(config)


def convnext() -> nn.Module:
    return hf.ConvNextForImageClassification(
        hf.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, image_size=64, num_labels=5)
    )


def vit(side: int = 96) -> nn.Module:
    return hf.ViTForImageClassification(hf.ViTConfig(**SMALL, image_size=side, num_labels=5))


def deit() -> nn.Module:
    return hf.DeiTForImageClassificationWithTeacher(hf.DeiTConfig(**SMALL, image_size=64, num_labels=5))


def beit() -> nn.Module:
    config = hf.BeitConfig(**SMALL, image_size=64, num_labels=5, use_relative_position_bias=True)
    return hf.BeitForImageClassification(config)


def swin() -> nn.Module:
    config = hf.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1], num_heads=[2, 2], window_size=4, num_labels=5, drop_path_rate=0.0
    )
    return hf.SwinForImageClassification(config)


def dinov2() -> nn.Module:
    config = hf.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=70, patch_size=14, num_labels=5
    )
    return hf.Dinov2ForImageClassification(config)


def mobilevit_v2() -> nn.Module:
    config = hf.MobileViTV2Config(
        width_multiplier=0.25, image_size=64, n_attn_blocks=[1, 1, 1], num_labels=5, initializer_range=0.5
    )
    return hf.MobileViTV2ForImageClassification(config)


CASES = {
    "resnet": Case(resnet, (16, 8, 8), True),
    "convnext": Case(convnext, (16, 8, 8), False),
    "vit": Case(vit, (16, 6, 6), False, 96),
    "deit": Case(deit, (16, 4, 4), False),
    "beit": Case(beit, (16, 4, 4), False),
    "swin": Case(swin, (16, 8, 8), True),
    "dinov2": Case(dinov2, (16, 5, 5), False, 70),
    "mobilevit_v2": Case(mobilevit_v2, (128, 2, 2), True),  # parts of which give objects, not tensors
}


@pytest.mark.parametrize("name", sampled(CASES, ("resnet", "vit")))
def test_a_classifier_of_hugging_face_is_taken_as_it_is(name: str) -> None:
    torch.manual_seed(0)
    case = CASES[name]
    model = case.make().eval()
    images = random_images(2, case.side, torch.float32)
    dual = DualBranch.from_classifier(model, num_classes=5, init="copy")
    out = dual(images)
    with torch.no_grad():
        expected = model(images).logits
    torch.testing.assert_close(out.softmax_logits, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(out.sigmoid_logits, expected, rtol=1e-5, atol=1e-6)
    assert out.features.shape == (2, *case.maps)
    assert (linear_head_weight(dual.softmax_head) is not None) == case.is_linear
    maps = cam_maps(dual, images, torch.tensor([1, 4]), evidence_only=False)
    assert all(values.shape == (2, *case.maps[1:]) and values.isfinite().all() for values in maps.values())
    assert maps["softmax", "gradcam"].abs().amax() > 0
    # No parameter belongs to both parts, and none of the second head is out of its training's reach.
    backbone = {id(parameter) for parameter in dual.backbone.parameters()}
    assert not backbone & {id(parameter) for parameter in dual.softmax_head.parameters()}
    out.sigmoid_logits.sum().backward()
    assert all(parameter.grad is not None for parameter in dual.sigmoid_head.parameters())

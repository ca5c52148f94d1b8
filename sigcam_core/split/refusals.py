"""Why a network is not taken: every cause in words, each with a remedy of its own."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from ..common.errors import fail


class Refusal(NamedTuple):
    """One cause.

    Both are templates: ``{name}`` is the network's class, other fields are what :func:`refuse` is given.
    """

    cause: str
    remedy: str


REFUSALS = {
    # What is no module that can be taken apart.
    "onnx": Refusal(
        "{name} is an ONNX model, whose parts cannot be taken out", "pass the nn.Module it was exported from"
    ),
    "exported": Refusal(
        "{name} is an exported program, which is not trained", "pass the nn.Module it was exported from"
    ),
    "no module": Refusal("{name} is no network", "pass a torch.nn.Module that classifies images"),
    "script": Refusal("{name} is TorchScript, whose parts cannot be taken out", "pass the nn.Module it was made from"),
    "traced": Refusal(
        "{name} is a traced or quantised network", "pass the nn.Module it was made from, in floating point"
    ),
    "no parameters": Refusal("{name} has no parameters", "pass a classifier of images"),
    "inference mode": Refusal(
        "{name} was made under torch.inference_mode, where nothing can be trained later", "make it outside"
    ),
    "no values": Refusal(
        "{name} has parameters without values, on the meta device or in a lazy layer",
        "load its weights, or show it one image, first",
    ),
    # What takes no images.
    "volumes": Refusal(
        "{name} takes volumes or videos: its first convolution is a Conv3d, and maps are pictures",
        "wrap it in a module that takes images (N, C, H, W), and pass `features`, which gives maps (N, K, h, w), and "
        "`head`",
    ),
    "more inputs": Refusal("{name} does not take one batch of images ({reason})", "wrap it in a module that does"),
    "size": Refusal(
        "{name} fails on a probe of {size} pixels ({reason})",
        "set its `image_size` to the side it expects; it runs on images of {side} x {side}",
    ),
    "fails": Refusal(
        "{name} fails on a probe of {size} pixels ({reason})",
        "wrap it in a module that takes images (N, {channels}, H, W), of a size that its attribute `image_size` tells",
    ),
    # What gives no logits.
    "no logits": Refusal("{name} must give logits of shape (N, C), got {given}", "pass a classifier of images"),
    "one logit": Refusal(
        "{name} gives one logit an image, and a softmax over one class is always 1",
        "let its last layer give two, with weights and bias of zero for the other class, which is the same classifier",
    ),
    "softmax": Refusal(
        "{name} gives probabilities, which add up to 1",
        "pass a network that gives logits, without the softmax in its `forward`, or with an nn.Softmax in its place, "
        "which is left out",
    ),
    "sigmoid": Refusal(
        "{name} gives numbers in [0, 1] whatever its last layer gives, as a sigmoid makes them",
        "pass a network that gives logits, without the sigmoid in its `forward`, or with an nn.Sigmoid in its place, "
        "which is left out",
    ),
    "logarithms": Refusal(
        "{name} gives logarithms of probabilities",
        "pass a network that gives logits, without the logarithm in its `forward`, or with an nn.LogSoftmax or "
        "nn.LogSigmoid in its place, which is left out",
    ),
    "no classifier": Refusal(
        "{name} has no classifier: its {classes} numbers come from {last}, as features do",
        "build it with its last layer, or put one behind it, nn.Sequential(network, nn.Linear({classes}, C))",
    ),
    "activation": Refusal(
        "{name} seems to have no classifier: an activation comes behind its last layer, as with features",
        "put a last layer behind it, nn.Sequential(network, nn.Linear({classes}, C)); if its outputs are the scores of "
        "{classes} classes all the same, say so by num_classes={classes}",
    ),
    "broken": Refusal(
        "{name} gives NaN or infinity for an image of noise", "its weights are broken, so load whole ones"
    ),
    "restless": Refusal(
        "{name} gives other logits for the same image each time, in evaluation mode too",
        "let its dropout, or whatever draws numbers, do so in training alone, as F.dropout(x, p, self.training) does",
    ),
    "same logits": Refusal(
        "{name} gives the same logits for two images of noise, so that no cut can be checked",
        "load its trained weights first",
    ),
    # What cannot be cut.
    "no cut": Refusal(
        "cannot split {name} into features and head",
        "pass `features` (images to feature maps), `head` (feature maps to logits) and, where the features are tokens, "
        "`to_maps` (tokens to feature maps) to DualBranch.from_classifier",
    ),
    "other parts": Refusal(
        "head(features(images)) differs from model(images), or features are not maps and `to_maps` is missing",
        "pass the parts that make up the classifier",
    ),
    "no weights": Refusal(
        "the `head` of {name} that was passed has no weights that could be trained",
        "let it begin before the last layer that has some",
    ),
    "made weights": Refusal(
        "the weights of a {name} are made of others, and come out otherwise than they were drawn",
        "pass init='copy', or take off what makes them, as torch.nn.utils.parametrize.remove_parametrizations does",
    ),
    "kept weights": Refusal(
        "the head of {name} has weights that belong to no layer known here, and cannot be drawn",
        "pass init='copy', or put them into a layer with a method `reset_parameters`",
    ),
}
"""Every cause, by a short name."""


def refuse(cause: str, model: object, **facts: Any) -> NoReturn:
    """Say why a network is not taken, and what to do.

    Args:
        cause: one of :data:`REFUSALS`.
        model: the network.
        facts: what the sentence has fields for.

    Raises:
        SigcamError: always.
    """
    refusal = REFUSALS[cause]
    facts["name"] = type(model).__name__
    fail(f"{refusal.cause.format(**facts)}: {refusal.remedy.format(**facts)}.")

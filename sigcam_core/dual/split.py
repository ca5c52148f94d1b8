"""Cut a classifier into backbone and head, so that ``head(backbone(images))`` is the classifier.

No table of architectures: a few ways to cut are proposed from the network's own parts, each is tried on a probe
image, and the first that gives the classifier's logits is taken. What comes out:

- ResNet, Inception, GoogLeNet, RegNet, DenseNet, MobileNetV2, EfficientNet, ShuffleNet: before global average pooling;
  the head is pooling and one linear layer. Inception's and GoogLeNet's own change of the input belongs to the
  backbone; their auxiliary heads belong to nothing.
- VGG, ConvNeXt, MobileNetV3, SqueezeNet: after the last feature maps; the head has other layers besides.
- Swin and vision transformers that average normalised patch tokens: after the final norm, as maps (N, K, h, w); the
  head is pooling and one linear layer.
- Vision transformers with a class token (ViT, DeiT, BEiT), or with a norm behind their pooling: before the last block.
  Behind it the class token is all that the logits see, so that no gradient would reach a patch. Features are tokens
  (N, L, K), and ``to_maps`` makes maps of them.

The parts hold the classifier's own modules and parameters, not copies. Where a part needs a method of the network,
it holds a shallow copy of it with fewer children.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..common.errors import fail

MISFITS = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, AssertionError)
"""What parts raise that do not belong together."""
POOLS = nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d | nn.AvgPool2d


class Split(NamedTuple):
    """The parts of a classifier."""

    features: nn.Module  #: images (N, 3, H, W) to feature maps (N, K, h, w) or tokens (N, L, K)
    head: nn.Module  #: what ``features`` gives, to logits (N, C)
    to_maps: nn.Module  #: what ``features`` gives, to feature maps (N, K, h, w)


class TokensToMaps(nn.Module):
    """Tokens (N, L, K) of a transformer to feature maps (N, K, h, w): the patches in their places.

    Args:
        num_prefix_tokens: tokens before the patches, such as the class token, which have no place.
        grid: (h, w), patches in a column and in a row.

    >>> TokensToMaps(num_prefix_tokens=1, grid=(2, 3))(torch.zeros(4, 7, 16)).shape
    torch.Size([4, 16, 2, 3])
    """

    def __init__(self, num_prefix_tokens: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.num_prefix_tokens = num_prefix_tokens
        self.grid = grid

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (N, L, K) to maps (N, K, h, w): drop the prefix and lay out the rest.

        Raises:
            SigcamError: if the number of tokens is another.
        """
        height, width = self.grid
        if tokens.ndim != 3 or tokens.shape[1] != self.num_prefix_tokens + height * width:
            fail(
                f"features must be tokens (N, {self.num_prefix_tokens} + {height} * {width}, K), got "
                f"{tuple(tokens.shape)}: give images of the size that the network was built for."
            )
        patches = tokens[:, self.num_prefix_tokens :]
        return patches.reshape(len(tokens), height, width, tokens.shape[2]).permute(0, 3, 1, 2)


class ChannelsFirst(nn.Module):
    """Feature maps (N, h, w, K) to (N, K, h, w)."""

    def forward(self, features: Tensor) -> Tensor:
        """Maps (N, h, w, K) to (N, K, h, w) by other strides; nothing is copied."""
        return features.permute(0, 3, 1, 2)


class Part(nn.Module):
    """One method of a network as a module, such as timm's ``forward_features``."""

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, inputs: Tensor) -> Tensor:
        """What the method gives of images (N, 3, H, W), or of features."""
        outputs: Tensor = getattr(self.network, self.method)(inputs)
        return outputs


class ImageTokens(nn.Module):
    """Tokens (N, L, K) of torchvision's VisionTransformer, whose ``forward`` goes on to the logits."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to tokens (N, L, K): embed the patches, put the class token before them, encode."""
        patches = self.network._process_input(images)
        class_token = self.network.class_token.expand(len(patches), -1, -1)
        tokens: Tensor = self.network.encoder(torch.cat([class_token, patches], dim=1))
        return tokens


class FirstToken(nn.Module):
    """Tokens (N, L, K) to the class token (N, K)."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Take the first of the tokens (N, L, K), giving (N, K)."""
        return tokens[:, 0]


def split_classifier(model: nn.Module) -> Split:
    """Split a classifier of images into parts with ``head(features(x)) == model(x)``, verified on a probe image.

    Raises:
        SigcamError: if no proposal recomposes the network, or it cannot be probed.
    """
    logits = probe_logits(model)
    with torch.no_grad(), evaluation_mode(model), _drawn_classifier(model, logits.shape[1]):
        probe = _probe(model)
        expected = model(probe)
        for split in _proposals(model, probe):
            if list(split.head.parameters()) and _gives(split, probe, expected):
                return split
    fail(
        f"cannot split {type(model).__name__} into features and head: pass `features` (images to feature maps), "
        "`head` (feature maps to logits) and, where the features are tokens, `to_maps` (tokens to feature maps) "
        "to DualBranch.from_classifier."
    )


@torch.no_grad()
def recomposes(model: nn.Module, split: Split) -> bool:
    """Whether ``head(features(x)) == model(x)`` on a probe image."""
    own = {id(parameter) for parameter in model.parameters()}
    is_shared = any(id(parameter) in own for parameter in split.head.parameters())
    classes = probe_logits(model).shape[1]
    with evaluation_mode(model), _drawn_classifier(model, classes) if is_shared else nullcontext():
        return _gives(split, _probe(model), model(_probe(model)))


@torch.no_grad()
def probe_logits(model: nn.Module) -> Tensor:
    """Logits (1, C) of a probe image.

    Raises:
        SigcamError: if the network does not take it, or gives something else.
    """
    probe = _probe(model)
    name = type(model).__name__
    with evaluation_mode(model):
        try:
            logits = model(probe)
        except (RuntimeError, AssertionError) as error:  # so layers complain of a size
            size = f"{probe.shape[2]} x {probe.shape[3]}"
            reason = (str(error) or type(error).__name__).splitlines()[0]
            fail(f"{name} fails on a probe of {size} pixels ({reason}): set its `image_size` to the side it expects.")
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        fail(f"{name} must give logits of shape (N, C), got {given}: pass a classifier of images.")
    return logits


def _probe(model: nn.Module) -> Tensor:
    """One image of noise in the size that the network says it takes, else 224 pixels."""
    config = getattr(model, "pretrained_cfg", None) or {}  # timm's
    size = (
        getattr(getattr(model, "patch_embed", None), "img_size", None)
        or getattr(model, "image_size", None)
        or tuple(config.get("input_size", (3, 224, 224)))[1:]
    )
    height, width = (size, size) if isinstance(size, int) else size
    parameter = next(model.parameters())
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0)).to(parameter)


@contextmanager
def _drawn_classifier(model: nn.Module, num_classes: int) -> Iterator[None]:
    """Random weights and no bias in every layer with C outputs; afterwards the layers have their own again.

    A new network may have a classifier of zeros, or features so small that its bias hides them. Its logits would
    then agree with those of any split.
    """
    generator = torch.Generator().manual_seed(0)
    layers = [module for module in model.modules() if _num_outputs(module) == num_classes]
    parameters = [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
    own = [parameter.data for parameter in parameters]
    try:
        for parameter in parameters:
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.data = (drawn if parameter.ndim > 1 else torch.zeros_like(drawn)).to(parameter)
        yield
    finally:
        for parameter, data in zip(parameters, own, strict=True):
            parameter.data = data


def _num_outputs(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    return module.out_channels if isinstance(module, nn.Conv2d) else None


def _gives(split: Split, probe: Tensor, expected: Tensor) -> bool:
    """Whether the parts give maps, and the expected logits up to rounding."""
    with evaluation_mode(*split):
        try:
            features = split.features(probe)
            maps, logits = split.to_maps(features), split.head(features)
        except MISFITS:
            return False  # the proposal does not fit this network: the caller tries the next one
    if maps.ndim != 4 or maps.shape[2:].numel() == 1 or logits.shape != expected.shape:
        return False
    tolerance = torch.finfo(expected.dtype).eps ** 0.75  # 6e-6 in float32; the same layers give the same numbers
    return bool((logits - expected).abs().max() <= tolerance * expected.abs().max())


def _proposals(model: nn.Module, probe: Tensor) -> Iterator[Split]:
    children = dict(model.named_children())
    if hasattr(model, "forward_features") and hasattr(model, "forward_head"):  # timm
        yield from _splits_of_methods(model, probe)
    elif {"conv_proj", "encoder", "heads"} <= children.keys():  # torchvision's VisionTransformer
        yield from _splits_of_vision_transformer(model)
    elif children:
        yield from _splits_of_children(model, children)


def _splits_of_children(model: nn.Module, children: dict[str, nn.Module]) -> Iterator[Split]:
    """Children that are run one after the other, with what ``forward`` may do between the last of them."""
    end = ("avgpool", "flatten", "classifier", "fc", "head")  # wherever they were registered
    names = sorted(children, key=lambda name: end.index(name) + 1 if name in end else 0)
    *body, classifier = [children[name] for name in names if not name.lower().startswith("aux")]
    between: list[nn.Module] = []
    while body and isinstance(body[-1], POOLS | nn.Dropout | nn.Flatten):
        between.insert(0, body.pop())
    if not body:
        return
    pools = [module for module in between if isinstance(module, POOLS)]
    dropouts = [module for module in between if isinstance(module, nn.Dropout)]
    if getattr(model, "transform_input", False):
        body.insert(0, Part(shallow_copy(model, ()), "_transform_input"))
    heads = (
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), *dropouts, classifier),
        nn.Sequential(*pools, nn.Flatten(1), *dropouts, classifier),
        nn.Sequential(classifier, nn.Flatten(1)),  # SqueezeNet pools inside its classifier
        nn.Sequential(*pools, classifier),  # ConvNeXt flattens inside its classifier
        nn.Sequential(nn.Flatten(1), *dropouts, classifier),  # nothing is pooled
    )
    for features in (_sequence(*body), nn.Sequential(*body, nn.ReLU())):  # DenseNet applies ReLU in its forward
        for head in heads:
            yield Split(features, head, nn.Identity())


def _splits_of_methods(model: Any, probe: Tensor) -> Iterator[Split]:
    """timm: ``forward_head(forward_features(images))``; transformers have ``blocks`` and ``norm``."""
    features = model.forward_features(probe)
    names = list(dict(model.named_children()))
    head = next((head for i in reversed(range(len(names))) if (head := _head_of(model, names[i:], features))), None)
    if not isinstance(features, Tensor) or head is None:
        return
    body_names = [name for name in names if name not in head.network._modules]
    body = Part(shallow_copy(model, body_names), "forward_features")
    to_maps: nn.Module = ChannelsFirst() if getattr(model, "output_fmt", "") == "NHWC" else nn.Identity()
    if features.ndim == 3:
        grid = next((child.grid_size for child in model.children() if hasattr(child, "grid_size")), None)
        if grid is None:
            return
        to_maps = TokensToMaps(features.shape[1] - grid[0] * grid[1], tuple(grid))
    linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
    if len(linear) == 1:
        dropout = [nn.Dropout(model.drop_rate)] if getattr(model, "drop_rate", 0) else []
        pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), *dropout, linear[0])
        yield Split(_sequence(body, to_maps), pooled, nn.Identity())
    if features.ndim == 4:
        yield Split(body, head, to_maps)
    elif {"blocks", "norm"} <= set(body_names):
        kept = shallow_copy(model, body_names, blocks=model.blocks[:-1], norm=nn.Identity())
        last = nn.Sequential(model.blocks[-1], model.norm, head)
        yield Split(Part(kept, "forward_features"), last, to_maps)


def _head_of(model: nn.Module, names: Collection[str], features: Tensor) -> Part | None:
    """``forward_head`` of timm with these children alone, or ``None`` if it needs more."""
    network = shallow_copy(model, names)
    network._parameters = {}  # the class token and position embeddings belong to the backbone
    head = Part(network, "forward_head")
    try:
        head(features)
    except MISFITS:
        return None
    return head


def _splits_of_vision_transformer(model: Any) -> Iterator[Split]:
    encoder = model.encoder
    kept = shallow_copy(encoder, ("dropout", "layers", "ln"), layers=encoder.layers[:-1], ln=nn.Identity())
    features = ImageTokens(shallow_copy(model, ("conv_proj", "encoder"), encoder=kept))
    head = nn.Sequential(encoder.layers[-1], encoder.ln, FirstToken(), model.heads)
    side = model.image_size // model.patch_size
    yield Split(features, head, TokensToMaps(1, (side, side)))


def shallow_copy(network: nn.Module, names: Collection[str], **replaced: nn.Module) -> nn.Module:
    """The same network, parameters shared, with only the named children, some of them replaced."""
    copied = copy.copy(network)
    copied._modules = {name: replaced.get(name, child) for name, child in network._modules.items() if name in names}
    return copied


def _sequence(*modules: nn.Module) -> nn.Module:
    """The modules in a row, as few as are needed."""
    needed = [module for module in modules if not isinstance(module, nn.Identity)]
    return needed[0] if len(needed) == 1 else nn.Sequential(*needed)


def split_pooling(head: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Split a head into the pooling that needs no training and the layers that do.

    Args:
        head: features (N, K, h, w) to logits (N, C), an :class:`~torch.nn.Sequential`.

    Returns:
        Features to what the first layer with weights takes, (N, D), and that to logits.

    Raises:
        SigcamError: if the head is not a sequence of layers.
    """
    if not isinstance(head, nn.Sequential):
        fail(f"the head must be an nn.Sequential to cache its inputs, got {type(head).__name__}.")
    layers = list(head)
    passive = (nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity)
    count = next((i for i, layer in enumerate(layers) if not isinstance(layer, passive)), len(layers))
    return nn.Sequential(*layers[:count]), nn.Sequential(*layers[count:])


@contextmanager
def evaluation_mode(*networks: nn.Module) -> Iterator[None]:
    """Dropout and BatchNorm in evaluation mode inside the block; afterwards every module has its own mode again."""
    was_training = {module: module.training for network in networks for module in network.modules()}
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, mode in was_training.items():
            module.training = mode

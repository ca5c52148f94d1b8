"""Ways in which a network may be cut, made from its own parts; :mod:`sigcam_core.split.split` tries them in turn."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from .modules import ChannelsFirst, FirstToken, ImageTokens, Part, TokensToMaps, sequence, shallow_copy
from .probe import largest

MISFITS = (RuntimeError, TypeError, ValueError, AttributeError, IndexError, AssertionError)
"""What parts raise that do not belong together."""
POOLS = nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d | nn.AvgPool2d
MANY = 4  # children behind the last maps, the classifier apart: pooling of one's own, norm, activation, dropout


class Split(NamedTuple):
    """The parts of a classifier."""

    features: nn.Module  #: images (N, 3, H, W) to feature maps (N, K, h, w) or tokens (N, L, K)
    head: nn.Module  #: what ``features`` gives, to logits (N, C)
    to_maps: nn.Module  #: what ``features`` gives, to feature maps (N, K, h, w)


def proposals(model: nn.Module, probe: Tensor) -> Iterator[Split]:
    """Every way to cut a network that its parts suggest, the likeliest first.

    Args:
        model: the network, in evaluation mode.
        probe: (1, 3, H, W) an image that it takes.
    """
    children = dict(model.named_children())
    if hasattr(model, "forward_features") and hasattr(model, "forward_head"):  # timm
        yield from _splits_of_methods(model, probe)
    elif {"conv_proj", "encoder", "heads"} <= children.keys():  # torchvision's VisionTransformer
        yield from _splits_of_vision_transformer(model)
    elif children:
        yield from _splits_of_children(model, children)
        yield from _splits_of_wrapped(list(children.values()), probe)


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
    for features in (sequence(*body), nn.Sequential(*body, nn.ReLU())):  # DenseNet applies ReLU in its forward
        for head in heads:
            yield Split(features, head, nn.Identity())
    yield from _splits_at_any_child([*body, *between], classifier)


def _splits_at_any_child(body: list[nn.Module], classifier: nn.Module) -> Iterator[Split]:
    """Propose the last few children, whatever they are, as the head: custom pooling, norms, activations."""
    for count in range(1, min(MANY, len(body) - 1) + 1):
        kept, rest = body[:-count], body[-count:]
        for head in (nn.Sequential(*rest, nn.Flatten(1), classifier), nn.Sequential(*rest, classifier)):
            yield Split(sequence(*kept), head, nn.Identity())


def _splits_of_wrapped(children: list[nn.Module], probe: Tensor) -> Iterator[Split]:
    """Propose splits of a wrapper whose network has most of the parameters, alone or behind preprocessing."""
    if not any(True for child in children for _ in child.parameters()):
        return
    network = largest(children)
    place = children.index(network)
    before, after = children[:place], children[place + 1 :]  # such as a softmax
    for prefix in ([], before) if before else ([],):
        try:
            prepared = nn.Sequential(*prefix)(probe)
        except MISFITS:
            continue
        for split in proposals(network, prepared):
            features = sequence(*prefix, split.features)
            yield split._replace(features=features)
            if after:
                yield split._replace(features=features, head=nn.Sequential(split.head, *after))


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
        yield Split(sequence(body, to_maps), pooled, nn.Identity())
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

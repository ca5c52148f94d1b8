"""The dual-branch network: a frozen softmax classifier and a second, sigmoid head on the same features."""

from __future__ import annotations

import copy
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..backbones.formats import InputFormat, known_format, refuse_unknown_format
from ..backbones.networks import known_parts
from ..common.errors import check_choice, fail
from ..split.ends import check_gives_logits, without_probabilities
from ..split.modules import TokensToMaps as TokensToMaps  # handed on, as the two below are
from ..split.probe import agree, check_is_trainable, evaluation_mode, num_channels, probe_image, probe_logits, unwrapped
from ..split.proposals import Split as Split
from ..split.refusals import refuse
from ..split.split import leaving_features_alone, recomposes, set_out_of_place
from ..split.split import split_classifier as split_classifier
from .linear import draw_fresh, linear_head_weight

INITS = ("fresh", "copy")
FRESH_STD = 0.01  # the official code draws the sigmoid head from N(0, 0.01)


class DualOutput(NamedTuple):
    """What one forward pass gives."""

    features: Tensor  #: (N, K, h, w)
    softmax_logits: Tensor  #: (N, C); those of the classifier's own sigmoids, where it is for several labels at once
    sigmoid_logits: Tensor  #: (N, C)


class DualBranch(nn.Module):
    """A frozen classifier with a sigmoid head of identical architecture (Oh and Noh 2025, Section 4).

    The backbone and the softmax head never change: no gradients, BatchNorm in evaluation mode, dropout off,
    also after ``train()``. Only the sigmoid head trains.

    Args:
        backbone: images (N, 3, H, W) to features: maps (N, K, h, w), or the tokens (N, L, K) of a transformer.
        softmax_head: features to logits (N, C).
        sigmoid_head: features to logits (N, C).
        to_maps: features to maps (N, K, h, w), such as :class:`~sigcam_core.split.modules.TokensToMaps`. It may leave
            out and reorder values, nothing else: gradients go through it as features do. ``None`` where features are
            maps.
        input_format: how images are made ready for the network, where that is known.
        is_multi_label: whether the classifier is for several labels at once, each with a sigmoid of its own. Its logits
            are then no softmax's, and a softmax head is refused wherever one is asked for.
    """

    def __init__(
        self,
        backbone: nn.Module,
        softmax_head: nn.Module,
        sigmoid_head: nn.Module,
        to_maps: nn.Module | None = None,
        input_format: InputFormat | None = None,
        is_multi_label: bool = False,
    ) -> None:
        super().__init__()
        self.known_format = input_format
        self.is_multi_label = is_multi_label
        self.backbone = backbone.requires_grad_(False)
        self.softmax_head = softmax_head.requires_grad_(False)
        self.sigmoid_head = sigmoid_head.requires_grad_(True)
        self.to_maps = to_maps or nn.Identity()
        for head in (softmax_head, sigmoid_head):
            set_out_of_place(head)  # both see the same features
        self.eval()

    @classmethod
    def from_classifier(
        cls,
        model: nn.Module,
        num_classes: int | None = None,
        init: str = "fresh",
        *,
        features: nn.Module | None = None,
        head: nn.Module | None = None,
        to_maps: nn.Module | None = None,
        input_format: InputFormat | None = None,
    ) -> DualBranch:
        """Split a classifier into backbone and softmax head, and add a sigmoid head like the softmax head.

        The classifier's own modules are used, not copies, and are frozen. :mod:`sigcam_core.split.split` tells where
        each kind of network is cut.

        Args:
            model: a classifier, images (N, 3, H, W) to logits (N, C), or to an object or a dict with ``logits``. What
                PyTorch wraps around it is taken off. A layer of probabilities at its end is left out of both heads: a
                softmax, or the sigmoids of a classifier for several labels at once (then see ``is_multi_label``;
                ``nn.Sequential(model, nn.Sigmoid())`` says so of a network that gives logits). Networks for images of
                one channel, or of four, are taken as they are.
            num_classes: C, checked against the classifier.
            init: ``"fresh"`` draws the sigmoid head's weights from N(0, 0.01) with zero biases, as the official
                code does; ``"copy"`` starts from the softmax head. Parameters that belong to no known layer, such as
                BEiT's layer scales, keep the classifier's values.
                For several labels at once, ``"copy"`` is the classifier's own head, whose maps are there at once.
            features: the backbone, for a network that cannot be split by itself.
            head: the head, for a network that cannot be split by itself.
            to_maps: where ``features`` gives tokens, the module that makes maps of them: see :class:`DualBranch`.
            input_format: how images are made ready; by default what the classifier says, if it says it for as many
                channels as it takes.

        Raises:
            SigcamError: if the network cannot be split, has no classifier, gives probabilities that no layer at its
                end makes, or one logit, or if the number of classes or of the format's channels differs. Every cause
                has its own remedy, see :mod:`sigcam_core.split.refusals`.
        """
        check_choice("init", init, INITS)
        if (features is None) != (head is None) or (features is None and to_maps is not None):
            fail("pass both `features` and `head`, or neither; `to_maps` goes with them.")
        model = unwrapped(model)
        check_is_trainable(model)
        probe = probe_image(model)
        classes = probe_logits(model, probe).shape[1]
        _check_num_classes(classes, num_classes)
        if features is None or head is None:
            logits_alone, is_multi_label = without_probabilities(model, probe)
            check_gives_logits(logits_alone, probe, model, num_classes)
            split = split_classifier(logits_alone, probe)
        else:
            if not list(head.parameters()):
                refuse("no weights", model)
            given = Split(features, head, to_maps or nn.Identity())
            if not recomposes(model, given, probe):
                refuse("other parts", model)
            with torch.no_grad(), evaluation_mode(features):
                inputs = features(probe)
            head, is_multi_label = without_probabilities(head, inputs)
            check_gives_logits(head, inputs, model, num_classes)
            split = given._replace(head=head)
        form = _format_of(model, input_format, probe.shape[1])
        split = leaving_features_alone(split, probe)
        dual = cls(split.features, split.head, copy.deepcopy(split.head), split.to_maps, form, is_multi_label)
        dual.channels = probe.shape[1]
        if init == "fresh":
            dual.sigmoid_head.apply(partial(draw_fresh, std=FRESH_STD))
            _check_was_drawn(dual, model, probe)
        return dual

    @classmethod
    def of_known(cls, name: str, model: nn.Module, num_classes: int, init: str = "fresh") -> DualBranch:
        """Do as :meth:`from_classifier`, for a classifier that was built by its name.

        Where the table of networks says where it is cut, it is shown no image, and neither parts nor weights are
        checked.

        Args:
            name: of the network.
            model: that :func:`sigcam_core.backbones.networks.build` made of it, with weights of any origin.
            num_classes: C, checked against the classifier.
            init: as there.

        Raises:
            SigcamError: if the number of classes differs.
        """
        parts = known_parts(name, model)
        if parts is None:
            return cls.from_classifier(model, num_classes, init)
        check_choice("init", init, INITS)
        features, head = parts
        *_, last = (module for module in head.modules() if isinstance(module, nn.Linear))
        _check_num_classes(last.out_features, num_classes)
        form = known_format(model)
        dual = cls(features, head, copy.deepcopy(head), input_format=form)
        if init == "fresh":
            dual.sigmoid_head.apply(partial(draw_fresh, std=FRESH_STD))
        return dual

    def train(self, mode: bool = True) -> DualBranch:
        """Set the sigmoid head's mode; the frozen parts stay in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        self.softmax_head.eval()
        return self

    @property
    def input_format(self) -> InputFormat:
        """How images are made ready for the network, as the classifier said that it was made from.

        Raises:
            SigcamError: if neither the classifier nor the caller said.
        """
        if self.known_format is None:
            refuse_unknown_format(self)
        return self.known_format

    @cached_property  # where no format tells, it may cost a pass
    def channels(self) -> int:
        """Channels of the images that the network takes."""
        return num_channels(self.backbone) if self.known_format is None else self.known_format.channels

    @property
    def dtype(self) -> torch.dtype:
        """Type of the heads' weights, in which they are differentiated."""
        return next(self.softmax_head.parameters()).dtype

    def head(self, name: str) -> nn.Module:
        """Return the head called ``"softmax"`` or ``"sigmoid"``.

        Raises:
            SigcamError: for another name, or ``"softmax"`` where the classifier is for several labels at once.
        """
        check_choice("head", name, HEADS)
        if name == "softmax" and self.is_multi_label:
            fail(
                "this classifier ends in sigmoids, for several labels at once, and a softmax of its logits means "
                "nothing: ask for heads=['sigmoid'], and build it with init='copy' to explain the classifier's own."
            )
        return self.softmax_head if name == "softmax" else self.sigmoid_head

    def linear_weights(self) -> dict[str, Tensor | None]:
        """Weights (C, K) of each head, in its own precision; ``None`` where it is not pooling and one linear layer.

        Whoever needs them more than once keeps the answer: what hooks make of weights is computed again for each.
        """
        with torch.autocast(next(self.softmax_head.parameters()).device.type, enabled=False):
            return {"softmax": linear_head_weight(self.softmax_head), "sigmoid": linear_head_weight(self.sigmoid_head)}

    @torch.no_grad()
    def extract(self, images: Tensor, autocast: torch.dtype | None = None) -> Tensor:
        """Compute what the heads take, for normalised images (N, 3, H, W), without gradients.

        Args:
            images: the images; of another float type than the backbone's weights, they are converted to it.
            autocast: run the backbone under :class:`torch.autocast` with this type, float16 or bfloat16; what it
                gives then has the heads' type again. ``None`` leaves things as the caller has them.

        Returns:
            Feature maps (N, K, h, w), or the tokens of a transformer, from which :meth:`feature_maps` makes maps.

        Raises:
            SigcamError: if the images have the wrong shape, size or type, lie on another device, or hold NaN or
                infinity; or for a type that autocast does not take.
        """
        check_images(images, self.channels)
        images = self._converted(images, autocast)
        if autocast not in (None, *AUTOCAST_TYPES):
            fail(f"autocast must be torch.float16, torch.bfloat16 or None, got {autocast}.")
        try:
            if autocast is None:
                features: Tensor = self.backbone(images)
            else:
                with torch.autocast(images.device.type, dtype=autocast):
                    features = self.backbone(images)
                features = features.to(self.dtype)
        except AssertionError as error:  # so vision transformers refuse a size
            if "height" not in str(error) and "width" not in str(error):
                raise
            fail(f"the network does not take images of {images.shape[2]} x {images.shape[3]} pixels: {error}")
        return features

    def _converted(self, images: Tensor, autocast: torch.dtype | None) -> Tensor:
        """Images in the type of the backbone's weights; half precision is given by the caller, or by autocast.

        Raises:
            SigcamError: if the images lie on another device, or should lose half of their bits.
        """
        parameter = next((one for one in self.backbone.parameters() if one.is_floating_point()), None)
        if parameter is None:
            return images
        if images.device != parameter.device:
            fail(f"images are on {images.device}, the network is on {parameter.device}: move one with .to().")
        mixes = autocast is not None or torch.is_autocast_enabled(images.device.type)
        if parameter.dtype in AUTOCAST_TYPES and images.dtype != parameter.dtype and not mixes:
            fail(f"images are {images.dtype}, the network is {parameter.dtype}: convert one with .to().")
        return images if mixes else images.to(parameter.dtype)

    def feature_maps(self, features: Tensor) -> Tensor:
        """Take the maps (N, K, h, w) from the output of :meth:`extract`, or from a logit's gradient with respect to it.

        Raises:
            SigcamError: if the features are neither maps nor what ``to_maps`` can make maps of.
        """
        maps: Tensor = self.to_maps(features)
        if maps.ndim != 4:
            fail(
                f"features must be maps (N, K, h, w), got {tuple(maps.shape)}: for tokens, pass `to_maps`, such as "
                "TokensToMaps(num_prefix_tokens, grid)."
            )
        return maps

    def forward(self, images: Tensor) -> DualOutput:
        """Feature maps (N, K, h, w) and the logits (N, C) of both heads. Gradients reach the sigmoid head only."""
        features = self.extract(images)
        with torch.no_grad():
            softmax_logits = self.softmax_head(features)
        return DualOutput(self.feature_maps(features), softmax_logits, self.sigmoid_head(features))


def dual_branch_of(network: object) -> DualBranch:
    """Unwrap the dual branch from PyTorch's wrappers, such as ``DataParallel`` or ``torch.compile``.

    Raises:
        SigcamError: for any other network, such as a classifier that was not split.

    >>> dual_branch_of(nn.Linear(2, 2))
    Traceback (most recent call last):
    ...
    sigcam_core.common.errors.SigcamError: Linear is no DualBranch: make one, DualBranch.from_classifier(classifier).
    """
    dual = unwrapped(network)  # type: ignore[arg-type]  # it may be anything, which is what is asked here
    if not isinstance(dual, DualBranch):
        fail(f"{type(dual).__name__} is no DualBranch: make one, DualBranch.from_classifier(classifier).")
    return dual


HEADS = ("softmax", "sigmoid")
AUTOCAST_TYPES = (torch.float16, torch.bfloat16)


def _check_num_classes(classes: int, num_classes: int | None) -> None:
    if num_classes is not None and num_classes != classes:
        fail(f"the classifier has {classes} classes, but num_classes is {num_classes}.")


def _format_of(model: nn.Module, given: InputFormat | None, channels: int) -> InputFormat | None:
    """Return the given format, or the one that a classifier states, if it has as many channels as it takes."""
    if given is not None and given.channels != channels:
        fail(
            f"{type(model).__name__} takes images of {channels} channels, but input_format has {given.channels} means: "
            f"give {channels} means and standard deviations."
        )
    form = given or known_format(model)
    return form if form is not None and form.channels == channels else None


@torch.no_grad()
def _check_was_drawn(dual: DualBranch, model: nn.Module, probe: Tensor) -> None:
    """Refuse a fresh head that says what the classifier's says: all its weights would be the classifier's."""
    with evaluation_mode(dual):
        features = dual.backbone(probe)
        if agree(dual.sigmoid_head(features), dual.softmax_head(features)):
            refuse("kept weights", model)


def check_images(images: Tensor, channels: int = 3) -> None:
    """Refuse anything but a finite float tensor (N, 3, H, W).

    Args:
        images: any tensor.
        channels: that the network takes.

    Raises:
        SigcamError: saying which image is wrong.
    """
    if not isinstance(images, Tensor):
        kind = type(images).__name__
        fail(f"images must be a tensor (N, {channels}, height, width), got {kind}: use torch.from_numpy.")
    if images.ndim != 4 or images.shape[1] != channels:
        fail(f"images must have shape (N, {channels}, height, width), got {tuple(images.shape)}.")
    if not images.is_floating_point():
        fail(f"images must be normalised floats, got {images.dtype}: scale and normalise them first.")
    # One quick pass is enough for most: NaN and infinity never leave a sum. Only a sum may overflow too.
    if bool(images.detach().sum().isfinite()):
        return
    finite = images.isfinite().flatten(1).all(dim=1)
    if not bool(finite.all()):
        fail(f"image {int((~finite).nonzero()[0, 0])} of the batch holds NaN or infinity.")

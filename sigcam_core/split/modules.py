"""The modules that cut networks are put together with: tokens to maps, and single methods of a network."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from ..common.errors import fail


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
        """Permute maps (N, h, w, K) to (N, K, h, w) by other strides; nothing is copied."""
        return features.permute(0, 3, 1, 2)


class Part(nn.Module):
    """One method of a network as a module, such as timm's ``forward_features``."""

    def __init__(self, network: nn.Module, method: str) -> None:
        super().__init__()
        self.network = network
        self.method = method

    def forward(self, inputs: Tensor) -> Tensor:
        """Call the method on images (N, 3, H, W), or on features."""
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


def shallow_copy(network: nn.Module, names: Collection[str], **replaced: nn.Module) -> nn.Module:
    """Copy a network with only the named children, some of them replaced; parameters are shared."""
    copied = copy.copy(network)
    copied._modules = {name: replaced.get(name, child) for name, child in network._modules.items() if name in names}
    return copied


def sequence(*modules: nn.Module) -> nn.Module:
    """Chain the modules, as few as are needed."""
    needed = [module for module in modules if not isinstance(module, nn.Identity)]
    return needed[0] if len(needed) == 1 else nn.Sequential(*needed)

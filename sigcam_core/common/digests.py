"""Digests of what decides numbers: plain values, and the weights of a network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor, nn


def digest_of(facts: object) -> str:
    """Compute a digest of plain values: numbers, words, lists and dictionaries of them.

    >>> digest_of({"seed": 0}) == digest_of({"seed": 1})
    False
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def digest_of_weights(network: nn.Module) -> str:
    """Compute a digest of the names and numbers of all parameters and buffers, whatever their device.

    >>> layer = nn.Linear(2, 1)
    >>> before = digest_of_weights(layer)
    >>> with torch.no_grad():
    ...     _ = layer.weight.add_(1)
    >>> digest_of_weights(layer) == before
    False
    """
    return digest_of_tensors(network.state_dict())


def digest_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Compute a digest of the names and numbers of tensors, in their order, whatever their device."""
    content = hashlib.sha256()
    for name, tensor in tensors.items():
        content.update(name.encode())
        content.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return content.hexdigest()

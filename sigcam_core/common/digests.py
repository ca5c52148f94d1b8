"""Digests of what decides numbers: plain values, and the weights of a network."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import nn


def digest_of(facts: object) -> str:
    """A digest of plain values: numbers, words, lists and dictionaries of them.

    >>> digest_of({"seed": 0}) == digest_of({"seed": 1})
    False
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def digest_of_weights(network: nn.Module) -> str:
    """A digest of the names and numbers of all parameters and buffers, wherever they lie.

    >>> layer = nn.Linear(2, 1)
    >>> before = digest_of_weights(layer)
    >>> with torch.no_grad():
    ...     _ = layer.weight.add_(1)
    >>> digest_of_weights(layer) == before
    False
    """
    weights = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return weights.hexdigest()

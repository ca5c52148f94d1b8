"""Digests tell networks apart that differ in one bit, and in nothing else."""

import torch
from torch import nn

from sigcam_core.common.digests import digest_of, digest_of_weights


def test_plain_values_have_one_digest_in_any_order() -> None:
    assert digest_of({"a": 1, "b": [2, "c"]}) == digest_of({"b": [2, "c"], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": "1"})


def test_weights_and_averages_count_and_layout_does_not() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = digest_of_weights(network)
    assert digest_of_weights(network.to(memory_format=torch.channels_last)) == before
    network[1].running_mean.add_(1e-6)
    assert digest_of_weights(network) != before

"""Derived seeds depend on all that they are for, and fit into torch's generators."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sigcam_core.common.seeds import derived_seed


@given(st.integers(), st.text(), st.lists(st.integers(), max_size=3))
def test_every_derived_seed_is_one_that_torch_takes(seed: int, purpose: str, numbers: list[int]) -> None:
    derived = derived_seed(seed, purpose, *numbers)
    assert 0 <= derived < 2**63
    assert torch.Generator().manual_seed(derived).initial_seed() == derived


def test_each_purpose_step_and_seed_has_its_own() -> None:
    draws = [(seed, purpose, epoch, step) for seed in range(3) for purpose in "ab" for epoch in range(12)
             for step in range(12)]  # fmt: skip
    assert len({derived_seed(*draw) for draw in draws}) == len(draws)


@pytest.mark.parametrize("bit", range(0, 63, 9))
def test_seeds_of_neighbouring_steps_have_nothing_in_common(bit: int) -> None:
    ones = sum(derived_seed(0, "step", 0, step) >> bit & 1 for step in range(1000))
    assert 400 < ones < 600  # six standard deviations


def test_every_process_and_machine_derives_the_same_seed() -> None:
    # printf 3:view:7 | sha256sum: the first 16 digits, halved
    assert derived_seed(3, "view", 7) == 0xF80CDB29249C658B // 2

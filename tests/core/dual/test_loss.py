"""The class-balanced loss equals its definition, written out term by term."""

import math

import pytest
import torch

from sigcam_core import SigcamError, class_balanced_bce
from sigcam_core.dual.loss import unchecked_balanced_bce

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0], [-3.0, 1.5, 0.25, 4.0]], dtype=torch.float64)
LABELS = torch.tensor([2, 0])


def by_hand(pos_weight: float) -> float:
    total = 0.0
    for row, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        for k, logit in enumerate(row):
            probability = 1 / (1 + math.exp(-logit))
            total -= pos_weight * math.log(probability) if k == label else math.log(1 - probability)
    return total / 8


@pytest.mark.parametrize(("pos_weight", "weight"), [(None, 3.0), (1.0, 1.0), (10.0, 10.0)])
def test_loss_equals_the_sum_written_out(pos_weight: float | None, weight: float) -> None:
    assert class_balanced_bce(LOGITS, LABELS, pos_weight).item() == pytest.approx(by_hand(weight), rel=1e-12)


def test_loss_equals_the_module_of_torch_on_explicit_targets() -> None:
    logits, labels = torch.randn(16, 7), torch.randint(7, (16,))
    targets = torch.zeros(16, 7)
    for row, label in enumerate(labels.tolist()):
        targets[row, label] = 1
    reference = torch.nn.BCEWithLogitsLoss(pos_weight=torch.full((7,), 6.0))
    torch.testing.assert_close(class_balanced_bce(logits, labels), reference(logits, targets))


def test_positive_and_negatives_pull_with_equal_force() -> None:
    logits = torch.zeros(6, 9, requires_grad=True)
    labels = torch.randint(9, (6,))
    class_balanced_bce(logits, labels).backward()
    positive = logits.grad.gather(1, labels[:, None])[:, 0]
    assert bool((positive < 0).all())
    torch.testing.assert_close(logits.grad.sum(1), torch.zeros(6))


def test_loss_sees_a_shift_of_all_logits() -> None:
    shifted = class_balanced_bce(LOGITS + 1, LABELS)
    assert abs(shifted - class_balanced_bce(LOGITS, LABELS)) > 0.1


def test_loss_is_finite_for_extreme_logits_and_keeps_the_type() -> None:
    loss = class_balanced_bce(torch.tensor([[1e4, -1e4]]), torch.tensor([1]))
    assert loss.item() == pytest.approx(1e4)
    assert class_balanced_bce(LOGITS, LABELS).dtype == torch.float64


@pytest.mark.parametrize(
    ("logits", "labels", "sentence"),
    [
        (torch.zeros(2, 3), torch.tensor([0, 3]), "class index 3 at position 1 is out of range: there are 3 classes"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "class index -1 at position 0 is out of range"),
        (torch.zeros(2, 3), torch.tensor([0]), r"logits \(N, C\) and labels \(N,\), got \(2, 3\) and \(1,\)"),
        (torch.zeros(3), torch.tensor([0, 0, 0]), r"got \(3,\) and \(3,\)"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), "class indices must be int64, got torch.float32"),
    ],
)
def test_bad_input_is_refused(logits: torch.Tensor, labels: torch.Tensor, sentence: str) -> None:
    with pytest.raises(SigcamError, match=sentence):
        class_balanced_bce(logits, labels)


def test_the_loss_that_does_not_check_is_the_one_that_does() -> None:
    loss = unchecked_balanced_bce(7, torch.device("cpu"))
    logits = 5 * torch.randn(40, 7, requires_grad=True)
    labels = torch.randint(7, (40,))
    ours, reference = loss(logits, labels), class_balanced_bce(logits, labels)
    torch.testing.assert_close(ours, reference)
    gradients = [torch.autograd.grad(value, logits)[0] for value in (ours, reference)]
    torch.testing.assert_close(*gradients)

"""What scores many maps at once equals doing it map by map, at one forward pass a distinct map."""

import pytest
import torch
from small_networks import calibrate, make_dual, random_images
from torch import Tensor, nn

from sigcam_core import DualBranch, SigcamError, cam_maps, normalize_maps
from sigcam_core.cams.distinct import distinct_maps
from sigcam_core.cams.maps import methods_of
from sigcam_core.fidelity.explained import score_explained_images
from sigcam_core.fidelity.scores import coherency, coverage, explain_images


class Counter(nn.Module):
    """A backbone that counts the images which pass through it, and its calls."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.images, self.calls = backbone, 0, 0

    def forward(self, images: Tensor) -> Tensor:
        self.images, self.calls = self.images + len(images), self.calls + 1
        return self.backbone(images)


def counted(name: str) -> tuple[DualBranch, Counter, Tensor]:
    dual, images = make_dual(name), random_images(7) + torch.arange(7).view(7, 1, 1, 1) / 3
    calibrate(dual.backbone, images)
    dual.backbone = Counter(dual.backbone)
    return dual, dual.backbone, images


@pytest.mark.parametrize("name", ["small_cnn-gap", "small_cnn-mlp"])
def test_scores_of_all_maps_equal_those_of_each_at_one_pass_a_distinct_map(name: str) -> None:
    dual, counter, images = counted(name)
    class_idx = torch.arange(7) % 5
    maps = cam_maps(dual, images, class_idx, methods_of(dual.softmax_head))
    found = score_explained_images(dual, images, class_idx, maps, batch_size=4)
    num_distinct = len(distinct_maps(torch.stack(list(maps.values()), 1))[0])
    assert num_distinct < 7 * len(maps) if name == "small_cnn-gap" else num_distinct > 7 * 6
    assert counter.images == 7 + num_distinct
    assert counter.calls == 1 + -(-num_distinct // 4)  # full batches, whatever map the images belong to
    for column, (head, method) in enumerate(maps):
        score_maps = normalize_maps(maps[head, method], (64, 64))
        explained = explain_images(images, score_maps)
        output = dual(explained)
        for branch, logits in (("softmax", output.softmax_logits), ("sigmoid", output.sigmoid_logits)):
            expected = logits.softmax(1).gather(1, class_idx[:, None])[:, 0].detach()
            torch.testing.assert_close(found.scores[branch][:, column], expected, atol=1e-4, rtol=0)
        own = normalize_maps(cam_maps(dual, explained, class_idx, [method], [head])[head, method], (64, 64))
        torch.testing.assert_close(found.coherency[:, column], coherency(score_maps, own), atol=1e-4, rtol=0)
        torch.testing.assert_close(found.coverage[:, column], coverage(score_maps), atol=1e-4, rtol=0)
    assert found.coherency.std() > 0.01


def test_the_batch_size_changes_no_score() -> None:
    dual, _, images = counted("small_cnn-mlp")
    maps = cam_maps(dual, images, 2, ["layercam", "gradcam++"])
    class_idx = torch.full((7,), 2)
    default, single = (score_explained_images(dual, images, class_idx, maps, size) for size in (None, 1))
    for a, b in zip(default.scores.values(), single.scores.values(), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(default.coherency, single.coherency)


def test_maps_may_be_of_another_precision_than_the_network() -> None:
    dual, _, images = counted("small_cnn-mlp")
    class_idx = torch.full((7,), 2)
    maps = cam_maps(dual, images, 2, ["layercam"])
    expected = score_explained_images(dual, images, class_idx, maps)
    for dtype in (torch.float32, torch.float64):
        found = score_explained_images(dual, images, class_idx, {key: values.to(dtype) for key, values in maps.items()})
        torch.testing.assert_close(found.scores["softmax"], expected.scores["softmax"], atol=1e-3, rtol=0)


def test_coherency_follows_how_the_weights_were_cut() -> None:
    dual, _, images = counted("small_cnn-gap")
    class_idx = torch.zeros(7, dtype=torch.int64)
    maps = cam_maps(dual, images, class_idx, ["cam"], evidence_only=False)
    signed = score_explained_images(dual, images, class_idx, maps, evidence_only=False).coherency
    paper = score_explained_images(dual, images, class_idx, maps).coherency
    sigmoid = list(maps).index(("sigmoid", "cam"))
    assert not torch.allclose(signed[:, sigmoid], paper[:, sigmoid])
    assert torch.equal(signed[:, 1 - sigmoid], paper[:, 1 - sigmoid])


def test_scoring_without_maps_is_refused() -> None:
    dual, _, images = counted("small_cnn-gap")
    maps = cam_maps(dual, images, 0, ["cam"])
    class_idx = torch.zeros(7, dtype=torch.int64)
    few = {key: values[:3] for key, values in maps.items()}
    of_two_sizes = maps | {("sigmoid", "cam"): maps["sigmoid", "cam"][:, :2]}
    for arguments in ((class_idx, {}), (class_idx[:3], maps), (class_idx, few), (class_idx, of_two_sizes)):
        with pytest.raises(SigcamError, match="give one map of each kind, all of one size, and one class for each"):
            score_explained_images(dual, images, *arguments)
    with pytest.raises(SigcamError, match="N >= 1 images"):
        score_explained_images(dual, images[:0], class_idx[:0], {key: values[:0] for key, values in maps.items()})
    with pytest.raises(SigcamError, match="class index 9 at position 0 is out of range"):
        score_explained_images(dual, images, class_idx + 9, maps)
    with pytest.raises(SigcamError, match="class indices must be int64"):
        score_explained_images(dual, images, class_idx.double(), maps)
    with pytest.raises(SigcamError, match="batch size 0 is not possible"):
        score_explained_images(dual, images, class_idx, maps, batch_size=0)

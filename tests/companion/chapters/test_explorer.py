"""The explorer: softmax cannot see its slider, the sigmoid can, and every control redraws."""

import copy
from collections.abc import Iterator
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from small_networks import NUM_CLASSES, calibrate, make_dual, random_images, tiny_shapes

from companion.chapters.explorer import branch_probabilities, check_source, explorer, explorer_figure, shift_heads
from sigcam_core import DualBranch, SigcamError, cam_maps
from sigcam_core.ask.photo import photo_manifest
from sigcam_core.backbones import InputFormat, build
from sigcam_core.prepare.images import image_batches, load_images
from sigcam_core.prepare.manifest import Manifest

NAMES = [f"class {k}" for k in range(NUM_CLASSES)]
PICTURE = torch.randint(256, (1, 3, 96, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_a_photo_of_ones_own_needs_the_network_that_knows_photos() -> None:
    for good in (("photos", ""), ("photos", "a.jpg"), ("shapes", "")):
        check_source(*good)
    with pytest.raises(SigcamError, match="add the parameter source=photos"):
        check_source("shapes", "a.jpg")


@pytest.mark.parametrize("shift", [-0.5, 0.5, 1.0])
def test_the_shift_is_seen_by_maps_and_sigmoid_but_not_by_softmax(shift: float) -> None:
    dual, images = make_dual(), random_images()
    original = copy.deepcopy(dual.state_dict())
    shifted = shift_heads(dual, 2, shift)
    before, after = dual(images), shifted(images)
    torch.testing.assert_close(after.softmax_logits.softmax(1), before.softmax_logits.softmax(1))
    assert (after.sigmoid_logits - before.sigmoid_logits).abs().min() > 1e-5
    maps = [cam_maps(network, images, 2, ["cam"], ["softmax"])["softmax", "cam"] for network in (dual, shifted)]
    torch.testing.assert_close(maps[1], (1 - 2 * shift) * maps[0], rtol=1e-6, atol=1e-12)
    assert all(torch.equal(value, original[name]) for name, value in dual.state_dict().items())


def test_either_branch_says_how_probable_a_class_is() -> None:
    dual = make_dual(dtype=torch.float32)
    form = dual.input_format
    inputs = (PICTURE / 255 - torch.tensor(form.mean).view(3, 1, 1)) / torch.tensor(form.std).view(3, 1, 1)
    found = branch_probabilities(dual, PICTURE, 2)
    out = dual(inputs)
    assert found["softmax"] == pytest.approx(out.softmax_logits.softmax(1)[0, 2].item(), abs=1e-5)
    assert found["sigmoid"] == pytest.approx(out.sigmoid_logits.sigmoid()[0, 2].item(), abs=1e-5)


def test_no_shift_changes_nothing() -> None:
    dual, images = make_dual(), random_images()
    for before, after in zip(dual(images), shift_heads(dual, 1, 0.0)(images), strict=True):
        assert torch.equal(before, after)


def test_a_head_without_class_maps_cannot_be_shifted() -> None:
    with pytest.raises(SigcamError, match="the shift needs a head of global average pooling and one linear layer"):
        shift_heads(make_dual("small_cnn-mlp"), 0, 1.0)


def test_figure_shows_both_branches_before_and_after() -> None:
    dual = make_dual(dtype=torch.float32)
    figure = explorer_figure(dual, PICTURE, NAMES, 3, "gradcam", "sigmoid", 1.0)
    image, overlay, bars = figure.axes
    np.testing.assert_array_equal(image.images[0].get_array(), PICTURE[0].permute(1, 2, 0))
    assert overlay.get_title() == "Grad-CAM, sigmoid head\nclass 3"
    assert overlay.images[1].get_array().shape == (96, 96)
    softmax, sigmoid, softmax_after, sigmoid_after = (bar.get_height() for bar in bars.patches)
    logits = dual((PICTURE / 255 - 0.5) / 0.25)
    assert softmax == pytest.approx(logits.softmax_logits.softmax(1)[0, 3].item(), abs=1e-5)
    assert sigmoid == pytest.approx(logits.sigmoid_logits.sigmoid()[0, 3].item(), abs=1e-5)
    assert softmax_after == pytest.approx(softmax, abs=1e-6)
    assert abs(sigmoid_after - sigmoid) > 1e-4
    assert bars.get_ylabel() == "probability of class 3"
    assert [tick.get_text() for tick in bars.get_xticklabels()] == ["softmax branch", "sigmoid branch"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"head": "relu"}, "unknown head 'relu'"),
        ({"method": "eigencam"}, "unknown method 'eigencam'"),
        ({"class_idx": 7}, "class index 7 .*is out of range: there are 5 classes"),
        ({"class_idx": 7, "shift": 0.0}, "class index 7 .*is out of range: there are 5 classes"),
    ],
)
def test_bad_choices_are_refused(changed: dict[str, object], sentence: str) -> None:
    arguments = {"class_idx": 0, "method": "cam", "head": "softmax", "shift": 0.5, **changed}
    with pytest.raises(SigcamError, match=sentence):
        explorer_figure(make_dual(dtype=torch.float32), PICTURE, NAMES, **arguments)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return tiny_shapes(tmp_path_factory.mktemp("explorer")).split("test")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that the explorer has drawn so far."""
    figures: list[Figure] = []

    def draw(*arguments: object) -> Figure:
        figures.append(explorer_figure(*arguments))
        return figures[-1]

    monkeypatch.setattr("companion.chapters.explorer.explorer_figure", draw)
    return figures


def network(head: str) -> DualBranch:
    torch.manual_seed(0)
    return DualBranch.from_classifier(build("small_cnn", 8, head), init="copy")


def controls_of(dual: DualBranch, shapes: Manifest) -> tuple[dict[str, widgets.Widget], widgets.Image]:
    *controls, picture = explorer(dual, shapes).children
    return {control.description: control for control in controls}, picture


def test_every_control_redraws(shapes: Manifest, drawn: list[Figure]) -> None:
    controls, picture = controls_of(network("gap"), shapes)
    assert list(controls) == ["image", "class", "method", "head", "shift"]
    shown = [picture.value]
    changes = {"class": (controls["class"].value + 1) % 8, "method": "layercam", "head": "sigmoid", "shift": 1.0}
    for name, value in changes.items():
        controls[name].value = value
        shown.append(picture.value)
    assert len(drawn) == len(set(shown)) == 5  # drawn once for each change, and never the same picture
    assert all(bytes(png).startswith(b"\x89PNG") for png in shown)
    title = drawn[-1].axes[1].get_title()
    assert title == f"Layer-CAM, sigmoid head\n{shapes.class_names[changes['class']]}"
    assert plt.get_fignums() == []  # figures do not pile up


def test_another_image_comes_with_its_predicted_class(shapes: Manifest, drawn: list[Figure]) -> None:
    dual = network("gap")
    images = load_images(shapes, 96)
    inputs = (images / 255 - 0.5) / 0.25
    calibrate(dual.backbone, inputs)
    dual.softmax_head[-1].bias -= dual(inputs).softmax_logits.mean(0)  # no class wins on every image
    predicted = dual(inputs).softmax_logits.argmax(1).tolist()
    same, other = (next(i for i in range(1, 16) if (predicted[i] == predicted[0]) is equal) for equal in (True, False))
    controls, _ = controls_of(dual, shapes)
    assert controls["class"].value == predicted[0]
    for count, position in enumerate((same, other), start=2):
        controls["image"].value = position
        assert len(drawn) == count
        assert controls["class"].value == predicted[position]
        picture, overlay, _ = drawn[-1].axes
        np.testing.assert_array_equal(picture.images[0].get_array(), images[position].permute(1, 2, 0))
        assert overlay.get_title().endswith(shapes.class_names[predicted[position]])


def test_a_head_of_several_layers_offers_neither_cam_nor_shift(shapes: Manifest) -> None:
    for head, is_linear in (("gap", True), ("mlp", False)):
        controls, _ = controls_of(network(head), shapes)
        assert controls["shift"].disabled is not is_linear
        assert ("cam" in [value for _, value in controls["method"].options]) is is_linear


def test_the_classes_of_another_network_are_offered_by_name(shapes: Manifest, drawn: list[Figure]) -> None:
    names = [f"thing {k}" for k in range(8)]
    controls = {c.description: c for c in explorer(network("gap"), shapes, class_names=names).children[:5]}
    assert list(controls["class"].options) == [(name, k) for k, name in enumerate(names)]
    assert drawn[-1].axes[1].get_title().endswith(names[controls["class"].value])
    controls, _ = controls_of(network("gap"), shapes)
    assert [name for name, _ in controls["class"].options] == list(shapes.class_names)


def test_a_photo_can_be_explored(tmp_path: Path, drawn: list[Figure]) -> None:
    pixels = PICTURE[0].permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "my photo.png")
    photo = photo_manifest(tmp_path / "my photo.png", NAMES)
    assert (photo.table["width"].item(), photo.table["height"].item()) == (96, 96)
    np.testing.assert_array_equal(load_images(photo, 96), PICTURE)
    dual = make_dual(dtype=torch.float32)
    controls, _ = controls_of(dual, photo)
    assert controls["image"].options == (("my photo", 0),)
    assert [name for name, _ in controls["class"].options] == NAMES
    np.testing.assert_array_equal(drawn[-1].axes[0].images[0].get_array(), pixels)


def test_a_photo_in_the_current_folder_is_found_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (30, 20), "red").save(tmp_path / "red.png")
    monkeypatch.chdir(tmp_path)
    photo = photo_manifest(Path("red.png"), NAMES)
    monkeypatch.chdir(tmp_path.parent)
    assert (photo.table["width"].item(), photo.table["height"].item()) == (30, 20)
    assert load_images(photo, 8)[0, :, 0, 0].tolist() == [255, 0, 0]


def test_what_is_no_photo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    reasons = {"notes.txt": "it is damaged, or of a format", "missing.png": "it does not exist", ".": "is a folder, a"}
    for name, reason in reasons.items():
        with pytest.raises(SigcamError, match=f"{reason}.*: give the path of a photo, such as a JPEG or PNG file"):
            photo_manifest(tmp_path / name, NAMES)


def test_a_photo_is_shown_upright(tmp_path: Path) -> None:
    pixels = PICTURE[0].permute(1, 2, 0).numpy()[:, :48]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(pixels).save(tmp_path / "stored.png", exif=exif)
    Image.fromarray(np.ascontiguousarray(np.rot90(pixels, -1))).save(tmp_path / "upright.png")
    stored, upright = (photo_manifest(tmp_path / f"{name}.png", NAMES) for name in ("stored", "upright"))
    assert (stored.table["width"].item(), stored.table["height"].item()) == (96, 48)
    assert torch.equal(load_images(stored, 64), load_images(upright, 64))
    (batch,) = image_batches(stored.take([0]), 1, InputFormat(64, (0.5,) * 3, (0.25,) * 3), memory_budget=0)
    torch.testing.assert_close(batch[1], (load_images(upright, 64) / 255 - 0.5) / 0.25)


def test_a_link_to_a_photo_of_another_name_is_followed(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    Image.new("RGB", (30, 20), "red").save(tmp_path / "album" / "red.png")
    (tmp_path / "link.png").symlink_to("album/red.png")
    assert load_images(photo_manifest(tmp_path / "link.png", NAMES), 8)[0, :, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("shift", [float("nan"), float("inf"), -1e30, 101.0])
def test_a_shift_that_rounding_would_drown_is_refused(shift: float) -> None:
    with pytest.raises(SigcamError, match=r"^a shift of .* is out of range: give a number from -100 to 100\.$"):
        shift_heads(make_dual(dtype=torch.float32), 3, shift)

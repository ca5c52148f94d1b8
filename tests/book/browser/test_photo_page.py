"""The page of the reader's own photo, in a real browser without a network, against the package."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser_watch import AXE
from explorer_site import make_site
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from companion.chapters.explorer import shift_heads
from explorer_data import features_of, whole_network
from sigcam_core.cams.maps import MapOptions, maps_from_features
from sigcam_core.cams.score_maps import normalize_maps
from sigcam_core.dual.branch import DualBranch
from sigcam_core.dual.shipped import SHIPPED_HEADS, shipped_card
from sigcam_core.prepare.manifest import Manifest
from sigcam_core.stations import ensure_manifest

TOLERANCE = 0.01
"""Of a score map in [0, 1], and of a probability: weights are stored in 16 bits, and the sums have another order."""
PHOTOS = ("chelsea", "coffee", "motorcycle_left")
VIEWS = [
    {"head": "softmax", "method": "cam", "scalar": "logit", "truncated": False},
    {"head": "softmax", "method": "gradcam++", "scalar": "log_odds", "truncated": False},
    {"head": "softmax", "method": "layercam", "scalar": "centred", "truncated": True},
    {"head": "sigmoid", "method": "cam", "scalar": "logit", "truncated": True},
    {"head": "sigmoid", "method": "xgradcam", "scalar": "finer", "truncated": False},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def address(folder: Path, serve: Callable[[Path], str]) -> str:
    return f"{serve(folder)}/photo.html"


@pytest.fixture(scope="module")
def photos(folder: Path) -> Manifest:
    return ensure_manifest("photos", folder / "work")


@pytest.fixture(scope="module")
def dual() -> DualBranch:
    return whole_network()


def explained(page: Page) -> None:
    """Wait for the answer to the photo that was given last."""
    expect(page.get_by_role("status")).to_contain_text("From photo to map", timeout=60_000)


def pick(page: Page, about: str) -> None:
    page.get_by_role("button", name=about).click()
    explained(page)


def of_page(page: Page, expression: str, **values: Any) -> Any:
    program = (
        f"(given) => {{ const {{ state, maths }} = document.getElementById('sigcam-photo').sigcam; {expression} }}"
    )
    return page.evaluate(program, values)


SCORE_MAPS = """const { height, width } = state.answers.features;
return given.views.map((view) => [...maths.scoreMap(state.answers.map(view, given.k, given.s), height, width, 56)]);"""


def test_maps_and_probabilities_are_those_of_the_package(
    page: Page, address: str, photos: Manifest, dual: DualBranch
) -> None:
    page.goto(address)
    places = shipped_card(SHIPPED_HEADS[0])["imagenet_classes"]
    for name, about in zip(PHOTOS, ("a cat's face", "a cup of coffee", "a motorcycle in a garage"), strict=True):
        pick(page, about)
        page.wait_for_function("document.querySelector('.sigcam-photo').getAttribute('aria-label').includes('pixels')")
        features = features_of(dual, photos.of_image(name))
        probabilities = dual.softmax_head(features).softmax(dim=1)[0]
        # The class of the highest probability that both heads know.
        k = next(int(m) for m in probabilities.argsort(descending=True) if int(m) in places)
        with torch.no_grad():
            expected = [_score_map(dual, features, view, k, places) for view in VIEWS]
        _wait_for(page, int(probabilities.argmax()))
        got = of_page(page, SCORE_MAPS, views=VIEWS, k=k, s=0)
        for view, ours, theirs in zip(VIEWS, got, expected, strict=True):
            assert np.abs(np.array(ours) - theirs).max() < TOLERANCE, (name, view)
        softmax = of_page(page, "return [...state.answers.probabilities.softmax];")
        sigmoid = of_page(page, "return [...state.answers.probabilities.sigmoid];")
        np.testing.assert_allclose(softmax, probabilities.detach(), atol=TOLERANCE)
        np.testing.assert_allclose(sigmoid, dual.sigmoid_head(features).sigmoid()[0].detach(), atol=TOLERANCE)


def _wait_for(page: Page, k: int) -> None:
    page.wait_for_function(f"document.getElementById('sigcam-photo').sigcam.state.k === {k}", timeout=60_000)


def _score_map(dual: DualBranch, features: torch.Tensor, view: dict[str, Any], k: int, places: list[int]) -> Any:
    place = k if view["head"] == "softmax" else places.index(k)
    options = MapOptions([view["method"]], [view["head"]], evidence_only=view["truncated"], scalar=view["scalar"])
    maps = maps_from_features(dual, features, torch.tensor([place]), options)
    return normalize_maps(maps[view["head"], view["method"]], (56, 56)).flatten().numpy()


def test_the_shift_moves_the_map_and_the_sigmoid_and_leaves_the_softmax(
    page: Page, address: str, photos: Manifest, dual: DualBranch
) -> None:
    page.goto(address)
    pick(page, "a cat's face")
    k = of_page(page, "return state.k;")
    map_of = "return [...state.answers.map(given.view, state.k, state.shift)];"
    before = np.array(of_page(page, map_of, view=VIEWS[0]))
    shift = page.get_by_label("Shift s")
    shift.fill("1")
    after = np.array(of_page(page, map_of, view=VIEWS[0]))
    np.testing.assert_allclose(after, -before, rtol=1e-12)
    changed = of_page(page, "return state.answers.shifted(state.k, 1).change.softmax;")
    assert changed < 1e-12
    features = features_of(dual, photos.of_image("chelsea"))
    places = shipped_card(SHIPPED_HEADS[0])["imagenet_classes"]
    shifted = shift_heads(dual, k, 1).sigmoid_head(features).sigmoid()[0, places.index(k)]
    got = of_page(page, "return state.answers.shifted(state.k, 1).probability('sigmoid', state.k);")
    assert got == pytest.approx(float(shifted.detach()), abs=TOLERANCE)
    numbers = page.locator(".sigcam-numbers")
    expect(numbers).to_contain_text("Softmax: 0.79")
    expect(numbers.locator("b").first).to_contain_text("-")  # every logit went down
    expect(page.locator(".sigcam-sigmoid .sigcam-chosen .sigcam-number")).to_contain_text("→")
    expect(page.locator(".sigcam-softmax .sigcam-chosen .sigcam-number")).not_to_contain_text("→")


def test_everything_can_be_done_from_the_keyboard(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="a cup of coffee").focus()
    page.keyboard.press("Enter")
    explained(page)
    shift = page.get_by_label("Shift s")
    shift.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert of_page(page, "return state.shift;") == pytest.approx(0.05)
    wipe = page.get_by_label("Wipe")
    wipe.focus()
    page.keyboard.press("Home")
    left, right = page.locator("canvas.sigcam-map").all()
    assert left.evaluate("node => node.style.clipPath") == "inset(0px 100% 0px 0px)"
    assert right.evaluate("node => node.style.clipPath") == "inset(0px 0px 0px 0%)"
    cup = page.locator(".sigcam-softmax").get_by_role("button", name="cup", exact=True)
    cup.focus()
    page.keyboard.press("Enter")
    expect(cup).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("Class", exact=True)).to_have_value(str(of_page(page, "return state.k;")))
    expect(left).to_have_attribute("aria-label", re.compile("^CAM of cup, softmax head: greatest in"))


def test_the_line_between_two_maps_is_dragged(page: Page, address: str) -> None:
    page.goto(address)
    pick(page, "a dahlia")
    box = page.locator(".sigcam-frame").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20)
    page.mouse.up()
    expect(page.get_by_label("Wipe")).to_have_value("25")


def test_nothing_is_loaded_before_it_is_asked_for(page: Page, address: str) -> None:
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url.rpartition("/")[2]))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    assert not {"wasm.js", "backbone.js", "heads.js", "runtime.js"} & set(loaded)
    button = page.get_by_role("button", name="Load the network")
    size = of_page(page, "return globalThis.sigcamExplorer.bytes;")
    expect(button).to_contain_text(f"{size / 1e6:.1f} MB")
    assert size < 20e6
    button.click()
    expect(page.get_by_role("status")).to_have_text("The network is ready: choose a photo.", timeout=60_000)
    assert {"wasm.js", "backbone.js", "heads.js", "runtime.js"} <= set(loaded)


def test_a_photo_of_ones_own_is_turned_upright(page: Page, address: str, photos: Manifest) -> None:
    picture = Image.open(photos.locate("images/chelsea.png")).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    stored = io.BytesIO()
    picture.transpose(Image.Transpose.ROTATE_90).save(stored, "JPEG", quality=95, exif=exif)
    page.goto(address)
    chosen = {"name": "cat.jpg", "mimeType": "image/jpeg", "buffer": stored.getvalue()}
    page.get_by_label("Choose a photo").set_input_files(chosen)  # type: ignore[arg-type]
    explained(page)
    expect(page.get_by_role("status")).to_contain_text("The network sees Egyptian cat with probability 0.")
    width, height = picture.size
    expect(page.locator("canvas.sigcam-photo")).to_have_attribute("aria-label", f"The photo, {width} × {height} pixels")


def test_a_file_that_is_no_photo_gets_a_sentence(page: Page, address: str) -> None:
    page.goto(address)
    chosen = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no photo"}
    page.get_by_label("Choose a photo").set_input_files(chosen)  # type: ignore[arg-type]
    expect(page.get_by_role("status")).to_contain_text("no image that your browser can read")


def test_a_class_that_the_sigmoid_head_does_not_know_is_told(page: Page, address: str) -> None:
    page.goto(address)
    pick(page, "a dahlia")
    expect(page.locator(".sigcam-said")).to_contain_text("The sigmoid head knows 200 classes; daisy is not among them.")


@pytest.mark.parametrize("width", [360, 1400])
def test_no_page_is_wider_than_its_screen(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(address)
    pick(page, "a cat's face")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_axe_finds_nothing_serious(page: Page, address: str) -> None:
    page.goto(address)
    pick(page, "a cat's face")
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run().then(({ violations }) => violations)")
    serious = [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")]
    assert serious == []


def test_without_scripts_there_is_a_picture(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    picture = page.get_by_role("img", name="two heat maps of the class Egyptian cat")
    expect(picture).to_be_visible()
    context.close()


def test_a_page_opened_from_the_disk_works_too(browser: Browser, folder: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((folder / "photo.html").as_uri())
    pick(page, "a cup of coffee")
    expect(page.get_by_role("status")).to_contain_text("The network sees espresso")
    context.close()
    assert complaints == []


def test_a_photo_takes_at_most_two_seconds_and_a_drag_at_most_60_milliseconds(page: Page, address: str) -> None:
    # Seconds of the page's own thread: those of the clock would tell how busy the machine is.
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    page.goto(address)
    page.get_by_role("button", name="Load the network").click()
    expect(page.get_by_role("status")).to_have_text("The network is ready: choose a photo.", timeout=60_000)
    before = seconds()
    pick(page, "an astronaut")
    photo = seconds() - before
    before = seconds()
    page.evaluate("""async () => {
      const slider = document.querySelector(".sigcam-shift input");
      for (let n = 1; n <= 20; n++) {
        slider.value = n / 20;
        slider.dispatchEvent(new Event("input"));
        await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
      }
    }""")
    drag = (seconds() - before) / 20
    assert of_page(page, "return state.shift;") == 1
    assert 0 < photo < 2
    assert 0 < drag < 0.06

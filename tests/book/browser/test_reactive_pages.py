"""The landing page and the derivation, which react without a network of their own, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from explorer_site import make_site
from playwright.sync_api import Browser, Locator, Page, expect

NO_CHANGE = re.compile(r"largest change of a (softmax )?probability is (0|\d\.\d · 10⁻1?[1-9⁰¹²³⁴⁵⁶⁷⁸⁹]+)\.")
MOST_MEGABYTES = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def address(folder: Path, serve: Callable[[Path], str]) -> str:
    return serve(folder)


def widget(page: Page, name: str) -> Locator:
    found = page.locator(f"#sigcam-{name}")
    expect(found.locator("canvas")).to_be_visible()
    return found


def map_of(found: Locator) -> Locator:
    return found.locator("canvas.sigcam-map")


def numbers(found: Locator) -> Locator:
    return found.locator(".sigcam-numbers")


def colour_at(found: Locator, row: int, column: int) -> list[int]:
    """Of the map's 7 x 7 places, the red, green, blue and opacity in the middle of one."""
    read = """(node, [row, column]) => {
        const context = new OffscreenCanvas(224, 224).getContext("2d", { willReadFrequently: true });
        context.drawImage(node, 0, 0);
        return [...context.getImageData(32 * column + 16, 32 * row + 16, 1, 1).data];
    }"""
    colour: list[int] = map_of(found).evaluate(read, [row, column])
    return colour


def test_the_first_screen_turns_a_map_around_and_leaves_the_bars(page: Page, address: str) -> None:
    page.goto(f"{address}/intro.html")
    landing = widget(page, "landing")
    bars = landing.locator(".sigcam-softmax .sigcam-number")
    before = bars.all_inner_texts()
    assert len(before) == 5
    assert before[0] == "0.791"
    middle = colour_at(landing, 3, 3)
    landing.get_by_label("Shift s").fill("1")
    expect(numbers(landing)).not_to_contain_text("= 0.000")
    assert bars.all_inner_texts() == before
    expect(numbers(landing)).to_contain_text(NO_CHANGE)
    turned = colour_at(landing, 3, 3)
    assert middle[0] > middle[2]  # yellow
    assert turned[0] < turned[2]  # violet
    assert turned[3] == middle[3]
    expect(landing.locator(".sigcam-sigmoid .sigcam-number")).to_contain_text("0.992 →")


def test_a_slider_of_delta_lights_its_corner(page: Page, address: str) -> None:
    page.goto(f"{address}/softmax_invariance.html")
    found = widget(page, "delta")
    slider = found.get_by_label("lower right")
    slider.fill("1")
    expect(map_of(found)).to_have_attribute("aria-label", "Map of Egyptian cat: greatest in the lower right")
    expect(numbers(found)).to_contain_text(NO_CHANGE)
    found.get_by_role("button", name="δ = 0").click()
    expect(numbers(found)).to_contain_text("= 0.000;")
    expect(slider).to_have_value("0")


def test_a_painted_target_is_met(page: Page, address: str) -> None:
    page.goto(f"{address}/softmax_invariance.html")
    found = widget(page, "target")
    expect(map_of(found)).to_have_attribute("aria-label", "Map of Egyptian cat: greatest in the upper left")
    found.get_by_role("button", name="Nothing at all").click()
    expect(numbers(found)).to_contain_text("misses the target")
    cell = found.get_by_role("button", name="row 6, column 4")
    cell.hover()
    page.mouse.down()
    found.get_by_role("button", name="row 6, column 5").hover()
    page.mouse.up()
    expect(cell).to_have_attribute("aria-pressed", "true")
    expect(found.locator("[aria-pressed=true]")).to_have_count(2)
    assert colour_at(found, 5, 3)[3] > 150
    assert colour_at(found, 1, 1)[3] < 10
    expect(numbers(found)).to_contain_text(NO_CHANGE)
    expect(numbers(found)).to_contain_text(re.compile(r"misses the target by \d\.\d · 10⁻[⁰¹²³⁴⁵⁶⁷⁸⁹]+ of its range"))


def test_a_target_is_painted_from_the_keyboard(page: Page, address: str) -> None:
    page.goto(f"{address}/softmax_invariance.html")
    found = widget(page, "target")
    found.get_by_role("button", name="Nothing at all").click()
    found.get_by_role("button", name="row 1, column 1").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Space"):
        page.keyboard.press(key)
    expect(found.get_by_role("button", name="row 3, column 2")).to_have_attribute("aria-pressed", "true")
    expect(found.locator("[aria-pressed=true]")).to_have_count(1)
    expect(map_of(found)).to_have_attribute("aria-label", re.compile("greatest in the"))


def test_the_gauge_turns_the_map_and_not_the_predictions(page: Page, address: str) -> None:
    page.goto(f"{address}/softmax_invariance.html")
    found = widget(page, "gauge")
    found.get_by_role("button", name="Canonical").click()
    expect(numbers(found)).to_contain_text("ρ = 0, squared")
    before = colour_at(found, 3, 3)
    found.get_by_label("Mean row kept").fill("-200")
    expect(numbers(found)).to_contain_text(re.compile(r"ρ = 0\.[1-9]"))
    expect(numbers(found)).to_contain_text(NO_CHANGE)
    assert colour_at(found, 3, 3) != before


@pytest.mark.parametrize("name", ["intro", "softmax_invariance"])
def test_no_network_is_loaded_and_the_page_is_light(page: Page, folder: Path, address: str, name: str) -> None:
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url.removeprefix(address).lstrip("/")))
    page.goto(f"{address}/{name}.html")
    page.locator("canvas.sigcam-map").first.wait_for()
    page.wait_for_load_state("networkidle")
    files = [folder / path for path in set(loaded) if path.startswith("_static")]
    assert {"one_photo.js"} <= {path.name for path in files}
    assert sum(path.stat().st_size for path in files) < MOST_MEGABYTES * 1e6
    assert not [path for path in files if path.name in ("wasm.js", "backbone.js", "heads.js")]


@pytest.mark.parametrize("name", ["intro", "softmax_invariance"])
def test_nothing_is_wider_than_a_phone(page: Page, address: str, name: str) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto(f"{address}/{name}.html")
    page.locator("canvas.sigcam-map").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.parametrize("name", ["intro", "softmax_invariance"])
def test_without_scripts_there_are_pictures(browser: Browser, address: str, name: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/{name}.html")
    pictures = page.get_by_role("img", name="five heat maps").all()
    assert len(pictures) == page.locator(".sigcam-explorer").count() > 0
    for picture in pictures:
        assert picture.evaluate("node => node.naturalWidth") > 0
    context.close()

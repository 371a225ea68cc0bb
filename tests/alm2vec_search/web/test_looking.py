"""For all eyes and ears: contrast, names of things, narrow windows, light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from listening_page import ListeningPage
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Behaviour
    from playwright.sync_api import Browser, Page

Scheme = Literal["light", "dark"]
WIDTHS = [1280, 360]


@pytest.fixture(params=WIDTHS)
def narrow_or_wide(
    request: pytest.FixtureRequest, browser: Browser, behaviour: Behaviour
) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": request.param, "height": 800})
    context.set_default_timeout(10_000)
    page = context.new_page()
    behaviour.watch(page)
    yield page
    assert behaviour.unexpected() == []
    context.close()


def barriers(page: Page, behaviour: Behaviour) -> list[str]:
    """What axe finds that keeps somebody out."""
    before = len(behaviour.complaints)
    violations: list[dict[str, Any]] = Axe().run(page).response["violations"]
    own = [c for c in behaviour.complaints[before:] if "Applying inline style" not in c]
    behaviour.complaints[before:] = own  # axe tries styles out, which the page's policy forbids
    return [
        f"{found['id']}: {node['html']}: {node['failureSummary']}"
        for found in violations
        if found["impact"] in ("serious", "critical")
        for node in found["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barriers(
    narrow_or_wide: Page, base_url: str, behaviour: Behaviour, scheme: Scheme
) -> None:
    behaviour.expect("422")
    page = narrow_or_wide
    page.emulate_media(color_scheme=scheme)
    listening = ListeningPage(page, base_url).open()
    assert barriers(page, behaviour) == []
    listening.ask("walk home long").get_by_text("Where it is").click()
    listening.hit(0).get_by_text("Why").click()
    listening.hit(0).locator(".heard li").first.wait_for()
    listening.drag(listening.wave(listening.hit(0)), 0.2, 0.4)
    assert barriers(page, behaviour) == []
    listening.hit(0).get_by_role("button", name="More like this").click()
    listening.settled()
    page.click("#filters > summary")
    page.click("#more-options > summary")
    page.click(".grammar > summary")
    page.fill("#more-words", "wind")
    page.press("#more-words", "Enter")
    page.fill("#where", "duration<")
    page.press("#where", "Enter")
    page.locator("#where-error pre").wait_for()
    assert barriers(page, behaviour) == []
    page.locator("#results-title").focus()
    page.keyboard.press("?")
    assert barriers(page, behaviour) == []


def test_nothing_is_wider_than_the_window(narrow_or_wide: Page, base_url: str) -> None:
    listening = ListeningPage(narrow_or_wide, base_url).open()
    listening.ask("walk home long").get_by_text("Where it is").click()
    listening.hit(0).get_by_role("button", name="Region…").click()
    narrow_or_wide.click("#filters > summary")
    narrow_or_wide.click("#more-options > summary")
    narrow_or_wide.click(".grammar > summary")
    excess = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert narrow_or_wide.evaluate(excess) == 0


def test_landmarks_and_names(listening: ListeningPage) -> None:
    page = listening.page
    hit = listening.ask("walk home long")
    for role in ("banner", "main", "search", "contentinfo"):
        expect(page.get_by_role(role)).to_have_count(1)
    expect(page.get_by_role("region", name="Results")).to_be_visible()
    picture = hit.get_by_role("img", name="Waveform and spectrogram of walk_home_long.wav")
    expect(picture).to_be_visible()
    assert "5:00.0 to 5:10.0" in (picture.get_attribute("aria-label") or "")


def test_all_controls_are_reached_by_tab(listening: ListeningPage) -> None:
    page = listening.page
    hit = listening.ask("walk home long")
    hit.locator(".waveform > div").wait_for()
    page.focus("#text")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.innerText || document.activeElement.id")
        )
    for name in ("Search", "choose a file", "Play", "← Earlier", "Later →", "Region…"):
        assert name in reached
    for name in ("More like this", "Where it is", "Why"):
        assert name in reached


def test_light_and_dark_are_remembered(listening: ListeningPage) -> None:
    page = listening.page
    hit = listening.ask("owl")
    listening.wave(hit)
    ground = "getComputedStyle(document.body).backgroundColor"
    colour = """() => {
      const wave = document.querySelector(".hit .waveform > div").shadowRoot;
      const canvas = wave.querySelector("canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) return data[i];
      return -1;
    }"""
    light, light_wave = page.evaluate(ground), page.evaluate(colour)
    page.select_option("#theme", "dark")
    assert page.evaluate(ground) != light
    page.wait_for_function(f"before => ({colour})() > before + 20", arg=light_wave)
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate(ground) != light
    page.select_option("#theme", "")
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(ground) != light


def test_less_motion(listening: ListeningPage) -> None:
    held: list[Any] = []
    listening.page.route("**/v1/search", lambda route: held.append(route))
    listening.page.fill("#text", "owl")
    listening.page.press("#text", "Enter")
    moves = "getComputedStyle(document.querySelector('#progress'), '::after').animationName"
    assert listening.page.evaluate(moves) == "none"
    listening.page.emulate_media(reduced_motion="no-preference")
    assert listening.page.evaluate(moves) == "sweep"
    held[0].continue_()
    listening.settled()

"""Searching, and listening to what was found: by mouse, by keyboard, and with a region."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from listening_page import ListeningPage, asked
from playwright.sync_api import expect
from sounds import HOSTILE

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page


def test_words_find_sounds(listening: ListeningPage) -> None:
    with listening.searching() as told:
        hit = listening.ask("dog barking")
    assert asked(told) == {"text": "dog barking", "limit": 10}
    expect(hit.locator("h3")).to_have_text("dog_barking_farm.wav")
    expect(hit.locator(".folder")).to_have_text("library / animals")
    expect(hit.locator(".verdict")).to_have_text("strong")
    assert hit.locator(".verdict .on").count() == 3
    expect(hit.locator(".tag")).to_have_text("farm")
    hit.get_by_text("1 copy").click()
    expect(hit.locator(".copies")).to_contain_text("backup/farm.wav")
    assert "10 answers to “dog barking”" in listening.status
    assert listening.page.locator("#status").get_attribute("role") == "status"
    assert "dog barking" in listening.page.title()


PLAYED = "sounds.find(sound => sound.played.length)"  # the first that was heard


def test_a_hit_plays_its_span_and_stops(listening: ListeningPage) -> None:
    hit = listening.ask("woman speaking")
    hit.get_by_role("button", name="Play", exact=True).click()
    listening.wait_until_sounding()
    hit.get_by_role("button", name="Pause").click()
    listening.wait_until_silent()
    time_s = listening.page.evaluate(f"{PLAYED}.currentTime")
    assert time_s > 0
    hit.get_by_role("button", name="Play", exact=True).click()  # goes on where it was
    listening.wait_until_sounding()
    assert listening.playing()[0]["time"] >= time_s
    listening.wait_until_silent()  # by itself, at the end


def test_a_click_plays_from_there(listening: ListeningPage) -> None:
    wave = listening.wave(listening.ask("dog barking"))
    box = wave.bounding_box()
    assert box is not None
    wave.click(position={"x": box["width"] * 0.5, "y": 20})
    listening.wait_until_sounding()
    assert 3.0 < listening.playing()[0]["time"] < 5.0  # of 6 s


def test_only_one_plays(listening: ListeningPage) -> None:
    first = listening.ask("night dog")
    first.get_by_role("button", name="Play", exact=True).click()
    listening.wait_until_sounding()
    before = listening.playing()[0]["src"]
    listening.hit(1).get_by_role("button", name="Play", exact=True).click()
    expect(first.get_by_role("button", name="Play", exact=True)).to_be_visible()
    listening.page.wait_for_function("() => sounds.filter((s) => !s.paused).length === 1")
    assert listening.playing()[0]["src"] != before


def test_waveforms_are_fetched_near_the_window_alone(page: Page, base_url: str) -> None:
    asked_for: list[str] = []
    page.on("request", lambda r: asked_for.append(r.url) if "/peaks" in r.url else None)
    listening = ListeningPage(page, base_url).open("?q=note&limit=14")
    listening.settled()
    listening.wave(listening.hit(0))
    assert page.locator(".hit").count() == 14
    before = len(asked_for)
    assert before < 8
    assert not [url for url in asked_for if "/audio" in url]
    page.locator(".hit").last.scroll_into_view_if_needed()
    listening.wave(page.locator(".hit").last)
    assert len(asked_for) > before


def test_keys(listening: ListeningPage) -> None:
    page = listening.page
    listening.ask("dog barking")
    page.press("#text", "m")  # while typing, keys are letters
    assert page.input_value("#text") == "dog barkingm"
    page.press("#text", "Tab")
    page.locator("#results-title").focus()

    page.keyboard.press("ArrowDown")
    expect(listening.hit(0)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(listening.hit(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(listening.hit(0)).to_be_focused()
    assert page.locator('.hit[tabindex="0"]').count() == 1

    page.keyboard.press("Space")
    listening.wait_until_sounding()
    page.keyboard.press("Space")
    listening.wait_until_silent()

    time_s = page.evaluate(f"{PLAYED}.currentTime")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    moved = f"before => Math.abs({PLAYED}.currentTime - before - 1) < 0.1"
    page.wait_for_function(moved, arg=time_s)

    page.keyboard.press("Enter")
    listening.wait_until_sounding()
    page.keyboard.press("Space")

    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("ArrowDown")  # asleep behind a dialog
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()

    with listening.searching() as told:
        page.keyboard.press("m")
    assert set(asked(told)["like"]) == {"sound"}
    listening.settled()
    expect(listening.hit(0)).to_be_focused()  # so that the keys go on from there
    page.keyboard.press("/")
    expect(page.locator("#text")).to_be_focused()


def test_a_button_in_a_hit_keeps_its_keys(listening: ListeningPage) -> None:
    why = listening.ask("dog barking").locator(".why summary")
    why.focus()
    listening.page.keyboard.press("Enter")
    expect(listening.hit(0).locator(".why")).to_have_attribute("open", "")
    assert listening.playing() == []


def test_more_like_this(listening: ListeningPage) -> None:
    page = listening.page
    hit = listening.ask("owl night")
    with listening.searching() as told:
        hit.get_by_role("button", name="More like this").click()
    assert set(asked(told)) == {"like", "limit"}
    listening.settled()
    expect(page.locator("#reference strong")).to_have_text("owl_night.wav")
    assert "like=" in page.url
    expect(listening.hit(0).locator("h3")).to_have_text("owl_night.wav")
    listening.wave(page.locator("#reference"))
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("#drop")).to_be_visible()


def test_a_region_is_searched_with(listening: ListeningPage) -> None:
    page = listening.page
    hit = listening.ask("dog barking")
    listening.drag(listening.wave(hit), 0.25, 0.5)
    region = hit.get_by_role("group", name="Region of dog_barking_farm.wav")
    expect(region).to_be_visible()
    assert listening.playing() == []  # a drag is no click
    with listening.searching() as told:
        region.get_by_role("button", name="Search with this region").click()
    like = asked(told)["like"]
    assert like["start_s"] == pytest.approx(1.5, abs=0.1)
    assert like["end_s"] == pytest.approx(3.0, abs=0.1)
    assert f"from={like['start_s']}" in page.url
    listening.settled()
    expect(page.locator("#reference .fact")).to_have_text(
        re.compile(r"0:01\.[456] – 0:0(2\.9|3\.[01])")
    )
    with listening.searching() as told:
        page.get_by_role("button", name="All of it").click()
    assert set(asked(told)["like"]) == {"sound"}


def test_a_region_without_a_mouse(listening: ListeningPage) -> None:
    hit = listening.ask("dog barking")
    hit.get_by_role("button", name="Region…").press("Enter")
    start, end = hit.get_by_label("from, in"), hit.get_by_label("to, in")
    expect(start).to_be_focused()
    start.fill("2")
    end.fill("1")
    hit.get_by_role("button", name="Search with this region").press("Enter")
    assert "like=" not in listening.page.url  # it ends before it begins
    end.fill("3.5")
    hit.get_by_role("button", name="Play region").press("Enter")
    listening.wait_until_sounding()
    assert 2.0 <= listening.playing()[0]["time"] < 3.5
    listening.wait_until_silent()
    with listening.searching() as told:
        hit.get_by_role("button", name="Search with this region").press("Enter")
    like = asked(told)["like"]
    assert (like["start_s"], like["end_s"]) == (2, 3.5)


def test_a_second_region_takes_the_place_of_the_first(listening: ListeningPage) -> None:
    hit = listening.ask("dog barking")
    wave = listening.wave(hit)
    listening.drag(wave, 0.1, 0.2)
    listening.drag(wave, 0.6, 0.8)
    assert float(hit.get_by_label("from, in").input_value()) == pytest.approx(3.6, abs=0.1)
    drawn = """wave => {
      const inside = wave.querySelector(".waveform > div").shadowRoot;
      const parts = [...inside.querySelectorAll("[part]")];
      return parts.filter((element) => element.part.contains("region")).length;
    }"""
    assert wave.evaluate(drawn) == 1
    hit.get_by_role("button", name="Clear").click()
    expect(hit.locator(".region")).to_be_hidden()


def test_ten_minutes_are_shown_a_minute_at_a_time(listening: ListeningPage) -> None:
    page = listening.page
    with page.expect_request("**/peaks?*") as told:
        hit = listening.ask("walk home long")
    assert "start=275&end=335" in told.value.url  # around 300 to 310
    wave = listening.wave(hit)
    assert "4:35.0 to 5:35.0 of 10:00.0" in (
        wave.get_by_role("img").get_attribute("aria-label") or ""
    )
    hit.get_by_role("button", name="Play", exact=True).click()
    listening.wait_until_sounding()
    assert 25 <= listening.playing()[0]["time"] < 30  # in what was cut for it
    expect(hit.locator(".time")).to_have_text(re.compile(r"5:0\d\.\d / 10:00\.0"))
    with page.expect_request("**/peaks?*") as told:
        hit.get_by_role("button", name="Later →").click()
    assert "start=305&end=365" in told.value.url
    assert listening.playing() == []
    listening.drag(listening.wave(hit), 0.5, 0.75)
    with listening.searching() as searched:
        hit.get_by_role("button", name="Search with this region").click()
    assert asked(searched)["like"]["start_s"] == pytest.approx(335, abs=1)


def test_hostile_names_are_shown_literally(listening: ListeningPage) -> None:
    listening.ask("note")
    listening.page.click("#filters summary")
    listening.page.fill("#limit", "50")
    listening.ask("note")
    hit = listening.hit_named("<img src=x")
    title = hit.locator("h3")
    expect(title).to_have_text("<img src=x onerror=alert(1)> & \\n\\u202egnp.wav")
    assert title.locator("bdi").count() == 1
    assert hit.locator("img").count() == 1  # its spectrogram
    hit.get_by_text("Where it is").click()
    expect(hit.locator(".path code")).to_contain_text(
        "<img src=x onerror=alert(1)> & \\n\\u202egnp.wav"
    )
    with listening.searching():
        hit.get_by_role("button", name="More like this").click()
    listening.settled()
    assert listening.page.evaluate("document.querySelectorAll('[onerror]').length") == 0


def test_the_path_can_be_copied(listening: ListeningPage, sound_library: Path) -> None:
    listening.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    listening.page.click("#filters summary")
    listening.page.fill("#limit", "50")
    listening.ask("note")
    hit = listening.hit_named("<img src=x")
    hit.get_by_text("Where it is").click()
    hit.get_by_role("button", name="Copy the path").click()
    expect(hit.locator(".path button")).to_contain_text("Copied")
    copied = listening.page.evaluate("navigator.clipboard.readText()")
    assert copied == str(sound_library / HOSTILE)


def test_why(listening: ListeningPage) -> None:
    hit = listening.ask("dog barking")
    with listening.searching() as told:
        hit.get_by_text("Why").click()
    assert asked(told)["explain"] is True
    expect(hit.locator(".why")).to_contain_text("the sound as it was indexed")
    expect(hit.locator(".heard li").first).to_contain_text("Dog")
    asked_again: list[str] = []
    listening.page.on("request", lambda r: asked_again.append(r.url))
    listening.hit(1).get_by_text("Why").click()  # came along
    expect(listening.hit(1).locator(".heard li").first).to_be_visible()
    assert not [url for url in asked_again if "search" in url]

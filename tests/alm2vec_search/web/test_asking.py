"""What can be asked, and how the address says it; by words and by sounds that are brought along."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import httpx
import pytest
from listening_page import ListeningPage, asked
from playwright.sync_api import expect

from alm2vec_search.serving.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Behaviour
    from playwright.sync_api import Page

DROP = """async ([bytes, name]) => {
  const body = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([body], name, { type: "audio/wav" }));
  const told = { bubbles: true, cancelable: true, dataTransfer: data };
  document.body.dispatchEvent(new DragEvent("dragenter", told));
  const isOffered = !document.querySelector("#curtain").hidden;
  document.body.dispatchEvent(new DragEvent("dragover", told));
  document.body.dispatchEvent(new DragEvent("drop", told));
  return isOffered && document.querySelector("#curtain").hidden;
}"""
PASTE = """async ([bytes, name]) => {
  const body = Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([body], name, { type: "audio/wav" }));
  const told = { bubbles: true, cancelable: true, clipboardData: data };
  const event = new ClipboardEvent("paste", told);
  document.querySelector("#text").dispatchEvent(event);
}"""


@pytest.fixture
def owl(sound_library: Path) -> Path:
    return sound_library / "animals" / "owl_night.wav"


def test_everything_that_can_be_asked(listening: ListeningPage, owl: Path) -> None:
    page = listening.page
    page.fill("#text", "owl")
    page.fill("#instruction", "which bird is it?")
    page.click("#filters > summary")
    page.fill("#where", "duration<3600")
    page.get_by_role("radio", name="likely").check()
    page.fill("#limit", "5")
    page.fill("#per_folder", "2")
    page.fill("#more-words", "2:wind")
    page.press("#more-words", "Enter")
    page.fill("#more-words", "night")
    page.click("#more button")
    page.fill("#less-words", "rain")  # still in its field when the form is sent
    page.click("#more-options > summary")
    page.fill("#under", str(owl.parent))
    for name in ("all_chunks", "keep_copies", "include_silent", "split"):
        page.check(f"#{name}")
    page.fill("#words", "0.5")
    page.fill("#reembed", "10")
    with listening.searching() as told:
        page.press("#text", "Enter")
    everything = {
        "text": "owl",
        "instruction": "which bird is it?",
        "where": "duration<3600",
        "under": str(owl.parent),
        "min": "likely",
        "limit": 5,
        "per_folder": 2,
        "more": ["2:wind", "night"],
        "less": ["rain"],
        "words": 0.5,
        "reembed": 10,
        "all_chunks": True,
        "keep_copies": True,
        "include_silent": True,
        "split": True,
    }
    assert asked(told) == everything
    listening.settled()
    expect(listening.hit(0).locator("h3")).to_have_text("owl_night.wav")
    expect(listening.hit(0).locator(".facts")).to_contain_text("heard again")
    expect(page.locator("#filters-count")).to_have_text("13 set")
    expect(page.locator(".way")).to_contain_text("The best were heard again")

    with listening.searching() as told:  # by the address alone
        page.reload()
    assert asked(told) == everything
    expect(page.locator("#more .words li")).to_have_count(2)

    page.click("#filters > summary")
    page.click("#clear-filters")
    with listening.searching() as told:
        page.press("#text", "Enter")
    assert asked(told) == {"text": "owl", "instruction": "which bird is it?", "limit": 10}


def test_an_example_of_an_instruction(listening: ListeningPage) -> None:
    listening.ask("owl")
    with listening.searching() as told:
        listening.page.get_by_role("button", name="which instrument is played?").click()
    assert asked(told)["instruction"] == "which instrument is played?"


def test_an_aspect(listening: ListeningPage) -> None:
    page = listening.page
    page.fill("#instruction", "same animal")
    page.select_option("#aspect", label="animal: what animal is it?")
    assert page.input_value("#instruction") == ""
    page.fill("#text", "owl")
    with listening.searching() as told:
        page.press("#text", "Enter")
    assert asked(told) == {"text": "owl", "aspect": "animal", "limit": 10}
    listening.settled()
    expect(page.locator(".way")).to_have_text("By the aspect animal: what animal is it?")


def test_the_back_button(listening: ListeningPage) -> None:
    page = listening.page
    listening.ask("dog barking")
    listening.ask("owl night")
    with listening.searching():
        listening.hit(0).get_by_role("button", name="More like this").click()
    listening.settled()
    with listening.searching() as told:
        page.go_back()
    assert asked(told)["text"] == "owl night"
    expect(page.locator("#text")).to_have_value("owl night")
    expect(page.locator("#drop")).to_be_visible()
    page.go_back()
    expect(listening.hit(0).locator("h3")).to_have_text("dog_barking_farm.wav")
    page.go_back()
    expect(page.locator(".hit")).to_have_count(0)
    expect(page.locator("#welcome")).to_be_visible()
    page.go_forward()
    expect(listening.hit(0).locator("h3")).to_have_text("dog_barking_farm.wav")


def test_an_address_with_a_sound_finds_out_what_it_is(listening: ListeningPage) -> None:
    page = listening.page
    listening.ask("owl night").get_by_role("button", name="More like this").click()
    expect(page.locator("#reference strong")).to_be_visible()
    listening.settled()
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.locator("#reference strong")).to_have_text("owl_night.wav")
    other.locator("#reference .waveform > div").wait_for()


def test_more_answers(listening: ListeningPage) -> None:
    page = listening.page
    listening.ask("note")
    card = listening.hit(0).element_handle()
    with listening.searching() as told:
        page.get_by_role("button", name="Show more").click()
    assert asked(told)["limit"] == 20
    expect(page.locator(".hit")).to_have_count(14)
    assert page.evaluate("card => card.isConnected", card)  # what was there stays as it is
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_a_file_is_chosen(listening: ListeningPage, owl: Path) -> None:
    page = listening.page
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="choose a file").click()
    with listening.searching() as told:
        chooser.value.set_files(owl)
    assert set(asked(told)["like"]) == {"upload"}
    listening.settled()
    expect(listening.hit(0).locator("h3")).to_have_text("owl_night.wav")
    reference = page.locator("#reference")
    expect(reference.locator("strong")).to_have_text("owl_night.wav")

    wave = listening.wave(reference)
    expect(reference.locator(".time")).to_have_text("0:00.0 / 0:09.0")
    reference.get_by_role("button", name="Play", exact=True).click()
    listening.wait_until_sounding()
    assert "/v1/uploads/" in listening.playing()[0]["src"]
    listening.drag(wave, 0.5, 0.75)
    with listening.searching() as told:
        reference.get_by_role("button", name="Search with this region").click()
    assert asked(told)["like"]["start_s"] == pytest.approx(4.5, abs=0.1)  # of 9 s
    assert "like" not in page.url
    listening.settled()

    page.fill("#text", "night")  # and both are one question
    with listening.searching() as told:
        page.press("#text", "Enter")
    assert {"text", "like"} <= set(asked(told))


@pytest.mark.parametrize("bring", [DROP, PASTE])
def test_a_file_is_dropped_or_pasted(listening: ListeningPage, owl: Path, bring: str) -> None:
    page = listening.page
    body = base64.b64encode(owl.read_bytes()).decode()
    with listening.searching() as told:
        assert page.evaluate(bring, [body, "<b>drop\u202e.wav"]) is not False
    assert set(asked(told)["like"]) == {"upload"}
    expect(page.locator("#reference strong")).to_have_text("<b>drop\\u202e.wav")


def test_what_is_no_sound(listening: ListeningPage, behaviour: Behaviour, tmp_path: Path) -> None:
    behaviour.expect("415")
    page = listening.page
    (tmp_path / "letter.wav").write_text("Dear all")
    page.set_input_files("#file", tmp_path / "letter.wav")
    expect(page.get_by_role("alert")).to_contain_text("the upload can't be used")
    expect(page.get_by_role("alert")).to_contain_text("WAV, FLAC, MP3")
    expect(page.locator("#drop")).to_be_visible()


def test_what_is_too_large_is_not_even_sent(
    page: Page, serve: Callable[..., str], owl: Path
) -> None:
    listening = ListeningPage(page, serve(limits=Limits(upload_bytes=1000))).open()
    sent: list[str] = []
    page.on("request", lambda r: sent.append(r.url))
    page.set_input_files("#file", owl)
    expect(page.get_by_role("alert")).to_contain_text("the server takes 1 kB")
    listening.settled()
    assert not [url for url in sent if "/v1/uploads" in url]


def test_an_upload_that_was_forgotten_is_sent_again(
    page: Page, serve: Callable[..., str], behaviour: Behaviour, owl: Path
) -> None:
    behaviour.expect("404")
    url = serve(limits=Limits(uploads_bytes=1_000_000))  # of which this one takes most
    listening = ListeningPage(page, url).open()
    page.set_input_files("#file", owl)
    expect(listening.hit(0)).to_be_visible()
    assert httpx.post(f"{url}/v1/uploads", content=owl.read_bytes()).status_code == 201
    page.fill("#text", "owl")
    with page.expect_request("**/v1/uploads"):
        page.press("#text", "Enter")
    listening.settled()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(listening.hit(0).locator("h3")).to_have_text("owl_night.wav")
    listening.wave(page.locator("#reference"))  # the picture is of the new one


def test_an_upload_is_sent_again_before_it_is_forgotten(
    page: Page, serve: Callable[..., str], owl: Path
) -> None:
    listening = ListeningPage(page, serve(limits=Limits(upload_kept_s=20))).open()
    page.set_input_files("#file", owl)
    expect(listening.hit(0)).to_be_visible()
    page.fill("#text", "owl")
    with page.expect_request("**/v1/uploads"), listening.searching() as told:
        page.press("#text", "Enter")
    assert {"text", "like"} <= set(asked(told))


def test_a_condition_that_makes_no_sense(listening: ListeningPage, behaviour: Behaviour) -> None:
    behaviour.expect("422")
    page = listening.page
    page.fill("#text", "owl")
    page.click("#filters > summary")
    page.fill("#where", "duration<10 and (tag:farm")
    page.press("#where", "Enter")
    shown = page.locator("#where-error")
    expect(shown.locator(".wrong")).to_contain_text("column 26")
    text, caret = shown.locator("pre").inner_text().rstrip("\n").split("\n")
    assert caret.index("^") == len(text)
    assert "mono" in shown.locator("pre").evaluate("pre => getComputedStyle(pre).fontFamily")
    expect(page.locator("#where")).to_be_focused()
    expect(page.locator("#where")).to_have_attribute("aria-invalid", "true")
    page.fill("#where", "duration<10")
    page.press("#where", "Enter")
    expect(shown).to_be_empty()
    expect(page.locator("#where")).not_to_have_attribute("aria-invalid", "true")


def test_nothing_matches_well(listening: ListeningPage) -> None:
    listening.ask("submarine")
    expect(listening.page.locator("#notices")).to_contain_text("Nothing here matches well")
    expect(listening.hit(0).locator(".verdict")).to_have_text("weak")
    assert listening.hit(0).locator(".verdict .on").count() == 1


def test_nothing_is_left_by_the_filters(listening: ListeningPage) -> None:
    listening.page.click("#filters > summary")
    listening.page.get_by_role("radio", name="strong").check()
    listening.ask("submarine")
    expect(listening.page.locator("#notices")).to_contain_text("Nothing was found")
    assert listening.status.startswith("No answers")


def test_nothing_is_asked(listening: ListeningPage) -> None:
    listening.page.press("#text", "Enter")
    expect(listening.page.locator("#notices")).to_contain_text("Say what to look for")

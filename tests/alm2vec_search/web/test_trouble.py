"""A server that is busy, slow, away, empty or wants a token, and sounds that can't be had."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest
from listening_page import ListeningPage
from page_servers import TOKEN, HeldEncoder
from playwright.sync_api import expect
from served_index import Server, running

from alm2vec_search.serving.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Behaviour
    from index_driver import Index
    from playwright.sync_api import Locator, Page


def play_button(within: Locator) -> Locator:
    return within.get_by_role("button", name="Play", exact=True)


def message(hit: Locator) -> Locator:
    return hit.locator(".wave-message")


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port
    return port


class TestNothingIndexed:
    @pytest.fixture
    def empty_url(self, library: Path, index: Index, tmp_path: Path) -> Iterator[str]:
        """Of an index of a folder without sounds."""
        index.run(library)
        with running(Server(library, index, tmp_path / "home").app()) as url:
            yield url

    @pytest.fixture
    def bare_url(self, library: Path, index: Index, tmp_path: Path) -> Iterator[str]:
        """Where nobody made an index yet."""
        with running(Server(library, index, tmp_path / "home").app()) as url:
            yield url

    def is_told(self, page: Page) -> None:
        expect(page.locator("#notices")).to_contain_text("Nothing is indexed yet")
        expect(page.locator("#notices pre")).to_have_text("alm2vec index ~/recordings")
        expect(page.locator("#welcome")).to_be_hidden()

    def test_an_empty_index_says_what_to_do(self, page: Page, empty_url: str) -> None:
        ListeningPage(page, empty_url).open()
        self.is_told(page)

    def test_so_does_none_at_all(self, page: Page, behaviour: Behaviour, bare_url: str) -> None:
        behaviour.expect("503")
        page.goto(bare_url)
        self.is_told(page)
        page.fill("#text", "owl")
        page.press("#text", "Enter")
        expect(page.get_by_role("alert")).to_contain_text("alm2vec index FOLDER makes one")


class TestBusy:
    def test_is_asked_again(
        self, page: Page, serve: Callable[..., str], behaviour: Behaviour
    ) -> None:
        behaviour.expect("503")
        held = HeldEncoder()
        url = serve(held, limits=Limits(searches=1, searches_waiting=0))
        listening = ListeningPage(page, url).open()
        with ThreadPoolExecutor(1) as others:
            others.submit(httpx.post, f"{url}/v1/search", json={"text": "dog"}, timeout=20)
            assert held.somebody_waits.wait(20)
            page.fill("#text", "owl")
            page.press("#text", "Enter")
            expect(page.locator("#status")).to_have_text("The server is busy; asking again in 2 s.")
            held.door.set()
        expect(listening.hit(0).locator("h3")).to_have_text("owl_night.wav")

    def test_while_the_page_opens(self, page: Page, farm: Server, behaviour: Behaviour) -> None:
        behaviour.expect("503")
        with running(farm.app()) as url:
            with farm.index.open():  # as `alm2vec index` has it
                page.goto(url)
                expect(page.locator("#status")).to_contain_text("The server is busy")
            expect(page.locator("#collection")).to_contain_text("of sound in library")
            expect(page.locator("#status")).to_be_empty()

    def test_when_something_is_to_be_played(
        self, listening: ListeningPage, behaviour: Behaviour
    ) -> None:
        behaviour.expect("503")
        hit = listening.ask("dog barking")
        listening.wave(hit)
        busy = {"error": {"type": "ServerBusy", "message": "too many", "hint": None}}
        told = {"status": 503, "json": busy, "headers": {"Retry-After": "1"}}
        # The browser is refused, and so is the page that asks why, and then once more.
        listening.page.route("**/audio*", lambda route: route.fulfill(**told), times=3)
        play_button(hit).click()
        expect(message(hit)).to_have_text("The server is busy; it is asked again.")
        listening.wait_until_sounding()
        expect(message(hit)).to_be_empty()


def test_a_slow_search_can_be_stopped(page: Page, serve: Callable[..., str]) -> None:
    held = HeldEncoder()
    listening = ListeningPage(page, serve(held)).open()
    page.fill("#text", "owl")
    page.press("#text", "Enter")
    expect(page.get_by_role("progressbar", name="Searching")).to_be_visible()
    expect(page.locator("#elapsed")).to_have_text("2 s")
    with page.expect_event("requestfailed"):
        page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_have_text("Stopped.")
    page.press("#text", "Enter")
    with page.expect_event("requestfailed"):
        page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text("Stopped.")
    expect(page.locator("#text")).to_have_value("owl")  # which Escape would have emptied
    page.press("#text", "Enter")
    with page.expect_event("requestfailed"):  # a new question stops the one before
        page.fill("#text", "dog barking")
        page.press("#text", "Enter")
    held.door.set()
    expect(listening.hit(0).locator("h3")).to_have_text("dog_barking_farm.wav")


class TestAway:
    """The index is let go of at once, as it is when a process ends."""

    def test_a_search(self, page: Page, farm: Server, behaviour: Behaviour) -> None:
        behaviour.expect("ERR_CONNECTION_REFUSED")
        with running(farm.app(idle_s=0)) as url:
            listening = ListeningPage(page, url).open()
        page.fill("#text", "dog")
        page.press("#text", "Enter")
        expect(page.get_by_role("alert")).to_contain_text("The server can't be reached.")
        with running(farm.app(), port_of(url)):
            page.get_by_role("button", name="Try again").click()
            expect(listening.hit(0).locator("h3")).to_have_text("dog.wav")

    def test_a_sound(self, page: Page, farm: Server, behaviour: Behaviour) -> None:
        behaviour.expect("ERR_CONNECTION_REFUSED")
        with running(farm.app(idle_s=0)) as url:
            listening = ListeningPage(page, url).open()
            hit = listening.ask("dog")
            listening.wave(hit)
        play_button(hit).click()
        expect(message(hit)).to_contain_text("The server can't be reached.")
        with running(farm.app(), port_of(url)):
            play_button(hit).click()
            listening.wait_until_sounding()
            expect(message(hit)).to_be_empty()

    def test_a_waveform(self, listening: ListeningPage, behaviour: Behaviour) -> None:
        behaviour.expect("ERR_CONNECTION_REFUSED")
        page = listening.page
        page.route("**/peaks*", lambda route: route.abort("connectionrefused"), times=1)
        page.click("#filters summary")
        page.fill("#limit", "1")
        hit = listening.ask("dog barking")
        expect(message(hit)).to_contain_text("The server can't be reached.")
        play_button(hit).click()
        listening.wait_until_sounding()
        expect(message(hit)).to_be_empty()


class TestSounds:
    def test_a_file_that_is_gone(self, page: Page, farm: Server, behaviour: Behaviour) -> None:
        behaviour.expect("410")
        (farm.library / "dog.wav").unlink()
        with running(farm.app()) as url:
            hit = ListeningPage(page, url).open().ask("dog")
            expect(message(hit)).to_contain_text("dog.wav: no such file")
            expect(message(hit)).to_contain_text("; alm2vec index brings the index up to date")

    def test_a_file_that_was_changed(self, page: Page, farm: Server, behaviour: Behaviour) -> None:
        behaviour.expect("410")
        with running(farm.app()) as url:
            listening = ListeningPage(page, url).open()
            hit = listening.ask("dog")
            listening.wave(hit)
            os.utime(farm.library / "dog.wav")
            play_button(hit).click()
            expect(message(hit)).to_contain_text("it was changed since it was indexed")
            expect(play_button(hit)).to_be_visible()
            assert listening.playing() == []

    def test_what_the_browser_cannot_play(self, listening: ListeningPage) -> None:
        hit = listening.ask("dog barking")
        listening.wave(hit)
        listening.page.route(
            "**/audio*", lambda route: route.fulfill(body=b"RIFF", content_type="audio/wav")
        )
        play_button(hit).click()
        expect(message(hit)).to_have_text("This browser can't play it.")
        expect(play_button(hit)).to_be_visible()


class TestToken:
    def test_is_asked_for(self, page: Page, behaviour: Behaviour, token_url: str) -> None:
        behaviour.expect("401")
        behaviour.expect("403")
        page.goto(token_url + "/?q=owl")
        field = page.get_by_role("textbox", name="Token")
        expect(field).to_be_focused()
        field.fill("wrong")
        field.press("Enter")
        expect(page.locator("#token-error")).to_have_text(
            "that isn't the token; alm2vec serve says it when it starts"
        )
        field.fill(TOKEN)
        page.get_by_role("button", name="Continue").click()
        expect(page.locator("#token")).to_be_hidden()
        expect(page.locator(".hit h3").first).to_have_text("owl_night.wav")  # what was asked
        assert page.input_value("#token-text") == ""

    def test_in_the_address(self, page: Page, token_url: str) -> None:
        page.goto(f"{token_url}/?q=owl#token={TOKEN.replace(' ', '%20')}")
        expect(page.locator(".hit h3").first).to_have_text("owl_night.wav")
        assert page.url == f"{token_url}/?q=owl"

    @pytest.mark.parametrize("text", ["woman speaking", "walk home long"])
    def test_a_session_that_ends_before_a_sound_is_played(
        self, page: Page, behaviour: Behaviour, token_url: str, text: str
    ) -> None:
        """One of all of its file, one of a stretch within."""
        behaviour.expect("401")
        listening = ListeningPage(page, token_url).open(f"#token={TOKEN.replace(' ', '%20')}")
        hit = listening.ask(text)
        listening.wave(hit)
        page.context.clear_cookies()
        play_button(hit).click()
        field = page.get_by_role("textbox", name="Token")
        expect(field).to_be_focused()
        expect(play_button(hit)).to_be_attached()
        field.fill(TOKEN)
        field.press("Enter")
        listening.wait_until_sounding()
        expect(page.locator("#token")).to_be_hidden()
        expect(message(hit)).to_be_empty()
        expect(hit.get_by_role("button", name="Pause")).to_be_visible()
        if "home" in text:  # where it was found, not where the stretch begins
            assert 25 <= listening.playing()[0]["time"] < 30

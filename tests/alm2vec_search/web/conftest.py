"""A browser, a server over real sounds, and a page that may do nothing it should not.

The page is tested against whatever stands at `base_url` and `token_url`.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import sounds
from fake_server import Backend, serve
from listening_page import ListeningPage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        why = (
            f"the page needs a browser to be tested in: none of {', '.join(BROWSERS)} is installed"
        )
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    flags = ["--autoplay-policy=no-user-gesture-required", "--mute-audio"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def sound_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds") / "library"
    sounds.fill(folder)
    return folder


@pytest.fixture(scope="session")
def base_url(sound_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server over `sound_library`."""
    yield from serve(Backend(sound_library, tmp_path_factory.mktemp("scratch")))


@pytest.fixture(scope="session")
def token_url(sound_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One that wants the token `fake_server.TOKEN`."""
    yield from serve(Backend(sound_library, tmp_path_factory.mktemp("scratch"), wants_token=True))


@dataclass
class Behaviour:
    """What the page did that it should not have done."""

    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)  # parts of complaints that a test provokes

    def expect(self, part: str) -> None:
        self.expected.append(part)

    def watch(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._asked)
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} {message.location.get('url')}")

    def _asked(self, request: Request) -> None:
        origin = urlsplit(request.frame.url or request.url)
        asked = urlsplit(request.url)
        is_own = asked.scheme in ("blob", "data") or origin.scheme == "about"
        if not is_own and asked.netloc != origin.netloc:
            self.complaints.append(f"request to another origin: {request.url}")

    def unexpected(self) -> list[str]:
        return [c for c in self.complaints if not any(part in c for part in self.expected)]


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=WIDE, reduced_motion="reduce")
    context.set_default_timeout(10_000)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, behaviour: Behaviour) -> Iterator[Page]:
    page = context.new_page()
    behaviour.watch(page)
    yield page
    assert behaviour.unexpected() == []


@pytest.fixture
def listening(page: Page, base_url: str) -> ListeningPage:
    """The page, opened."""
    return ListeningPage(page, base_url).open()

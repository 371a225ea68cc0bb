"""Servers over real sounds, and a page that may do nothing it should not."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import sounds
from listening_page import ListeningPage
from page_servers import TOKEN, index_of, server_over
from served_index import Server, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from index_driver import Index
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="session")
def sound_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds") / "library"
    sounds.fill(folder)
    return folder


@pytest.fixture(scope="session")
def sound_index(sound_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    return index_of(sound_library, tmp_path_factory.mktemp("sounds") / "index")


@pytest.fixture(scope="session")
def base_url(
    sound_library: Path, sound_index: Index, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A server over `sound_library`."""
    server = server_over(sound_library, sound_index, tmp_path_factory.mktemp("base"))
    with running(server.app()) as url:
        yield url


@pytest.fixture(scope="session")
def token_url(
    sound_library: Path, sound_index: Index, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """One that wants the token `TOKEN`."""
    server = server_over(sound_library, sound_index, tmp_path_factory.mktemp("token"))
    with running(server.app(token=TOKEN)) as url:
        yield url


@pytest.fixture
def serve(sound_library: Path, sound_index: Index, tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Starts one of the test's own over the same sounds: `serve(limits=..., encoder=...)` is its
    address."""
    with ExitStack() as servers:

        def start(encoder: Any = None, **how: Any) -> str:
            server = server_over(sound_library, sound_index, tmp_path / "served", encoder)
            return servers.enter_context(running(server.app(**how)))

        yield start


@pytest.fixture
def farm(library: Path, index: Index, tmp_path: Path) -> Server:
    """A library of one sound, and its index, for a test to do with as it likes."""
    sounds.write(library / "dog.wav", sounds.bursts(3.0, sounds.DOG_HZ))
    index.run(library)
    return Server(library, index, tmp_path / "home", sounds.NamingEncoder())


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

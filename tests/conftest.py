"""Fixtures that many tests share."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from command_line import CommandLine
from index_driver import Index

from alm2vec_search import terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings or the index of whoever runs it."""
    monkeypatch.setenv("ALM2VEC_HOME", str(tmp_path / "alm2vec-home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "alm2vec-config"))


@pytest.fixture(autouse=True)
def _fresh_consoles() -> None:
    """Whether they colour is found out when they are made, and no test inherits that."""
    terminal.data.cache_clear()
    terminal.talk.cache_clear()


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "index")


@pytest.fixture
def alm2vec(capfdbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    return CommandLine(capfdbinary)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not for longer: while it runs, so does an event loop, and others can't start theirs."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        why = f"a page needs a browser to be tested in: none of {', '.join(BROWSERS)} is installed"
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

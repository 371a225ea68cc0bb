"""Fixtures that many tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from command_line import CommandLine
from index_driver import Index

from alm2vec_search import terminal

if TYPE_CHECKING:
    from pathlib import Path


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

"""What the tests of preparations share: files that are there, and reading what was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from trainer.pairs import parse_pair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainer.pairs import Pair

    Touch = Callable[..., None]
    Read = Callable[[Path], list[Pair]]
    Dump = Callable[[str, Any], Path]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of a data set."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def out(data: Path) -> Path:
    return data / "pairs.jsonl"


@pytest.fixture
def touch(data: Path) -> Touch:
    """Files without content, by their paths: no preparation looks into a sound."""

    def make(*paths: str) -> None:
        for path in paths:
            (data / path).parent.mkdir(parents=True, exist_ok=True)
            (data / path).touch()

    return make


@pytest.fixture
def dump(data: Path) -> Dump:
    def write(path: str, content: Any) -> Path:
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        (data / path).write_text(json.dumps(content, indent=2), encoding="utf-8")
        return data / path

    return write


@pytest.fixture
def read() -> Read:
    """The pairs of a file, as training reads them; their paths are the file's own."""

    def lines(path: Path) -> list[Pair]:
        written = path.read_bytes().splitlines()
        return [parse_pair(line, path, number) for number, line in enumerate(written, start=1)]

    return lines

"""Fixtures of a server's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from served_index import RATE, Server

from alm2vec_search.testing import NOTES_HZ, tone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from index_driver import Index
    from starlette.testclient import TestClient


@pytest.fixture
def server(library: Path, index: Index, tmp_path: Path) -> Server:
    for note, hz in NOTES_HZ.items():
        (library / note).mkdir()
        soundfile.write(library / note / f"{note}.wav", tone(hz, 3, RATE), RATE)
    both = np.concatenate([tone(NOTES_HZ["low"], 4, RATE), tone(NOTES_HZ["high"], 4, RATE)])
    soundfile.write(library / "both.flac", both, RATE)
    index.run(library)
    return Server(library, index, tmp_path / "home")


@pytest.fixture
def client(server: Server) -> Iterator[TestClient]:
    with server.client() as client:
        yield client

"""`alm2vec migrate`: an index moves to another model, and whoever asks meanwhile is answered."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_standin import StandIn

from alm2vec_search.addresses import ServerAddress
from alm2vec_search.collection.server import ServerCollection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_line import CommandLine

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    shutil.copytree(SAMPLES / "animals", folder)
    return folder


@pytest.fixture
def store(alm2vec: CommandLine, server: StandIn, sounds: Path) -> tuple[str, str]:
    store = ("--store", server.url)
    done = alm2vec("index", sounds, "--aspect", "animal=what animal is it?", *store)
    assert done.exit_code == 0, done.err
    return store


def status(alm2vec: CommandLine, store: tuple[str, str]) -> dict[str, Any]:
    return json.loads(alm2vec("status", "--json", *store).out)  # type: ignore[no-any-return]


def best(alm2vec: CommandLine, store: tuple[str, str], *more: str) -> str:
    answer = alm2vec("search", "dog barking", "-k", "1", "--paths", *store, *more)
    return Path(answer.out.strip()).name


def test_there_and_back(alm2vec: CommandLine, store: tuple[str, str], sounds: Path) -> None:
    before = status(alm2vec, store)
    moved = alm2vec("migrate", "--window", "3", *store)
    assert moved.exit_code == 0, moved.err
    assert "from model small" in moved.err
    assert "the index is by model small" in moved.err
    after = status(alm2vec, store)
    assert after["chunking"] == "3s/3s"
    assert after["files"] == before["files"]
    assert after["chunks"] > before["chunks"]
    assert best(alm2vec, store) == "REC_0042.wav"
    assert best(alm2vec, store, "--aspect", "animal")
    assert f"{before['files']} unchanged" in alm2vec("index", sounds, *store).err
    assert "back to model small" in alm2vec("migrate", "--back", *store).err
    assert status(alm2vec, store)["chunks"] == before["chunks"]
    assert alm2vec("migrate", "--drop-others", *store).err.strip() == "deleted 1 collection"
    assert best(alm2vec, store) == "REC_0042.wav"
    nothing = alm2vec("migrate", "--back", *store)
    assert nothing.exit_code == 3
    assert "nothing to go back to" in nothing.err


def test_nobody_who_asks_meanwhile_goes_without(
    alm2vec: CommandLine, store: tuple[str, str], server: StandIn
) -> None:
    """A thread opens the index and asks it, again and again, while it moves there and back."""
    address = ServerAddress.parse(server.url)
    seen: set[str] = set()
    failures: list[Exception] = []
    n_asked = 0
    is_over = threading.Event()

    def ask() -> None:
        nonlocal n_asked
        while not is_over.is_set():
            try:
                with ServerCollection.open(address) as collection:
                    [stored] = [next(collection.contents())]
                    vector = collection.chunks(stored.content.content_hash)[0].embedding
                    assert collection.nearest_contents(vector, limit=3)
                    seen.add(collection.info.chunking)
                n_asked += 1
            except Exception as error:
                failures.append(error)
            time.sleep(0.01)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        assert alm2vec("migrate", "--window", "3", *store).exit_code == 0
        time.sleep(0.2)
        assert alm2vec("migrate", "--back", *store).exit_code == 0
        time.sleep(0.2)
    finally:
        is_over.set()
        thread.join()
    assert failures == []
    assert seen == {"10s/10s", "3s/3s"}
    assert n_asked > 20


def test_what_is_missing_stops_it(
    alm2vec: CommandLine, store: tuple[str, str], sounds: Path
) -> None:
    (sounds / "REC_0042.wav").unlink()
    refused = alm2vec("migrate", "--window", "3", *store)
    assert refused.exit_code == 1
    assert "REC_0042.wav" in refused.err
    assert "the index is as it was" in refused.err
    assert status(alm2vec, store)["chunking"] == "10s/10s"
    assert best(alm2vec, store) == "REC_0042.wav"
    moved = alm2vec("migrate", "--window", "3", "--allow-missing", *store)
    assert moved.exit_code == 0
    assert "made 0 sounds" in moved.err
    assert status(alm2vec, store)["chunking"] == "3s/3s"
    assert best(alm2vec, store) != "REC_0042.wav"


def test_what_changed_meanwhile_is_taken_in(
    alm2vec: CommandLine, store: tuple[str, str], sounds: Path
) -> None:
    (sounds / "REC_0042.wav").rename(sounds / "away.wav")
    assert alm2vec("migrate", "--window", "3", *store).exit_code == 1
    assert alm2vec("index", sounds, *store).exit_code == 0  # it is known by its new name now
    moved = alm2vec("migrate", "--window", "3", *store)
    assert moved.exit_code == 0, moved.err
    assert best(alm2vec, store) == "away.wav"


def test_what_cannot_be_migrated(
    alm2vec: CommandLine, store: tuple[str, str], sounds: Path, tmp_path: Path
) -> None:
    same = alm2vec("migrate", *store)
    assert same.exit_code == 3
    assert "already" in same.err
    alm2vec("index", sounds, "--store", tmp_path / "here")
    folder = alm2vec("migrate", "--window", "3", "--store", tmp_path / "here")
    assert folder.exit_code == 2
    assert "another folder" in folder.err

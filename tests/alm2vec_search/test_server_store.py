"""The commands with an index on a Qdrant server: a stand-in that speaks its HTTP."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from qdrant_standin import Fault, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_line import CommandLine

SAMPLES = Path(__file__).parents[2] / "samples"
KEY = "correct-horse-battery"


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for name in ("animals/REC_0042.wav", "animals/hillside.flac", "machines/till.flac"):
        shutil.copy(SAMPLES / name, folder)
    return folder


def names(answer: str) -> list[str]:
    return [Path(line).name for line in answer.splitlines()]


def test_index_search_and_forget(alm2vec: CommandLine, server: StandIn, sounds: Path) -> None:
    store = ("--store", server.url)
    first = alm2vec("index", sounds, *store)
    assert first.exit_code == 0, first.err
    assert "3 indexed" in first.err
    assert f"index in alm2vec at {server.url}" in first.err
    found = alm2vec("search", "dog barking", "--paths", "-k", "1", *store)
    assert names(found.out) == ["REC_0042.wav"]
    again = alm2vec("index", sounds, *store)
    assert "3 unchanged" in again.err
    status = alm2vec("status", "--json", *store)
    assert '"files": 3' in status.out
    assert alm2vec("remove", sounds / "till.flac", *store).exit_code == 0
    assert len(names(alm2vec("search", "x", "--paths", *store).out)) == 2


def test_another_machine_sees_and_changes_it(
    alm2vec: CommandLine,
    server: StandIn,
    sounds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What each knows of the files is a cache, and isn't believed after the other wrote."""
    store = ("--store", server.url)
    alm2vec("index", sounds, *store)
    mine = str(tmp_path / "alm2vec-home")
    monkeypatch.setenv("ALM2VEC_HOME", str(tmp_path / "another-home"))
    assert '"files": 3' in alm2vec("status", "--json", *store).out
    assert "unchanged: 3 files" in alm2vec("index", sounds, "--dry-run", *store).err
    assert alm2vec("remove", sounds / "till.flac", *store).exit_code == 0
    monkeypatch.setenv("ALM2VEC_HOME", mine)
    assert '"files": 2' in alm2vec("status", "--json", *store).out
    again = alm2vec("index", sounds, *store)
    assert "1 indexed" in again.err
    assert "2 unchanged" in again.err


def test_aspects_and_saved_searches(alm2vec: CommandLine, server: StandIn, sounds: Path) -> None:
    store = ("--store", server.url)
    made = alm2vec("index", sounds, "--aspect", "animal=what animal is it?", *store)
    assert made.exit_code == 0, made.err
    found = alm2vec("search", "a rooster", "--aspect", "animal", "--paths", "-k", "1", *store)
    assert names(found.out) == ["hillside.flac"]
    alm2vec("search", "a rooster", "-k", "1", "--save", "birds", *store)
    assert "nothing new" in alm2vec("saved", "run", "birds", "--new", *store).err


def test_copies_there_and_back(
    alm2vec: CommandLine, server: StandIn, sounds: Path, tmp_path: Path
) -> None:
    """From a folder to the server and into another folder: all answers stay the same, and nothing
    is embedded again."""
    here, back = tmp_path / "here", tmp_path / "back"
    alm2vec("index", sounds, "--aspect", "animal=what animal is it?", "--store", here)
    there = alm2vec("copy", here, server.url)
    assert there.exit_code == 0, there.err
    assert "3 sounds copied" in there.err
    assert "3 there already" in alm2vec("copy", here, server.url).err
    assert alm2vec("copy", server.url, back).exit_code == 0
    questions = (
        ("a rooster",),
        ("a rooster", "--aspect", "animal"),
        ("x", "--where", "duration<6"),
    )
    for question in questions:
        answers = [
            [{**hit, "score": round(hit["score"], 3)} for hit in answer.records]
            for answer in (
                alm2vec("search", *question, "--json", "--store", store)
                for store in (here, server.url, back)
            )
        ]
        assert answers[0] == answers[1] == answers[2]
    for store in (server.url, back):
        assert "3 unchanged" in alm2vec("index", sounds, "--store", store).err


def test_a_copy_that_was_interrupted_goes_on_and_deletes_nothing(
    alm2vec: CommandLine, server: StandIn, sounds: Path, tmp_path: Path
) -> None:
    here, others = tmp_path / "here", tmp_path / "others"
    alm2vec("index", sounds / "till.flac", "--store", others)
    alm2vec("copy", others, server.url)
    alm2vec("index", sounds / "REC_0042.wav", sounds / "hillside.flac", "--store", here)
    server.faults.append(Fault(status=400, path="points$", text="no"))
    failed = alm2vec("copy", here, server.url)
    assert failed.exit_code == 3
    assert "refuses (400)" in failed.err
    server.faults.clear()
    done = alm2vec("copy", here, server.url)
    assert "1 of others left alone" in done.err
    assert len(names(alm2vec("search", "x", "--paths", "--store", server.url).out)) == 3


def test_another_models_vectors_are_not_mixed_in(
    alm2vec: CommandLine, server: StandIn, sounds: Path, tmp_path: Path
) -> None:
    alm2vec("index", sounds, "--store", server.url, "--window", "5")
    alm2vec("index", sounds, "--store", tmp_path / "here")
    refused = alm2vec("copy", tmp_path / "here", server.url)
    assert refused.exit_code == 3
    assert "was made by" in refused.err


def test_the_key(alm2vec: CommandLine, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StandIn(key=KEY) as server:
        store = ("--store", server.url)
        without = alm2vec("index", sounds, *store)
        assert without.exit_code == 3
        assert "asks for a key" in without.err
        assert "ALM2VEC_API_KEY" in without.err
        monkeypatch.setenv("ALM2VEC_API_KEY", "wrong")
        refused = alm2vec("search", "x", *store)
        assert "refuses the key" in refused.err
        assert "wrong" not in refused.err
        monkeypatch.setenv("ALM2VEC_API_KEY", KEY)
        assert alm2vec("index", sounds, *store).exit_code == 0


def test_nobody_there(alm2vec: CommandLine, sounds: Path) -> None:
    for words in (("search", "x"), ("status",), ("index", sounds)):
        answer = alm2vec(*words, "--store", "http://127.0.0.1:1")
        assert answer.exit_code == 3
        assert "can't be reached" in answer.err
        assert "docker compose up" in answer.err


def test_no_address(alm2vec: CommandLine) -> None:
    answer = alm2vec("search", "x", "--store", "ftp://localhost")
    assert answer.exit_code == 2
    assert "http" in answer.err

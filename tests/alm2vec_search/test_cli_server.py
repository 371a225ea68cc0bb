"""The command line with an index on a server: the bundled model, and a stand-in for Qdrant.

Two homes are two machines that share the server.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from index_driver import write_tone
from qdrant_standin import Fault, StandIn

from alm2vec_search.collection.server_connection import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from command_line import CommandLine

KEY = "open-sesame"


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(Patience.__init__, "__defaults__", (3, 0.001, 0.01))
    with StandIn(key=KEY) as standin:
        monkeypatch.setenv("ALM2VEC_STORE", standin.url)
        monkeypatch.setenv("ALM2VEC_API_KEY", KEY)
        yield standin


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """From here on, at this one."""
    return lambda name: monkeypatch.setenv("ALM2VEC_HOME", str(tmp_path / name))


def paths_found(answer: object) -> set[str]:
    return {Path(record["path"]).name for record in answer.records}  # type: ignore[attr-defined]


def test_index_search_status_remove(standin: StandIn, alm2vec: CommandLine, library: Path) -> None:
    for note in ("low", "middle", "high"):
        write_tone(library / f"{note}.wav", note)
    indexed = alm2vec("index", library)
    assert indexed.exit_code == 0, indexed.err
    assert f"index in alm2vec at {standin.url}" in indexed.err
    assert "3 indexed" in indexed.err
    again = alm2vec("index", library)
    assert "3 unchanged" in again.err
    answer = alm2vec("search", "a low tone", "--json")
    assert answer.exit_code == 0, answer.err
    assert paths_found(answer) == {"low.wav", "middle.wav", "high.wav"}
    status = json.loads(alm2vec("status", "--json").out)
    assert status["store"] == f"alm2vec at {standin.url}"
    assert (status["files"], status["chunks"], status["size_bytes"]) == (3, 3, None)
    assert alm2vec("status").out.startswith(f"index      alm2vec at {standin.url}\n")
    assert alm2vec("remove", library / "low.wav").exit_code == 0
    assert paths_found(alm2vec("search", "a low tone", "--json")) == {"middle.wav", "high.wav"}
    assert alm2vec("index", library).exit_code == 0
    assert len(paths_found(alm2vec("search", "a low tone", "--json"))) == 3


def test_nothing_there_yet(standin: StandIn, alm2vec: CommandLine, library: Path) -> None:
    for command in (["status"], ["search", "rain"], ["remove", str(library)]):
        answer = alm2vec(*command)
        assert answer.exit_code == 3
        assert f"error: no index in alm2vec at {standin.url}" in answer.err
    write_tone(library / "low.wav")
    planned = alm2vec("index", library, "--dry-run")
    assert "to read: 1 file" in planned.err
    assert standin.client.get_collections().collections == []


def test_what_another_machine_indexed_is_known(
    standin: StandIn, alm2vec: CommandLine, library: Path, machine: Callable[[str], None]
) -> None:
    write_tone(library / "shared" / "low.wav", "low")
    write_tone(library / "mine" / "high.wav", "high")
    machine("first")
    assert "2 indexed" in alm2vec("index", library).err
    machine("second")
    status = json.loads(alm2vec("status", "--json").out)
    assert (status["files"], status["chunks"]) == (2, 2)
    assert "unchanged: 2 files" in alm2vec("index", library, "--dry-run").err
    assert "2 unchanged" in alm2vec("index", library).err
    write_tone(library / "mine" / "copy of high.wav", "high")
    write_tone(library / "mine" / "middle.wav", "middle")
    assert "1 indexed, 1 moved or copied" in alm2vec("index", library).err
    machine("first")  # whose manifest knows nothing of that
    assert "4 unchanged" in alm2vec("index", library).err
    (library / "mine" / "high.wav").unlink()
    assert "3 unchanged, 1 forgotten" in alm2vec("index", library).err
    machine("second")
    found = alm2vec("search", "a high tone", "--json", "--keep-copies")
    assert paths_found(found) == {"low.wav", "middle.wav", "copy of high.wav"}


def test_a_server_that_was_set_back_is_noticed(
    standin: StandIn, alm2vec: CommandLine, library: Path
) -> None:
    """To an earlier snapshot, say: the mark is the same, and chunks are missing."""
    write_tone(library / "low.wav", "low")
    write_tone(library / "high.wav", "high")
    assert alm2vec("index", library).exit_code == 0
    [described] = standin.client.get_collections().collections
    [first, *_], _ = standin.client.scroll(described.name, limit=10)
    standin.client.delete(described.name, [first.id])
    assert "1 indexed, 1 unchanged" in alm2vec("index", library).err


def test_a_run_that_broke_off_goes_on(
    standin: StandIn, alm2vec: CommandLine, library: Path
) -> None:
    for note in ("low", "middle", "high"):
        write_tone(library / f"{note}.wav", note)
    assert alm2vec("index", library).exit_code == 0
    write_tone(library / "new.wav", "middle", 5.0)
    standin.faults += [Fault(status=400, text="no", path="points$")]
    broken = alm2vec("index", library)
    assert broken.exit_code == 3
    assert "refuses (400): no" in broken.err
    assert "1 indexed, 3 unchanged" in alm2vec("index", library).err


def test_anew(standin: StandIn, alm2vec: CommandLine, library: Path) -> None:
    write_tone(library / "low.wav", "low")
    assert alm2vec("index", library).exit_code == 0
    refused = alm2vec("index", library, "--window", "2")
    assert refused.exit_code == 3
    assert f"the index in alm2vec at {standin.url} was made by" in refused.err
    assert alm2vec("index", library, "--window", "2", "--rebuild").exit_code == 0
    [described] = standin.client.get_collections().collections
    assert "__2s-2s__" in described.name


def test_saved_searches_lie_beside(
    standin: StandIn, alm2vec: CommandLine, library: Path, machine: Callable[[str], None]
) -> None:
    write_tone(library / "low.wav", "low")
    machine("first")
    assert alm2vec("index", library).exit_code == 0
    machine("second")
    assert alm2vec("search", "a low tone", "--save", "lows").exit_code == 0
    assert alm2vec("saved", "run", "lows", "--new").err.strip().endswith("nothing new")
    assert alm2vec("saved", "list").out.startswith("lows\t")
    machine("first")
    assert alm2vec("saved", "list").out == ""


def test_troubles_are_told_without_a_traceback_or_a_key(
    standin: StandIn, alm2vec: CommandLine, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tone(library / "low.wav")
    assert alm2vec("index", library).exit_code == 0
    monkeypatch.setenv("ALM2VEC_API_KEY", "open-barley")
    wrong = alm2vec("search", "rain")
    assert wrong.exit_code == 3
    assert f"error: the Qdrant server at {standin.url} refuses the key" in wrong.err
    monkeypatch.delenv("ALM2VEC_API_KEY")
    assert "asks for a key" in alm2vec("status").err
    monkeypatch.setenv("ALM2VEC_STORE", "http://127.0.0.1:1")
    gone = alm2vec("search", "rain")
    assert gone.exit_code == 3
    assert "error: the Qdrant server at http://127.0.0.1:1 can't be reached" in gone.err
    assert "hint: start it with `docker compose up -d`" in gone.err
    assert not any("open-" in answer.err for answer in (wrong, gone))
    assert not any("Traceback" in answer.err for answer in (wrong, gone))


class TestCopy:
    def test_there_and_back(
        self,
        standin: StandIn,
        alm2vec: CommandLine,
        library: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        write_tone(library / "low.wav", "low")
        write_tone(library / "high.wav", "high")
        here, back = tmp_path / "here", tmp_path / "back"
        assert alm2vec("index", library, "--store", here).exit_code == 0
        copied = alm2vec("copy", here, standin.url)
        assert copied.exit_code == 0, copied.err
        assert "sounds: 2 copied\n2 chunks in" in copied.err
        assert f"from {here} to alm2vec at {standin.url}" in copied.err
        assert paths_found(alm2vec("search", "a low tone", "--json")) == {"low.wav", "high.wav"}
        assert "2 unchanged" in alm2vec("index", library).err
        again = alm2vec("copy", here, standin.url, "--json", "-q")
        assert json.loads(again.out)["there"] == 2
        assert again.err == ""
        other = alm2vec("copy", standin.url, standin.url, "--to-collection", "other")
        assert other.exit_code == 0, other.err
        assert len(standin.client.get_aliases().aliases) == 2
        monkeypatch.setenv("ALM2VEC_FROM_API_KEY", KEY)
        monkeypatch.setenv("ALM2VEC_API_KEY", "of another server")
        returned = alm2vec("copy", standin.url, back, "--from-collection", "other")
        assert returned.exit_code == 0, returned.err
        assert "2 unchanged" in alm2vec("index", library, "--store", back).err
        status = json.loads(alm2vec("status", "--json", "--store", back).out)
        assert (status["files"], status["chunks"], status["interrupted"]) == (2, 2, False)

    def test_vectors_of_another_model_are_refused(
        self, standin: StandIn, alm2vec: CommandLine, library: Path, tmp_path: Path
    ) -> None:
        write_tone(library / "low.wav", "low")
        assert alm2vec("index", library).exit_code == 0
        assert alm2vec("index", library, "--window", "2", "--store", tmp_path / "x").exit_code == 0
        refused = alm2vec("copy", tmp_path / "x", standin.url)
        assert refused.exit_code == 3
        assert "was made by model small" in refused.err
        assert "hint: vectors of two models don't mix" in refused.err

    def test_to_where_it_is(self, standin: StandIn, alm2vec: CommandLine, tmp_path: Path) -> None:
        for place in (standin.url, tmp_path):
            answer = alm2vec("copy", place, f"{place}/")
            assert answer.exit_code == 2
            assert "is where it is" in answer.err

    def test_from_nothing(self, standin: StandIn, alm2vec: CommandLine, tmp_path: Path) -> None:
        answer = alm2vec("copy", tmp_path / "nothing", standin.url)
        assert answer.exit_code == 3
        assert f"no index in {tmp_path / 'nothing'}" in answer.err
        assert standin.client.get_collections().collections == []

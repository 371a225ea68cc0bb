"""`alm2vec duplicates` on a library that holds copies of every kind, by the real model."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from command_line import CommandLine

SAMPLES = Path(__file__).parents[2] / "samples"


def ffmpeg(source: Path, *options: str | Path) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, *options], check=True)


@pytest.fixture
def copies(tmp_path: Path, alm2vec: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An indexed library of four sounds and four copies."""
    library = tmp_path / "library"
    library.mkdir()
    monkeypatch.setenv("ALM2VEC_STORE", str(tmp_path / "index"))
    for name in ("animals/REC_0042.wav", "animals/STE-007.opus", "voices/answering_machine.wav"):
        shutil.copy(SAMPLES / name, library)
    shutil.copy(SAMPLES / "machines/till.flac", library / "till.flac")
    shutil.copy(SAMPLES / "machines/till.flac", library / "till again.flac")
    ffmpeg(library / "REC_0042.wav", library / "dog.flac")
    ffmpeg(library / "REC_0042.wav", "-b:a", "64k", library / "dog.mp3")
    ffmpeg(library / "STE-007.opus", "-ss", "1", "-t", "3", library / "frogs.ogg")
    assert alm2vec("index", library).exit_code == 0
    return library


def test_each_kind_is_found_and_nothing_is_touched(copies: Path, alm2vec: CommandLine) -> None:
    before = {path.name: path.read_bytes() for path in copies.iterdir()}
    answer = alm2vec("duplicates", "--json")
    found = {(Path(r["first"]).name, Path(r["second"]).name): r["kind"] for r in answer.records}
    assert found == {
        ("till again.flac", "till.flac"): "same bytes",
        ("REC_0042.wav", "dog.flac"): "same audio",
        ("REC_0042.wav", "dog.mp3"): "re-encoded",
        ("STE-007.opus", "frogs.ogg"): "trimmed",
    }
    [trimmed] = [r for r in answer.records if r["kind"] == "trimmed"]
    assert (trimmed["start_s"], trimmed["end_s"]) == (
        pytest.approx(1, abs=0.05),
        pytest.approx(4, abs=0.1),
    )
    assert answer.exit_code == 0
    assert answer.err.splitlines()[-1] == "4 pairs of copies"
    assert {path.name: path.read_bytes() for path in copies.iterdir()} == before


def test_exact_ones_need_no_reading(copies: Path, alm2vec: CommandLine) -> None:
    for path in copies.iterdir():
        path.unlink()
    answer = alm2vec("duplicates", "--exact")
    kinds = [line.split("\t")[0] for line in answer.out.splitlines()]
    assert kinds == ["same bytes", "same audio"]


def test_a_file_that_is_gone_is_told(copies: Path, alm2vec: CommandLine) -> None:
    (copies / "dog.mp3").unlink()
    answer = alm2vec("duplicates")
    assert "dog.mp3: no such file" in answer.err
    assert "trimmed 0:01.0–0:04.0\t" in answer.out


def test_results_show_a_recording_once(copies: Path, alm2vec: CommandLine) -> None:
    dogs = {"REC_0042.wav", "dog.flac", "dog.mp3"}
    hits = alm2vec("search", "dog barking", "--json").records
    [dog] = [hit for hit in hits if Path(hit["path"]).name in dogs]
    assert {Path(path).name for path in (dog["path"], *dog["copies"])} == dogs
    hits = alm2vec("search", "dog barking", "--json", "--keep-copies").records
    names = [Path(hit["path"]).name for hit in hits if Path(hit["path"]).name in dogs]
    assert len(names) == 2  # the same samples are one sound all the same
    assert "dog.mp3" in names

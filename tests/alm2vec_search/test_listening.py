"""Hits as sound: clips in a folder, and a player that is called with the right stretch."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import pytest
import soundfile
from audio_files import WAV, make_sound

from alm2vec_search.commands.listening import PLAYERS, cut_clips, play
from alm2vec_search.domain import Hit, TimeSpan
from alm2vec_search.errors import QueryError

if TYPE_CHECKING:
    from pathlib import Path

RATE = 16_000


def hit(path: Path, start_s: float, end_s: float) -> Hit:
    return Hit(path, path.parent, TimeSpan(start_s, end_s), 0.5)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def rain(library: Path) -> Path:
    return WAV.write(library / "rain.wav", make_sound(4, RATE, channels=2), RATE)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return tmp_path / "new" / "clips"


class TestCutClips:
    def test_one_a_hit_named_by_rank(
        self, rain: Path, clips: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cut_clips([hit(rain, 2, 3.5), hit(rain, 0, 1)], clips)
        assert names_in(clips) == ["001 rain 2.00-3.50.wav", "002 rain 0.00-1.00.wav"]
        infos = [soundfile.info(clips / name) for name in names_in(clips)]
        assert [(info.frames, info.channels) for info in infos] == [(24_000, 2), (16_000, 2)]
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("cut into ")

    def test_a_folder_that_is_there_keeps_what_it_has(self, rain: Path, clips: Path) -> None:
        clips.mkdir(parents=True)
        (clips / "notes.txt").write_text("mine")
        cut_clips([hit(rain, 0, 1)], clips)
        assert names_in(clips) == ["001 rain 0.00-1.00.wav", "notes.txt"]
        assert (clips / "notes.txt").read_text() == "mine"

    def test_nothing_is_overwritten(self, rain: Path, clips: Path) -> None:
        clips.mkdir(parents=True)
        (clips / "002 rain 2.00-3.00.wav").write_text("mine")
        with pytest.raises(QueryError, match=r"002 rain 2\.00-3\.00\.wav is there already"):
            cut_clips([hit(rain, 0, 1), hit(rain, 2, 3)], clips)
        assert names_in(clips) == ["002 rain 2.00-3.00.wav"]
        assert (clips / "002 rain 2.00-3.00.wav").read_text() == "mine"

    def test_a_damaged_file_is_told_and_the_others_are_cut(
        self, rain: Path, library: Path, clips: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bad, gone = library / "bad.wav", library / "gone.wav"
        bad.write_text("not audio at all")
        cut_clips([hit(bad, 0, 1), hit(rain, 0, 1), hit(gone, 0, 1), hit(rain, 9, 10)], clips)
        assert names_in(clips) == ["002 rain 0.00-1.00.wav"]
        *told, last = capsys.readouterr().err.splitlines()
        assert [line.split(":")[:2] for line in told] == [
            ["not cut", f" {path}"] for path in (bad, gone, rain)
        ]
        assert last.startswith("cut into ")

    @pytest.mark.parametrize("below", [".", "deeper"])
    def test_a_file_where_the_folder_should_be(
        self, rain: Path, tmp_path: Path, below: str
    ) -> None:
        (tmp_path / "clips").write_text("mine")
        with pytest.raises(QueryError) as caught:
            cut_clips([hit(rain, 0, 1)], tmp_path / "clips" / below)
        assert caught.value.hint == "name a folder to write to"
        assert (tmp_path / "clips").read_text() == "mine"

    def test_no_room(self, rain: Path, clips: Path) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # as on a full disk
        try:
            with pytest.raises(QueryError):
                cut_clips([hit(rain, 0, 4)], clips)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert names_in(clips) == []

    @pytest.mark.parametrize(
        ("name", "clip"),
        [
            (b"a\tb\nc.wav", "001 a_b_c 0.00-1.00.wav"),
            (b"caf\xe9.wav", "001 caf_ 0.00-1.00.wav"),
            (b"-rf.wav", "001 -rf 0.00-1.00.wav"),
            (b"x" * 240 + b".wav", f"001 {'x' * 80} 0.00-1.00.wav"),
        ],
    )
    def test_names_that_are_none(self, rain: Path, clips: Path, name: bytes, clip: str) -> None:
        source = rain.rename(rain.with_name(os.fsdecode(name)))
        cut_clips([hit(source, 0, 1)], clips)
        assert names_in(clips) == [clip]

    @pytest.mark.parametrize("letter", ["雨", "🎧"])
    def test_long_names_in_letters_of_many_bytes(
        self, rain: Path, clips: Path, letter: str
    ) -> None:
        stem = letter * (250 // len(letter.encode()))
        source = rain.rename(rain.with_name(f"{stem}.wav"))
        cut_clips([hit(source, 0, 1)], clips)
        (name,) = names_in(clips)
        assert name.startswith(f"001 {letter * 10}")

    def test_a_folder_whose_name_is_no_text(self, rain: Path, tmp_path: Path) -> None:
        folder = tmp_path / os.fsdecode(b"caf\xe9")
        cut_clips([hit(rain, 0, 1)], folder)
        assert names_in(folder) == ["001 rain 0.00-1.00.wav"]


class TestPlay:
    @pytest.fixture
    def programs(self, tmp_path: Path) -> Path:
        folder = tmp_path / "programs"
        folder.mkdir()
        return folder

    def put(self, programs: Path, name: str) -> Path:
        """A player that only notes what it is asked to play."""
        notes, script = programs.parent / f"{name}.txt", programs / name
        script.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" end >> '{notes}'\nexit 1\n")
        script.chmod(0o755)
        return notes

    def test_each_stretch_in_turn(
        self,
        programs: Path,
        rain: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        notes = self.put(programs, "mpv")
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        dog = rain.with_name("a dog's $HOME.wav")
        play([hit(rain, 1.23456, 4), hit(dog, 0, 61)])
        assert notes.read_text().splitlines() == [
            *("--no-video", "--really-quiet", "--start=1.235", "--end=4", str(rain), "end"),
            *("--no-video", "--really-quiet", "--start=0", "--end=61", str(dog), "end"),
        ]
        out, err = capsys.readouterr()
        assert out == ""
        first, second = err.splitlines()
        assert first.startswith("0:01.2–0:04.0  ")
        assert second.startswith("0:00.0–1:01.0  ")

    @pytest.mark.parametrize(
        ("player", "options"),
        [
            ("ffplay", ["-nodisp", "-autoexit", "-loglevel", "error", "-ss", "1.5", "-t", "2.25"]),
            ("cvlc", ["--play-and-exit", "--quiet", "--start-time=1.5", "--stop-time=3.75"]),
        ],
    )
    def test_other_players(
        self,
        programs: Path,
        rain: Path,
        monkeypatch: pytest.MonkeyPatch,
        player: str,
        options: list[str],
    ) -> None:
        notes = self.put(programs, player)
        monkeypatch.setenv("PATH", str(programs))
        play([hit(rain, 1.5, 3.75)])
        assert notes.read_text().splitlines() == [*options, str(rain), "end"]

    def test_the_first_that_is_here(
        self, programs: Path, rain: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        notes = {name: self.put(programs, name) for name in reversed(PLAYERS)}
        monkeypatch.setenv("PATH", str(programs))
        play([hit(rain, 0, 1)])
        assert [name for name in PLAYERS if notes[name].exists()] == ["mpv"]

    def test_no_player(self, programs: Path, rain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(programs))
        with pytest.raises(QueryError, match="no player is here") as caught:
            play([hit(rain, 0, 1)])
        assert caught.value.hint == "install one of mpv, ffplay, cvlc"

"""Looking through a data set's folder: one walk, which survives what folders may hold."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alm2vec_search.errors import TrainingError
from trainer.prepare.data_set import DataSet, relative_to

if TYPE_CHECKING:
    from conftest import Touch


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


class TestOpen:
    def test_lists_and_audio(self, data: Path, touch: Touch) -> None:
        touch("b.csv", "a/c.JSON", "a/d.jsonl", "a/notes.txt", "a/x.wav", "a/.hidden.csv")

        found = DataSet.open(data)

        assert names(list(found.lists)) == ["b.csv", "c.JSON", "d.jsonl"]
        assert names(found.audio.find("x.flac")) == ["x.wav"]
        assert found.problems == ()

    def test_a_file_is_the_only_list(self, data: Path, touch: Touch) -> None:
        touch("a.csv", "b.csv", "x.wav")

        found = DataSet.open(data / "a.csv")

        assert found.lists == (data / "a.csv",)
        assert names(found.audio.find("x")) == ["x.wav"]

    def test_what_systems_leave_is_no_audio(self, data: Path, touch: Touch) -> None:
        touch("._x.wav", ".trash/x.wav")

        assert DataSet.open(data).audio.find("x.wav", "._x.wav") == []

    def test_links_are_followed_once(self, data: Path, touch: Touch, tmp_path: Path) -> None:
        (tmp_path / "disk").mkdir()
        (tmp_path / "disk" / "x.wav").touch()
        (data / "a").symlink_to(tmp_path / "disk")
        (data / "b").symlink_to(tmp_path / "disk")
        (data / "loop").symlink_to(data)
        touch("y.wav")

        audio = DataSet.open(data).audio

        assert audio.find("x.wav") == [data / "a" / "x.wav"]
        assert audio.find("y.wav") == [data / "y.wav"]

    def test_a_name_that_json_cannot_hold(self, data: Path) -> None:
        Path(os.fsdecode(os.fsencode(data / "t") + b"\xfcr.wav")).touch()

        ((where, reason),) = DataSet.open(data).problems

        assert where.endswith(r"t\xfcr.wav")
        assert reason == "the name isn't UTF-8"

    def test_a_folder_that_cannot_be_looked_into(
        self, data: Path, touch: Touch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        touch("locked/x.wav", "y.wav")
        scandir = os.scandir

        def refuse(path: str) -> object:
            if str(path).endswith("locked"):
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)

        found = DataSet.open(data)

        assert found.problems == ((str(data / "locked"), "permission denied"),)
        assert found.audio.find("y.wav")

    @pytest.mark.parametrize("audio", [None, "nowhere"])
    def test_no_such_folder(self, data: Path, audio: str | None) -> None:
        with pytest.raises(TrainingError, match="nowhere: no such file"):
            DataSet.open(data if audio else data / "nowhere", data / audio if audio else None)


class TestFind:
    def test_however_an_accent_is_written(self, data: Path, touch: Touch) -> None:
        touch(unicodedata.normalize("NFD", "Tür.wav"))

        assert DataSet.open(data).audio.find(unicodedata.normalize("NFC", "Tür.wav"))

    def test_dots_in_a_name(self, data: Path, touch: Touch) -> None:
        touch("en.20080925.16.4-121_0.0_6.74.wav")
        audio = DataSet.open(data).audio

        assert audio.find("en/en.20080925.16.4-121_0.0_6.74")
        assert audio.find("en.20080925.16.4-121_0.0_6") == []

    def test_the_folders_that_agree_most(self, data: Path, touch: Touch) -> None:
        touch("one/audio/1.wav", "two/audio/1.wav", "two/1.wav")
        audio = DataSet.open(data).audio

        assert audio.find("set/two/audio/1.mp3") == [data / "two/audio/1.wav"]
        assert len(audio.find("audio/1.wav")) == 2
        assert len(audio.find("1.wav")) == 3

    def test_the_format_that_was_asked_for(self, data: Path, touch: Touch) -> None:
        touch("1.wav", "1.mp3", "1.ogg")

        assert names(DataSet.open(data).audio.find("1.mp3")) == ["1.mp3"]

    def test_an_absolute_path_is_meant_as_it_is(
        self, data: Path, touch: Touch, tmp_path: Path
    ) -> None:
        touch("1.wav")
        (tmp_path / "1.wav").touch()
        audio = DataSet.open(data).audio

        assert audio.find(str(tmp_path / "1.wav")) == [tmp_path / "1.wav"]
        assert audio.find(str(tmp_path / "gone" / "1.wav")) == [data / "1.wav"]


class TestRelative:
    def test_from_where_the_file_is(self, tmp_path: Path) -> None:
        relative = relative_to(tmp_path / "a" / "pairs.jsonl")

        assert relative(tmp_path / "a" / "b" / "x.wav").as_posix() == "b/x.wav"
        assert relative(tmp_path / "c" / "x.wav").as_posix() == "../c/x.wav"

    def test_up_from_where_a_link_leads_to(self, tmp_path: Path) -> None:
        (tmp_path / "deep" / "er").mkdir(parents=True)
        (tmp_path / "x.wav").touch()
        (tmp_path / "link").symlink_to(tmp_path / "deep" / "er")

        path = relative_to(tmp_path / "link" / "pairs.jsonl")(tmp_path / "x.wav")

        assert (tmp_path / "link" / path).is_file()

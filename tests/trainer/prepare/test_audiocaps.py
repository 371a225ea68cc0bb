"""AudioCaps: its csv, and the many names that its clips are kept by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alm2vec_search.errors import PairError, TrainingError
from trainer.prepare.audiocaps import prepare
from trainer.prepare.instructions import DOCUMENT, SOUND

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Read, Touch

# rows of github.com/cdjkim/audiocaps, dataset/train.csv and dataset/val.csv
TRAIN = """\
audiocap_id,youtube_id,start_time,caption
91139,r1nicOVtvkQ,130,A woman talks nearby as water pours
58146,UDGBjjwyaqE,20,Multiple clanging and clanking sounds
11542,3eJ9RynJzP8,80,"The wind is blowing, insects are singing, and rustling occurs"
270,-5weqk40jaI,17,Strong wind against the microphone simultaneously with heavy rain.
"""
VAL = """\
audiocap_id,youtube_id,start_time,caption
107890,uYT5gxnyMWM,50,"A young female speaks, followed by spraying and a female screaming"
107897,yVPZ2MNWpms,0,An airplane engine runs
109274,uYT5gxnyMWM,50,A girl speaks followed by a scream and more girls talking
100837,yVPZ2MNWpms,0,Distant humming of an engine
"""


@pytest.fixture
def csv(data: Path) -> Path:
    (data / "train.csv").write_text(TRAIN)
    return data / "train.csv"


class TestPairs:
    @pytest.mark.usefixtures("csv")
    def test_a_caption_goes_both_ways(
        self, data: Path, out: Path, touch: Touch, read: Read
    ) -> None:
        touch("audio/r1nicOVtvkQ.wav")

        prepare(data, out)

        to_audio, to_text = read(out)
        assert to_audio.query.text == "A woman talks nearby as water pours"
        assert to_audio.query.audio is None
        assert to_audio.query.instruction == SOUND.to_audio
        assert to_audio.document.audio is not None
        assert to_audio.document.audio.path.as_posix() == "audio/r1nicOVtvkQ.wav"
        assert to_audio.document.instruction == DOCUMENT
        assert to_text.query.audio == to_audio.document.audio
        assert to_text.query.instruction == SOUND.to_text
        assert to_text.document.text == to_audio.query.text
        assert to_text.document.instruction == DOCUMENT
        for pair in (to_audio, to_text):
            assert pair.source == "audiocaps"
            assert pair.clip == pair.one_of == "r1nicOVtvkQ_130"

    def test_captions_of_a_clip_follow_each_other(
        self, data: Path, out: Path, touch: Touch, read: Read
    ) -> None:
        (data / "val.csv").write_text(VAL)
        touch("uYT5gxnyMWM.wav", "yVPZ2MNWpms.wav")

        report = prepare(data, out, split="val")

        pairs = read(out)
        assert [pair.one_of for pair in pairs] == ["uYT5gxnyMWM_50"] * 4 + ["yVPZ2MNWpms_0"] * 4
        assert [pair.query.text for pair in pairs[4::2]] == [
            "An airplane engine runs",
            "Distant humming of an engine",
        ]
        assert (report.written, report.clips, report.is_clean) == (8, 2, True)


@pytest.mark.usefixtures("csv")
class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            "r1nicOVtvkQ.wav",
            "Yr1nicOVtvkQ.flac",
            "r1nicOVtvkQ_130.mp3",
            "Yr1nicOVtvkQ_130.m4a",
            "r1nicOVtvkQ_130_140.ogg",
            "r1nicOVtvkQ_130000_140000.opus",
            "r1nicOVtvkQ_000130.WAV",
            "91139.wav",
            "train/a/b/r1nicOVtvkQ.webm",
        ],
    )
    def test_of_one_clip(self, name: str, data: Path, out: Path, touch: Touch, read: Read) -> None:
        touch(name)

        prepare(data, out)

        audio = read(out)[0].document.audio
        assert audio is not None
        assert audio.path.as_posix() == name

    def test_letters_of_an_id_have_their_size(self, data: Path, out: Path, touch: Touch) -> None:
        touch("R1NICOVTVKQ.wav", "270.wav")

        report = prepare(data, out)

        assert "r1nicOVtvkQ_130" in report.missing

    def test_an_id_may_start_with_a_hyphen(self, data: Path, out: Path, touch: Touch) -> None:
        touch("-5weqk40jaI.wav")

        assert prepare(data, out).clips == 1

    def test_the_name_with_the_start_is_surer(
        self, data: Path, out: Path, touch: Touch, read: Read
    ) -> None:
        touch("whole/r1nicOVtvkQ.wav", "cut/r1nicOVtvkQ_130.wav")

        prepare(data, out)

        audio = read(out)[0].document.audio
        assert audio is not None
        assert audio.path.as_posix() == "cut/r1nicOVtvkQ_130.wav"

    def test_of_several_formats_what_lost_nothing(
        self, data: Path, out: Path, touch: Touch, read: Read
    ) -> None:
        touch("a/r1nicOVtvkQ.mp3", "a/r1nicOVtvkQ.flac")

        prepare(data, out)

        audio = read(out)[0].document.audio
        assert audio is not None
        assert audio.path.name == "r1nicOVtvkQ.flac"

    def test_nobody_can_tell_which_of_two(self, data: Path, out: Path, touch: Touch) -> None:
        touch("16k/r1nicOVtvkQ.wav", "32k/r1nicOVtvkQ.wav", "UDGBjjwyaqE.wav")

        report = prepare(data, out)

        (aside,) = report.set_aside
        assert aside.where == f"{data / 'train.csv'}:2"
        assert "16k/r1nicOVtvkQ.wav" in aside.reason
        assert "32k/r1nicOVtvkQ.wav" in aside.reason
        assert report.clips == 1


class TestMissing:
    @pytest.mark.usefixtures("csv")
    def test_is_named(self, data: Path, out: Path, touch: Touch) -> None:
        touch("r1nicOVtvkQ.wav")

        report = prepare(data, out)

        assert report.missing == ("UDGBjjwyaqE_20", "3eJ9RynJzP8_80", "-5weqk40jaI_17")
        assert not report.is_clean

    @pytest.mark.usefixtures("csv")
    def test_all_is_an_error_and_keeps_what_was_there(self, data: Path, out: Path) -> None:
        out.write_text("yesterday's")

        with pytest.raises(TrainingError, match="no audio file of 4 clips") as caught:
            prepare(data, out)

        assert caught.value.hint is not None
        assert "r1nicOVtvkQ_130" in caught.value.hint
        assert out.read_text() == "yesterday's"
        assert sorted(path.name for path in data.iterdir()) == ["pairs.jsonl", "train.csv"]


class TestTables:
    def test_the_audio_may_lie_elsewhere(
        self, csv: Path, data: Path, tmp_path: Path, touch: Touch, read: Read
    ) -> None:
        touch("train/r1nicOVtvkQ.wav")
        out = tmp_path / "made" / "pairs.jsonl"

        prepare(csv.rename(tmp_path / "train.csv"), out, audio=data)

        audio = read(out)[0].document.audio
        assert audio is not None
        assert audio.path.as_posix() == "../data/train/r1nicOVtvkQ.wav"

    def test_a_column_by_the_name_of_its_unit(self, data: Path, out: Path, touch: Touch) -> None:
        (data / "train_captions.csv").write_text(TRAIN.replace("start_time", "start_s"))
        touch("r1nicOVtvkQ_130.wav")

        assert prepare(data, out).written == 2

    @pytest.mark.usefixtures("csv")
    def test_the_split_is_not_there(self, data: Path, out: Path) -> None:
        with pytest.raises(TrainingError, match=r"no csv of the split test .*train.csv"):
            prepare(data, out, split="test")

    def test_two_of_the_split(self, csv: Path, data: Path, out: Path) -> None:
        (data / "dataset2.0").mkdir()
        (data / "dataset2.0" / "train.csv").write_text(csv.read_text())

        with pytest.raises(TrainingError, match="more than one csv of the split train"):
            prepare(data, out)

    def test_other_columns(self, csv: Path, data: Path, out: Path) -> None:
        csv.write_text("file,caption\na.wav,a dog\n")

        with pytest.raises(PairError, match=r"train.csv:1: expected a column youtube_id, start_"):
            prepare(data, out)

    def test_a_start_that_is_no_number(self, csv: Path, data: Path, out: Path) -> None:
        csv.write_text(TRAIN.replace(",20,", ",soon,"))

        with pytest.raises(PairError, match=r"train.csv:3: start_time is no number .*'soon'"):
            prepare(data, out)

    def test_a_blank_caption(self, csv: Path, data: Path, out: Path, touch: Touch) -> None:
        csv.write_text(TRAIN + "1,UDGBjjwyaqE,20,  \n")
        touch("r1nicOVtvkQ.wav")

        assert prepare(data, out).set_aside == ((f"{csv}:6", "the caption is blank"),)

    def test_the_csv_is_not_written_over(self, csv: Path, touch: Touch) -> None:
        touch("r1nicOVtvkQ.wav")

        with pytest.raises(TrainingError, match="is what the pairs are made from"):
            prepare(csv, csv)

        assert csv.read_text() == TRAIN

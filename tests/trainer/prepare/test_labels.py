"""Labels of one's own: a csv of paths and texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from alm2vec_search.audio import decode
from alm2vec_search.errors import PairError, TrainingError
from trainer.prepare.labels import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Read, Touch

LABELS = """\
path,text
doors/creak.wav,"an old wooden door creaks open, slowly"
doors/slam.wav,heavy door slams shut
doors/creak.wav,haunted house
"""


@pytest.fixture
def csv(data: Path) -> Path:
    (data / "labels.csv").write_text(LABELS)
    return data / "labels.csv"


@pytest.mark.parametrize("source", ["", "labels.csv"])
@pytest.mark.usefixtures("csv")
def test_texts_and_sounds(source: str, data: Path, out: Path, touch: Touch, read: Read) -> None:
    touch("doors/creak.wav", "doors/slam.wav")

    report = prepare(data / source, out, name="foley")

    pairs = read(out)
    assert [pair.one_of for pair in pairs] == ["doors/creak.wav"] * 4 + ["doors/slam.wav"] * 2
    assert [pair.query.text for pair in pairs[::2]] == [
        "an old wooden door creaks open, slowly",
        "haunted house",
        "heavy door slams shut",
    ]
    assert all(side.instruction is None for pair in pairs for side in (pair.query, pair.document))
    assert {pair.source for pair in pairs} == {"foley"}
    assert (report.written, report.clips, report.is_clean) == (6, 2, True)


def test_stretches_of_a_file_are_alternatives(
    data: Path, out: Path, touch: Touch, read: Read
) -> None:
    """They may overlap, so that none of them is a wrong answer for another."""
    rows = ["path,text,start_s,end_s", "a.wav,a dog,1.5,3", "a.wav,a cat,4,", "a.wav,pets,,"]
    (data / "labels.csv").write_text("\n".join(rows))
    touch("a.wav")

    prepare(data, out)

    by_text = [pair for pair in read(out) if pair.query.text]
    heard = [pair.document.audio for pair in by_text]
    assert [pair.query.text for pair in by_text] == ["a dog", "a cat", "pets"]
    assert [(a.start_s, a.end_s) for a in heard if a] == [(1.5, 3), (4, None), (None, None)]
    assert {(pair.clip, pair.one_of) for pair in by_text} == {("a.wav", "a.wav")}


@pytest.mark.usefixtures("csv")
def test_a_file_of_that_name_elsewhere_is_not_it(data: Path, out: Path, touch: Touch) -> None:
    touch("doors/creak.wav", "other/slam.wav")

    assert prepare(data, out).missing == ("doors/slam.wav",)


@pytest.mark.parametrize(
    "path", [r"doors\creak.wav", "./doors/creak.wav", "doors/creak", "doors/../doors/creak.flac"]
)
def test_ways_to_write_a_path(path: str, csv: Path, out: Path, touch: Touch, read: Read) -> None:
    csv.write_text(f"path,text\n{path},creaking\n")
    touch("doors/creak.wav")

    prepare(csv, out)

    audio = read(out)[0].document.audio
    assert audio is not None
    assert audio.path.as_posix() == "doors/creak.wav"


def test_two_ways_to_write_one_path_are_one_clip(
    csv: Path, out: Path, touch: Touch, read: Read
) -> None:
    csv.write_text("path,text\ndoors\\creak.wav,creaking\n./doors/creak.wav,squeaking\n")
    touch("doors/creak.wav")

    prepare(csv, out)

    assert [pair.clip for pair in read(out)] == ["doors/creak.wav"] * 4


def test_an_absolute_path(csv: Path, out: Path, tmp_path: Path, read: Read) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.wav").touch()
    csv.write_text(f"path,text\n{tmp_path / 'far' / 'a.wav'},far away\n")

    prepare(csv, out)

    audio = read(out)[0].document.audio
    assert audio is not None
    assert audio.path.as_posix() == "../far/a.wav"


def test_what_a_spreadsheet_writes(csv: Path, out: Path, touch: Touch, read: Read) -> None:
    csv.write_bytes("\ufeffPath;Text\r\ndoors/creak.wav;Tür, knarrend\r\n;\r\n".encode())
    touch("doors/creak.wav")

    prepare(csv, out)

    assert read(out)[0].query.text == "Tür, knarrend"


def test_a_comma_without_quotes(csv: Path, out: Path) -> None:
    csv.write_text("path,text\na.wav,rain\nb.wav,a dog, barking\n")

    with pytest.raises(PairError, match=r"labels.csv:3: 3 values, and there are 2 columns") as got:
        prepare(csv, out)

    assert got.value.hint is not None
    assert '"a dog, barking"' in got.value.hint


def test_blank_cells_are_set_aside(csv: Path, out: Path, touch: Touch) -> None:
    csv.write_text("path,text\na.wav,rain\na.wav,\n,snow\n\n")
    touch("a.wav")

    assert prepare(csv, out).set_aside == (
        (f"{csv}:3", "the text is blank"),
        (f"{csv}:4", "no path"),
    )


def test_paths_may_start_elsewhere(csv: Path, data: Path, touch: Touch) -> None:
    touch("library/doors/creak.wav", "library/doors/slam.wav")

    report = prepare(csv, data / "pairs.jsonl", audio=data / "library")

    assert report.is_clean


def test_the_csv_may_lie_further_down(csv: Path, data: Path, out: Path, touch: Touch) -> None:
    touch("deep/doors/creak.wav", "deep/doors/slam.wav")
    csv.rename(data / "deep" / "labels.csv")

    assert prepare(data, out).is_clean


def test_the_folder_can_be_moved_as_a_whole(
    csv: Path, data: Path, out: Path, tmp_path: Path, read: Read
) -> None:
    (data / "doors").mkdir()
    tone = np.sin(np.arange(8_000) / 10).astype(np.float32)
    soundfile.write(data / "doors" / "creak.wav", tone, 16_000)
    link = tmp_path / "link"
    link.symlink_to(data, target_is_directory=True)
    csv.write_text("path,text\ndoors/creak.wav,creaking\n")

    prepare(link, link / out.name)
    moved = data.rename(tmp_path / "moved")

    audio = read(moved / out.name)[0].located(moved).document.audio
    assert audio is not None
    assert len(decode(audio.path, 16_000).samples) == 8_000


def test_nothing_listed(csv: Path, out: Path) -> None:
    csv.write_text("path,text\n")

    with pytest.raises(TrainingError, match="it lists nothing"):
        prepare(csv, out)


def test_no_such_folder(tmp_path: Path, out: Path) -> None:
    with pytest.raises(TrainingError, match="nowhere: no such file"):
        prepare(tmp_path / "nowhere", out)


def test_out_is_a_folder(csv: Path, data: Path, touch: Touch) -> None:
    touch("doors/creak.wav")

    with pytest.raises(TrainingError, match="is a folder"):
        prepare(csv, data)


def test_out_cannot_be_written(csv: Path, data: Path, touch: Touch) -> None:
    touch("doors/creak.wav", "taken")

    with pytest.raises(TrainingError, match=r"pairs.jsonl can't be written"):
        prepare(csv, data / "taken" / "pairs.jsonl")

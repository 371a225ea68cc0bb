"""Clotho: five captions in a row, and names that were escaped on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alm2vec_search.errors import PairError
from trainer.prepare.clotho import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Read, Touch

HEADER = "file_name,caption_1,caption_2,caption_3,caption_4,caption_5\n"
# rows of clotho_captions_development.csv
ROWS = (
    "Distorted AM Radio noise.wav,A muddled noise of broken channel of the TV,"
    "A television blares the rhythm of a static TV.,"
    "Loud television static dips in and out of focus,"
    "The loud buzz of static constantly changes pitch and volume.,"
    "heavy static and the beginnings of a signal on a transistor radio\n"
    "Paper_Parchment_Rustling.wav,A person is turning a map over and over.,"
    "A person is very carefully rapping a gift for someone else.,"
    "A person is very carefully wrapping a gift for someone else.,"
    '"He sighed as he turned the pages of the book, stopping to scan the information.",'
    '"papers are being turned, stopped, then turned again and someone is breathing."\n'
    '121006_rain&amp;storm.wav,"As thunder claps far in the distance, the rain pours down.",'
    "Rain pours down and thunder claps far in the distance.,"
    "Substantial rain and wind are pouring and spouting around and thunder is available.,"
    "The rain falls down the thunder is rumbling as someone is pounding and a car passes.,"
    '"The rain falls down while someone is pounding, a car passes by and the thunder is rumbling"\n'
)


@pytest.fixture
def csv(data: Path) -> Path:
    """With what lies beside it."""
    folder = data / "clotho_csv_files"
    folder.mkdir()
    (folder / "clotho_metadata_development.csv").write_bytes(
        b"file_name,keywords,sound_id\nDistorted AM Radio noise.wav,noise;\xe9t\xe9,1\n"
    )
    (folder / "clotho_captions_validation.csv").write_text(HEADER)
    path = folder / "clotho_captions_development.csv"
    path.write_text(HEADER + ROWS)
    return path


@pytest.mark.usefixtures("csv")
def test_five_captions_both_ways(data: Path, out: Path, touch: Touch, read: Read) -> None:
    touch("development/Distorted AM Radio noise.wav", "development/Paper_Parchment_Rustling.wav")

    report = prepare(data, out)

    pairs = read(out)
    assert [pair.one_of for pair in pairs[::10]] == [
        "Distorted AM Radio noise",
        "Paper_Parchment_Rustling",
    ]
    assert len(pairs) == report.written == 20
    assert len({pair.one_of for pair in pairs[:10]}) == 1
    assert [pair.query.text for pair in pairs[:10:2]] == [
        pair.document.text for pair in pairs[1:10:2]
    ]
    assert pairs[16].query.text == (
        "He sighed as he turned the pages of the book, stopping to scan the information."
    )
    assert {pair.source for pair in pairs} == {"clotho"}
    assert report.missing == ("121006_rain&amp;storm.wav",)


@pytest.mark.usefixtures("csv")
@pytest.mark.parametrize("name", ["121006_rain&amp;storm.wav", "121006_rain&storm.flac"])
def test_a_name_that_was_escaped(name: str, data: Path, out: Path, touch: Touch) -> None:
    touch(f"development/{name}")

    assert prepare(data, out).clips == 1


def test_other_columns_are_no_captions(
    csv: Path, data: Path, out: Path, touch: Touch, read: Read
) -> None:
    csv.write_text("file_name,caption_1,kor_1,caption_2\na.wav,rain,비,pouring rain\n")
    touch("a.wav")

    prepare(data, out)

    assert [pair.query.text for pair in read(out)[::2]] == ["rain", "pouring rain"]


def test_a_blank_caption_is_set_aside(
    csv: Path, data: Path, out: Path, touch: Touch, read: Read
) -> None:
    csv.write_text("file_name,caption_1,caption_2\na.wav,rain, \nb.wav,,\n")
    touch("a.wav", "b.wav")

    report = prepare(data, out)

    assert len(read(out)) == 2
    assert report.set_aside == ((f"{csv}:2", "caption 2 is blank"), (f"{csv}:3", "no caption"))


def test_the_metadata_instead(csv: Path, out: Path) -> None:
    metadata = csv.with_name("clotho_metadata_development.csv")
    with pytest.raises(PairError, match=r"metadata_development.csv:1: expected a column caption_1"):
        prepare(metadata, out)

"""Tables: their columns, their rows, and what can be wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alm2vec_search.errors import PairError, TrainingError
from trainer.prepare.tables import has_columns, read_table

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {"path": ("path", "file"), "text": ("text",)}


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "a.csv"


def test_rows_by_what_their_columns_mean(csv: Path) -> None:
    csv.write_text('Text, FILE ,More\n"two\nlines",a.wav,1\n\n"a ""dog""",b.wav,2\n')

    assert list(read_table(csv, COLUMNS)) == [
        (2, {"text": "two\nlines", "path": "a.wav", "more": "1"}),
        (5, {"text": 'a "dog"', "path": "b.wav", "more": "2"}),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_what_stands_between_columns(csv: Path, delimiter: str) -> None:
    csv.write_text(f"path{delimiter}text\na.wav{delimiter}a dog\n")

    assert list(read_table(csv, COLUMNS)) == [(2, {"path": "a.wav", "text": "a dog"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a.csv:1: expected a column path or file, text; found nothing"),
        (b"file,caption\na.wav,a dog\n", r"a.csv:1: expected a column text; found file, caption"),
        (b"path,text\na.wav,a dog\nb.wav\n", r"a.csv:3: 1 values, and there are 2 columns"),
        (b'path,text\na.wav,a dog\nb.wav,"a\ncat\n', r"a.csv:3: not comma-separated values"),
        (b'path,text\na.wav,"a "dog""\n', r"a.csv:2: not comma-separated values"),
        (b"path,text\na.wav,a dog\nb.wav,T\xfcr\n", r"a.csv:3: not UTF-8 text"),
        ("path,text\na.wav,a dog\n".encode("utf-16"), r"a.csv:1: not UTF-8 text"),
        (b"path,text\ra.wav,a dog\r", r"a.csv:1: not comma-separated values"),
    ],
)
def test_another_table(csv: Path, content: bytes, message: str) -> None:
    csv.write_bytes(content)

    with pytest.raises(PairError, match=message) as caught:
        list(read_table(csv, COLUMNS))

    assert caught.value.hint is None or len(caught.value.hint) < 100


def test_a_long_first_line_is_not_repeated(csv: Path) -> None:
    csv.write_text("[" + '{"sound": "a.wav"}, ' * 1000)

    with pytest.raises(PairError) as caught:
        list(read_table(csv, COLUMNS))

    assert len(str(caught.value)) < 500


def test_rows_are_read_as_they_are_asked_for(csv: Path) -> None:
    csv.write_bytes(b"path,text\na.wav,a dog\n" + b"\n" * 100_000 + b"b.wav,\xff\n")

    rows = read_table(csv, COLUMNS)

    assert next(rows)[0] == 2
    with pytest.raises(PairError, match=r"a.csv:100003: not UTF-8"):
        next(rows)


def test_has_columns(csv: Path) -> None:
    csv.write_text("path,text\n")

    assert has_columns(csv, COLUMNS)
    assert not has_columns(csv, {"caption": ("caption",)})


def test_a_file_that_is_not_there(csv: Path) -> None:
    with pytest.raises(TrainingError, match="can't be read: no such file"):
        list(read_table(csv, COLUMNS))

"""Tables of comma-separated values, row by row."""

from __future__ import annotations

import csv
from textwrap import shorten
from typing import TYPE_CHECKING

from alm2vec_search.audio import reason_of
from alm2vec_search.errors import PairError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    Columns = Mapping[str, Sequence[str]]
    """What a column means here → what it may be called, in small letters."""

_DELIMITERS = ",;\t"  # the second is what spreadsheets write where the comma is for decimals


def read_table(file: Path, columns: Columns) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows, by what their columns mean; other columns by their own names, in small letters.

    Yields:
        the line that a row starts at, and its values.

    Raises:
        PairError: the columns are others, a row has more or fewer, or it is no UTF-8 text.
        TrainingError: the file can't be read.
    """
    rows = _rows(file)
    _, header = next(rows, (1, []))
    meanings = _meanings(file, header, columns)
    for line, row in rows:
        if not any(value.strip() for value in row):
            continue
        if len(row) != len(meanings):
            raise PairError(
                f"{len(row)} values, and there are {len(meanings)} columns",
                file=file,
                line=line,
                hint='a text with a comma in it stands in quotes: a.wav,"a dog, barking"',
            )
        yield line, dict(zip(meanings, row, strict=True))


def has_columns(file: Path, columns: Columns) -> bool:
    """Whether a table can be read as one that has `columns`."""
    try:
        require_columns(file, columns)
    except PairError:
        return False
    return True


def require_columns(file: Path, columns: Columns) -> None:
    """
    Raises:
        PairError: the table has others.
        TrainingError: the file can't be read.
    """
    _, header = next(_rows(file), (1, []))
    _meanings(file, header, columns)


def decoded_lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a text, with their numbers and line breaks.

    Raises:
        PairError: a line is no UTF-8 text.
        TrainingError: the file can't be read.
    """
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise PairError(
                        "not UTF-8 text", file=file, line=number, hint="save the file as UTF-8"
                    ) from error
    except OSError as error:
        raise TrainingError(f"{file} can't be read: {reason_of(error)}") from error


def _rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    lines = decoded_lines(file)
    first = next(lines, None)
    if first is None:
        return
    delimiter = max(_DELIMITERS, key=first[1].count)
    reader = csv.reader(_again(first, lines), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise PairError(
                f"not comma-separated values: {error}",
                file=file,
                line=line,
                hint='quotes in a text in quotes are doubled: "a ""dog"", barking"',
            ) from error
        yield line, row


def _again(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[str]:
    yield first[1]
    for _, line in rest:
        yield line


def _meanings(file: Path, header: Sequence[str], columns: Columns) -> list[str]:
    """What the columns of a header mean."""
    names = [name.strip().lower() for name in header]
    known = {called: meaning for meaning, all_names in columns.items() for called in all_names}
    meanings = [known.get(name, name) for name in names]
    if lacking := [meaning for meaning in columns if meaning not in meanings]:
        expected = ", ".join(" or ".join(columns[meaning]) for meaning in lacking)
        found = shorten(", ".join(names), width=200, placeholder=" …") or "nothing"
        raise PairError(
            f"expected a column {expected}; found {found}",
            file=file,
            line=1,
            hint="the first line names the columns",
        )
    return meanings

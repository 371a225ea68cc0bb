"""Records of JSON, one after the other: of a list, or JSON lines. Neither is in memory whole."""

from __future__ import annotations

import codecs
import json
import re
from typing import IO, TYPE_CHECKING, Any

from alm2vec_search.audio import reason_of
from alm2vec_search.errors import PairError, TrainingError, one_line
from trainer.prepare.tables import decoded_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_AT_ONCE = 1 << 20  # bytes
_LFS = "version https://git-lfs"  # what stands in a file that is kept elsewhere
_SPACE = re.compile(r"[ \t\r\n]*")


def read_records(file: Path) -> Iterator[tuple[int, Any]]:
    """What a file of JSON holds: the items of its list, or its values one after the other.

    Yields:
        the line that a record starts at, and the record.

    Raises:
        PairError: it is no JSON, no UTF-8 text, or it ends too early.
        TrainingError: the file can't be read.
    """
    if file.suffix.lower() in (".jsonl", ".ndjson"):
        yield from _lines(file)
        return
    try:
        with file.open("rb") as stream:
            yield from _values(_Window(file, stream))
    except OSError as error:
        raise TrainingError(f"{file} can't be read: {reason_of(error)}") from error


def text_of(record: Any, field: str) -> str | None:
    """A field of a record. None if the record has no such text, or is no record."""
    value = record.get(field) if isinstance(record, dict) else None
    return value if isinstance(value, str) else None


def _lines(file: Path) -> Iterator[tuple[int, Any]]:
    for number, line in decoded_lines(file):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                raise _no_json(file, number, error, line) from error


def _values(window: _Window) -> Iterator[tuple[int, Any]]:
    in_list = window.take("[")
    while True:
        if in_list and window.take("]"):
            in_list = False
            if window.is_at_end():
                return
            raise PairError("more text after the list", file=window.file, line=window.line)
        if window.is_at_end():
            if in_list:
                raise PairError(
                    "the list has no end",
                    file=window.file,
                    line=window.line,
                    hint="the file was cut short; fetch it again",
                )
            return
        yield window.line, window.value()
        if in_list:
            window.take(",")


class _Window:
    """The stretch of a text that is looked at; it is read on as needed."""

    def __init__(self, file: Path, stream: IO[bytes]) -> None:
        self.file = file
        self.line = 1
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0  # what lies before was read
        self._has_more = True

    def is_at_end(self) -> bool:
        """Whether nothing but space is left."""
        self._skip_space()
        return self._at == len(self._text)

    def take(self, character: str) -> bool:
        """Whether it comes next; if so, goes past it."""
        self._skip_space()
        if not self._text.startswith(character, self._at):
            return False
        self._move_to(self._at + 1)
        return True

    def value(self) -> Any:
        """The value that comes next."""
        self._skip_space()
        read = _AT_ONCE
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._may_go_on(error):
                    line = self.line + self._text.count("\n", self._at, error.pos)
                    raise _no_json(self.file, line, error, self._text[self._at :]) from error
                self._read(read)
                read *= 2  # a long value is begun anew each time
                continue
            except (ValueError, RecursionError) as error:  # a number or a nest without end
                raise _no_json(self.file, self.line, error, "") from error
            self._move_to(end)
            return value

    def _may_go_on(self, error: json.JSONDecodeError) -> bool:
        """Whether the error may be that the value isn't all here yet."""
        is_open = error.msg.startswith("Unterminated") or error.pos > len(self._text) - 16
        return is_open and self._has_more

    def _skip_space(self) -> None:
        while True:
            match = _SPACE.match(self._text, self._at)
            self._move_to(match.end() if match else self._at)
            if self._at < len(self._text) or not self._has_more:
                return
            self._read(_AT_ONCE)

    def _move_to(self, position: int) -> None:
        self.line += self._text.count("\n", self._at, position)
        self._at = position

    def _read(self, n_bytes: int) -> None:
        chunk = self._stream.read(n_bytes)
        self._has_more = bool(chunk)
        try:
            text = self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            before = self._text.count("\n", self._at) + error.object[: error.start].count(b"\n")
            raise PairError(
                "not UTF-8 text",
                file=self.file,
                line=self.line + before,
                hint="save the file as UTF-8",
            ) from error
        self._text = self._text[self._at :] + text
        self._at = 0


def _no_json(file: Path, line: int, error: Exception, text: str) -> PairError:
    if text.startswith(_LFS):
        return PairError(
            "this stands for a file that git keeps elsewhere",
            file=file,
            line=line,
            hint="git lfs pull fetches it",
        )
    reason = error.msg if isinstance(error, json.JSONDecodeError) else one_line(error)
    return PairError(
        f"not JSON: {reason}",
        file=file,
        line=line,
        hint="expected a list of records, or a record on each line",
    )

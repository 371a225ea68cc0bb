"""Questions and inputs as they are written down: on a command line, or in a file of JSON lines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from alm2vec_search.domain import Query
from alm2vec_search.errors import QueryError
from alm2vec_search.query_audio import load_like

if TYPE_CHECKING:
    from collections.abc import Iterator

Line = TypeVar("Line", bound=BaseModel)


class Asked(BaseModel):
    """A question before its sound was read. `like` is `FILE` or `FILE@START-END`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str | int | None = None
    text: str | None = None
    like: str | None = None
    instruction: str | None = None

    def load(self, sampling_rate: int) -> Query:
        """Read the sound, at a sampling rate in Hz.

        Raises:
            QueryError: it can't be read.
        """
        audio = load_like(self.like, sampling_rate) if self.like else None
        return Query(self.text, audio, self.instruction)


class Input(BaseModel):
    """One line of what `alm2vec embed` takes. `audio` is `FILE` or `FILE@START-END`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = None
    audio: str | None = None
    instruction: str | None = None
    role: Literal["query", "document"] = "document"


def ask(*, text: str | None, like: str | None, instruction: str | None) -> Asked:
    """One question.

    Raises:
        QueryError: it is empty.
    """
    if not (text and text.strip()) and not like:
        raise QueryError(
            "the query is empty", hint='alm2vec search "rain on a tin roof", or --like FILE'
        )
    return Asked(text=text, like=like, instruction=instruction)


def read_queries(name: str) -> list[Asked]:
    """The questions of a file of JSON lines, each with an id: its line's number if it has none.

    Raises:
        QueryError: the file can't be read, or a line is no question; says which.
    """
    asked = []
    for number, line in _lines(name):
        item = _parse(Asked, line, f"{name}:{number}")
        if not (item.text and item.text.strip()) and not item.like:
            raise QueryError(
                f"{name}:{number}: the query is empty", hint="give text, like, or both"
            )
        asked.append(item if item.id is not None else item.model_copy(update={"id": number}))
    return asked


def read_inputs(name: str) -> list[Input]:
    """The inputs of a file of JSON lines.

    Raises:
        QueryError: the file can't be read, is empty, or a line is no input; says which.
    """
    inputs = []
    for number, line in _lines(name):
        item = _parse(Input, line, f"{name}:{number}")
        if not item.text and not item.audio:
            raise QueryError(f"{name}:{number}: nothing to embed", hint="give text, audio, or both")
        inputs.append(item)
    if not inputs:
        raise QueryError(f"{name} is empty", hint='a line is {"text": ...} or {"audio": ...}')
    return inputs


def _lines(name: str) -> Iterator[tuple[int, str]]:
    """The lines that aren't blank, with their numbers."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise QueryError(
            f"{name} can't be read: {reason}", hint="give a file of JSON lines"
        ) from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line


def _parse(kind: type[Line], line: str, where: str) -> Line:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first: Any = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        fields = ", ".join(kind.model_fields)
        raise QueryError(
            f"{where}: {field + ': ' if field else ''}{first['msg']}",
            hint=f"a line is a JSON object with any of {fields}",
        ) from error

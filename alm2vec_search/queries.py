"""Questions and inputs as they are written down: on a command line, or in a file of JSON lines."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from alm2vec_search.domain import Clause, Query, Question
from alm2vec_search.errors import QueryError
from alm2vec_search.query_audio import load_like, names_a_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alm2vec_search.domain import Waveform

MOST_WEIGHT = 1000
Line = TypeVar("Line", bound=BaseModel)


class Asked(BaseModel):
    """A question before its sounds were read. `like` is `FILE` or `FILE@START-END`; `more` and
    `less` are words or such a sound, with how much they count in front: `2:thunder`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str | int | None = None
    text: str | None = None
    like: str | None = None
    instruction: str | None = None
    more: tuple[str, ...] = ()
    less: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.text and self.text.strip(" \t\n,;")) and not self.like and not self.more

    def load(self, sampling_rate: int, *, split: bool = False) -> Question:
        """Read the sounds, at a sampling rate in Hz.

        Args:
            split: what stands between commas, and a sound beside words, are clauses of their own.

        Raises:
            QueryError: a sound can't be read.
        """
        like = Sound(load_like(self.like, sampling_rate), self.like) if self.like else None
        return question(
            text=self.text,
            like=like,
            more=[_weighed(item, sampling_rate) for item in self.more],
            less=[_weighed(item, sampling_rate) for item in self.less],
            instruction=self.instruction,
            split=split,
        )


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound that is asked with, and what a person calls it."""

    waveform: Waveform
    label: str


@dataclass(frozen=True, slots=True)
class Weighed:
    """Words or a sound, and how much they count: above 0."""

    what: str | Sound
    weight: float = 1.0

    def clause(self, instruction: str | None) -> Clause:
        if isinstance(self.what, Sound):
            query = Query(None, self.what.waveform, instruction)
            return Clause(query, self.weight, label=self.what.label)
        return Clause(Query(self.what, None, instruction), self.weight, label=self.what)


def question(
    *,
    text: str | None = None,
    like: Sound | None = None,
    more: Sequence[Weighed] = (),
    less: Sequence[Weighed] = (),
    instruction: str | None = None,
    split: bool = False,
) -> Question:
    """A question of its parts. Nothing is read.

    Args:
        text: words; with a sound, both are one input of the model.
        more: what counts beside.
        less: what isn't wanted.
        split: what stands between commas, and a sound beside words, are clauses of their own.
    """
    clauses = [*_main_clauses(text, like, instruction, split=split)]
    clauses += [item.clause(instruction) for item in more]
    for item in less:
        clause = item.clause(instruction)
        clauses.append(replace(clause, weight=-clause.weight))
    wanted = (clause.query.text for clause in clauses if clause.weight > 0)
    return Question(tuple(clauses), words=" ".join(text for text in wanted if text))


def _main_clauses(
    text: str | None, like: Sound | None, instruction: str | None, *, split: bool
) -> Iterator[Clause]:
    text = text.strip() if text else ""
    parts = split_clauses(text) if split else [text] if text else []
    if like is not None and (split or not parts):
        yield Clause(Query(None, like.waveform, instruction), label=like.label)
        like = None
    for part in parts:
        label = part if like is None else f"{like.label} + {part}"
        audio = None if like is None else like.waveform
        yield Clause(Query(part, audio, instruction), label=label)


def split_clauses(text: str) -> list[str]:
    """What stands between commas and semicolons.

    >>> split_clauses("dog barking, speaker is female")
    ['dog barking', 'speaker is female']
    """
    return [part.strip() for part in re.split(r"[,;]", text) if part.strip()]


def split_weight(item: str) -> tuple[str, str]:
    """What says how much an item counts, if anything does, and the rest.

    >>> split_weight("2:thunder"), split_weight("thunder: near")
    (('2:', 'thunder'), ('', 'thunder: near'))
    """
    match = re.fullmatch(r"((?:\d+(?:\.\d*)?|\.\d+):)(.*)", item, re.DOTALL)
    return (match[1], match[2].strip()) if match else ("", item.strip())


def weighed_words(item: str) -> Weighed:
    """Words, with how much they count in front, as in `2:thunder`. Never a file.

    Raises:
        QueryError: nothing is asked for, or it counts nothing.
    """
    prefix, what = split_weight(item)
    weight = float(prefix.removesuffix(":")) if prefix else 1.0
    if not what or not 0 < weight <= MOST_WEIGHT:
        raise QueryError(
            f"{shorten(item, 60)!r} asks for nothing that can be weighed",
            hint=f"give words or a file, with a number up to {MOST_WEIGHT} in front: 2:thunder",
        )
    return Weighed(what, weight)


def _weighed(item: str, sampling_rate: int) -> Weighed:
    """Words or a sound.

    Raises:
        QueryError: as `weighed_words`; or the sound can't be read.
    """
    words = weighed_words(item)
    assert isinstance(words.what, str)
    if not names_a_file(words.what):
        return words
    return replace(words, what=Sound(load_like(words.what, sampling_rate), words.what))


class Input(BaseModel):
    """One line of what `alm2vec embed` takes. `audio` is `FILE` or `FILE@START-END`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = None
    audio: str | None = None
    instruction: str | None = None
    role: Literal["query", "document"] = "document"


def require_asked(asked: Asked) -> Asked:
    """
    Raises:
        QueryError: it is empty.
    """
    if asked.is_empty:
        raise QueryError(
            "the query is empty", hint='alm2vec search "rain on a tin roof", or --like FILE'
        )
    return asked


def read_queries(name: str) -> list[Asked]:
    """The questions of a file of JSON lines, each with an id: its line's number if it has none.

    Raises:
        QueryError: the file can't be read, or a line is no question; says which.
    """
    asked = []
    for number, line in _lines(name):
        item = _parse(Asked, line, f"{name}:{number}")
        if item.is_empty:
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

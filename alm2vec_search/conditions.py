"""Conditions on what is known of a chunk beside how it sounds: how long its file is, where it lies,
what is said of it.

A condition is looked at for one chunk of one content at one place, so that all parts of
`path:"field/*" and ext:wav` are about the same path. Words are compared without regard to case, in
Unicode's composed form. `where.py` reads conditions as people write them; a collection may look
some of them up in its indexes, and has to come to the answer that `holds` gives.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from alm2vec_search.domain import Content, Place, TimeSpan


class NumberField(Enum):
    """What can be counted or measured. The value is its name in a condition."""

    DURATION = "duration"  # of the file, in seconds
    CHANNELS = "channels"
    RATE = "rate"  # of the file itself, in Hz
    SIZE = "size"  # of the file, in bytes
    MODIFIED = "modified"  # when, in seconds since 1970
    START = "start"  # of the chunk within its file, in seconds
    END = "end"


class WordField(Enum):
    """What can be spelled. The value is its name in a condition."""

    PATH = "path"  # below its library, with slashes
    NAME = "name"  # the last part of that
    EXT = "ext"  # what the name ends in, without the dot
    LIBRARY = "library"  # the whole path of the folder that was indexed
    TAG = "tag"


@dataclass(frozen=True, slots=True)
class NamedField:
    """A note that has a name of its own: `artist`, or any column of a sidecar."""

    name: str  # folded


class Manner(Enum):
    """How words are compared. The value is how it is written."""

    PATTERN = ":"  # the whole of it; `*` stands for anything, `?` for one character
    EQUALS = "="  # the whole of it, as it is written
    CONTAINS = "~"


@dataclass(frozen=True, slots=True)
class Interval:
    """From where to where; what is None is open."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )


@dataclass(frozen=True, slots=True)
class Within:
    """A number lies in an interval."""

    field: NumberField
    interval: Interval


@dataclass(frozen=True, slots=True)
class Says:
    """Words are like these; of several, such as tags, one of them is."""

    field: WordField | NamedField
    manner: Manner
    words: str  # folded


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Condition, ...]


Condition = Within | Says | Not | And | Or


def holds(condition: Condition, content: Content, place: Place, span: TimeSpan) -> bool:
    """Whether it is true of this chunk at this place of its file."""
    match condition:
        case Within(field, interval):
            return _NUMBERS[field](content, place, span) in interval
        case Says(field, manner, words):
            said = (fold(text) for text in _said(field, content, place))
            return any(_is_like(text, manner, words) for text in said)
        case Not(part):
            return not holds(part, content, place, span)
        case And(parts):
            return all(holds(part, content, place, span) for part in parts)
        case Or(parts):
            return any(holds(part, content, place, span) for part in parts)


_NUMBERS: dict[NumberField, Callable[[Content, Place, TimeSpan], float]] = {
    NumberField.DURATION: lambda content, _place, _span: content.duration_s,
    NumberField.CHANNELS: lambda content, _place, _span: content.channels,
    NumberField.RATE: lambda content, _place, _span: content.sampling_rate,
    NumberField.SIZE: lambda content, _place, _span: content.size,
    NumberField.MODIFIED: lambda _content, place, _span: place.mtime_ns / 1e9,
    NumberField.START: lambda _content, _place, span: span.start_s,
    NumberField.END: lambda _content, _place, span: span.end_s,
}


def _said(field: WordField | NamedField, content: Content, place: Place) -> Iterable[str]:
    match field:
        case WordField.PATH:
            return (place.relative_path,)
        case WordField.NAME:
            return (place.path.name,)
        case WordField.EXT:
            return (place.path.suffix.removeprefix("."),)
        case WordField.LIBRARY:
            return (str(place.library),)
        case WordField.TAG:
            return (*content.notes.tags, *place.notes.tags)
        case NamedField(name):
            both = (*content.notes.named, *place.notes.named)
            return (text for key, text in both if fold(key) == name)


def fold(text: str) -> str:
    """Text as it is compared.

    >>> fold("Große Höhle") == fold("GROSSE HO\u0308HLE")
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def literals(pattern: str) -> list[str]:
    """What has to be in every text that is like a pattern, in this order.

    >>> literals("*kick?hard*")
    ['kick', 'hard']
    """
    return [piece for piece in re.split(r"[*?]+", pattern) if piece]


def _is_like(text: str, manner: Manner, words: str) -> bool:
    match manner:
        case Manner.EQUALS:
            return text == words
        case Manner.CONTAINS:
            return words in text
        case Manner.PATTERN:
            return _compiled(words).fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """What lies between two stars is looked for where it comes first, and never again: so no
    pattern takes long."""
    first, *middle = [
        "".join("." if c == "?" else re.escape(c) for c in piece) for piece in pattern.split("*")
    ]
    if not middle:
        return re.compile(first, re.DOTALL)
    *middle, last = middle
    return re.compile(f"{first}{''.join(f'(?>.*?{m})' for m in middle)}.*{last}", re.DOTALL)

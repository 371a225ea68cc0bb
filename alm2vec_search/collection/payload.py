"""What a point carries beside its vector: values of the domain to JSON, and back.

The same for every Qdrant. `base.py` lists the fields.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alm2vec_search.collection.base import Match
from alm2vec_search.conditions import NumberField, fold
from alm2vec_search.domain import Content, EmbeddedChunk, Notes, Place, TimeSpan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from alm2vec_search.collection.base import SearchFilter
    from alm2vec_search.domain import Embedding

    Payload = dict[str, Any]

CONTENT_HASH = "content_hash"
PLACES = "places"
PATH = "places[].path"  # as Qdrant names the paths in `places`, for indexes and conditions
LIBRARY = "places[].library"
SILENT = "silent"
NUMBERS = {  # of conditions, where they lie in the payload
    NumberField.DURATION: "duration_s",
    NumberField.CHANNELS: "channels",
    NumberField.RATE: "sampling_rate",
    NumberField.SIZE: "size",
    NumberField.MODIFIED: "sought.modified_s",
    NumberField.START: "start_s",
    NumberField.END: "end_s",
}
SOUGHT = "sought"
SOUGHT_PATHS = "sought.paths"  # below their libraries, folded
SOUGHT_TAGS = "sought.tags"  # folded
SOUGHT_NAMED = "sought.named"  # "name=text", folded
SOUGHT_WORDS = "sought.words"  # one text

_SURROGATE = re.compile(r"[\ud800-\udfff]")
# A run of small letters with the capital before it; of capitals; of digits
_WORD = re.compile(r"[^\W\d_A-Z]+|[A-Z](?=[^\W\d_A-Z])[^\W\d_A-Z]+|[A-Z]+(?![^\W\d_A-Z])|[A-Z]|\d+")
_ESCAPE = re.compile(r"\0([0-9a-f]{4})")


def path_to_text(path: Path) -> str:
    r"""A path as valid Unicode, which JSON and Qdrant can hold.

    A path may hold bytes that are no UTF-8; in Python they are lone surrogates. Each becomes NUL
    and four hex digits, which no path can contain by itself. All else stays as it is, so that one
    path's text begins with another's exactly if the paths do.

    >>> path_to_text(Path(os.fsdecode(b"/caf\xe9.wav")))
    '/caf\x00dce9.wav'

    Raises:
        ValueError: the path contains NUL, so there is no such file.
    """
    text = str(path)
    if "\0" in text:
        raise ValueError(f"not a path: {text!r}")
    return storable(text)


def storable(text: str) -> str:
    """The same without lone surrogates, as in `path_to_text`."""
    return _SURROGATE.sub(lambda found: f"\0{ord(found[0]):04x}", text)


@lru_cache(maxsize=4096)  # the chunks of a file share it
def text_to_path(text: str) -> Path:
    """The inverse of `path_to_text`."""
    return Path(_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text))


def folder_prefix(folder: Path) -> str:
    """What the texts of all paths below a folder begin with, and no others.

    >>> folder_prefix(Path("/a/b")), folder_prefix(Path("/"))
    ('/a/b/', '/')
    """
    return os.path.join(path_to_text(folder), "")


def places_payload(places: Sequence[Place]) -> list[Payload]:
    return [
        {
            "path": path_to_text(place.path),
            "library": path_to_text(place.library),
            "mtime_ns": place.mtime_ns,
            "notes": _notes_payload(place.notes),
        }
        for place in places
    ]


def _notes_payload(notes: Notes) -> Payload:
    return {
        "tags": [storable(tag) for tag in notes.tags],
        "named": [[storable(name), storable(text)] for name, text in notes.named],
    }


def content_payload(content: Content, places: Sequence[Place], n_chunks: int) -> Payload:
    """The part that all chunks of a content share."""
    return {
        CONTENT_HASH: content.content_hash,
        "n_chunks": n_chunks,
        "size": content.size,
        "duration_s": content.duration_s,
        "sampling_rate": content.sampling_rate,
        "channels": content.channels,
        "notes": _notes_payload(content.notes),
        "audio_hash": content.audio_hash,
        **lying_payload(content, places),
    }


def lying_payload(content: Content, places: Sequence[Place]) -> Payload:
    """The part that changes with where a content lies, and what is said of it there."""
    notes = [content.notes, *(place.notes for place in places)]
    tags = _once(tag for note in notes for tag in note.tags)
    named = _once(f"{name}={text}" for note in notes for name, text in note.named)
    paths = _once(place.relative_path for place in places)
    said = [*(text for note in notes for _, text in note.named), *tags]
    return {
        PLACES: places_payload(places),
        SOUGHT: {
            "paths": paths,
            "tags": tags,
            "named": named,
            "words": storable("\n".join(_once(map(spaced, [*_names(places), *said])))),
            "modified_s": [place.mtime_ns / 1e9 for place in places],
        },
    }


def _names(places: Sequence[Place]) -> Iterable[str]:
    for place in places:
        yield os.path.splitext(place.relative_path)[0]


def _once(texts: Iterable[str]) -> list[str]:
    """Folded, each once, as JSON can hold it."""
    return list(dict.fromkeys(storable(fold(text)) for text in texts))


def spaced(text: str) -> str:
    """A name in words.

    >>> spaced("Rain/TinRoof_02-closeMic")
    'Rain Tin Roof 02 close Mic'
    """
    return " ".join(_WORD.findall(text))


def chunk_payload(chunk: EmbeddedChunk) -> Payload:
    """The part that is a chunk's own."""
    return {
        "start_s": chunk.span.start_s,
        "end_s": chunk.span.end_s,
        SILENT: int(chunk.silent),
    }


def to_places(places: Sequence[Payload]) -> tuple[Place, ...]:
    """The inverse of `places_payload`."""
    return tuple(
        Place(
            text_to_path(place["path"]),
            text_to_path(place["library"]),
            place["mtime_ns"],
            _to_notes(place["notes"]),
        )
        for place in places
    )


def _to_notes(notes: Payload) -> Notes:
    return Notes(tuple(notes["tags"]), tuple((name, text) for name, text in notes["named"]))


def to_content(payload: Payload) -> Content:
    return Content(
        content_hash=payload[CONTENT_HASH],
        size=payload["size"],
        duration_s=payload["duration_s"],
        sampling_rate=payload["sampling_rate"],
        channels=payload["channels"],
        notes=_to_notes(payload["notes"]),
        audio_hash=payload["audio_hash"],
    )


def to_chunk(payload: Payload, embedding: Embedding) -> EmbeddedChunk:
    """The inverse of `chunk_payload`, with its vector."""
    span = TimeSpan(payload["start_s"], payload["end_s"])
    return EmbeddedChunk(span, embedding, silent=bool(payload[SILENT]))


def to_match(payload: Payload, score: float, where: SearchFilter) -> Match | None:
    """A chunk that was found; None if it lies at no place that is meant."""
    content = to_content(payload)
    span = TimeSpan(payload["start_s"], payload["end_s"])
    places = where.places_of(content, to_places(payload[PLACES]), span)
    if not places:
        return None
    return Match(content, places, span, score, silent=bool(payload[SILENT]))

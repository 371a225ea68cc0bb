"""What a point carries beside its vector: values of the domain to JSON, and back.

The same for every Qdrant. `base.py` lists the fields.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alm2vec_search.collection.base import Match
from alm2vec_search.domain import Content, Place, TimeSpan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.domain import EmbeddedChunk

    Payload = dict[str, Any]

CONTENT_HASH = "content_hash"
PLACES = "places"
PATH = "places[].path"  # as Qdrant names the paths in `places`, for indexes and conditions
SILENT = "silent"

_SURROGATE = re.compile(r"[\ud800-\udfff]")
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
    return _SURROGATE.sub(lambda found: f"\0{ord(found[0]):04x}", text)


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
        }
        for place in places
    ]


def content_payload(content: Content, places: Sequence[Place], n_chunks: int) -> Payload:
    """The part that all chunks of a content share."""
    return {
        CONTENT_HASH: content.content_hash,
        PLACES: places_payload(places),
        "n_chunks": n_chunks,
        "size": content.size,
        "duration_s": content.duration_s,
        "sampling_rate": content.sampling_rate,
        "channels": content.channels,
    }


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
        Place(text_to_path(place["path"]), text_to_path(place["library"]), place["mtime_ns"])
        for place in places
    )


def to_content(payload: Payload) -> Content:
    return Content(
        content_hash=payload[CONTENT_HASH],
        size=payload["size"],
        duration_s=payload["duration_s"],
        sampling_rate=payload["sampling_rate"],
        channels=payload["channels"],
    )


def to_match(payload: Payload, score: float) -> Match:
    """Rounding may put a score a hair outside of [-1, 1]; here it is within."""
    return Match(
        content_hash=payload[CONTENT_HASH],
        places=to_places(payload[PLACES]),
        span=TimeSpan(payload["start_s"], payload["end_s"]),
        score=max(-1.0, min(1.0, score)),
        silent=bool(payload[SILENT]),
    )

"""What a store of vectors has to do, whichever Qdrant is behind it.

One point is one chunk. Its id is made from the content's hash and the span, so that doing a thing
twice changes nothing, and a moved, renamed or copied file is a change of payload and no embedding.
Its payload, which `payload.py` writes and reads:

    content_hash    keyword, indexed; what a file's chunks are grouped, edited and deleted by
    places          [{path, library, mtime_ns, notes}], `places[].path` is indexed with prefixes
    start_s, end_s  the span
    silent          0 or 1, indexed; not a bool, which Qdrant Edge can't be asked for from Python
    n_chunks        how many chunks the whole content has
    size, duration_s, sampling_rate, channels     indexed
    notes           {tags, named}: what the file says of itself
    audio_hash      of the samples as they were embedded
    sought          made of all these, and indexed: what conditions and words are looked up in
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from alm2vec_search.conditions import holds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from alm2vec_search.conditions import Condition
    from alm2vec_search.domain import (
        Aspect,
        Content,
        EmbeddedChunk,
        Embedding,
        Embeddings,
        Place,
        TimeSpan,
    )

_FINGERPRINT_SHOWN = 8  # characters
POINT_NAMESPACE = uuid.UUID("5d0f4a52-6a52-5c3c-9d0a-2f6a3f3c7a10")


def point_id(content_hash: str, span: TimeSpan) -> uuid.UUID:
    """The same bytes and the same span have the same id, in every collection.

    How files are cut is part of a collection's fingerprint, so it needn't be part of the id.
    """
    start_ms, length_ms = round(span.start_s * 1000), round(span.duration_s * 1000)
    return uuid.uuid5(POINT_NAMESPACE, f"{content_hash}:{start_ms}:{length_ms}")


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What made the vectors of a collection. Vectors mix only if their infos are equal.

    The model's name is not part of that: a model that was moved or renamed is still itself.
    """

    fingerprint: str  # of the encoder
    chunking: str  # how files are cut, for instance "10s/10s"
    embedding_dim: int
    model: str = field(compare=False)  # its name, for people
    aspects: tuple[Aspect, ...] = field(default=(), compare=False)

    def aspect(self, name: str) -> Aspect | None:
        return next((aspect for aspect in self.aspects if aspect.name == name), None)

    def aspect_asked(self, instruction: str) -> Aspect | None:
        """The aspect whose instruction is this one."""
        asked = instruction.strip()
        return next((a for a in self.aspects if a.instruction == asked), None)

    def __str__(self) -> str:
        """For people: enough to tell one model and chunking from another.

        >>> str(CollectionInfo("3f2a90c1d4e5", "10s/2.5s", 1024, "small"))
        'model small (3f2a90c1…), 10 s chunks every 2.5 s'
        """
        identity, _, dtype = self.fingerprint.partition("-")
        if len(identity) > _FINGERPRINT_SHOWN:
            identity = f"{identity[:_FINGERPRINT_SHOWN]}…"
        fingerprint = f"{identity} {dtype}".strip()
        seconds = re.fullmatch(r"([\d.]+)s/([\d.]+)s", self.chunking)
        cut = "{} s chunks every {} s".format(*seconds.groups()) if seconds else self.chunking
        return f"model {self.model} ({fingerprint}), {cut}"


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """What narrows a search before the nearest points are taken.

    Raises:
        ValueError: `under` is not absolute.
    """

    under: Path | None = None  # this file, or everything below this folder; absolute
    include_silent: bool = False
    condition: Condition | None = None
    contents: frozenset[str] | None = None  # these only, by their hashes

    def __post_init__(self) -> None:
        if self.under is not None and not self.under.is_absolute():
            raise ValueError(f"not an absolute path: {self.under}")

    def places_of(
        self, content: Content, places: Sequence[Place], span: TimeSpan
    ) -> tuple[Place, ...]:
        """Of these places of a chunk's content, those that are meant: by path, in order."""
        meant = [
            place
            for place in places
            if (self.under is None or place.path.is_relative_to(self.under))
            and (self.condition is None or holds(self.condition, content, place, span))
        ]
        return tuple(sorted(meant, key=lambda place: place.path))


@dataclass(frozen=True, slots=True)
class Match:
    """A chunk that was found, and how well it fits."""

    content: Content
    places: tuple[Place, ...]  # of its content, those that the filter means: by path, in order
    span: TimeSpan
    score: float  # a cosine, or what `by_words` says
    silent: bool
    stretch: TimeSpan | None = None  # of the overlapping chunks that matched with it, if any

    @property
    def content_hash(self) -> str:
        return self.content.content_hash


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A content as the collection holds it."""

    content: Content
    places: tuple[Place, ...]
    n_chunks: int
    # False if the process that put it in was killed halfway: chunks are missing, or don't agree on
    # the places. Then `upsert` it again.
    is_complete: bool = True


class Collection(Protocol):
    """A store of vectors. Every method may raise a `CollectionError`.

    What returned survives a killed process; what was returned before `flush()` or `close()` also
    survives a power cut. A collection is a context manager and closes itself.

    Answers don't depend on the order in which things were put in: chunks with the same score come
    by content hash, then by where they start.
    """

    @property
    def info(self) -> CollectionInfo: ...

    def count(self) -> int:
        """Chunks in the collection."""
        ...

    def upsert(
        self, content: Content, places: Sequence[Place], chunks: Sequence[EmbeddedChunk]
    ) -> None:
        """Put all chunks of one content in, in one call; those with the same span are replaced.

        A process that is killed meanwhile may leave some of them: see `StoredContent.is_complete`.
        Without chunks, nothing happens.

        Raises:
            ValueError: a vector is not finite, or has another dimension than the collection; or
                there are no places. Nothing was written.
            CollectionFull: there is no room on the disk. Some of the chunks may be in.
        """
        ...

    def set_places(self, content_hash: str, places: Sequence[Place]) -> None:
        """The content lies at exactly these places now. Its vectors stay as they are.

        A content that isn't in the collection still isn't afterwards.

        Raises:
            ValueError: there are no places; a content that lies nowhere is to be deleted.
            CollectionFull: there is no room on the disk.
        """
        ...

    def delete(self, content_hash: str) -> None:
        """Forget all chunks of a content, if there are any."""
        ...

    def nearest(
        self,
        embedding: Embedding,
        *,
        limit: int,
        where: SearchFilter | None = None,
        aspect: str | None = None,
    ) -> list[Match]:
        """The nearest chunks, best first. No `where` is the same as `SearchFilter()`.

        Under an aspect, by their vectors of that; chunks that have none don't count.

        Raises:
            ValueError: the vector is not finite, or has another dimension than the collection; or
                `limit` is below 1.
        """
        ...

    def nearest_contents(
        self,
        embedding: Embedding,
        *,
        limit: int,
        where: SearchFilter | None = None,
        aspect: str | None = None,
    ) -> list[Match]:
        """The best chunk of each of the nearest contents, best first.

        Raises:
            ValueError: as `nearest`.
        """
        ...

    def by_words(self, words: str, *, limit: int, where: SearchFilter | None = None) -> list[Match]:
        """The best chunk of each content whose names, tags or notes have some of these words.

        The score is BM25: above 0, without a bound, and to be compared within one answer only.
        Words that are nowhere find nothing; there may be fewer matches than `limit`. Of those that
        share the last score, it is chance which are among them: a common word is in many names.

        Raises:
            ValueError: `limit` is below 1.
        """
        ...

    def embeddings(self, matches: Sequence[Match], aspect: str | None = None) -> Embeddings:
        """The vectors of chunks that were found [n, dim], plain or of an aspect.

        Raises:
            CollectionError: one of them isn't there any more.
        """
        ...

    # Aspects

    def add_aspect(self, aspect: Aspect) -> None:
        """Chunks may have a vector of this aspect from now on; at first, none has.

        Doing it twice changes nothing.

        Raises:
            CollectionError: there is one of that name with another instruction.
        """
        ...

    def remove_aspect(self, name: str) -> None:
        """Forget an aspect and all its vectors, if there is such a one."""
        ...

    def lacking(self, aspect: str) -> Iterator[StoredContent]:
        """Contents with chunks that have no vector of an aspect, by content hash.

        A content that was put in again has none any more.
        """
        ...

    def put_aspect(self, aspect: str, content_hash: str, chunks: Sequence[EmbeddedChunk]) -> None:
        """Give chunks of a content that are there their vectors of an aspect.

        Raises:
            ValueError: a vector is not finite, or has another dimension than the collection.
            CollectionFull: there is no room on the disk.
        """
        ...

    def chunks(self, content_hash: str, aspect: str | None = None) -> list[EmbeddedChunk]:
        """A content's chunks with their vectors, by where they start; none if it isn't there.

        Under an aspect, those that have a vector of it.
        """
        ...

    def content(self, content_hash: str) -> StoredContent | None:
        """One content, without the vectors; None if it isn't there."""
        ...

    def contents(self) -> Iterator[StoredContent]:
        """All that is stored, by content hash, without the vectors.

        Enough to rebuild a manifest from. What changes meanwhile may or may not show.
        """
        ...

    def mark(self) -> str:
        """What the last one left who was going to write here. "" where none is needed.

        A table of what is in the collection, made under another mark, isn't to be believed.
        """
        ...

    def leave_mark(self) -> str:
        """Say that from now on one is going to write; the new mark."""
        ...

    def flush(self) -> None:
        """What was put in, edited or deleted until now survives a power cut, too."""
        ...

    def close(self) -> None:
        """Flush, and let go. Closing twice is fine; nothing else works afterwards."""
        ...

    def __enter__(self) -> Collection: ...

    def __exit__(self, *exc_info: object) -> None: ...

"""Qdrant Edge, in process: the embedded store.

A store is a folder:

    collection.json     what made the vectors; without it there is no collection here
    lock, holder.json   one process at a time, and which
    shard/              Qdrant's own

Searches scan all vectors; there is no graph to build. Up to `EXACT_COMPONENTS` they are compared
as they are; beyond, by 4-bit codes first, and the best of those as they are. The codes are written
at every upsert, since later would be too late (docs/decisions/0002).

Every call into Qdrant Edge holds Python's global lock, so calls are kept short.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import qdrant_edge as qdrant

from alm2vec_search.collection.base import SearchFilter, point_id
from alm2vec_search.collection.checking import (
    checked_vectors,
    is_new_aspect,
    require_aspect,
    require_limit,
    require_places,
)
from alm2vec_search.collection.edge_filters import equals, to_filter
from alm2vec_search.collection.info import (
    REBUILD_HINT,
    read_info,
    remove_info,
    require_compatible,
    write_info,
)
from alm2vec_search.collection.lock import StoreLock
from alm2vec_search.collection.payload import (
    CONTENT_HASH,
    SOUGHT_WORDS,
    chunk_payload,
    content_payload,
    lying_payload,
    to_chunk,
    to_content,
)
from alm2vec_search.collection.ranking import (
    CHUNKS_PER_CONTENT,
    best_of_contents,
    ranked,
    within_bounds,
)
from alm2vec_search.collection.room import SMALL_RESERVE, require_room
from alm2vec_search.collection.shard import (
    create_shard,
    load_shard,
    remove_shard,
    translated_errors,
)
from alm2vec_search.collection.tally import stored_contents
from alm2vec_search.errors import CollectionError, CollectionNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from alm2vec_search.collection.base import CollectionInfo, Match, StoredContent
    from alm2vec_search.collection.payload import Payload
    from alm2vec_search.collection.ranking import Pick
    from alm2vec_search.domain import Aspect, Content, EmbeddedChunk, Embedding, Embeddings, Place

# Chunks times dimension. A scan of so many takes 20 to 30 ms.
EXACT_COMPONENTS = 100_000 * 1024
_OVERSAMPLING = 4  # how many times the limit is compared as they are, of what the codes found
_MIN_CANDIDATES = 100  # the same, at least
_UPSERT_POINTS = 200  # in one call: about 10 ms
_SCROLL_POINTS = 1000
_PLAIN = ""  # the vector of no aspect, as Qdrant names it
_ASPECT = "aspect-"  # what the names of the others begin with
_WRITE_AMPLIFICATION = 4  # bytes on disk for each byte of vector and places: log, store, indexes


class EdgeCollection:
    """A collection in a folder of this machine, open in one process at a time.

    What is deleted or replaced leaves its space to what comes later, but the files never shrink.
    """

    def __init__(
        self, folder: Path, info: CollectionInfo, shard: qdrant.EdgeShard, lock: StoreLock
    ) -> None:
        """Use `create`, `open` or `open_or_create`."""
        self._folder = folder
        self._info = info
        self._open_shard: qdrant.EdgeShard | None = shard
        self._lock = lock
        self._is_dirty = False

    # Opening and closing

    @classmethod
    def create(cls, folder: Path, info: CollectionInfo) -> Self:
        """Make an empty collection.

        Raises:
            CollectionError: there is one already.
            CollectionBusy: another process has the folder.
            CollectionFull: there is no room on the disk.
        """
        with _locked(folder, make=True) as lock:
            if read_info(folder) is not None:
                raise CollectionError(f"there is an index in {folder} already", hint=REBUILD_HINT)
            return cls(folder, info, create_shard(folder, info), lock)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the collection that is there.

        Raises:
            CollectionNotFound: nothing was indexed there yet.
            CollectionBusy: another process has it.
        """
        if read_info(folder) is None:
            raise CollectionNotFound(str(folder))
        with _locked(folder) as lock:
            info = read_info(folder)
            if info is None:  # meanwhile
                raise CollectionNotFound(str(folder))
            return cls(folder, info, load_shard(folder), lock)

    @classmethod
    def open_or_create(cls, folder: Path, info: CollectionInfo) -> Self:
        """Open the collection that is there, or make an empty one.

        Raises:
            IncompatibleCollection: the one that is there was made by something else.
            CollectionBusy: another process has it.
            CollectionFull: there is no room on the disk for a new one.
        """
        with _locked(folder, make=True) as lock:
            found = read_info(folder)
            if found is None:
                return cls(folder, info, create_shard(folder, info), lock)
            require_compatible(str(folder), expected=info, found=found)
            return cls(folder, found, load_shard(folder), lock)

    @staticmethod
    def drop(folder: Path) -> None:
        """Forget the collection in this folder, whatever state it is in. None there is fine.

        Raises:
            CollectionBusy: another process has it.
            CollectionError: its files can't be deleted.
        """
        if not folder.is_dir():
            return
        with _locked(folder) as lock:
            with translated_errors(folder):
                remove_info(folder)
                remove_shard(folder)
            lock.release()

    def close(self) -> None:
        """Flush, and let go. Closing twice is fine; nothing else works afterwards."""
        shard, self._open_shard = self._open_shard, None
        try:
            if shard is not None:
                with translated_errors(self._folder):
                    shard.close()
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def info(self) -> CollectionInfo:
        return self._info

    # Writing

    def upsert(
        self, content: Content, places: Sequence[Place], chunks: Sequence[EmbeddedChunk]
    ) -> None:
        """Put all chunks of one content in; see `Collection.upsert`."""
        require_places(places)
        if not chunks:
            return
        vectors = self._checked([chunk.embedding for chunk in chunks])  # [n, dim]
        ids = [point_id(content.content_hash, chunk.span) for chunk in chunks]
        shared = content_payload(content, places, n_chunks=len(set(ids)))
        for start in range(0, len(chunks), _UPSERT_POINTS):
            batch = range(start, min(start + _UPSERT_POINTS, len(chunks)))
            self._require_room(len(batch), places, vectors[0].nbytes)
            points = [
                qdrant.Point(ids[i], _as_vector(vectors[i]), {**shared, **chunk_payload(chunks[i])})
                for i in batch
            ]
            self._update(qdrant.UpdateOperation.upsert_points(points))

    def set_places(self, content_hash: str, places: Sequence[Place]) -> None:
        """The content lies at exactly these places now; see `Collection.set_places`."""
        require_places(places)
        of_content = equals(CONTENT_HASH, content_hash)
        first = next(self._payloads(of_content), None)
        if first is None:
            return
        self._require_room(first["n_chunks"], places)
        payload = lying_payload(to_content(first), places)
        self._update(qdrant.UpdateOperation.set_payload_by_filter(of_content, payload))

    def delete(self, content_hash: str) -> None:
        """Forget all chunks of a content, if there are any."""
        require_room(self._folder, reserve=SMALL_RESERVE)
        of_content = equals(CONTENT_HASH, content_hash)
        self._update(qdrant.UpdateOperation.delete_points_by_filter(of_content))

    def flush(self) -> None:
        """What was done until now survives a power cut, too. Costs nothing if that is nothing.

        Otherwise it costs the more the larger the collection is: 0.1 s at 100,000 chunks.

        Raises:
            CollectionFull: there is no room on the disk.
        """
        with self._shard() as shard:
            if not self._is_dirty:
                return
            require_room(self._folder, reserve=SMALL_RESERVE)
            self._is_dirty = False  # before, for what another thread may do right after
            try:
                shard.flush()
            except BaseException:
                self._is_dirty = True
                raise

    def mark(self) -> str:
        """None is needed: the lock lets nobody else in."""
        return ""

    def leave_mark(self) -> str:
        """None is needed."""
        return ""

    # Reading

    def count(self) -> int:
        """Chunks in the collection."""
        with self._shard() as shard:
            return shard.count(qdrant.CountRequest())

    def nearest(
        self,
        embedding: Embedding,
        *,
        limit: int,
        where: SearchFilter | None = None,
        aspect: str | None = None,
    ) -> list[Match]:
        """The nearest chunks, best first."""
        asked = self._near(embedding, aspect)
        matches = self._ranked(asked, limit, where, first_guess=limit + 1, pick=list)
        return list(map(within_bounds, matches))

    def nearest_contents(
        self,
        embedding: Embedding,
        *,
        limit: int,
        where: SearchFilter | None = None,
        aspect: str | None = None,
    ) -> list[Match]:
        """The best chunk of each of the nearest contents, best first."""
        asked, guess = self._near(embedding, aspect), limit * CHUNKS_PER_CONTENT
        matches = self._ranked(asked, limit, where, first_guess=guess, pick=best_of_contents)
        return list(map(within_bounds, matches))

    def by_words(self, words: str, *, limit: int, where: SearchFilter | None = None) -> list[Match]:
        """The best chunk of each content that is told of in these words; see `Collection`."""
        asked = qdrant.TextQuery(SOUGHT_WORDS, words)
        guess = limit * CHUNKS_PER_CONTENT
        # Half a library may have the same score, so ties aren't waited for.
        return self._ranked(
            asked, limit, where, first_guess=guess, pick=best_of_contents, ties_matter=False
        )

    def embeddings(self, matches: Sequence[Match], aspect: str | None = None) -> Embeddings:
        """The vectors of chunks that were found [n, dim]."""
        if not matches:
            return np.zeros((0, self._info.embedding_dim), dtype=np.float32)
        ids = [point_id(match.content_hash, match.span) for match in matches]
        name = _PLAIN if aspect is None else self._vector_of(aspect)
        with self._shard() as shard:
            records = shard.retrieve(list(ids), with_payload=False, with_vector=[name])
        vectors: dict[Any, Any] = {record.id: _only(record.vector) for record in records}
        missing = [m for m, at in zip(matches, ids, strict=True) if vectors.get(at) is None]
        if missing:
            raise CollectionError(f"{missing[0].places[0].path} isn't in the index any more")
        return np.array([vectors[at] for at in ids], dtype=np.float32)

    def chunks(self, content_hash: str, aspect: str | None = None) -> list[EmbeddedChunk]:
        """A content's chunks with their vectors, by where they start."""
        vector = _PLAIN if aspect is None else self._vector_of(aspect)
        records = self._records(equals(CONTENT_HASH, content_hash), vector=vector)
        chunks = [_to_chunk(record) for record in records if _only(record.vector) is not None]
        return sorted(chunks, key=lambda chunk: chunk.span)

    # Aspects

    def add_aspect(self, aspect: Aspect) -> None:
        """Chunks may have a vector of this aspect from now on; see `Collection.add_aspect`."""
        if not is_new_aspect(self._info, aspect):
            return
        dim = self._info.embedding_dim
        made = qdrant.UpdateOperation.create_dense_vector(
            f"{_ASPECT}{aspect.name}", dim, qdrant.Distance.Cosine
        )
        self._update(made)
        self._remember(*self._info.aspects, aspect)

    def remove_aspect(self, name: str) -> None:
        """Forget an aspect and all its vectors, if there is such a one."""
        if self._info.aspect(name) is None:
            return
        vector = self._vector_of(name)
        self._remember(*(aspect for aspect in self._info.aspects if aspect.name != name))
        self._update(qdrant.UpdateOperation.delete_vector_name(vector))
        self.flush()

    def _remember(self, *aspects: Aspect) -> None:
        """In the file, so that what it names is there: after adding, and before removing."""
        self.flush()
        info = replace(self._info, aspects=aspects)
        with translated_errors(self._folder):
            write_info(self._folder, info)
        self._info = info

    def lacking(self, aspect: str) -> Iterator[StoredContent]:
        """Contents with chunks that have no vector of an aspect, by content hash."""
        without = qdrant.HasVectorCondition(self._vector_of(aspect))
        return self._contents(qdrant.Filter(must_not=[without]))

    def put_aspect(self, aspect: str, content_hash: str, chunks: Sequence[EmbeddedChunk]) -> None:
        """Give chunks of a content their vectors of an aspect; see `Collection.put_aspect`."""
        name = self._vector_of(aspect)
        there = {chunk.span for chunk in self.chunks(content_hash)}
        chunks = [chunk for chunk in chunks if chunk.span in there]
        if not chunks:
            return
        vectors = self._checked([chunk.embedding for chunk in chunks])  # [n, dim]
        for start in range(0, len(chunks), _UPSERT_POINTS):
            batch = range(start, min(start + _UPSERT_POINTS, len(chunks)))
            self._require_room(len(batch), (), vectors[0].nbytes)
            points = [
                qdrant.PointVectors(
                    point_id(content_hash, chunks[i].span), {name: _as_vector(vectors[i])}
                )
                for i in batch
            ]
            self._update(qdrant.UpdateOperation.update_vectors(points))

    def content(self, content_hash: str) -> StoredContent | None:
        """One content, without the vectors; None if it isn't there."""
        return next(self._contents(equals(CONTENT_HASH, content_hash)), None)

    def contents(self) -> Iterator[StoredContent]:
        """All that is stored, by content hash, without the vectors. 1 s for 100,000 chunks."""
        return self._contents(None)

    def _contents(self, of: qdrant.Filter | None) -> Iterator[StoredContent]:
        return stored_contents(self._payloads(of))

    # Inside

    @contextmanager
    def _shard(self) -> Iterator[qdrant.EdgeShard]:
        """The open shard; what it complains about comes out as a CollectionError."""
        if self._open_shard is None:
            raise CollectionError(f"the index in {self._folder} is closed")
        with translated_errors(self._folder):
            yield self._open_shard

    def _update(self, operation: qdrant.UpdateOperation) -> None:
        with self._shard() as shard:
            try:
                shard.update(operation)
            finally:
                self._is_dirty = True

    def _require_room(self, n_points: int, places: Sequence[Place], vector_bytes: int = 0) -> None:
        places_bytes = sum(len(str(place.path)) + len(str(place.library)) for place in places)
        n_bytes = n_points * (vector_bytes + places_bytes) * _WRITE_AMPLIFICATION
        require_room(self._folder, n_bytes=n_bytes)

    def _checked(self, embeddings: Sequence[Embedding]) -> Embeddings:
        return checked_vectors(embeddings, self._info.embedding_dim)

    def _near(self, embedding: Embedding, aspect: str | None) -> qdrant.Query:
        [vector] = self._checked([embedding])
        using = None if aspect is None else self._vector_of(aspect)
        return qdrant.Query.Nearest(_as_vector(vector), using)

    def _vector_of(self, aspect: str) -> str:
        """As Qdrant names it.

        Raises:
            CollectionError: there is no such aspect.
        """
        require_aspect(self._info, aspect, str(self._folder))
        return f"{_ASPECT}{aspect}"

    def _ranked(
        self,
        asked: qdrant.Query | qdrant.TextQuery,
        limit: int,
        where: SearchFilter | None,
        *,
        first_guess: int,
        pick: Pick,
        ties_matter: bool = True,
    ) -> list[Match]:
        require_limit(limit)
        where = where or SearchFilter()
        with self._shard() as shard:
            n_points = shard.info().points_count
        return ranked(
            lambda n: self._query(asked, n, where),
            limit,
            where,
            n_points=n_points,
            first_guess=first_guess,
            pick=pick,
            ties_matter=ties_matter,
        )

    def _query(
        self, asked: qdrant.Query | qdrant.TextQuery, limit: int, where: SearchFilter
    ) -> list[qdrant.ScoredPoint]:
        """The best chunks, and perhaps some that the filter doesn't mean."""
        with self._shard() as shard:
            return shard.query(
                qdrant.QueryRequest(
                    limit=limit,
                    query=asked,
                    filter=to_filter(where),
                    params=self._search_params(shard, limit),
                    with_payload=True,
                )
            )

    def _search_params(self, shard: qdrant.EdgeShard, limit: int) -> qdrant.SearchParams:
        if shard.info().points_count * self._info.embedding_dim <= EXACT_COMPONENTS:
            as_they_are = qdrant.QuantizationSearchParams(ignore=True)
            return qdrant.SearchParams(exact=True, quantization=as_they_are)
        oversampling = max(_OVERSAMPLING, _MIN_CANDIDATES / limit)
        by_codes = qdrant.QuantizationSearchParams(rescore=True, oversampling=oversampling)
        return qdrant.SearchParams(quantization=by_codes)

    def _payloads(self, of: qdrant.Filter | None = None) -> Iterator[Payload]:
        """Of all points, or of those that pass a filter, by point id."""
        for record in self._records(of):
            yield record.payload or {}

    def _records(
        self, of: qdrant.Filter | None, *, vector: str | None = None
    ) -> Iterator[qdrant.Record]:
        offset: qdrant.PointId | None = None
        while True:
            page = qdrant.ScrollRequest(
                offset=offset,
                limit=_SCROLL_POINTS,
                filter=of,
                with_payload=True,
                with_vector=False if vector is None else [vector],
            )
            with self._shard() as shard:
                records, offset = shard.scroll(page)
            yield from records
            if offset is None:
                return


@contextmanager
def _locked(folder: Path, *, make: bool = False) -> Iterator[StoreLock]:
    """Hold the store's lock; it is released only if the block fails."""
    if make:
        with translated_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    lock = StoreLock(folder)
    try:
        lock.acquire()
        yield lock
    except BaseException:
        lock.release()
        raise


def _as_vector(vector: Embedding) -> Any:
    """Qdrant Edge takes numpy rows; its type stub says lists."""
    return vector


def _only(vector: Any) -> Any:
    """Qdrant Edge gives the plain vector as it is, and those of aspects by their names."""
    return next(iter(vector.values()), None) if isinstance(vector, dict) else vector


def _to_chunk(record: qdrant.Record) -> EmbeddedChunk:
    return to_chunk(record.payload or {}, np.asarray(_only(record.vector), dtype=np.float32))

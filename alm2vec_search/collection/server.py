"""A Qdrant server: the store that several machines share.

An index is an alias; `server_catalog.py` says what lies behind it. A collection is resolved when it
is opened and stays the same until it is closed, also if the alias moves meanwhile: vectors of two
models never mix.

Up to `EXACT_COMPONENTS` all vectors are compared as they are; beyond, the server goes by its graph
and by codes, and compares the best of those as they are.

Every change waits until it is in force. One that doesn't wait says nothing of having failed, and
where a collection has several shards, a last one that waits says nothing of the others.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from qdrant_client import models as qdrant

from alm2vec_search.collection import server_catalog as catalog
from alm2vec_search.collection.base import SearchFilter, point_id
from alm2vec_search.collection.checking import (
    checked_vectors,
    is_new_aspect,
    require_aspect,
    require_limit,
    require_places,
)
from alm2vec_search.collection.info import require_compatible
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
    in_order,
    ranked,
    within_bounds,
)
from alm2vec_search.collection.server_connection import Server, connect
from alm2vec_search.collection.server_filters import equals, to_filter
from alm2vec_search.collection.server_schema import ClusterLayout, aspect_vectors, vector_name
from alm2vec_search.collection.server_words import by_words
from alm2vec_search.collection.tally import stored_contents
from alm2vec_search.errors import CollectionError, CollectionNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alm2vec_search.addresses import ServerAddress
    from alm2vec_search.collection.base import CollectionInfo, Match, StoredContent
    from alm2vec_search.collection.payload import Payload
    from alm2vec_search.collection.ranking import Pick, Scored
    from alm2vec_search.collection.server_connection import Connect
    from alm2vec_search.domain import Aspect, Content, EmbeddedChunk, Embedding, Embeddings, Place

# Chunks times dimension, as for the embedded store.
EXACT_COMPONENTS = 100_000 * 1024
_HNSW_EF = 128  # at least so many are looked at in the graph
_OVERSAMPLING = 2.0  # how many times the limit is compared as they are, of what the codes found
_REQUEST_POINTS = 256
_REQUEST_BYTES = 8 * 2**20  # a server takes 32 MB
_BYTES_A_NUMBER = 22  # of a vector, as JSON
_SCROLL_POINTS = 1000
_MOST_GROUPS = 1000  # contents in one answer
_CHUNKS_A_GROUP = 4  # enough to see whether a content's best chunk has ties
_GROWTH = 4
_COUNT_HOLDS_S = 10.0


class ServerCollection:
    """A collection on a server, open in any number of processes at a time."""

    def __init__(self, server: Server, described: catalog.Described) -> None:
        """Use `create`, `open` or `open_or_create`."""
        self._server = server
        self._name = described.name
        self._info = described.info
        self._counted: tuple[float, int] | None = None  # when, and how many points

    # Opening and closing

    @classmethod
    def create(
        cls,
        address: ServerAddress,
        info: CollectionInfo,
        layout: ClusterLayout | None = None,
        *,
        connect: Connect = connect,
    ) -> Self:
        """Make an empty collection.

        Raises:
            CollectionError: there is one already.
            CollectionUnavailable: the server can't be reached, or doesn't let us.
        """
        with _Undo(Server(address, connect=connect)) as server:
            if catalog.aliased(server) is not None:
                raise CollectionError(f"there is an index {address} already")
            name = catalog.make(server, info, layout or ClusterLayout())
            collection = cls(server, catalog.describe(server, name))
            if collection.count():  # its alias was taken away, and it wasn't
                raise CollectionError(f"there is an index {address} already")
            return collection

    @classmethod
    def open(cls, address: ServerAddress, *, connect: Connect = connect) -> Self:
        """Open the collection that is there. Changes nothing on the server.

        Raises:
            CollectionNotFound: nothing was indexed there yet.
            CollectionUnavailable: the server can't be reached, or doesn't let us in.
        """
        with _Undo(Server(address, connect=connect)) as server:
            _ = server.features  # too old a server is told of at once
            return cls(server, catalog.describe(server, catalog.require_aliased(server)))

    @classmethod
    def open_or_create(
        cls,
        address: ServerAddress,
        info: CollectionInfo,
        layout: ClusterLayout | None = None,
        *,
        connect: Connect = connect,
    ) -> Self:
        """Open the collection that is there, or make an empty one.

        Raises:
            IncompatibleCollection: the one that is there was made by something else.
            CollectionUnavailable: the server can't be reached, or doesn't let us.
        """
        with _Undo(Server(address, connect=connect)) as server:
            _ = server.features
            name = catalog.aliased(server)
            if name is None:
                name = catalog.make(server, info, layout or ClusterLayout())
            described = catalog.describe(server, name)
            require_compatible(str(address), expected=info, found=described.info)
            return cls(server, described)

    @classmethod
    def open_beside(
        cls,
        address: ServerAddress,
        info: CollectionInfo,
        layout: ClusterLayout | None = None,
        *,
        connect: Connect = connect,
    ) -> Self:
        """The collection of another model for the same alias, made if it isn't there. The alias
        goes on to mean what it means, until `take_over`.

        Raises:
            CollectionNotFound: the alias means nothing yet.
            CollectionError: it means a collection of that very model.
            CollectionUnavailable: the server can't be reached, or doesn't let us.
        """
        with _Undo(Server(address, connect=connect)) as server:
            _ = server.features
            name, there = catalog.name_of(address.alias, info), catalog.require_aliased(server)
            if name == there:
                raise CollectionError(
                    f"the index {address} is by {info} already", hint="nothing has to be done"
                )
            catalog.build(server, name, replace(info, aspects=()), layout or ClusterLayout())
            return cls(server, catalog.describe(server, name))

    @classmethod
    def open_before(cls, address: ServerAddress, *, connect: Connect = connect) -> Self:
        """The collection that the alias meant before `take_over`.

        Raises:
            CollectionNotFound: the alias means nothing yet.
            CollectionError: there was none before, or it was deleted.
        """
        with _Undo(Server(address, connect=connect)) as server:
            before = catalog.describe(server, catalog.require_aliased(server)).before
            if before is None or not server.ask(lambda client: client.collection_exists(before)):
                raise CollectionError(
                    f"the index {address} has nothing to go back to", hint="migrate it first"
                )
            return cls(server, catalog.describe(server, before))

    def take_over(self) -> None:
        """From here on the alias means this collection, in one step: whoever asks finds the one
        or the other. What it meant before stays."""
        before = catalog.aliased(self._server)
        if before is not None and before != self._name:
            catalog.write_before(self._server, self._name, before)
        catalog.move_alias(self._server, self._name)

    def drop_others(self) -> int:
        """Delete all other collections that were made for the alias; how many it were."""
        others = [name for name in catalog.kept(self._server) if name != self._name]
        for name in others:
            catalog.delete(self._server, name)
        return len(others)

    @staticmethod
    def drop(address: ServerAddress, *, connect: Connect = connect) -> None:
        """Forget the index, with all collections that were made for it. None there is fine."""
        server = Server(address, connect=connect)
        try:
            names = catalog.kept(server)
            catalog.remove_alias(server)
            for name in names:
                catalog.delete(server, name)
        finally:
            server.close()

    def close(self) -> None:
        """Let go. Closing twice is fine; nothing else works afterwards."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def info(self) -> CollectionInfo:
        return self._info

    @property
    def name(self) -> str:
        """Of the collection behind the alias."""
        return self._name

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
        n_bytes = len(json.dumps(shared))
        for batch in self._batches(len(chunks), n_bytes):
            points = [
                qdrant.PointStruct(
                    id=str(ids[i]),
                    vector={vector_name(None): vectors[i].tolist()},
                    payload={**shared, **chunk_payload(chunks[i])},
                )
                for i in batch
            ]
            self._put(points)
        self._counted = None

    def set_places(self, content_hash: str, places: Sequence[Place]) -> None:
        """The content lies at exactly these places now; see `Collection.set_places`."""
        require_places(places)
        of_content = equals(CONTENT_HASH, content_hash)
        first = next(self._payloads(of_content, page=1), None)
        if first is None:
            return
        payload = lying_payload(to_content(first), places)
        self._server.ask(
            lambda client: client.set_payload(self._name, payload, of_content, wait=True)
        )

    def delete(self, content_hash: str) -> None:
        """Forget all chunks of a content, if there are any."""
        gone = qdrant.FilterSelector(filter=equals(CONTENT_HASH, content_hash))
        self._server.ask(lambda client: client.delete(self._name, gone, wait=True))
        self._counted = None

    def flush(self) -> None:
        """All that returned is in the server's log already, which it syncs by itself every few
        seconds (`storage.optimizers.flush_interval_sec`); it can't be asked to.
        """
        self._server.require_open()

    def mark(self) -> str:
        """What the last one left who was going to write here; see `Collection.mark`."""
        return catalog.describe(self._server, self._name).mark

    def leave_mark(self) -> str:
        """See `Collection.leave_mark`."""
        return catalog.write_mark(self._server, self._name)

    # Reading

    def count(self) -> int:
        """Chunks in the collection."""
        return self._server.ask(lambda client: client.count(self._name, exact=True)).count

    def nearest(
        self,
        embedding: Embedding,
        *,
        limit: int,
        where: SearchFilter | None = None,
        aspect: str | None = None,
    ) -> list[Match]:
        """The nearest chunks, best first."""
        [vector] = self._checked([embedding])
        require_limit(limit)
        found = self._nearest(
            vector, limit, where or SearchFilter(), aspect, first_guess=limit + 1, pick=list
        )
        return list(map(within_bounds, found))

    def nearest_contents(
        self,
        embedding: Embedding,
        *,
        limit: int,
        where: SearchFilter | None = None,
        aspect: str | None = None,
    ) -> list[Match]:
        """The best chunk of each of the nearest contents, best first."""
        [vector] = self._checked([embedding])
        require_limit(limit)
        where = where or SearchFilter()
        found = self._grouped(vector, limit, where, aspect)
        if found is None:
            guess = limit * CHUNKS_PER_CONTENT
            found = self._nearest(
                vector, limit, where, aspect, first_guess=guess, pick=best_of_contents
            )
        return list(map(within_bounds, found))

    def by_words(self, words: str, *, limit: int, where: SearchFilter | None = None) -> list[Match]:
        """The best chunk of each content that is told of in these words; see `Collection`."""
        require_limit(limit)
        where = where or SearchFilter()
        if not words.strip():
            return []
        among = to_filter(where, self._server.features)
        if not self._server.features.has_text_scores:
            n_points = self._n_points()
            texts = by_words(self._server, self._name, words, among, n_points)
            return best_of_contents(in_order(texts, where))[:limit]

        def best(n: int) -> Sequence[Scored]:
            return self._server.ask(
                lambda client: client.query_points(
                    self._name,
                    query=qdrant.TextQuery(text=words),
                    using=SOUGHT_WORDS,
                    query_filter=among,
                    limit=n,
                    with_payload=True,
                )
            ).points

        # Half a library may have the same score, so ties aren't waited for.
        return ranked(
            best,
            limit,
            where,
            n_points=self._n_points(),
            first_guess=limit * CHUNKS_PER_CONTENT,
            pick=best_of_contents,
            ties_matter=False,
        )

    def embeddings(self, matches: Sequence[Match], aspect: str | None = None) -> Embeddings:
        """The vectors of chunks that were found [n, dim]."""
        if not matches:
            return np.zeros((0, self._info.embedding_dim), dtype=np.float32)
        name = self._vector_of(aspect)
        ids = [str(point_id(match.content_hash, match.span)) for match in matches]
        vectors: dict[str, Any] = {}
        for batch in self._batches(len(ids)):
            records = self._retrieve([ids[i] for i in batch], name)
            vectors |= {str(record.id): _vector(record, name) for record in records}
        missing = [m for m, at in zip(matches, ids, strict=True) if vectors.get(at) is None]
        if missing:
            raise CollectionError(f"{missing[0].places[0].path} isn't in the index any more")
        return np.array([vectors[at] for at in ids], dtype=np.float32)

    def chunks(self, content_hash: str, aspect: str | None = None) -> list[EmbeddedChunk]:
        """A content's chunks with their vectors, by where they start."""
        name = self._vector_of(aspect)
        page = max(1, _REQUEST_BYTES // (self._info.embedding_dim * _BYTES_A_NUMBER))
        records = self._records(
            equals(CONTENT_HASH, content_hash), page=min(page, _SCROLL_POINTS), vector=name
        )
        vectors = ((record.payload or {}, _vector(record, name)) for record in records)
        chunks = [
            to_chunk(payload, np.asarray(vector, dtype=np.float32))
            for payload, vector in vectors
            if vector is not None
        ]
        return sorted(chunks, key=lambda chunk: chunk.span)

    def content(self, content_hash: str) -> StoredContent | None:
        """One content, without the vectors; None if it isn't there."""
        of_content = equals(CONTENT_HASH, content_hash)
        return next(stored_contents(self._payloads(of_content)), None)

    def contents(self) -> Iterator[StoredContent]:
        """All that is stored, by content hash, without the vectors."""
        return stored_contents(self._payloads(None))

    # Aspects

    def add_aspect(self, aspect: Aspect) -> None:
        """Chunks may have a vector of this aspect from now on; see `Collection.add_aspect`."""
        self._look_again()
        if not is_new_aspect(self._info, aspect):
            return
        if not self._server.features.has_vector_names:
            raise CollectionError(
                "this Qdrant server can't add vectors to a collection",
                hint="aspects need Qdrant 1.18 or later",
            )
        name, dim = vector_name(aspect.name), self._info.embedding_dim
        if name in self._vector_names():  # of one that was removed, when the process was killed
            self._forget_vectors(name)
        self._server.ask(
            lambda client: client.create_vector_name(self._name, name, aspect_vectors(dim))
        )
        self._remember(*self._info.aspects, aspect)

    def remove_aspect(self, name: str) -> None:
        """Forget an aspect and all its vectors, if there is such a one."""
        self._look_again()
        if self._info.aspect(name) is None:
            return
        self._remember(*(aspect for aspect in self._info.aspects if aspect.name != name))
        self._forget_vectors(vector_name(name))

    def lacking(self, aspect: str) -> Iterator[StoredContent]:
        """Contents with chunks that have no vector of an aspect, by content hash."""
        there = qdrant.HasVectorCondition(has_vector=self._vector_of(aspect))
        return stored_contents(self._payloads(qdrant.Filter(must_not=[there])))

    def put_aspect(self, aspect: str, content_hash: str, chunks: Sequence[EmbeddedChunk]) -> None:
        """Give chunks of a content their vectors of an aspect; see `Collection.put_aspect`."""
        name = self._vector_of(aspect)
        there = {
            (payload["start_s"], payload["end_s"])
            for payload in self._payloads(equals(CONTENT_HASH, content_hash))
        }
        chunks = [chunk for chunk in chunks if (chunk.span.start_s, chunk.span.end_s) in there]
        if not chunks:
            return
        vectors = self._checked([chunk.embedding for chunk in chunks])  # [n, dim]
        for batch in self._batches(len(chunks)):
            points = [
                qdrant.PointVectors(
                    id=str(point_id(content_hash, chunks[i].span)),
                    vector={name: vectors[i].tolist()},
                )
                for i in batch
            ]
            self._put_vectors(points)

    def _look_again(self) -> None:
        """Others may have changed the aspects since."""
        self._info = catalog.describe(self._server, self._name).info

    def _remember(self, *aspects: Aspect) -> None:
        """So that what is named is there: after adding, and before removing."""
        catalog.write_aspects(self._server, self._name, aspects)
        self._info = replace(self._info, aspects=aspects)

    def _forget_vectors(self, name: str) -> None:
        try:
            self._server.ask(lambda client: client.delete_vector_name(self._name, name))
        except CollectionError:  # it was done, and the answer got lost
            if name in self._vector_names():
                raise

    def _vector_names(self) -> set[str]:
        params = self._server.ask(lambda client: client.get_collection(self._name)).config.params
        return set(params.vectors) if isinstance(params.vectors, dict) else set()

    # Inside

    def _checked(self, embeddings: Sequence[Embedding]) -> Embeddings:
        return checked_vectors(embeddings, self._info.embedding_dim)

    def _vector_of(self, aspect: str | None) -> str:
        if aspect is not None:
            require_aspect(self._info, aspect, str(self._server.address))
        return vector_name(aspect)

    def _batches(self, n: int, payload_bytes: int = 0) -> Iterator[range]:
        """Of n points, as many at a time as fit in a request."""
        each = self._info.embedding_dim * _BYTES_A_NUMBER + payload_bytes
        size = max(1, min(_REQUEST_POINTS, _REQUEST_BYTES // each))
        for start in range(0, n, size):
            yield range(start, min(start + size, n))

    def _n_points(self) -> int:
        """About: others may be putting some in."""
        if self._counted is None or time.monotonic() - self._counted[0] > _COUNT_HOLDS_S:
            self._counted = (time.monotonic(), self.count())
        return self._counted[1]

    def _nearest(
        self,
        vector: Embedding,
        limit: int,
        where: SearchFilter,
        aspect: str | None,
        *,
        first_guess: int,
        pick: Pick,
    ) -> list[Match]:
        name, among = self._vector_of(aspect), to_filter(where, self._server.features)

        def best(n: int) -> Sequence[Scored]:
            return self._server.ask(
                lambda client: client.query_points(
                    self._name,
                    query=vector.tolist(),
                    using=name,
                    query_filter=among,
                    search_params=self._search_params(n),
                    limit=n,
                    with_payload=True,
                )
            ).points

        n_points = self._n_points()
        return ranked(best, limit, where, n_points=n_points, first_guess=first_guess, pick=pick)

    def _grouped(
        self, vector: Embedding, limit: int, where: SearchFilter, aspect: str | None
    ) -> list[Match] | None:
        """The best chunks of the nearest contents, as the server groups them; None if it can't
        for certain: it may give fewer groups than there are, and filters may have to be looked at
        chunk by chunk.
        """
        n_asked = limit + 1
        while n_asked <= _MOST_GROUPS:
            groups = self._groups(vector, n_asked, where, aspect)
            if len(groups) < n_asked:
                return None
            last = groups[-1].hits[0].score
            certain = [group.hits for group in groups if group.hits[0].score > last]
            if len(certain) < limit:
                n_asked *= _GROWTH
                continue
            found = [in_order(hits, where) for hits in certain]
            if any(len(f) < len(hits) for f, hits in zip(found, certain, strict=True)):
                return None
            best = [self._first_of(matches, vector, where, aspect) for matches in found]
            return sorted(best, key=lambda m: (-m.score, m.content_hash))[:limit]
        return None

    def _groups(
        self, vector: Embedding, n: int, where: SearchFilter, aspect: str | None
    ) -> Sequence[qdrant.PointGroup]:
        name, among = self._vector_of(aspect), to_filter(where, self._server.features)
        return self._server.ask(
            lambda client: client.query_points_groups(
                self._name,
                group_by=CONTENT_HASH,
                query=vector.tolist(),
                using=name,
                query_filter=among,
                search_params=self._search_params(n * _CHUNKS_A_GROUP),
                limit=n,
                group_size=_CHUNKS_A_GROUP,
                with_payload=True,
            )
        ).groups

    def _first_of(
        self, matches: Sequence[Match], vector: Embedding, where: SearchFilter, aspect: str | None
    ) -> Match:
        """The first of a content's best chunks, of which the server may have left some out."""
        first = matches[0]
        if len(matches) < _CHUNKS_A_GROUP or matches[-1].score < first.score:
            return first
        only = replace(where, contents=frozenset({first.content_hash}))
        found = self._nearest(
            vector, 1, only, aspect, first_guess=_CHUNKS_A_GROUP * _GROWTH, pick=list
        )
        return found[0] if found else first  # gone meanwhile

    def _search_params(self, limit: int) -> qdrant.SearchParams:
        if self._n_points() * self._info.embedding_dim <= EXACT_COMPONENTS:
            as_they_are = qdrant.QuantizationSearchParams(ignore=True)
            return qdrant.SearchParams(exact=True, quantization=as_they_are)
        by_codes = qdrant.QuantizationSearchParams(rescore=True, oversampling=_OVERSAMPLING)
        return qdrant.SearchParams(hnsw_ef=max(_HNSW_EF, limit), quantization=by_codes)

    def _payloads(
        self, of: qdrant.Filter | None, *, page: int = _SCROLL_POINTS
    ) -> Iterator[Payload]:
        """Of all points, or of those that pass a filter, by point id."""
        for record in self._records(of, page=page):
            yield record.payload or {}

    def _records(
        self, of: qdrant.Filter | None, *, page: int, vector: str | None = None
    ) -> Iterator[qdrant.Record]:
        offset: Any = None
        while True:
            records, offset = self._page(of, page, offset, vector)
            yield from records
            if offset is None:
                return

    # Requests

    def _put(self, points: list[qdrant.PointStruct]) -> None:
        self._server.ask(lambda client: client.upsert(self._name, points, wait=True))

    def _put_vectors(self, points: list[qdrant.PointVectors]) -> None:
        self._server.ask(lambda client: client.update_vectors(self._name, points, wait=True))

    def _retrieve(self, ids: list[str], vector: str) -> list[qdrant.Record]:
        return self._server.ask(
            lambda client: client.retrieve(
                self._name, ids, with_payload=False, with_vectors=[vector]
            )
        )

    def _page(
        self, of: qdrant.Filter | None, size: int, offset: Any, vector: str | None
    ) -> tuple[list[qdrant.Record], Any]:
        return self._server.ask(
            lambda client: client.scroll(
                self._name,
                scroll_filter=of,
                limit=size,
                offset=offset,
                with_payload=True,
                with_vectors=False if vector is None else [vector],
            )
        )


def read_server_info(
    address: ServerAddress, *, connect: Connect = connect
) -> CollectionInfo | None:
    """What made the collection at this address; None if there is none.

    Raises:
        CollectionUnavailable: the server can't be reached, or doesn't let us in.
    """
    try:
        with ServerCollection.open(address, connect=connect) as collection:
            return collection.info
    except CollectionNotFound:
        return None


class _Undo:
    """A server that is closed if the block fails, and stays open otherwise."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __enter__(self) -> Server:
        return self._server

    def __exit__(self, kind: object, *exc_info: object) -> None:
        if kind is not None:
            self._server.close()


def _vector(record: qdrant.Record, name: str) -> Any:
    """As the server gives it; None if the point has none of that name."""
    return record.vector.get(name) if isinstance(record.vector, dict) else None

"""From one collection to another, of either kind."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from contract import (
    DIM,
    INFO,
    SPEAKER,
    a_content,
    a_hash,
    a_place,
    axis,
    chunks_of,
    put,
    unit_vectors,
    varied_contents,
)
from qdrant_standin import StandIn, local_client

from alm2vec_search.addresses import ServerAddress
from alm2vec_search.collection.edge import EdgeCollection
from alm2vec_search.collection.server import ServerCollection
from alm2vec_search.domain import Aspect
from alm2vec_search.errors import CollectionError
from indexer.copying import copy_collection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from alm2vec_search.collection.base import Collection
    from alm2vec_search.domain import Embeddings

KINDS = ("edge", "server")


class Silence:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.n_announced = self.n_done = 0

    def started(self, what: str, n_contents: int) -> None:
        self.n_announced += n_contents

    def advanced(self) -> None:
        self.n_done += 1


@pytest.fixture
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Collection, Collection]]:
    """Empty ones, of the kinds that were asked for."""
    with ExitStack() as opened:

        def make(kind: str, name: str) -> Collection:
            if kind == "edge":
                return opened.enter_context(EdgeCollection.create(tmp_path / name, INFO))
            client = local_client()
            address = ServerAddress("http://nowhere:6333", alias=name)
            made = ServerCollection.create(address, INFO, connect=lambda _: client)
            return opened.enter_context(made)

        yield make(request.param[0], "source"), make(request.param[1], "target")


every_way = pytest.mark.parametrize(
    "two", [(a, b) for a in KINDS for b in KINDS], indirect=True, ids=lambda kinds: "-".join(kinds)
)
one_way = pytest.mark.parametrize("two", [("edge", "server")], indirect=True)


def fill(collection: Collection) -> None:
    for content, places, chunks in varied_contents(20):
        collection.upsert(content, places, chunks)
    collection.add_aspect(SPEAKER)
    for number in range(0, 20, 2):
        chunks = collection.chunks(a_hash(number))
        vectors = unit_vectors(len(chunks), seed=100 + number)
        under = [replace(c, embedding=v) for c, v in zip(chunks, vectors, strict=True)]
        collection.put_aspect("speaker", a_hash(number), under)


def dump(collection: Collection) -> tuple[list[Any], Embeddings]:
    """All there is, and its vectors [n, dim]."""
    contents = [
        replace(stored, places=tuple(sorted(stored.places, key=lambda place: place.path)))
        for stored in collection.contents()
    ]
    told: list[Any] = [collection.info.aspects, contents]
    vectors = [np.zeros(DIM, np.float32)]
    for stored in contents:
        for aspect in [None, *(aspect.name for aspect in collection.info.aspects)]:
            chunks = collection.chunks(stored.content.content_hash, aspect)
            told += [(aspect, chunk.span, chunk.silent) for chunk in chunks]
            vectors += [chunk.embedding for chunk in chunks]
    return told, np.stack(vectors)


def assert_same(one: Collection, other: Collection) -> None:
    told, vectors = dump(one)
    told_there, vectors_there = dump(other)
    assert told == told_there
    np.testing.assert_allclose(vectors, vectors_there, atol=1e-6)


@every_way
def test_all_of_it_arrives(two: tuple[Collection, Collection]) -> None:
    source, target = two
    fill(source)
    told, progress = dump(source)[0], Silence()
    report = copy_collection(source, target, progress)
    assert_same(source, target)
    assert dump(source)[0] == told
    assert (report.copied, report.under_aspects, report.there) == (20, 10, 0)
    assert report.chunks == source.count()
    assert progress.n_announced == progress.n_done == 20 + 20


@every_way
def test_once_more_sends_nothing(
    two: tuple[Collection, Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = two
    fill(source)
    copy_collection(source, target, Silence())

    def sent(*args: object) -> None:
        raise AssertionError("sent again")

    for write in ("upsert", "set_places", "put_aspect", "delete"):
        monkeypatch.setattr(target, write, sent)
    report = copy_collection(source, target, Silence())
    assert (report.copied, report.placed, report.there, report.under_aspects) == (0, 0, 20, 0)


@one_way
@pytest.mark.parametrize("method", ["upsert", "put_aspect"])
def test_what_broke_off_goes_on(
    two: tuple[Collection, Collection], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    source, target = two
    fill(source)
    n_calls, call = 0, getattr(target, method)

    def fails_at_last(*args: object) -> None:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 5:
            raise CollectionError("the cable was pulled")
        call(*args)

    with monkeypatch.context() as patch:
        patch.setattr(target, method, fails_at_last)
        with pytest.raises(CollectionError, match="the cable"):
            copy_collection(source, target, Silence())
    report = copy_collection(source, target, Silence())
    assert (report.copied, report.under_aspects) == ((16, 10) if method == "upsert" else (0, 6))
    assert_same(source, target)


@one_way
def test_half_a_content_there_is_made_whole(two: tuple[Collection, Collection]) -> None:
    source, target = two
    put(source, 1, unit_vectors(6))
    put(target, 1, unit_vectors(6)[:2])
    assert copy_collection(source, target, Silence()).copied == 1
    assert_same(source, target)


@one_way
def test_half_a_content_here_is_left_out_and_told(
    two: tuple[Collection, Collection], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = two
    put(source, 1, unit_vectors(3), paths=["/whole.wav"])
    put(source, 2, unit_vectors(3), paths=["/half.wav"])
    contents = source.contents

    def half() -> Iterator[object]:
        for stored in contents():
            is_half = stored.content.content_hash == a_hash(2)
            yield replace(stored, is_complete=not is_half)

    monkeypatch.setattr(source, "contents", half)
    report = copy_collection(source, target, Silence())
    assert [str(path) for path, _ in report.skipped] == ["/half.wav"]
    assert [stored.content for stored in target.contents()] == [a_content(1)]


@one_way
def test_places_are_joined(two: tuple[Collection, Collection]) -> None:
    source, target = two
    put(source, 1, [axis(0)], paths=["/here.wav", "/both.wav"])
    put(target, 1, [axis(0)], paths=["/there.wav", "/both.wav"])
    put(target, 2, [axis(1)], paths=["/only there.wav"])
    report = copy_collection(source, target, Silence())
    assert (report.placed, report.copied) == (1, 0)
    places = {s.content.content_hash: {str(p.path) for p in s.places} for s in target.contents()}
    assert places == {
        a_hash(1): {"/here.wav", "/there.wav", "/both.wav"},
        a_hash(2): {"/only there.wav"},
    }
    assert copy_collection(source, target, Silence()).there == 1


@one_way
def test_an_aspect_that_asks_another_thing(two: tuple[Collection, Collection]) -> None:
    source, target = two
    fill(source)
    target.add_aspect(Aspect("speaker", "another question"))
    with pytest.raises(CollectionError, match="asks another thing"):
        copy_collection(source, target, Silence())
    assert target.count() == 0


@one_way
@pytest.mark.parametrize("lost", ["upsert", "set_places", "put_aspect"])
def test_what_is_missing_in_the_end_is_told(
    two: tuple[Collection, Collection], monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    source, target = two
    fill(source)
    if lost == "set_places":
        for content, _, chunks in varied_contents(20):
            target.upsert(content, [a_place("/elsewhere.wav")], chunks)
    monkeypatch.setattr(target, lost, lambda *args: None)
    with pytest.raises(CollectionError, match="in the copy") as caught:
        copy_collection(source, target, Silence())
    assert "copy once more" in str(caught.value.hint)


def test_over_http(tmp_path: Path) -> None:
    with (
        StandIn() as standin,
        EdgeCollection.create(tmp_path / "a", INFO) as source,
        ServerCollection.create(ServerAddress.parse(standin.url), INFO) as server,
        EdgeCollection.create(tmp_path / "b", INFO) as back,
    ):
        fill(source)
        put(source, 19, unit_vectors(300), paths=["/long.wav"])
        source.upsert(a_content(18), [a_place()], chunks_of([axis(0)], silent=True))
        copy_collection(source, server, Silence())
        copy_collection(server, back, Silence())
        assert_same(source, back)

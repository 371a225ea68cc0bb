"""The store on a server: the contract, what goes over the wire, and what happens when it fails."""

from __future__ import annotations

import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from contract import (
    DIM,
    INFO,
    SPEAKER,
    CollectionContract,
    a_hash,
    a_place,
    axis,
    chunks_of,
    keys,
    put,
    unit_vectors,
)
from pydantic import BaseModel
from qdrant_client import models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_standin import Fault, StandIn, local_client

from alm2vec_search.addresses import ServerAddress
from alm2vec_search.collection import server as server_module
from alm2vec_search.collection.base import SearchFilter
from alm2vec_search.collection.server import ServerCollection, read_server_info
from alm2vec_search.collection.server_connection import Patience, Server, connect
from alm2vec_search.collection.server_errors import complaint_of, to_error
from alm2vec_search.collection.server_filters import to_filter
from alm2vec_search.collection.server_schema import ServerFeatures, codes, indexes, vectors
from alm2vec_search.conditions import (
    And,
    Interval,
    Manner,
    Not,
    NumberField,
    Says,
    Within,
    WordField,
)
from alm2vec_search.domain import Aspect
from alm2vec_search.errors import (
    CollectionError,
    CollectionFull,
    CollectionNotFound,
    CollectionUnavailable,
    IncompatibleCollection,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

PHYSICAL = "alm2vec__small__3f2a90c1__10s-10s__g1"
KEY = "correct-horse-battery"
PUBLISHED = Path(__file__).with_name("qdrant_openapi.json")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Patience.__init__, "__defaults__", (4, 0.001, 0.01))


@pytest.fixture
def standin() -> Iterator[StandIn]:
    with StandIn() as standin:
        yield standin


@pytest.fixture
def address(standin: StandIn) -> ServerAddress:
    return ServerAddress.parse(standin.url, timeout_s=1)


class TestInMemory(CollectionContract):
    """Over qdrant-client's local mode, without a wire."""

    STEMS = False

    @pytest.fixture
    def collection(self) -> Iterator[ServerCollection]:
        client = local_client()
        address = ServerAddress("http://nowhere:6333")
        with ServerCollection.create(address, INFO, connect=lambda _: client) as collection:
            yield collection


class TestOverHttp(CollectionContract):
    """Over a real client, and HTTP on loopback, to a stand-in that answers from local mode."""

    STEMS = False

    @pytest.fixture
    def collection(self, address: ServerAddress) -> Iterator[ServerCollection]:
        address = replace(address, timeout_s=60)
        with ServerCollection.create(address, INFO) as collection:
            yield collection


class TestOverHttpToAnOldServer(CollectionContract):
    """The same to a stand-in that refuses all that came after 1.16."""

    STEMS = False
    ADDS_VECTORS = False

    @pytest.fixture
    def collection(self) -> Iterator[ServerCollection]:
        with StandIn(version="1.16.3") as old:
            address = ServerAddress.parse(old.url)
            with ServerCollection.create(address, INFO) as collection:
                yield collection


@pytest.mark.docker
@pytest.mark.skipif("QDRANT_TEST_URL" not in os.environ, reason="QDRANT_TEST_URL names no server")
class TestARealServer(CollectionContract):
    """The same to a server of the user's, under an alias that is dropped before and after."""

    @pytest.fixture
    def collection(self) -> Iterator[ServerCollection]:
        address = ServerAddress.parse(
            os.environ["QDRANT_TEST_URL"],
            alias="alm2vec-test",
            api_key=os.environ.get("QDRANT_TEST_API_KEY"),
        )
        ServerCollection.drop(address)
        with ServerCollection.create(address, INFO) as collection:
            yield collection
        ServerCollection.drop(address)


class TestTheCatalog:
    def test_an_alias_before_a_collection_that_says_what_made_it(
        self, standin: StandIn, address: ServerAddress
    ) -> None:
        with ServerCollection.create(address, INFO) as collection:
            assert collection.name == PHYSICAL
        [alias] = standin.client.get_aliases().aliases
        assert (alias.alias_name, alias.collection_name) == ("alm2vec", PHYSICAL)
        metadata = standin.client.get_collection(PHYSICAL).config.metadata
        assert metadata is not None
        assert metadata["fingerprint"] == INFO.fingerprint
        assert metadata["alias"] == "alm2vec"

    def test_what_was_made_is_found_again(self, address: ServerAddress) -> None:
        with pytest.raises(CollectionNotFound, match="no index in alm2vec at http"):
            ServerCollection.open(address)
        assert read_server_info(address) is None
        with ServerCollection.create(address, INFO) as collection:
            put(collection, 1, unit_vectors(3))
            collection.add_aspect(SPEAKER)
        with pytest.raises(CollectionError, match="there is an index alm2vec at"):
            ServerCollection.create(address, INFO)
        for opened in (
            ServerCollection.open(address),
            ServerCollection.open_or_create(address, replace(INFO, model="/renamed")),
        ):
            with opened:
                assert opened.info == INFO
                assert opened.info.model == "small"
                assert opened.info.aspects == (SPEAKER,)
                assert opened.count() == 3
        assert read_server_info(address) == INFO

    def test_vectors_of_another_model_do_not_mix(self, address: ServerAddress) -> None:
        ServerCollection.create(address, INFO).close()
        other = replace(INFO, fingerprint="0" * 16, model="large")
        with pytest.raises(IncompatibleCollection, match="model small") as caught:
            ServerCollection.open_or_create(address, other)
        assert caught.value.store == str(address)

    def test_two_indexes_on_one_server(self, standin: StandIn, address: ServerAddress) -> None:
        other = replace(address, alias="field-recordings")
        with (
            ServerCollection.create(address, INFO) as first,
            ServerCollection.create(other, INFO) as second,
        ):
            put(first, 1, unit_vectors(2))
            assert (first.count(), second.count()) == (2, 0)
        ServerCollection.drop(address)
        ServerCollection.drop(address)
        assert read_server_info(address) is None
        assert read_server_info(other) == INFO
        assert len(standin.client.get_collections().collections) == 1

    def test_one_that_was_left_half_made_is_finished(
        self, standin: StandIn, address: ServerAddress
    ) -> None:
        standin.faults.append(Fault(status=403, path="/index$"))
        with pytest.raises(CollectionUnavailable):
            ServerCollection.create(address, INFO)
        assert read_server_info(address) is None
        with ServerCollection.create(address, INFO) as collection:
            assert collection.name == PHYSICAL
        indexed = [s.body["field_name"] for s in standin.seen if s.operation.endswith("/index")]
        assert len(set(indexed)) == len(indexed) - 1  # each once, but the one that failed

    def test_somebody_elses_collection_is_left_alone(
        self, standin: StandIn, address: ServerAddress
    ) -> None:
        standin.client.create_collection("alm2vec", vectors_config={})
        with pytest.raises(CollectionError, match="has a collection called alm2vec"):
            ServerCollection.create(address, INFO)
        theirs = replace(address, alias="theirs")
        standin.client.create_collection("x", vectors_config={})
        standin.client.create_collection("theirs__x__g1", vectors_config={})
        alias = models.CreateAlias(collection_name="x", alias_name="theirs")
        operation = models.CreateAliasOperation(create_alias=alias)
        standin.client.update_collection_aliases([operation])
        with pytest.raises(CollectionError, match="isn't one of alm2vec"):
            ServerCollection.open(theirs)
        ServerCollection.drop(theirs)
        assert standin.client.collection_exists("theirs__x__g1")

    def test_another_format(self, standin: StandIn, address: ServerAddress) -> None:
        ServerCollection.create(address, INFO).close()
        standin.client.update_collection(PHYSICAL, metadata={"format": 99})
        with pytest.raises(CollectionError, match="by a later version of alm2vec"):
            ServerCollection.open(address)

    def test_a_mark_is_of_who_writes(self, address: ServerAddress) -> None:
        with ServerCollection.create(address, INFO) as mine, ServerCollection.open(address) as your:
            first = mine.mark()
            assert first
            assert your.mark() == first
            second = your.leave_mark()
            assert mine.mark() == your.mark() == second != first
            assert mine.info == INFO

    def test_an_aspect_that_somebody_else_added(self, address: ServerAddress) -> None:
        with ServerCollection.create(address, INFO) as mine, ServerCollection.open(address) as your:
            mine.add_aspect(SPEAKER)
            your.add_aspect(Aspect("mood", "how does it feel?"))
            assert [aspect.name for aspect in your.info.aspects] == ["speaker", "mood"]
            with pytest.raises(CollectionError, match="asks another thing"):
                your.add_aspect(Aspect("speaker", "another question"))


class TestTheWire:
    def test_every_call_is_one_of_qdrants_published_interface(
        self, standin: StandIn, address: ServerAddress
    ) -> None:
        published = json.loads(PUBLISHED.read_text(encoding="utf-8"))["operations"]
        with ServerCollection.create(address, INFO) as collection:
            put(collection, 1, unit_vectors(3))
            put(collection, 2, unit_vectors(3))
            collection.nearest_contents(axis(0), limit=1)
            collection.by_words("a", limit=1)
            collection.embeddings(collection.nearest(axis(0), limit=1))
            collection.set_places(a_hash(1), [a_place("/b.wav")])
            collection.add_aspect(SPEAKER)
            collection.put_aspect("speaker", a_hash(1), collection.chunks(a_hash(1)))
            list(collection.lacking("speaker"))
            collection.leave_mark()
            collection.remove_aspect("speaker")
            collection.delete(a_hash(1))
        ServerCollection.drop(address)
        # Named vectors of what is there came with 1.18; the excerpt is of before.
        late = {
            f"{m} /collections/{{collection_name}}/vectors/{{vector_name}}"
            for m in ("PUT", "DELETE")
        }
        used = set(standin.operations())
        assert used - late == set(published)
        for seen in standin.seen:
            if seen.operation not in late:
                known = published[seen.operation]
                assert seen.query.keys() <= set(known["query"]), seen.operation
                assert (seen.body is None) == (known["body"] is None), seen.operation

    def test_indexes_come_before_points(self, standin: StandIn, address: ServerAddress) -> None:
        with ServerCollection.create(address, INFO) as collection:
            put(collection, 1, unit_vectors(2))
        operations = standin.operations()
        of_index = "PUT /collections/{collection_name}/index"
        last_index = max(i for i, op in enumerate(operations) if op == of_index)
        assert last_index < operations.index("PUT /collections/{collection_name}/points")
        schemas = {
            seen.body["field_name"]: seen.body["field_schema"]
            for seen in standin.seen
            if seen.operation == of_index
        }
        assert schemas["places[].library"]["is_tenant"] is True
        assert schemas["places[].path"]["prefix"] is True
        assert schemas["sought.words"]["scoring"] is True
        assert schemas["sought.words"]["stemmer"]["language"] == "english"
        assert {"content_hash", "silent", "duration_s", "sought.tags"} <= schemas.keys()

    def test_how_it_lies_on_a_cluster(self, standin: StandIn, address: ServerAddress) -> None:
        layout = server_module.ClusterLayout(
            shard_number=6, replication_factor=2, write_consistency_factor=1
        )
        ServerCollection.create(address, INFO, layout).close()
        [created] = [
            s.body
            for s in standin.seen
            if s.operation.endswith("PUT /collections/{collection_name}")
        ]
        assert (created["shard_number"], created["replication_factor"]) == (6, 2)
        assert created["write_consistency_factor"] == 1
        assert created["vectors"]["plain"] == {
            "size": DIM,
            "distance": "Cosine",
            "memory": "cold",
        }
        turbo = created["quantization_config"]["turbo"]
        assert (turbo["bits"], turbo["memory"]) == ("bits4", "pinned")

    def test_an_older_server_gets_int8(self) -> None:
        with StandIn(version="1.17.1") as old:
            ServerCollection.create(ServerAddress.parse(old.url), INFO).close()
            [created] = [s.body for s in old.seen if "quantization_config" in (s.body or {})]
        assert created["quantization_config"]["scalar"]["type"] == "int8"
        assert created["quantization_config"]["scalar"]["always_ram"] is True
        assert created["vectors"]["plain"]["on_disk"] is True

    def test_too_old_a_server(self) -> None:
        with StandIn(version="1.12.4") as old:
            with pytest.raises(CollectionError, match=r"version 1\.12\.4") as caught:
                ServerCollection.open(ServerAddress.parse(old.url))
        assert caught.value.hint is not None
        assert "1.16 or later" in caught.value.hint

    def test_aspects_need_1_18(self) -> None:
        with StandIn(version="1.17.0") as old:
            address = ServerAddress.parse(old.url)
            with ServerCollection.create(address, INFO) as collection:
                with pytest.raises(CollectionError, match="can't add vectors") as caught:
                    collection.add_aspect(SPEAKER)
        assert caught.value.hint == "aspects need Qdrant 1.18 or later"

    def test_a_long_file_goes_in_parts_that_all_wait(
        self, standin: StandIn, address: ServerAddress
    ) -> None:
        with ServerCollection.create(replace(address, timeout_s=60), INFO) as collection:
            put(collection, 1, unit_vectors(600))
        puts = [
            s for s in standin.seen if s.operation == "PUT /collections/{collection_name}/points"
        ]
        assert [len(seen.body["points"]) for seen in puts] == [256, 256, 88]
        assert {seen.query["wait"] for seen in puts} == {"true"}

    def test_no_request_is_too_large(
        self, standin: StandIn, address: ServerAddress, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_module, "_REQUEST_BYTES", 400_000)
        info = replace(INFO, embedding_dim=1024)
        with ServerCollection.create(replace(address, timeout_s=60), info) as collection:
            vectors = unit_vectors(60, dim=1024)
            put(collection, 1, vectors, paths=[f"/{'deep/' * 50}{i}.wav" for i in range(40)])
            assert len(collection.chunks(a_hash(1))) == 60
        puts = [
            s for s in standin.seen if s.operation == "PUT /collections/{collection_name}/points"
        ]
        assert len(puts) > 1
        assert max(seen.n_bytes for seen in puts) <= 400_000
        scrolled = [s.body["limit"] for s in standin.seen if s.path.endswith("/points/scroll")]
        assert max(scrolled) <= 400_000 // (1024 * 22)

    def test_a_large_collection_is_searched_by_its_graph_and_codes(
        self, standin: StandIn, address: ServerAddress, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ServerCollection.create(address, INFO) as collection:
            put(collection, 1, unit_vectors(20))
            collection.nearest(axis(0), limit=3)
            monkeypatch.setattr(server_module, "EXACT_COMPONENTS", 10)
            collection.nearest(axis(0), limit=3)
        exact, by_codes = [s.body["params"] for s in standin.seen if s.path.endswith("/query")]
        assert (exact["exact"], exact["quantization"]["ignore"]) == (True, True)
        assert by_codes["hnsw_ef"] >= 128
        assert by_codes["quantization"]["rescore"] is True
        assert by_codes["quantization"]["oversampling"] == 2

    def test_contents_are_grouped_by_the_server(
        self, standin: StandIn, address: ServerAddress
    ) -> None:
        with ServerCollection.create(address, INFO) as collection:
            for number in range(30):
                put(collection, number, unit_vectors(5, seed=number))
            standin.seen.clear()
            found = collection.nearest_contents(axis(0), limit=4)
            asked = [s for s in standin.seen if "/query" in s.path]
            assert [s.path.rpartition("/")[2] for s in asked] == ["groups"]
            assert (asked[0].body["group_by"], asked[0].body["limit"]) == ("content_hash", 5)
            all_of_them = collection.nearest(axis(0), limit=150)
        best = server_module.best_of_contents(all_of_them)[:4]
        assert keys(found) == keys(best)

    def test_groups_are_never_asked_for_without_bound(
        self, standin: StandIn, address: ServerAddress
    ) -> None:
        with ServerCollection.create(address, INFO) as collection:
            put(collection, 1, unit_vectors(3))
            assert len(collection.nearest_contents(axis(0), limit=10**9)) == 1
        asked = [s.body["limit"] for s in standin.seen if s.path.endswith("/groups")]
        assert all(limit <= 1000 for limit in asked)

    def test_narrowing_happens_on_the_server(
        self, standin: StandIn, address: ServerAddress
    ) -> None:
        with ServerCollection.create(address, INFO) as collection:
            put(collection, 1, [axis(0)], paths=["/a/x.wav"])
            put(collection, 2, [axis(0)], paths=["/b/x.wav"])
            where = SearchFilter(under=Path("/a"))
            assert keys(collection.nearest(axis(0), limit=5, where=where)) == [(1, 0.0)]
        [asked] = [s.body for s in standin.seen if s.path.endswith("/query")]
        silent, below = asked["filter"]["must"]
        assert silent == {"key": "silent", "match": {"value": 0}}
        assert below["should"][1] == {"key": "places[].path", "match": {"prefix": "/a/"}}


class TestWhatFails:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault(status=503),
            Fault(status=502),
            Fault(status=500, text="Service internal error: timeout"),
            Fault(status=429),
            Fault(status=429, headers={"Retry-After": "0"}),
            Fault(),  # the connection is cut
            Fault(is_done=True),  # and only then
            Fault(status=504, is_done=True),
            Fault(status=200, delay_s=1.5, is_done=True),  # longer than we wait
        ],
        ids=lambda fault: f"{fault.status}-{fault.is_done}-{fault.delay_s}",
    )
    @pytest.mark.parametrize("n", [1, 3])
    def test_what_passes_is_asked_again(
        self, standin: StandIn, address: ServerAddress, fault: Fault, n: int
    ) -> None:
        if fault.delay_s and n > 1:
            pytest.skip("slow, and the same")
        with ServerCollection.create(address, INFO) as collection:
            for path in ("points$", "/points/query$", "payload$", "delete$"):
                standin.faults += [replace(fault, path=path)] * n
            put(collection, 1, unit_vectors(3))
            put(collection, 2, unit_vectors(2))
            assert collection.nearest(axis(0), limit=1)
            collection.set_places(a_hash(1), [a_place("/new.wav")])
            collection.delete(a_hash(2))
            assert collection.count() == 3
            [stored] = collection.contents()
            assert [str(place.path) for place in stored.places] == ["/new.wav"]
            assert stored.is_complete

    @pytest.mark.parametrize("path", ["^/$", "^/aliases$", "^/collections/", "aliases$", "index$"])
    @pytest.mark.parametrize("fault", [Fault(status=503), Fault(is_done=True)])
    def test_making_one_survives_it_too(
        self, standin: StandIn, address: ServerAddress, fault: Fault, path: str
    ) -> None:
        standin.faults += [replace(fault, path=path)] * 3
        with ServerCollection.create(address, INFO) as collection:
            put(collection, 1, unit_vectors(3))
        assert not standin.faults
        assert len(standin.client.get_collections().collections) == 1
        assert read_server_info(address) == INFO

    def test_what_was_done_and_not_answered_is_done(
        self, standin: StandIn, address: ServerAddress
    ) -> None:
        """Asked again, a server may say that there is nothing of that name."""
        lost = [Fault(is_done=True), Fault(status=404, text="no such thing")]
        with ServerCollection.create(address, INFO) as collection:
            collection.add_aspect(SPEAKER)
            put(collection, 1, [axis(0)])
            collection.put_aspect("speaker", a_hash(1), chunks_of([axis(1)]))
            standin.faults += [replace(fault, path="/vectors/") for fault in lost]
            collection.remove_aspect("speaker")
            assert not standin.faults
            collection.add_aspect(SPEAKER)
            assert len(list(collection.lacking("speaker"))) == 1
        standin.faults += [replace(fault, path="^/collections/aliases$") for fault in lost]
        standin.faults.appendleft(Fault(status=503, path="^/collections$"))
        standin.faults += [Fault(is_done=True, path=PHYSICAL)]
        ServerCollection.drop(address)
        assert not standin.client.get_aliases().aliases
        assert not standin.client.get_collections().collections

    def test_vectors_of_an_aspect_that_was_half_removed(
        self, standin: StandIn, address: ServerAddress
    ) -> None:
        with ServerCollection.create(address, INFO) as collection:
            collection.add_aspect(SPEAKER)
            put(collection, 1, [axis(0)])
            collection.put_aspect("speaker", a_hash(1), chunks_of([axis(1)]))
            standin.faults.append(Fault(status=400, path="/vectors/"))
            with pytest.raises(CollectionError, match="refuses"):
                collection.remove_aspect("speaker")
            collection.add_aspect(Aspect("speaker", "another question"))
            assert collection.nearest(axis(1), limit=1, aspect="speaker") == []

    def test_two_who_make_it_at_once_make_the_same(
        self, standin: StandIn, address: ServerAddress
    ) -> None:
        def make() -> str:
            with ServerCollection.open_or_create(address, INFO) as collection:
                put(collection, 1, unit_vectors(3))
                return collection.name

        with ThreadPoolExecutor(4) as pool:
            names = {made.result() for made in [pool.submit(make) for _ in range(4)]}
        assert names == {PHYSICAL}
        assert len(standin.client.get_collections().collections) == 1
        with ServerCollection.open(address) as collection:
            assert collection.count() == 3

    @pytest.mark.parametrize("fault", [Fault(status=503, text="overloaded"), Fault()])
    def test_what_does_not_pass_is_told(
        self, standin: StandIn, address: ServerAddress, fault: Fault
    ) -> None:
        with ServerCollection.create(address, INFO) as collection:
            standin.faults += [fault] * 50
            with pytest.raises(CollectionUnavailable) as caught:
                put(collection, 1, unit_vectors(3))
            assert len(standin.faults) == 50 - 4
            standin.faults.clear()
            assert collection.count() == 0  # it goes on when the server does
        assert caught.value.url == address.url
        assert caught.value.hint

    def test_waits_grow_and_differ_and_heed_the_server(self, standin: StandIn) -> None:
        waits: list[float] = []
        server = Server(
            ServerAddress.parse(standin.url),
            patience=Patience(n_tries=5, first_s=1.0, longest_s=3.0),
            sleep=waits.append,
        )
        with closing(server):
            standin.faults += [Fault(status=503)] * 3
            standin.faults.append(Fault(status=429, headers={"Retry-After": "7"}))
            assert server.features.has_text_scores
        for wait, longest in zip(waits, [1, 2, 3], strict=False):
            assert longest / 2 <= wait <= longest
        assert waits[3] == 7

    def test_a_refusal_is_not_asked_again(self, standin: StandIn, address: ServerAddress) -> None:
        with ServerCollection.create(address, INFO) as collection:
            standin.faults += [Fault(status=400, text="Wrong input: no such thing")] * 2
            with pytest.raises(CollectionError, match=r"refuses \(400\): Wrong input") as caught:
                collection.count()
            assert not isinstance(caught.value, CollectionUnavailable)
            assert len(standin.faults) == 1

    def test_nobody_there(self) -> None:
        with closing(socket.socket()) as unused:
            unused.bind(("127.0.0.1", 0))
            address = ServerAddress.parse(f"http://127.0.0.1:{unused.getsockname()[1]}")
            with pytest.raises(CollectionUnavailable, match="can't be reached") as caught:
                ServerCollection.open(address)
        assert address.url in str(caught.value)
        assert "docker compose up" in str(caught.value.hint)

    def test_not_a_qdrant(self, standin: StandIn, address: ServerAddress) -> None:
        standin.faults.append(Fault(status=200, text="<html>"))
        with pytest.raises(CollectionError, match="isn't one of Qdrant"):
            ServerCollection.open(address)

    def test_a_full_disk_there(self, standin: StandIn, address: ServerAddress) -> None:
        with ServerCollection.create(address, INFO) as collection:
            text = "Service internal error: No space left on device: WAL buffer size exceeds"
            standin.faults += [Fault(status=500, text=text, path="points$")] * 2
            with pytest.raises(CollectionFull, match="no room left on the Qdrant server"):
                put(collection, 1, unit_vectors(3))
            assert len(standin.faults) == 1

    def test_a_change_that_was_not_done_in_time_is_asked_for_again(
        self, standin: StandIn, address: ServerAddress, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ServerCollection.create(address, INFO) as collection:
            upsert, answers = standin.client.upsert, iter(["wait_timeout", "completed"])

            def late(*args: object, **options: object) -> object:
                done = upsert(*args, **options)  # type: ignore[arg-type]
                return {"operation_id": done.operation_id, "status": next(answers)}

            monkeypatch.setattr(standin.client, "upsert", late)
            put(collection, 1, unit_vectors(3))
            assert next(answers, None) is None
            assert collection.count() == 3

    def test_the_collection_was_deleted_meanwhile(
        self, standin: StandIn, address: ServerAddress
    ) -> None:
        with ServerCollection.create(address, INFO) as collection:
            standin.client.delete_collection(PHYSICAL)
            with pytest.raises(CollectionNotFound):
                collection.count()


class TestKeys:
    @pytest.fixture
    def standin(self) -> Iterator[StandIn]:
        with StandIn(key=KEY, read_key="may-read") as standin:
            yield standin

    def test_the_right_key(self, address: ServerAddress) -> None:
        with ServerCollection.create(replace(address, api_key=KEY), INFO) as collection:
            put(collection, 1, unit_vectors(2))
            assert collection.count() == 2

    def test_no_key(self, address: ServerAddress) -> None:
        with pytest.raises(CollectionUnavailable, match="asks for a key") as caught:
            ServerCollection.open(address)
        assert "ALM2VEC_API_KEY" in str(caught.value.hint)

    def test_a_wrong_key_is_told_of_without_saying_it(
        self, standin: StandIn, address: ServerAddress, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(0)
        wrong = replace(address, api_key="wrong-horse")
        with pytest.raises(CollectionUnavailable, match="refuses the key") as caught:
            ServerCollection.open(wrong)
        assert len(standin.seen) == 1  # it isn't asked again
        told = [str(caught.value), repr(caught.value), str(caught.value.hint), repr(wrong)]
        told += [str(wrong), caplog.text, str(caught.value.__dict__)]
        assert not any("horse" in text for text in told)

    def test_a_key_that_may_only_read_is_enough_to_search(self, address: ServerAddress) -> None:
        with ServerCollection.create(replace(address, api_key=KEY), INFO) as collection:
            put(collection, 1, unit_vectors(20))
        with ServerCollection.open(replace(address, api_key="may-read")) as collection:
            [best] = collection.nearest(axis(0), limit=1)
            assert collection.nearest_contents(axis(0), limit=1)
            assert len(collection.embeddings([best])) == 1
            assert collection.by_words("a", limit=1)
            assert len(list(collection.contents())) == 1
            with pytest.raises(CollectionUnavailable, match="doesn't let this key") as caught:
                put(collection, 2, unit_vectors(2))
        assert "a key that may write" in str(caught.value.hint)

    def test_a_client_says_nothing_of_keys(self) -> None:
        """It would warn of any without TLS; warnings are errors here."""
        connect(ServerAddress("http://localhost:6333", api_key=KEY)).close()


class TestAddresses:
    @pytest.mark.parametrize(
        ("store", "url", "is_grpc", "grpc_port"),
        [
            ("http://localhost", "http://localhost:6333", False, 6334),
            ("HTTPS://Box.example:443/", "https://box.example:443", False, 6334),
            ("https://box/qdrant/", "https://box:6333/qdrant", False, 6334),
            ("grpc://box:7000", "http://box:6333", True, 7000),
            ("grpcs://box", "https://box:6333", True, 6334),
            ("http://[::1]:7", "http://[::1]:7", False, 6334),
        ],
    )
    def test_as_they_are_written(self, store: str, url: str, is_grpc: bool, grpc_port: int) -> None:
        address = ServerAddress.parse(store)
        assert (address.url, address.prefer_grpc, address.grpc_port) == (url, is_grpc, grpc_port)
        with closing(connect(address)) as client:
            assert client._client.rest_uri.rstrip("/") == url  # type: ignore[attr-defined]

    @pytest.mark.parametrize(
        "store",
        ["ftp://box", "http://", "http://me:secret@box", "https://box?api-key=secret", "box:6333"],
    )
    def test_that_are_none(self, store: str) -> None:
        with pytest.raises(ValueError, match="not the address of a server") as caught:
            ServerAddress.parse(store)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("alias", ["", "a b", "a/b", "../x", "a__b", "-a", "x" * 101])
    def test_names_that_can_not_be_used(self, alias: str) -> None:
        with pytest.raises(ValueError, match="not a name"):
            ServerAddress("http://box:6333", alias=alias)

    def test_a_key_in_the_open_is_noticed(self) -> None:
        assert ServerAddress("http://box:6333", api_key="x").exposes_key
        assert not ServerAddress("http://box:6333").exposes_key
        assert not ServerAddress("http://localhost:6333", api_key="x").exposes_key
        assert not ServerAddress("https://box:6333", api_key="x").exposes_key

    def test_what_belongs_to_it_here(self) -> None:
        one = ServerAddress("http://box:6333")
        assert one.folder_name == ServerAddress.parse("http://BOX/", api_key="x").folder_name
        assert one.folder_name != replace(one, alias="other").folder_name
        assert one.folder_name != ServerAddress("http://box:6335").folder_name


def said(value: Any) -> Any:
    """Without what is empty, which gRPC and JSON write differently."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, dict):
        if value == {"type": "bm25"}:
            return True
        return {key: said(inner) for key, inner in value.items() if inner != []}
    return [said(inner) for inner in value] if isinstance(value, list) else value


class TestGrpc:
    """Without a server that speaks it: what we send has a form there, and failures are met."""

    def test_what_is_made_survives_the_translation(self) -> None:
        features = ServerFeatures()
        config = codes(features)
        there = RestToGrpc.convert_quantization_config(config)
        assert GrpcToRest.convert_quantization_config(there) == config
        config = vectors(DIM, features)
        assert (
            GrpcToRest.convert_vectors_config(RestToGrpc.convert_vectors_config(config)) == config
        )
        for index in indexes(features).values():
            there = RestToGrpc.convert_payload_schema_params(index)
            back = GrpcToRest.convert_payload_schema_params(there)
            assert said(back) == said(index)

    def test_what_is_asked_survives_the_translation(self) -> None:
        where = SearchFilter(
            under=Path("/a"),
            contents=frozenset({a_hash(1), a_hash(2)}),
            condition=And(
                (
                    Within(NumberField.DURATION, Interval(least=0.5)),
                    Not(Within(NumberField.RATE, Interval(most=8000))),
                    Says(WordField.TAG, Manner.CONTAINS, "rain"),
                )
            ),
        )
        asked = to_filter(where, ServerFeatures())
        there = RestToGrpc.convert_filter(asked)
        back = GrpcToRest.convert_filter(there)
        assert said(back) == said(asked)
        words = models.TextQuery(text="rain")
        assert GrpcToRest.convert_query(RestToGrpc.convert_query(words)) == words

    def test_nobody_there(self) -> None:
        with closing(socket.socket()) as unused:
            unused.bind(("127.0.0.1", 0))
            address = ServerAddress.parse(f"grpc://127.0.0.1:{unused.getsockname()[1]}")
            with pytest.raises(CollectionUnavailable, match="can't be reached"):
                ServerCollection.open(address)

    @pytest.mark.parametrize(
        ("code", "kind", "says"),
        [
            (grpc.StatusCode.UNAUTHENTICATED, CollectionUnavailable, "asks for a key"),
            (grpc.StatusCode.NOT_FOUND, CollectionNotFound, "no index in"),
            (grpc.StatusCode.INVALID_ARGUMENT, CollectionError, r"refuses \(400\): it is so"),
            (grpc.StatusCode.DEADLINE_EXCEEDED, CollectionUnavailable, "can't be reached"),
        ],
    )
    def test_failures(self, code: grpc.StatusCode, kind: type[CollectionError], says: str) -> None:
        class Failed(grpc.RpcError, grpc.Call):  # as its stubs raise them
            def code(self) -> grpc.StatusCode:
                return code

            def details(self) -> str:
                return "it is so"

            initial_metadata = trailing_metadata = is_active = None
            time_remaining = cancel = add_callback = None

        error = to_error(complaint_of(Failed()), ServerAddress("http://box:6333"))
        assert type(error) is kind
        with pytest.raises(kind, match=says):
            raise error

"""One model and one index for many: also while the index moves to another model."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from qdrant_standin import StandIn

from alm2vec_search.addresses import ServerAddress
from alm2vec_search.collection.base import CollectionInfo
from alm2vec_search.collection.server import ServerCollection
from alm2vec_search.domain import Content, EmbeddedChunk, Place, TimeSpan
from alm2vec_search.errors import ModelError
from alm2vec_search.queries import question
from alm2vec_search.search_request import SearchChoices
from alm2vec_search.serving.engine import Engine
from alm2vec_search.serving.lending import Lender
from alm2vec_search.testing import BANDS, FakeEncoder
from alm2vec_search.verdicts import Judge

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from alm2vec_search.domain import Question


def info(fingerprint: str) -> CollectionInfo:
    return CollectionInfo(fingerprint, "2s/2s", BANDS, "fake")


def fill(collection: ServerCollection, library: Path) -> None:
    for number, word in enumerate(("low", "middle", "high")):
        [vector] = FakeEncoder().encode_query(text=[word])
        content = Content(f"{number:064x}", 1, 2.0, 8000, 1)
        chunk = EmbeddedChunk(TimeSpan(0, 2), vector, silent=False)
        collection.upsert(content, [Place(library / f"{word}.wav", library, 0)], [chunk])


@pytest.fixture
def address() -> Iterator[ServerAddress]:
    with StandIn() as standin:
        yield ServerAddress.parse(standin.url)


def asked(_sampling_rate: int) -> Question:
    return question(text="high")


def test_nobody_fails_while_the_index_moves_to_another_model(
    address: ServerAddress, tmp_path: Path
) -> None:
    with ServerCollection.create(address, info("first-float32")) as old:
        fill(old, tmp_path)
    loads: Counter[str] = Counter()

    def load(made_by: CollectionInfo) -> FakeEncoder:
        loads[made_by.fingerprint] += 1
        time.sleep(0.3)  # others go on meanwhile
        return FakeEncoder(fingerprint=made_by.fingerprint)

    lend = Lender(lambda: ServerCollection.open(address), renew_s=0.05)
    engine = Engine(lend, load, Judge)
    failures: list[Exception] = []
    best: Counter[str] = Counter()
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            try:
                [hit] = engine.search(SearchChoices(limit=1), asked).hits
                best[hit.path.name] += 1
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.6)
        with ServerCollection.open_beside(address, info("second-float32")) as new:
            fill(new, tmp_path)
            new.take_over()
            time.sleep(1.0)
        assert engine.status().info.fingerprint == "second-float32"
        with ServerCollection.open_before(address) as before:
            before.take_over()
        time.sleep(1.0)
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
        engine.close()
        lend.close()
    assert failures == []
    assert set(best) == {"high.wav"}
    assert best["high.wav"] > 20
    assert loads == {"first-float32": 2, "second-float32": 1}  # what nobody uses is put away


def test_a_model_that_cannot_be_loaded_is_tried_anew(
    address: ServerAddress, tmp_path: Path
) -> None:
    with ServerCollection.create(address, info("first-float32")) as collection:
        fill(collection, tmp_path)
    attempts: list[int] = []

    def load(made_by: CollectionInfo) -> FakeEncoder:
        attempts.append(1)
        if len(attempts) == 1:
            raise ModelError("not now")
        return FakeEncoder(fingerprint=made_by.fingerprint)

    engine = Engine(Lender(lambda: ServerCollection.open(address)), load, Judge)
    with pytest.raises(ModelError, match="not now"):
        engine.search(SearchChoices(), asked)
    assert engine.search(SearchChoices(), asked).hits
    engine.close()

"""One collection for many threads: open while it is asked, free soon after."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from alm2vec_search.collection.base import CollectionInfo
from alm2vec_search.collection.edge import EdgeCollection
from alm2vec_search.errors import CollectionBusy, CollectionNotFound
from alm2vec_search.serving.lending import Lender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INFO = CollectionInfo("fake", "10s/10s", 4, "fake")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    EdgeCollection.create(tmp_path / "index", INFO).close()
    return tmp_path / "index"


@pytest.fixture
def opened() -> list[EdgeCollection]:
    return []


@pytest.fixture
def lend(store: Path, opened: list[EdgeCollection]) -> Iterator[Lender]:
    def open_collection() -> EdgeCollection:
        opened.append(EdgeCollection.open(store))
        return opened[-1]

    lender = Lender(open_collection, idle_s=0.2)
    yield lender
    lender.close()


def is_free(store: Path) -> bool:
    try:
        EdgeCollection.open(store).close()
    except CollectionBusy:
        return False
    return True


def wait_until_free(store: Path) -> None:
    for _ in range(200):
        if is_free(store):
            return
        threading.Event().wait(0.05)
    raise AssertionError("the index is still held")


def test_a_burst_of_questions_opens_it_once(lend: Lender, opened: list[EdgeCollection]) -> None:
    def ask(_: int) -> int:
        with lend() as collection:
            return collection.count()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(100))) == [0] * 100
    assert len(opened) == 1


def test_others_can_have_it_after_a_while(
    lend: Lender, store: Path, opened: list[EdgeCollection]
) -> None:
    with lend():
        assert not is_free(store)
        threading.Event().wait(0.4)  # longer than idle, but it is in use
        assert not is_free(store)
    wait_until_free(store)
    with lend() as again:
        assert again.count() == 0
    assert len(opened) == 2


def test_what_another_holds_is_said_and_tried_anew(lend: Lender, store: Path) -> None:
    with EdgeCollection.open(store), pytest.raises(CollectionBusy), lend():
        pass
    with lend() as collection:
        assert collection.count() == 0


def test_no_index_yet(tmp_path: Path) -> None:
    lend = Lender(lambda: EdgeCollection.open(tmp_path / "nothing"))
    with pytest.raises(CollectionNotFound), lend():
        pass
    EdgeCollection.create(tmp_path / "nothing", INFO).close()
    with lend() as collection:
        assert collection.info == INFO
    lend.close()


def test_closing_waits_for_nobody_and_frees_it(lend: Lender, store: Path) -> None:
    with lend() as collection:
        lend.close()
        assert collection.count() == 0  # who has it may finish
    assert is_free(store)


class Closable:
    """What a collection on a server looks like from here: several can be open at once."""

    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


def test_what_gets_old_is_renewed_under_those_who_use_it() -> None:
    made: list[Closable] = []

    def open_collection() -> Closable:
        made.append(Closable())
        return made[-1]

    lend = Lender(open_collection, renew_s=0.05)  # type: ignore[arg-type]
    with lend() as first:
        threading.Event().wait(0.1)
        with lend() as second:
            assert second is not first
            assert not made[0].is_closed
    assert made[0].is_closed
    assert not made[1].is_closed
    lend.close()
    assert made[1].is_closed

"""Manifests of a collection that others write to, too."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from contract import INFO, a_content, a_hash, a_place, put, unit_vectors
from qdrant_standin import local_client

from alm2vec_search.addresses import ServerAddress
from alm2vec_search.collection.server import ServerCollection
from alm2vec_search.domain import AudioFile
from indexer.manifest import Manifest
from indexer.pipeline import finish, forget_under, is_trusted, mend

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def collection() -> Iterator[ServerCollection]:
    client = local_client()
    address = ServerAddress("http://nowhere:6333")
    with ServerCollection.create(address, INFO, connect=lambda _: client) as collection:
        put(collection, 1, unit_vectors(3), paths=["/a/1.wav"])
        yield collection


@pytest.fixture
def manifests(tmp_path: Path) -> Iterator[tuple[Manifest, Manifest]]:
    with Manifest.open(tmp_path / "mine") as mine, Manifest.open(tmp_path / "yours") as yours:
        yield mine, yours


def write(collection: ServerCollection, manifest: Manifest, number: int) -> None:
    """As a run does, for one file."""
    manifest.begin(collection.leave_mark())
    path = Path(f"/a/{number}.wav")
    put(collection, number, unit_vectors(2), paths=[path])
    place = a_place(path)
    file = AudioFile(path, place.library, 1000 + number, place.mtime_ns, ctime_ns=0)
    manifest.record(file, a_content(number), n_chunks=2, n_silent=0, note=None)
    manifest.commit()
    finish(collection, manifest)


def test_one_writer_trusts_itself(
    collection: ServerCollection, manifests: tuple[Manifest, Manifest]
) -> None:
    mine, _ = manifests
    assert not is_trusted(collection, mine)
    mend(collection, mine)
    assert is_trusted(collection, mine)
    write(collection, mine, 2)
    assert is_trusted(collection, mine)
    assert forget_under(collection, mine, Path("/a/1.wav")) == 1
    assert is_trusted(collection, mine)


def test_looking_distrusts_nobody(
    collection: ServerCollection, manifests: tuple[Manifest, Manifest]
) -> None:
    for manifest in manifests:
        mend(collection, manifest)
    assert all(is_trusted(collection, manifest) for manifest in manifests)


def test_what_another_wrote_is_taken_in(
    collection: ServerCollection, manifests: tuple[Manifest, Manifest]
) -> None:
    mine, yours = manifests
    for manifest in manifests:
        mend(collection, manifest)
    write(collection, yours, 2)
    assert is_trusted(collection, yours)
    assert not is_trusted(collection, mine)
    mend(collection, mine)
    assert mine.content(a_hash(2)) == a_content(2)
    assert is_trusted(collection, mine)
    assert is_trusted(collection, yours)


def test_two_who_write_at_once_both_look_again(
    collection: ServerCollection, manifests: tuple[Manifest, Manifest]
) -> None:
    mine, yours = manifests
    for manifest in manifests:
        mend(collection, manifest)
    mine.begin(collection.leave_mark())
    write(collection, yours, 2)
    finish(collection, mine)
    assert not is_trusted(collection, mine)
    assert not is_trusted(collection, yours)


def test_one_that_was_killed_right_after_its_mark(
    collection: ServerCollection, manifests: tuple[Manifest, Manifest]
) -> None:
    mine, _ = manifests
    mend(collection, mine)
    collection.leave_mark()
    assert not is_trusted(collection, mine)


def test_chunks_that_are_missing(
    collection: ServerCollection, manifests: tuple[Manifest, Manifest]
) -> None:
    mine, _ = manifests
    mend(collection, mine)
    collection.delete(a_hash(1))  # by whoever leaves no mark
    assert not is_trusted(collection, mine)
    mend(collection, mine)
    assert mine.content(a_hash(1)) is None


def test_a_mark_is_kept(tmp_path: Path) -> None:
    with Manifest.open(tmp_path / "m") as manifest:
        assert manifest.mark == ""
        manifest.begin("abc")
    with Manifest.open(tmp_path / "m") as manifest:
        assert manifest.mark == "abc"
        assert manifest.was_interrupted


def test_a_manifest_from_before_there_were_marks(tmp_path: Path) -> None:
    Manifest.open(tmp_path / "m").close()
    connection = sqlite3.connect(tmp_path / "m")
    connection.execute("DROP TABLE mark")
    connection.close()
    with Manifest.open(tmp_path / "m") as manifest:
        assert manifest.mark == ""
        manifest.begin()
        manifest.begin("abc")
        assert manifest.mark == "abc"
    assert not (tmp_path / "m.bad").exists()

"""Qdrant Edge meets the contract, and survives what may happen to a folder and its process."""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple

import pytest
import qdrant_edge

pytest.register_assert_rewrite("contract")  # it holds tests, but isn't named like one

from contract import (  # noqa: E402  after the line above
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

from alm2vec_search.collection import edge  # noqa: E402
from alm2vec_search.collection.edge import EdgeCollection  # noqa: E402
from alm2vec_search.collection.info import read_info  # noqa: E402
from alm2vec_search.collection.room import RESERVE, SMALL_RESERVE  # noqa: E402
from alm2vec_search.errors import (  # noqa: E402
    CollectionBusy,
    CollectionError,
    CollectionFull,
    CollectionNotFound,
    IncompatibleCollection,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alm2vec_search.collection.base import Collection

ROOT = Path(__file__).parents[3]
INFO_FILE = "collection.json"


class DiskUsage(NamedTuple):
    """As `shutil.disk_usage` returns it."""

    total: int
    used: int
    free: int


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where a store may be made; in memory if that is possible, since making one syncs a lot."""
    in_memory = Path("/dev/shm")
    base = in_memory if os.access(in_memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base) as name:
        yield Path(name) / "store"


class TestContract(CollectionContract):
    @pytest.fixture
    def collection(self, folder: Path) -> Iterator[Collection]:
        with EdgeCollection.create(folder, INFO) as collection:
            yield collection


class TestContractByCodes(TestContract):
    """As for a large collection: compared by 4-bit codes first."""

    @pytest.fixture(autouse=True)
    def large(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(edge, "EXACT_COMPONENTS", 0)


class TestOpening:
    def test_create_twice(self, folder: Path) -> None:
        with EdgeCollection.create(folder, INFO) as collection:
            put(collection, 1, unit_vectors(3))
        with pytest.raises(CollectionError, match="there is an index in"):
            EdgeCollection.create(folder, INFO)
        with EdgeCollection.open(folder) as collection:
            assert collection.count() == 3

    @pytest.mark.parametrize("is_there", [False, True])
    def test_open_nothing(self, folder: Path, is_there: bool) -> None:
        if is_there:
            folder.mkdir()
        with pytest.raises(CollectionNotFound) as caught:
            EdgeCollection.open(folder)
        assert caught.value.hint is not None
        assert read_info(folder) is None
        assert folder.exists() == is_there
        assert not is_there or not list(folder.iterdir())

    def test_open_or_create(self, folder: Path) -> None:
        for n_before in (0, 3):
            with EdgeCollection.open_or_create(folder, INFO) as collection:
                assert collection.count() == n_before
                put(collection, 1, unit_vectors(3))

    def test_everything_comes_back(self, folder: Path) -> None:
        with EdgeCollection.create(folder, INFO) as collection:
            put(collection, 1, unit_vectors(250), paths=["/a/x.wav", os.fsdecode(b"/\xff.wav")])
            before = collection.nearest(axis(0), limit=20), list(collection.contents())
        with EdgeCollection.open(folder) as collection:
            assert (collection.info, collection.info.model) == (INFO, "small")
            assert (collection.nearest(axis(0), limit=20), list(collection.contents())) == before

    def test_info_without_opening(self, folder: Path) -> None:
        with EdgeCollection.create(folder, INFO):
            assert read_info(folder) == INFO
        code = (
            "import sys; from pathlib import Path; from alm2vec_search.collection.info import"
            " read_info; print(read_info(Path(sys.argv[1])).model, 'qdrant_edge' in sys.modules)"
        )
        assert run_python("-c", code, str(folder)).split() == ["small", "False"]

    def test_made_by_something_else(self, folder: Path) -> None:
        EdgeCollection.create(folder, INFO).close()
        other = replace(INFO, fingerprint="b" * 64, chunking="5s/2.5s", model="large")
        with pytest.raises(IncompatibleCollection) as caught:
            EdgeCollection.open_or_create(folder, other)
        assert str(caught.value) == (
            f"the index in {folder} was made by model small (3f2a90c1…), 10 s chunks every 10 s,"
            " not by model large (bbbbbbbb…), 5 s chunks every 2.5 s"
        )
        assert "--rebuild" in (caught.value.hint or "")
        EdgeCollection.open(folder).close()  # it is not locked any more

    def test_a_renamed_model_may_go_on(self, folder: Path) -> None:
        EdgeCollection.create(folder, INFO).close()
        with EdgeCollection.open_or_create(folder, replace(INFO, model="/m")) as collection:
            assert collection.info.model == "small"

    def test_drop(self, folder: Path) -> None:
        EdgeCollection.drop(folder)
        assert not folder.exists()
        with EdgeCollection.create(folder, INFO) as collection:
            put(collection, 1, unit_vectors(3))
            with pytest.raises(CollectionBusy):
                EdgeCollection.drop(folder)
        EdgeCollection.drop(folder)
        with pytest.raises(CollectionNotFound):
            EdgeCollection.open(folder)
        with EdgeCollection.create(folder, replace(INFO, embedding_dim=2)) as collection:
            assert collection.count() == 0

    def test_a_folder_of_any_name(self, folder: Path) -> None:
        strange = folder / os.fsdecode(b"caf\xe9") / "line\nbreak"
        EdgeCollection.create(strange, INFO).close()
        EdgeCollection.open(strange).close()

    def test_a_file_in_the_way(self, folder: Path) -> None:
        folder.write_text("mine")
        with pytest.raises(CollectionNotFound):
            EdgeCollection.open(folder)
        with pytest.raises(CollectionError, match="File exists"):
            EdgeCollection.create(folder, INFO)
        assert folder.read_text() == "mine"

    def test_left_open(self, folder: Path) -> None:
        """No warning, and no lock that stays."""
        with warnings.catch_warnings(record=True) as caught:
            put(EdgeCollection.create(folder, INFO), 1, unit_vectors(3))
            gc.collect()
        assert not caught
        with EdgeCollection.open(folder) as collection:
            assert collection.count() == 3


class TestMishaps:
    """Interrupted, damaged, or in the way."""

    def test_stopped_before_the_info(self, folder: Path) -> None:
        with EdgeCollection.create(folder, INFO) as collection:
            put(collection, 1, unit_vectors(3))
        (folder / INFO_FILE).unlink()
        with pytest.raises(CollectionNotFound):
            EdgeCollection.open(folder)
        with EdgeCollection.open_or_create(folder, INFO) as collection:
            assert collection.count() == 0

    def test_stopped_in_the_middle_of_the_shard(self, folder: Path) -> None:
        (folder / "shard" / "segments" / "half").mkdir(parents=True)
        (folder / "collection.tmp").write_text('{"form')
        with EdgeCollection.open_or_create(folder, INFO) as collection:
            put(collection, 1, unit_vectors(3))
            assert collection.count() == 3

    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
    @pytest.mark.parametrize(
        "n_before", [0, 1, 2]
    )  # of the info: its text, folder, folder's folder
    def test_failing_at_the_last_step(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, n_before: int
    ) -> None:
        sync, results = os.fsync, iter([None] * n_before + [error])

        def fail_once(handle: int) -> None:
            result = next(results, None)
            if result is not None:
                raise result
            sync(handle)

        expected = CollectionFull if isinstance(error, OSError) else KeyboardInterrupt
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fail_once)
            with pytest.raises(expected):
                EdgeCollection.create(folder, INFO)
        assert read_info(folder) is None
        assert not (folder / "shard").exists()
        EdgeCollection.create(folder, INFO).close()

    @pytest.mark.parametrize("is_file", [False, True])
    def test_a_folder_of_the_users(self, folder: Path, is_file: bool) -> None:
        mine = folder / "shard" if is_file else folder / "shard" / "song.wav"
        mine.parent.mkdir(parents=True)
        mine.write_text("mine")
        for touch in (
            lambda: EdgeCollection.create(folder, INFO),
            lambda: EdgeCollection.drop(folder),
        ):
            with pytest.raises(CollectionError, match="is in the way"):
                touch()
        assert mine.read_text() == "mine"

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            "{}",
            "\xff",
            json.dumps({"format": 2, **asdict(INFO), "more": 1}),
            json.dumps({**asdict(INFO), "format": 2, "embedding_dim": "8"}),
            json.dumps({"format": 2, "model": "small"}),
        ],
    )
    def test_damaged_info(self, folder: Path, text: str) -> None:
        EdgeCollection.create(folder, INFO).close()
        (folder / INFO_FILE).write_text(text, encoding="latin-1")
        for use in (
            lambda: read_info(folder),
            lambda: EdgeCollection.open(folder),
            lambda: EdgeCollection.create(folder, INFO),
            lambda: EdgeCollection.open_or_create(folder, INFO),
        ):
            with pytest.raises(CollectionError, match=r"collection\.json is damaged") as caught:
                use()
            assert "--rebuild" in (caught.value.hint or "")
        assert (folder / INFO_FILE).read_text(encoding="latin-1") == text
        assert (folder / "shard").is_dir()
        EdgeCollection.drop(folder)
        EdgeCollection.create(folder, INFO).close()

    @pytest.mark.parametrize(
        "part", ["", "segments", "edge_config.json", "segments/*/segment.json"]
    )
    def test_damaged_shard(self, folder: Path, part: str) -> None:
        EdgeCollection.create(folder, INFO).close()
        [path] = (folder / "shard").glob(part) if part else [folder / "shard"]
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.write_text("?")
        for _ in range(2):  # the first leaves no lock behind
            with pytest.raises(CollectionError) as caught:
                EdgeCollection.open(folder)
            assert not isinstance(caught.value, CollectionBusy)
            assert str(folder) in str(caught.value)
            assert "\n" not in str(caught.value)
            assert "--rebuild" in (caught.value.hint or "")

    def test_a_panic_is_an_error(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        EdgeCollection.create(folder, INFO).close()
        [status] = (folder / "shard").glob("segments/*/vector_storage/vectors/status.dat")
        status.write_bytes(b"")
        with pytest.raises(CollectionError, match="can't be used"):
            EdgeCollection.open(folder)
        capfd.readouterr()  # it says more on stderr than anyone wants to know

    def test_an_index_of_an_earlier_version(self, folder: Path) -> None:
        EdgeCollection.create(folder, INFO).close()
        info = folder / "collection.json"
        info.write_text(info.read_text().replace('"format": 2', '"format": 1'))
        with pytest.raises(CollectionError, match="made by an earlier version") as caught:
            EdgeCollection.open(folder)
        assert "--rebuild" in (caught.value.hint or "")

    def test_aspects_are_remembered(self, folder: Path) -> None:
        with EdgeCollection.create(folder, INFO) as collection:
            put(collection, 1, [axis(0)])
            collection.add_aspect(SPEAKER)
            collection.put_aspect("speaker", a_hash(1), chunks_of([axis(5)]))
        with EdgeCollection.open_or_create(folder, INFO) as collection:
            assert collection.info.aspects == (SPEAKER,)
            assert len(collection.nearest(axis(5), limit=1, aspect="speaker")) == 1

    def test_half_a_content(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with EdgeCollection.create(folder, INFO) as collection:
            put(collection, 1, unit_vectors(300), paths=["/a.wav"])
            put(collection, 2, unit_vectors(300))
            stop_after_first_batch(collection, monkeypatch, 1, paths=["/b.wav"])
            stop_after_first_batch(collection, monkeypatch, 3, paths=["/c.wav"])
            stored = [(item.n_chunks, item.is_complete) for item in collection.contents()]
            assert stored == [(300, False), (300, True), (200, False)]
            for number in (1, 3):
                put(collection, number, unit_vectors(300))
            assert all(item.is_complete for item in collection.contents())


def stop_after_first_batch(
    collection: EdgeCollection, monkeypatch: pytest.MonkeyPatch, number: int, *, paths: list[str]
) -> None:
    """Ctrl-C between two calls into Qdrant."""
    update = collection._update

    def interrupted(operation: qdrant_edge.UpdateOperation) -> None:
        update(operation)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(collection, "_update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            put(collection, number, unit_vectors(300), paths=paths)


def run_python(*arguments: str) -> str:
    """What a new process printed, which has to end well."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=child_environment()
    )
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def child_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}


HOLD = """
import sys, time
from pathlib import Path
from alm2vec_search.collection.edge import EdgeCollection
collection = EdgeCollection.open(Path(sys.argv[2]))
print("open", flush=True)
time.sleep(60)
"""


@contextmanager
def held_by_another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    script = folder.parent / "alm2vec"
    script.write_text(HOLD)
    command = [sys.executable, str(script), "index", str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=child_environment()
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "open\n"
            yield child
        finally:
            child.kill()


class TestOneAtATime:
    def test_another_process(self, folder: Path) -> None:
        EdgeCollection.create(folder, INFO).close()
        with held_by_another(folder) as child:
            for attempt in (
                lambda: EdgeCollection.open(folder),
                lambda: EdgeCollection.open_or_create(folder, INFO),
                lambda: EdgeCollection.drop(folder),
            ):
                with pytest.raises(CollectionBusy) as caught:
                    attempt()
            assert caught.value.holder == f"alm2vec index {folder} (process {child.pid})"
            (folder / "holder.json").unlink()
            with pytest.raises(CollectionBusy, match="in use by another process"):
                EdgeCollection.open(folder)
            child.send_signal(signal.SIGKILL)
            child.wait()
            EdgeCollection.open(folder).close()

    def test_the_same_process(self, folder: Path) -> None:
        with EdgeCollection.create(folder, INFO) as collection:
            with pytest.raises(CollectionBusy, match="in use by this very process"):
                EdgeCollection.open(folder)
            put(collection, 1, [axis(0)])

    def test_somebody_without_our_lock(self, folder: Path) -> None:
        EdgeCollection.create(folder, INFO).close()
        shard = qdrant_edge.EdgeShard.load(str(folder / "shard"))
        with pytest.raises(CollectionBusy, match="in use by another process"):
            EdgeCollection.open(folder)
        shard.close()
        EdgeCollection.open(folder).close()


WRITE = """
import sys
from pathlib import Path
from contract import INFO, put, unit_vectors
from alm2vec_search.collection.edge import EdgeCollection
first = int(sys.argv[2])
with EdgeCollection.open_or_create(Path(sys.argv[1]), INFO) as collection:
    print("open", flush=True)
    for number in range(first, first + 100_000):
        put(collection, number, unit_vectors(250, seed=number))
        print(number, flush=True)
        if number % 7 == 0:
            collection.flush()
"""


class TestKilled:
    @pytest.mark.parametrize("seed", range(3))
    def test_nothing_acknowledged_is_lost(self, tmp_path: Path, seed: int) -> None:
        folder = tmp_path / "store"
        chance = random.Random(seed)
        done = [*killed_while_writing(folder, 0, chance.uniform(0.01, 0.4))]
        done += killed_while_writing(folder, 1000, chance.uniform(0.01, 0.4))
        with EdgeCollection.open(folder) as collection:
            stored = {int(item.content.content_hash, 16): item for item in collection.contents()}
            assert {number for number, item in stored.items() if item.is_complete} >= {*done}
            assert len(stored) <= len(done) + 2  # each time, one that was under way
            assert collection.count() == sum(item.n_chunks for item in stored.values())
            assert all(item.n_chunks <= 250 for item in stored.values())
            for number in done[-1:] + done[:1]:
                [match] = collection.nearest(unit_vectors(250, seed=number)[123], limit=1)
                assert keys([match]) == [(number, 1230.0)]
            put(collection, 5000, [axis(0)])
            collection.delete(a_hash(5000))


def killed_while_writing(folder: Path, first: int, after_s: float) -> list[int]:
    """The contents whose `upsert` returned before the process was killed with -9."""
    command = [sys.executable, "-c", WRITE, str(folder), str(first)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=child_environment()
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        time.sleep(after_s)
        child.send_signal(signal.SIGKILL)
        lines = child.stdout.read().split("\n")[:-1]
    assert child.returncode == -signal.SIGKILL
    return [int(line) for line in lines]


FILL = """
import sys
from dataclasses import asdict, replace
from pathlib import Path
from contract import INFO, a_hash, a_place, put, unit_vectors
from alm2vec_search.collection.edge import EdgeCollection
from alm2vec_search.errors import CollectionFull

folder, dim, room = Path(sys.argv[1]), 1024, 16 * 2**20
collection = EdgeCollection.create(folder / "store", replace(INFO, embedding_dim=dim))
vectors = unit_vectors(40, dim=dim)
n_done = 0
try:
    while True:
        put(collection, n_done, vectors)
        n_done += 1
        if n_done % 10 == 0:
            collection.flush()
except CollectionFull as full:
    print(full)
for _ in range(2):
    try:
        collection.set_places(a_hash(0), [a_place()])
    except CollectionFull as full:
        print(full)
collection.flush()
collection.delete(a_hash(1))
collection.close()
(folder / "ballast").unlink()
with EdgeCollection.open(folder / "store") as collection:
    assert collection.count() == 40 * (n_done - 1), (collection.count(), n_done)
    put(collection, 1, vectors)
print(n_done)
"""


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(["mount", *options], capture_output=True)
    except OSError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip("mounting a small disk isn't allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class TestFullDisk:
    def test_filling_it(self, folder: Path) -> None:
        """In a process of its own, since what we avoid is that it dies of it."""
        with small_disk(folder, RESERVE * 3) as disk:
            (disk / "ballast").write_bytes(bytes(RESERVE))
            *complaints, n_done = run_python("-c", FILL, str(disk)).splitlines()
        assert complaints
        assert all(f"MB left on the disk of {disk}" in complaint for complaint in complaints)
        assert int(n_done) > 10

    @pytest.mark.parametrize("size", [2**20, RESERVE - 2**20])
    def test_too_small_to_begin(self, folder: Path, size: int) -> None:
        with small_disk(folder, size) as disk:
            with pytest.raises(CollectionFull) as caught:
                EdgeCollection.create(disk / "store", INFO)
            assert "--store" in (caught.value.hint or "")
            assert read_info(disk / "store") is None
            assert not (disk / "store" / "shard").exists()

    def test_adding_needs_more_than_tidying_up(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        collection = EdgeCollection.create(folder, INFO)
        put(collection, 1, unit_vectors(3))
        put(collection, 2, unit_vectors(3))

        def leave(free: int) -> None:
            usage = DiskUsage(10**12, 10**12 - free, free)
            monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

        leave(RESERVE - 1)
        with pytest.raises(CollectionFull, match="only 134 MB left on the disk of"):
            put(collection, 3, unit_vectors(3))
        with pytest.raises(CollectionFull, match="only 134 MB left on the disk of"):
            collection.set_places(a_hash(1), [a_place("/new.wav")])
        collection.delete(a_hash(1))
        collection.flush()
        leave(SMALL_RESERVE - 1)
        collection.flush()  # there is nothing to flush
        with pytest.raises(CollectionFull, match="only 4 MB left"):
            collection.delete(a_hash(2))
        assert [item.content.content_hash for item in collection.contents()] == [a_hash(2)]
        collection.close()

    def test_room_for_many_places(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = DiskUsage(10**12, 0, RESERVE + 2 * 2**20)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        with EdgeCollection.create(folder, INFO) as collection:
            paths = [f"/{'long' * 30}/{number}.wav" for number in range(300)]
            put(collection, 1, [axis(0)], paths=paths)
            with pytest.raises(CollectionFull):
                put(collection, 2, unit_vectors(200), paths=paths)
            assert collection.count() == 1

    def test_the_disk_says_so_itself(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file system without holes in files has no room for what we thought would fit."""

        def full(*_: object) -> None:
            raise Exception("Service runtime error: No space left on device (os error 28)")

        collection = EdgeCollection.create(folder, INFO)
        with monkeypatch.context() as patched:
            patched.setattr(collection, "_open_shard", SimpleNamespace(update=full))
            with pytest.raises(CollectionFull, match="no room left on the disk of"):
                collection.delete(a_hash(1))
        collection.close()

"""The bound holds, the least recently used goes, and entries are whole or not there."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from alm2vec_search.errors import EmptyAudio, MediaError
from alm2vec_search.serving.media_cache import MediaCache, NoCache

if TYPE_CHECKING:
    from typing import BinaryIO


def write(data: bytes, out: BinaryIO) -> None:
    out.write(data)


def put(cache: MediaCache | NoCache, key: object, data: bytes) -> bytes:
    with cache.put((key,), partial(write, data)) as file:
        return file.read()


def get(cache: MediaCache | NoCache, key: object) -> bytes | None:
    file = cache.get((key,))
    if file is None:
        return None
    with file:
        return file.read()


def entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != ".lock"]


def age(folder: Path) -> None:
    """An hour passes."""
    for path in entries(folder):
        older = path.stat().st_mtime_ns - 3600 * 10**9
        os.utime(path, ns=(older, older))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_what_was_put_in_comes_out(folder: Path) -> None:
    cache = MediaCache(folder, most_bytes=100)
    assert get(cache, "a") is None
    assert put(cache, "a", b"sound") == b"sound"
    assert get(cache, "a") == b"sound"
    assert get(cache, "b") is None
    assert get(MediaCache(folder, most_bytes=100), "a") == b"sound"


def test_another_replaces_it(folder: Path) -> None:
    cache = MediaCache(folder, most_bytes=100)
    put(cache, "a", b"x" * 90)
    put(cache, "a", b"y" * 95)
    assert get(cache, "a") == b"y" * 95
    assert cache.size() == 95


def test_what_was_not_asked_for_longest_goes(folder: Path) -> None:
    cache = MediaCache(folder, most_bytes=100)
    for key in "abc":
        put(cache, key, bytes(30))
        age(folder)
    assert get(cache, "a")
    put(cache, "d", bytes(30))
    assert [get(cache, key) is not None for key in "abcd"] == [True, False, True, True]


def test_a_smaller_bound_holds_with_the_next_entry(folder: Path) -> None:
    cache = MediaCache(folder, most_bytes=1000)
    for key in range(10):
        put(cache, key, bytes(90))
    smaller = MediaCache(folder, most_bytes=100)
    put(smaller, "last", bytes(50))
    assert smaller.size() <= 100
    assert get(smaller, "last") is not None


def test_larger_than_all_is_handed_out_and_not_kept(folder: Path) -> None:
    cache = MediaCache(folder, most_bytes=100)
    put(cache, "a", bytes(60))
    assert put(cache, "b", bytes(101)) == bytes(101)
    assert get(cache, "b") is None
    assert get(cache, "a") is not None
    assert cache.size() == 60


def test_who_reads_keeps_what_goes(folder: Path) -> None:
    cache = MediaCache(folder, most_bytes=100)
    put(cache, "a", b"a" * 80)
    with cache.get(("a",)) or pytest.fail("not there") as file:
        put(cache, "b", b"b" * 80)
        assert get(cache, "a") is None
        assert file.read() == b"a" * 80


def test_nothing_half_done_is_kept(folder: Path) -> None:
    cache = MediaCache(folder, most_bytes=100)

    def fail(out: BinaryIO) -> None:
        out.write(b"half")
        raise EmptyAudio(Path("a.wav"), "there is no sound in it")

    with pytest.raises(EmptyAudio):
        cache.put(("a",), fail)
    assert get(cache, "a") is None
    assert entries(folder) == []


def test_a_full_disk_is_said(folder: Path) -> None:
    cache = MediaCache(folder, most_bytes=100)

    def fail(out: BinaryIO) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(MediaError, match="No space left"):
        cache.put(("a",), fail)
    assert entries(folder) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MediaError):
        MediaCache(tmp_path / "file" / "cache", most_bytes=1)


def test_drafts_of_killed_processes_go(folder: Path) -> None:
    cache = MediaCache(folder, most_bytes=100)
    old, new = folder / "old.draft", folder / "new.draft"
    old.write_bytes(bytes(1000))
    os.utime(old, (1, 1))
    new.write_bytes(bytes(1000))
    put(cache, "a", b"a")
    assert not old.exists()
    assert new.exists()


def test_only_for_this_user(folder: Path) -> None:
    cache = MediaCache(folder, most_bytes=100)
    put(cache, "a", b"a")
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in entries(folder))


def test_keys_are_told_apart(folder: Path) -> None:
    cache = MediaCache(folder, most_bytes=1000)
    keys = [("a", 1), ("a", "1"), ("a1",), ("a", 1.0), ("a, 1",), ("../x", 1), ("a\nb",)]
    for i, key in enumerate(keys):
        cache.put(key, partial(write, bytes([i]))).close()
    for i, key in enumerate(keys):
        with cache.get(key) or pytest.fail("not there") as file:
            assert file.read() == bytes([i])
    assert {path.parent for path in folder.rglob("*")} == {folder}


def body(key: int) -> bytes:
    return bytes([key]) * (100 + 37 * key)


def work(folder: Path, seed: int) -> None:
    """What many do at once: all that comes out is whole, and the bound holds at any moment."""
    cache = MediaCache(folder, most_bytes=3000)
    luck = random.Random(seed)
    for _ in range(60):
        key = luck.randrange(20)
        found = get(cache, key)
        assert found in (None, body(key))
        if found is None:
            assert put(cache, key, body(key)) == body(key)
        assert cache.size() <= 3000


def test_many_threads(folder: Path) -> None:
    errors: list[BaseException] = []

    def run(seed: int) -> None:
        try:
            work(folder, seed)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {path.suffix for path in entries(folder)} == {".entry"}


def test_many_processes(folder: Path) -> None:
    code = (
        "import importlib.util, sys; from pathlib import Path;"
        "spec = importlib.util.spec_from_file_location('t', sys.argv[1]);"
        "t = importlib.util.module_from_spec(spec); spec.loader.exec_module(t);"
        "t.work(Path(sys.argv[2]), int(sys.argv[3]))"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, __file__, folder, str(seed)])
        for seed in range(4)
    ]
    assert [run.wait(60) for run in runs] == [0] * 4
    assert MediaCache(folder, most_bytes=3000).size() <= 3000


def test_without_a_cache_nothing_stays() -> None:
    cache = NoCache()
    assert put(cache, "a", b"sound") == b"sound"
    assert get(cache, "a") is None

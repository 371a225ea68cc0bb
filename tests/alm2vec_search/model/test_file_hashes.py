from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest

from alm2vec_search.model import file_hashes
from alm2vec_search.model.file_hashes import sha256_of

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"weights of a model"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, not made yet; ten bytes are large."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(file_hashes, "LARGE", 10)
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read."""
    seen: list[Path] = []
    read = file_hashes._read

    def remembering(path: Path) -> bytes:
        seen.append(path)
        return read(path)

    monkeypatch.setattr(file_hashes, "_read", remembering)
    return seen


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(CONTENT)
    return path


def digest(content: bytes = CONTENT) -> bytes:
    return hashlib.sha256(content).digest()


def memory(cache: Path) -> Path:
    return cache / "alm2vec" / "file-hashes.json"


def test_a_large_file_is_read_once(cache: Path, reads: list[Path], weights: Path) -> None:
    assert sha256_of(weights) == sha256_of(weights) == digest()

    assert reads == [weights]
    assert list(json.loads(memory(cache).read_bytes()).values()) == [digest().hex()]


def test_a_small_file_is_read_each_time(cache: Path, reads: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"{}")

    assert sha256_of(path) == sha256_of(path) == digest(b"{}")

    assert reads == [path, path]
    assert not cache.exists()


@pytest.mark.usefixtures("cache")
def test_a_change_of_size_or_time_is_seen(reads: list[Path], weights: Path) -> None:
    sha256_of(weights)
    before = weights.stat()

    weights.write_bytes(longer := CONTENT + b" ")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sha256_of(weights) == digest(longer)

    weights.write_bytes(other := CONTENT.upper())
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert sha256_of(weights) == digest(other)

    assert len(reads) == 3


@pytest.mark.usefixtures("cache")
def test_files_are_told_apart_by_their_place(weights: Path, tmp_path: Path) -> None:
    sha256_of(weights)
    other = tmp_path / "other.safetensors"
    other.write_bytes(CONTENT[::-1])
    stat = weights.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert sha256_of(other) == digest(CONTENT[::-1])


@pytest.mark.usefixtures("cache")
def test_a_link_is_what_it_leads_to(reads: list[Path], weights: Path, tmp_path: Path) -> None:
    link = tmp_path / "snapshot.safetensors"
    link.symlink_to(weights)

    assert sha256_of(link) == sha256_of(weights) == digest()
    assert reads == [link]


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"[]", b"null", b'{"a": 1}', b'{"a": "not hex"}', b"\xff\xfe"]
)
def test_a_damaged_memory_is_made_anew(
    cache: Path, reads: list[Path], weights: Path, damaged: bytes
) -> None:
    memory(cache).parent.mkdir(parents=True)
    memory(cache).write_bytes(damaged)

    assert sha256_of(weights) == sha256_of(weights) == digest()

    assert len(reads) == 1
    assert len(json.loads(memory(cache).read_bytes())) == 1


def test_half_a_digest_is_not_believed(cache: Path, weights: Path) -> None:
    sha256_of(weights)
    (key,) = json.loads(memory(cache).read_bytes())
    memory(cache).write_text(json.dumps({key: digest().hex()[:32]}))

    assert sha256_of(weights) == digest()


def test_without_a_place_to_remember_files_are_read_again(
    cache: Path, reads: list[Path], weights: Path
) -> None:
    cache.write_text("a file, so that no folder can be made there")

    assert sha256_of(weights) == sha256_of(weights) == digest()
    assert len(reads) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_folder_costs_time_only(
    cache: Path, reads: list[Path], weights: Path
) -> None:
    memory(cache).parent.mkdir(parents=True)
    memory(cache).parent.chmod(0o500)

    assert sha256_of(weights) == sha256_of(weights) == digest()
    assert len(reads) == 2


@pytest.mark.parametrize("failing", ["json.dump", "os.replace"])
def test_a_full_disk_costs_time_only_and_leaves_nothing_behind(
    cache: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(failing, full)

    assert sha256_of(weights) == digest()
    assert list((cache / "alm2vec").iterdir()) == []


def test_the_newest_are_remembered(
    cache: Path, reads: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_hashes, "REMEMBERED", 2)
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(CONTENT)
        sha256_of(path)

    assert len(json.loads(memory(cache).read_bytes())) == 2
    sha256_of(paths[2])
    assert reads == paths
    sha256_of(paths[0])
    assert reads == [*paths, paths[0]]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sha256_of(tmp_path / "missing")

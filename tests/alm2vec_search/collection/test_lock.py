"""One at a time, and what is said of the one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from alm2vec_search.collection.lock import StoreLock, read_holder
from alm2vec_search.errors import CollectionBusy, CollectionError

NOBODY_KNOWS = "another process"
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc who is running")


@pytest.fixture
def lock(tmp_path: Path) -> StoreLock:
    return StoreLock(tmp_path)


def note_of(folder: Path) -> dict[str, object]:
    note = json.loads((folder / "holder.json").read_text())
    assert isinstance(note, dict)
    return note


def test_one_at_a_time(tmp_path: Path, lock: StoreLock) -> None:
    lock.acquire()
    with pytest.raises(CollectionBusy, match="in use by this very process"):
        StoreLock(tmp_path).acquire()
    lock.release()
    lock.release()
    again = StoreLock(tmp_path)
    again.acquire()
    again.release()


def test_failing_to_get_it_leaves_the_holder_alone(tmp_path: Path, lock: StoreLock) -> None:
    lock.acquire()
    note = note_of(tmp_path)
    second = StoreLock(tmp_path)
    with pytest.raises(CollectionBusy):
        second.acquire()
    second.release()
    assert note_of(tmp_path) == note
    with pytest.raises(CollectionBusy):
        second.acquire()
    lock.release()
    assert not (tmp_path / "holder.json").exists()


def test_another_thread_may_release_it(tmp_path: Path, lock: StoreLock) -> None:
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    again = StoreLock(tmp_path)
    again.acquire()
    again.release()


def test_command(tmp_path: Path, lock: StoreLock, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["/usr/bin/alm2vec", "index", "./my library", "line\nbreak", os.fsdecode(b"\xe9")]
    monkeypatch.setattr(sys, "argv", typed)
    lock.acquire()
    assert note_of(tmp_path)["command"] == "alm2vec index './my library' 'line�break' '�'"
    lock.release()
    monkeypatch.setattr(sys, "argv", ["alm2vec", "x" * 1000])
    lock.acquire()
    assert len(str(note_of(tmp_path)["command"])) == 120
    lock.release()


@needs_proc
def test_somebody_else(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        started = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
        note = {"pid": child.pid, "command": "alm2vec index .", "process_started": started}
        (tmp_path / "holder.json").write_text(json.dumps(note))
        assert read_holder(tmp_path) == f"alm2vec index . (process {child.pid})"
        child.kill()
    assert read_holder(tmp_path) == NOBODY_KNOWS


@needs_proc
@pytest.mark.parametrize(
    "note",
    [
        None,
        "",
        "{",
        "[]",
        "{}",
        '{"pid": "x", "command": "alm2vec", "process_started": "1"}',
        '{"pid": 4194304999, "command": "alm2vec", "process_started": "1"}',
        json.dumps({"pid": os.getpid(), "command": "alm2vec", "process_started": "1"}),
        json.dumps({"pid": os.getpid(), "command": "alm2vec", "process_started": None}),
    ],
    ids=["none", "empty", "cut", "list", "nothing", "no pid", "gone", "reused", "unknown"],
)
def test_note_that_says_nothing(tmp_path: Path, lock: StoreLock, note: str | None) -> None:
    lock.acquire()
    (tmp_path / "holder.json").unlink()
    if note is not None:
        (tmp_path / "holder.json").write_text(note)
    with pytest.raises(CollectionBusy) as caught:
        StoreLock(tmp_path).acquire()
    assert caught.value.holder == NOBODY_KNOWS
    lock.release()


def test_note_that_cannot_be_written(
    tmp_path: Path, lock: StoreLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "holder.json").write_text("of somebody before")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    lock.acquire()
    assert not (tmp_path / "holder.json").exists()
    lock.release()


def test_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CollectionError, match="can't be locked"):
        StoreLock(tmp_path / "file").acquire()

"""One process at a time: the lock of a store, and who holds it.

The lock belongs to the process, not to a file that lies about: when the holder ends, in whatever
way, the lock is free. Beside it lies a note that says who the holder is. The note is a courtesy:
it may be missing or left over, and is believed only while the process it names is running.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from alm2vec_search.errors import CollectionBusy, CollectionError

_LOCK = "lock"
_HOLDER = "holder.json"
_COMMAND_SHOWN = 120  # characters
UNKNOWN_HOLDER = "another process"


class StoreLock:
    """Held from `acquire` to `release`, or until the process ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / _LOCK, thread_local=False)

    def acquire(self) -> None:
        """Take the lock, without waiting. The folder has to exist.

        Raises:
            CollectionBusy: another process has it, or this one a second time.
            CollectionError: the folder can't be written to.
        """
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            raise CollectionBusy(str(self._folder), holder=read_holder(self._folder)) from error
        except OSError as error:
            raise CollectionError(
                f"the index in {self._folder} can't be locked: {error.strerror or error}",
                hint="the folder has to be writable, for searching too",
            ) from error
        with suppress(OSError):  # a courtesy: on a full disk it is left out
            _write_holder(self._folder)

    def release(self) -> None:
        """Releasing twice is fine."""
        if self._lock.is_locked:
            with suppress(OSError):
                (self._folder / _HOLDER).unlink()
            self._lock.release()


def read_holder(folder: Path) -> str:
    """Who has the store open, for people, as far as is known."""
    try:
        note = json.loads((folder / _HOLDER).read_bytes())
        pid, command, started = int(note["pid"]), str(note["command"]), note["process_started"]
    except (OSError, ValueError, KeyError, TypeError):
        return UNKNOWN_HOLDER
    if not _is_running(pid, started):
        return UNKNOWN_HOLDER
    return "this very process" if pid == os.getpid() else f"{command} (process {pid})"


def _write_holder(folder: Path) -> None:
    note = {
        "pid": os.getpid(),
        "command": _command(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "process_started": _process_started(os.getpid()),
    }
    path = folder / _HOLDER
    path.unlink(missing_ok=True)  # if what follows fails, better none than somebody else's
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(note), encoding="utf-8")
    draft.replace(path)


def _command() -> str:
    """What was typed, on one line."""
    typed = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    shown = "".join(letter if letter.isprintable() else "�" for letter in typed)
    return shown if len(shown) <= _COMMAND_SHOWN else f"{shown[: _COMMAND_SHOWN - 1]}…"


def _is_running(pid: int, started: str | None) -> bool:
    """Whether this is still the process that wrote the note, and not a later one of its number."""
    if sys.platform == "win32":
        return True  # there, asking with `os.kill` would end it
    if sys.platform == "linux":
        return started is not None and _process_started(pid) == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _process_started(pid: int) -> str | None:
    """When a process started, in ticks since boot; None where that can't be known."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # pid (name) state ...: the name may contain anything, so count from its end
    return status.rpartition(b")")[2].split()[19].decode("ascii")

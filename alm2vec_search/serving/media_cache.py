"""Clips and pictures, kept on disk until others need their room.

One file per entry, whose name is a hash of its key. A file's modification time says when it was
last asked for; the one that wasn't for longest goes first. Threads and processes may share the
folder: entries appear whole, by renaming, and whoever reads one that goes keeps it until it is
closed. Nothing in it is ever interpreted, only handed out.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from alm2vec_search.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

_ENTRY, _DRAFT = ".entry", ".draft"
_FORGOTTEN_S = 3600.0  # a draft that old is of a process that was killed


class MediaCache:
    """Files by key, together no larger than a bound.

    Args:
        folder: where they lie; made, for this user only, if it isn't there. Nothing else belongs
            in it.
        most_bytes: of all entries together. An entry larger than that isn't kept.

    Raises:
        MediaError: the folder can't be made.
    """

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _unwritable(folder, error) from error
        self._lock = FileLock(folder / ".lock")

    def get(self, key: tuple[object, ...]) -> BinaryIO | None:
        """An entry, open for reading at its start; None, if there is none. Close it."""
        path = self._path(key)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        with suppress(OSError):  # gone already
            os.utime(path)
        return file

    def put(self, key: tuple[object, ...], write: Callable[[BinaryIO], object]) -> BinaryIO:
        """Make an entry, and hand it out as `get` does, even if it is too large to be kept.

        What `write` raises, other than an OSError, is passed on, and nothing is kept.

        Raises:
            MediaError: it can't be written: the disk is full, say.
        """
        try:
            descriptor, name = tempfile.mkstemp(suffix=_DRAFT, dir=self._folder)
            draft = Path(name)
            try:
                with os.fdopen(descriptor, "w+b") as file:
                    write(file)
                    file.flush()
                    os.fsync(descriptor)  # whole after a power cut, too
                handed_out = draft.open("rb")
                try:
                    self._keep(draft, self._path(key))
                except BaseException:
                    handed_out.close()
                    raise
                return handed_out
            finally:
                with suppress(OSError):
                    draft.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(self._folder, error) from error

    def size(self) -> int:
        """Bytes of all entries together."""
        return sum(status.st_size for _, status in self._files(_ENTRY))

    def _path(self, key: tuple[object, ...]) -> Path:
        return self._folder / (hashlib.sha256(repr(key).encode()).hexdigest() + _ENTRY)

    def _keep(self, draft: Path, path: Path) -> None:
        """The room is made before it is taken: the bound holds at any moment."""
        size = draft.stat().st_size
        with self._lock:
            self._forget_drafts()
            if size <= self._most_bytes:
                self._make_room(size, instead_of=path)
                draft.replace(path)

    def _make_room(self, size: int, *, instead_of: Path) -> None:
        entries = [(p, status) for p, status in self._files(_ENTRY) if p != instead_of]
        entries.sort(key=lambda entry: entry[1].st_mtime_ns)
        total = size + sum(status.st_size for _, status in entries)
        with suppress(FileNotFoundError):
            if total + instead_of.stat().st_size > self._most_bytes:
                instead_of.unlink()
        for path, status in entries:
            if total <= self._most_bytes:
                return
            path.unlink(missing_ok=True)
            total -= status.st_size

    def _forget_drafts(self) -> None:
        oldest_ns = time.time_ns() - int(_FORGOTTEN_S * 1e9)
        for path, status in self._files(_DRAFT):
            if status.st_mtime_ns < oldest_ns:
                path.unlink(missing_ok=True)

    def _files(self, suffix: str) -> list[tuple[Path, os.stat_result]]:
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix):
                    with suppress(FileNotFoundError):
                        found.append((Path(entry.path), entry.stat(follow_symlinks=False)))
        return found


class NoCache:
    """The same for what must not stay: sounds that were sent, say. See `MediaCache`."""

    def get(self, key: tuple[object, ...]) -> BinaryIO | None:
        """Nothing."""
        return None

    def put(self, key: tuple[object, ...], write: Callable[[BinaryIO], object]) -> BinaryIO:
        """A file without a name, that is gone when it is closed.

        Raises:
            MediaError: it can't be written.
        """
        try:
            file = tempfile.TemporaryFile()
            try:
                write(file)
                file.seek(0)
            except BaseException:
                file.close()
                raise
        except OSError as error:
            raise _unwritable(Path(tempfile.gettempdir()), error) from error
        return file


def _unwritable(folder: Path, error: OSError) -> MediaError:
    return MediaError(
        f"{folder}: {error.strerror or error}", hint="check that it may be written, and has room"
    )

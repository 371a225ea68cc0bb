"""Which file may be served: what was indexed, as it was then, and nothing outside the libraries.

A path is only a wish: between two looks at it, it may lead elsewhere. So it is opened once, and all
that is asked is asked of the open file. On Linux it is first opened as a mere place (O_PATH), which
neither waits for the other end of a pipe nor wakes a device.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alm2vec_search.audio import reason_of, source_of
from alm2vec_search.errors import EmptyAudio, SoundForbidden, SoundGone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alm2vec_search.audio import Source
    from alm2vec_search.domain import Content, Place

_PLACE_ONLY = getattr(os, "O_PATH", None)
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
# Where a device or a pipe may have come between two looks: don't wait for it, don't be ruled by it.
_WARY = _READ | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


@dataclass(frozen=True, slots=True)
class IndexedSound:
    """An indexed file, open and as it was when it was indexed. Close it, or use it with `with`."""

    identity: str  # of its bytes
    duration_s: float
    source: Source
    mtime_ns: int

    def check_unchanged(self) -> None:
        """What was made from it is of the bytes that were indexed: nobody wrote into it meanwhile.

        Raises:
            SoundGone: somebody did.
        """
        if not _is_as(os.fstat(self.source.descriptor), self.source.size, self.mtime_ns):
            raise SoundGone(self.source.path, "it was changed since it was indexed")

    def close(self) -> None:
        self.source.close()

    def __enter__(self) -> IndexedSound:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def open_indexed(
    content: Content, places: Iterable[Place], libraries: Iterable[Path]
) -> IndexedSound:
    """The first place of a content whose file may be served.

    Args:
        content: what was indexed.
        places: where it lay then.
        libraries: the folders that are indexed. They may be links themselves.

    Raises:
        SoundGone: no file is there any more, or none is what was indexed.
        SoundForbidden: there is one, and it lies outside the libraries by now.
    """
    roots = _real_paths(libraries)
    errors: list[SoundGone | SoundForbidden] = []
    for place in places:
        try:
            source = _open(place.path, roots, content.size, place.mtime_ns)
        except (SoundGone, SoundForbidden) as error:
            errors.append(error)
        else:
            return IndexedSound(content.content_hash, content.duration_s, source, place.mtime_ns)
    if not errors:
        raise SoundGone(Path(content.content_hash), "it lies nowhere any more")
    raise next((error for error in errors if isinstance(error, SoundForbidden)), errors[0])


def _real_paths(libraries: Iterable[Path]) -> list[str]:
    """Of those that are there."""
    roots = []
    for library in libraries:
        with suppress(OSError, ValueError), _look_at(library) as descriptor:
            roots.append(_real_path(descriptor, library))
    return roots


def _open(path: Path, roots: list[str], size: int, mtime_ns: int) -> Source:
    try:
        with _look_at(path) as place:
            status = os.fstat(place)
            if not stat.S_ISREG(status.st_mode):
                raise SoundGone(path, "it is not a file any more")
            real_path = _real_path(place, path)
            if not any(_is_below(real_path, root) for root in roots):
                raise SoundForbidden(path)
            if status.st_nlink == 0 or not _is_as(status, size, mtime_ns):
                raise SoundGone(path, "it was changed since it was indexed")
            return source_of(_open_to_read(place, real_path), path)
    except EmptyAudio as error:
        raise SoundGone(path, "the file is empty") from error
    except (OSError, ValueError) as error:
        raise SoundGone(path, reason_of(error)) from error


@contextmanager
def _look_at(path: Path) -> Iterator[int]:
    """A descriptor of what a path leads to. Never blocks."""
    if _PLACE_ONLY is not None:
        descriptor = os.open(path, _PLACE_ONLY | os.O_CLOEXEC)
    else:
        mode = os.stat(path).st_mode  # opening a device may do something
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise SoundGone(path, "it is not a file any more")
        descriptor = os.open(path, _WARY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _real_path(descriptor: int, path: Path) -> str:
    """Where an open file lies.

    Raises:
        OSError: it lies nowhere, or the path leads elsewhere by now.
    """
    if sys.platform == "darwin":
        import fcntl

        name = fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024))
        return os.fsdecode(name.rstrip(b"\0"))
    with suppress(FileNotFoundError, NotADirectoryError):
        return os.readlink(f"/proc/self/fd/{descriptor}")
    real_path = os.path.realpath(path, strict=True)
    # not through a link that took its place in between
    if not os.path.samestat(os.lstat(real_path), os.fstat(descriptor)):
        raise FileNotFoundError(real_path)
    return real_path


def _open_to_read(place: int, real_path: str) -> int:
    """The same file for reading. The caller closes it.

    Raises:
        OSError: it can't be read, or another lies in its place by now.
    """
    if _PLACE_ONLY is None:
        return os.dup(place)
    with suppress(FileNotFoundError, NotADirectoryError):
        return os.open(f"/proc/self/fd/{place}", _READ)  # this very file, whatever its path
    # without /proc; not through a link in the place of the file
    descriptor = os.open(real_path, _WARY | os.O_NOFOLLOW)
    if not os.path.samestat(os.fstat(descriptor), os.fstat(place)):
        os.close(descriptor)
        raise FileNotFoundError(real_path)
    return descriptor


def _is_below(path: str, root: str) -> bool:
    """Or the root itself: a library may be a single file.

    >>> _is_below("/a/b", "/a"), _is_below("/ab", "/a"), _is_below("/a", "/a"), _is_below("/a", "/")
    (True, False, True, True)
    """
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def _is_as(status: os.stat_result, size: int, mtime_ns: int) -> bool:
    return status.st_size == size and status.st_mtime_ns == mtime_ns

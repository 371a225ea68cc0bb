"""A file of sound as bytes: opened once, by descriptor, whatever its name looks like."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alm2vec_search.errors import DecodeError, EmptyAudio

if TYPE_CHECKING:
    from pathlib import Path

_PLAIN = ".wav .wave .rf64 .w64 .aiff .aif .aifc .au .snd .caf"
_PACKED = ".flac .alac .mp3 .mp2 .ogg .oga .opus .spx .m4a .m4b .aac .wma .mka"
_VIDEO = ".mp4 .m4v .mov .mkv .webm .avi"

AUDIO_SUFFIXES: frozenset[str] = frozenset(f"{_PLAIN} {_PACKED} {_VIDEO}".split())
"""How the names of files with sound in them end, in small letters. It says which files are worth
opening, not how: a decoder is chosen by what is inside."""


@dataclass(frozen=True, slots=True)
class Source:
    """An open file. The descriptor is what both decoders get: a name that isn't UTF-8, or that
    FFmpeg would take for a protocol, never reaches them."""

    path: Path
    descriptor: int
    size: int  # bytes

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes, fewer at the end of the file.

        Raises:
            DecodeError: the file system couldn't read them.
        """
        try:
            return os.pread(self.descriptor, length, offset)
        except OSError as error:
            raise DecodeError(self.path, reason_of(error)) from error

    def check_readable(self) -> None:
        """Tells a failing disk from a damaged file: both decoders report either as the other.

        Reads again where the decoder stopped.

        Raises:
            DecodeError: the file system can't read there.
        """
        try:
            here = os.lseek(self.descriptor, 0, os.SEEK_CUR)
            os.pread(self.descriptor, 65536, here)
        except OSError as error:
            raise DecodeError(self.path, reason_of(error)) from error

    def rewind(self) -> None:
        """The decoders share one file position, and begin where it stands."""
        os.lseek(self.descriptor, 0, os.SEEK_SET)

    def close(self) -> None:
        os.close(self.descriptor)


def open_source(path: Path) -> Source:
    """Opens a file for reading.

    Raises:
        DecodeError: it can't be opened.
        EmptyAudio: it has no bytes.
    """
    try:
        # asked before opening: opening a pipe would wait for a writer
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DecodeError(path, "not a file")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise DecodeError(path, reason_of(error)) from error
    return source_of(descriptor, path)


def source_of(descriptor: int, name: Path) -> Source:
    """A file that is open already, and what errors call it. It is closed with the source.

    Raises:
        EmptyAudio: it has no bytes. Then it is closed.
    """
    source = Source(name, descriptor, size=os.fstat(descriptor).st_size)
    if source.size == 0:
        source.close()
        raise EmptyAudio(name, "the file is empty")
    return source


def reason_of(error: OSError | ValueError) -> str:
    """What a person calls it."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "permission denied"
    return getattr(error, "strerror", None) or str(error)

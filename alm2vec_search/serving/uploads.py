"""Sounds that were sent: what may be sent, and what becomes of it."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from alm2vec_search.audio import source_of
from alm2vec_search.audio.preloading import nameless_file

if TYPE_CHECKING:
    from alm2vec_search.audio import Source
    from alm2vec_search.domain import Waveform

HIGHEST_PLAYED_RATE = 48_000  # Hz: more would only be kept for nothing
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """What may be sent, and what decoding it may take."""

    upload_bytes: int = 64 * _MIB
    duration_s: float = 600.0  # of the sound
    wall_s: float = 20.0  # until it has to be decoded
    cpu_s: int = 20
    # Of address space. The libraries take 210 MB of it, 1000 channels 30 more, a cover of 60 MB 65
    # more; the rest is for other builds of the libraries, which may take more.
    memory_bytes: int = 1024 * _MIB


@dataclass(frozen=True, slots=True, eq=False)
class Upload:
    """A sound that was sent, decoded: nothing of the file that it came in is left."""

    waveform: Waveform  # for the model
    duration_s: float
    sampling_rate: int  # Hz, of the file
    channels: int  # of the file
    wav: bytes  # what browsers play: 16 bits, one or two channels
    note: str | None  # what is wrong with the file, if anything is
    identity: str = field(default_factory=lambda: f"upload {uuid.uuid4()}")

    def open(self) -> OpenUpload:
        """To be listened to, and drawn.

        Raises:
            OSError: there is no room for it.
        """
        descriptor = nameless_file()
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(self.wav)
            return OpenUpload(
                self.identity, self.duration_s, source_of(descriptor, Path("the upload"))
            )
        except BaseException:
            os.close(descriptor)
            raise


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """The WAV of an upload as an open file without a name. Close it, or use it with `with`."""

    identity: str
    duration_s: float
    source: Source

    def check_unchanged(self) -> None:
        """Nobody else can write into it."""

    def close(self) -> None:
        self.source.close()

    def __enter__(self) -> OpenUpload:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

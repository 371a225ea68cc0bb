"""libsndfile: the uncompressed formats, FLAC and Ogg Vorbis. Fast, and it seeks to the sample."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from alm2vec_search.audio.decoder import AudioInfo, NativeBlock, UnreadableError, block_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alm2vec_search.audio.source import Source

_FAILURES = (soundfile.SoundFileError, OSError, ValueError, RuntimeError)
_UNKNOWN_LENGTH = 1 << 62  # libsndfile says 2**63 - 1
# Their headers state the length of the sound. For the others libsndfile derives it from the size
# of the file, so that a file that was cut off looks whole.
_VOUCHING = {"FLAC", "OGG"}


class SoundfileDecoder:
    """See `Decoder`."""

    def __init__(self, source: Source) -> None:
        """
        Raises:
            UnreadableError: libsndfile doesn't know it, or reads it badly.
        """
        source.rewind()
        try:
            self._file = soundfile.SoundFile(source.descriptor, closefd=False)
        except _FAILURES as error:
            raise UnreadableError(str(error)) from error
        self.n_frames: int = self._file.frames
        rate, channels = self._file.samplerate, self._file.channels
        if self.n_frames >= _UNKNOWN_LENGTH or self._file.subtype.startswith("MPEG") or rate <= 0:
            self.close()
            raise UnreadableError("libsndfile does not read these to their end")
        self.info = AudioInfo(
            container=self._file.format.lower(),
            codec=self._file.subtype.lower(),
            sampling_rate=rate,
            channels=channels,
            duration_s=self.n_frames / rate,
        )
        self.vouched_s = self.info.duration_s if self._file.format in _VOUCHING else None
        self.n_errors = 0
        self.position = 0

    def blocks(self, start_frame: int = 0) -> Iterator[NativeBlock]:
        rate, channels = self.info.sampling_rate, self.info.channels
        self.position = min(start_frame, self.n_frames)
        buffer = np.empty((block_frames(rate, channels), channels), np.float32)
        try:
            if start_frame:
                self._file.seek(self.position)
            while len(frames := self._file.read(out=buffer)):
                self.position += len(frames)
                yield NativeBlock(frames, rate)
        except _FAILURES as error:
            raise UnreadableError(str(error)) from error

    def close(self) -> None:
        with contextlib.suppress(*_FAILURES):
            self._file.close()

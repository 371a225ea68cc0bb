"""What the rest of the project calls: look at a file, read it in blocks, or decode a region."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from alm2vec_search.audio.choosing import open_decoder
from alm2vec_search.audio.container import is_cut_off, why_unreadable
from alm2vec_search.audio.report import report_on
from alm2vec_search.audio.source import open_source
from alm2vec_search.domain import Waveform
from alm2vec_search.errors import DecodeError, EmptyAudio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from alm2vec_search.audio.decoder import AudioInfo, Decoder
    from alm2vec_search.audio.report import DecodeReport
    from alm2vec_search.audio.resampling import MonoResampler
    from alm2vec_search.audio.source import Source
    from alm2vec_search.domain import Samples, TimeSpan

# A region is read from a little before it, so that the resampler's filter has filled when the
# region begins: 800 frames at 8 kHz, several times the filter's length.
_RUN_UP_S = 0.1
# In Hz. A damaged header that says 1 Hz would make weeks of sound out of a song.
_LOWEST_RATE = 100


class AudioReader:
    """One open file, read once from front to back. Made by `open_audio`; use it with `with`.

    Attributes:
        info: what the file says about itself.
        sampling_rate: in Hz, of the samples it yields.
    """

    def __init__(self, source: Source, decoder: Decoder, sampling_rate: int) -> None:
        from alm2vec_search.audio.resampling import MonoResampler

        self.info: AudioInfo = decoder.info
        self.sampling_rate = sampling_rate
        self._source = source
        self._decoder = decoder
        self._resampler: MonoResampler = MonoResampler(sampling_rate)
        self._report: DecodeReport | None = None
        self._started = False
        self._n_samples = 0  # yielded

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close_decoder()
        self._source.close()

    def close_decoder(self) -> None:
        """For whoever opened the file, and has more to do with it: it stays open."""
        self._decoder.close()

    @property
    def report(self) -> DecodeReport:
        """What came of reading the file. There is none before it was read to its end.

        Raises:
            RuntimeError: it wasn't.
        """
        if self._report is None:
            raise RuntimeError("there is no report before the file was read to its end")
        return self._report

    def __iter__(self) -> Iterator[Samples]:
        """float32 mono blocks [n] at the target rate, each a new array of about 1 to 10 s; only
        the last ones may be shorter.

        Raises:
            EmptyAudio: there is no sound in it. Comes instead of any block.
            DecodeError: nothing of it could be read, none of it is a number, or the file system
                failed midway. What was yielded before is void.
        """
        yield from self._blocks()
        self._check_sound()
        self._report = report_on(self._source, self._decoder, self._resampler)

    def region(self, span: TimeSpan) -> Samples:
        """The samples [n] that reading the whole file gives for this span, fewer where the file
        ends within it.

        Raises:
            EmptyAudio: there is no sound in the file.
            DecodeError: as when iterating, or the span begins behind the end of the file.
        """
        import numpy as np

        return np.concatenate(list(self.stretch(span)))

    def stretch(self, span: TimeSpan) -> Iterator[Samples]:
        """The same as `region`, in blocks [n]: for spans that need not fit into memory.

        Raises:
            EmptyAudio: there is no sound in the file.
            DecodeError: as when iterating, or the span begins behind the end of the file.
        """
        # Only at these pairs of frames do the samples of file and target lie at the same moment.
        common = math.gcd(self.info.sampling_rate, self.sampling_rate)
        native_step = self.info.sampling_rate // common
        step = self.sampling_rate // common
        n_steps = int(max(0.0, span.start_s - _RUN_UP_S) * self.info.sampling_rate) // native_step
        start = round(span.start_s * self.sampling_rate) - n_steps * step
        end = None
        if math.isfinite(span.end_s):
            end = max(start + 1, round(span.end_s * self.sampling_rate) - n_steps * step)

        n_before = 0
        for block in self._blocks(start_frame=n_steps * native_step):
            wanted = block[max(0, start - n_before) : None if end is None else end - n_before]
            if len(wanted):
                yield wanted
            n_before += len(block)
            if end is not None and n_before >= end:
                break
        if self._n_samples <= start and self._decoder.position:
            length_s = self._decoder.position / self.info.sampling_rate
            reason = f"it is {length_s:.1f} s long, and the region begins at {span.start_s:.1f} s"
            raise DecodeError(self._source.path, reason)
        self._check_sound()

    def _blocks(self, start_frame: int = 0) -> Iterator[Samples]:
        if self._started:
            raise RuntimeError("a file is read once: open it again")
        self._started = True
        for native in self._decoder.blocks(start_frame):
            if len(block := self._resampler.feed(native)):
                self._n_samples += len(block)
                yield block
        if len(block := self._resampler.finish()):
            self._n_samples += len(block)
            yield block
        # libsndfile takes a failing disk for the end of some files
        self._source.check_readable()

    def _check_sound(self) -> None:
        path, resampler = self._source.path, self._resampler
        if self._n_samples == 0:
            if self._decoder.n_errors or is_cut_off(self._source):
                raise DecodeError(path, why_unreadable(self._source))
            raise EmptyAudio(path, "there is no sound in it")
        if resampler.n_not_numbers == resampler.n_samples:
            raise DecodeError(path, "not one sample is a number")


def open_audio(path: Path | str, sampling_rate: int) -> AudioReader:
    """Opens a file of any format, to be read at a sampling rate in Hz.

    Raises:
        EmptyAudio: there are no bytes in it, or no sound.
        DecodeError: it can't be opened, or it isn't audio.
    """
    source = open_source(Path(path))
    try:
        return read_source(source, sampling_rate)
    except BaseException:
        source.close()
        raise


def read_source(source: Source, sampling_rate: int) -> AudioReader:
    """The same for a file that is open already. The reader closes it, if used with `with`.

    Raises:
        EmptyAudio, DecodeError: as `open_audio`. The file stays open then.
    """
    return AudioReader(source, open_sound(source), sampling_rate)


def probe(path: Path | str) -> AudioInfo:
    """What a file says about itself, in a millisecond or a few.

    Raises:
        EmptyAudio: there are no bytes in it, or it says that there is no sound.
        DecodeError: it can't be opened, or it isn't audio.
    """
    source = open_source(Path(path))
    try:
        decoder = open_sound(source)
        decoder.close()
        return decoder.info
    finally:
        source.close()


def open_sound(source: Source) -> Decoder:
    """The decoder of a file whose samples can carry sound.

    Raises:
        EmptyAudio: it says that there is no sound in it.
        DecodeError: it isn't audio.
    """
    decoder = open_decoder(source)
    if (rate := decoder.info.sampling_rate) < _LOWEST_RATE:
        decoder.close()
        raise DecodeError(source.path, f"at {rate} Hz, its samples can't carry sound")
    return decoder


def decode(path: Path | str, sampling_rate: int, span: TimeSpan | None = None) -> Waveform:
    """A whole file, or the stretch of it, in memory: for questions, which are short.

    Raises:
        EmptyAudio: there is no sound in it.
        DecodeError: it can't be read, or the span begins behind its end.
    """
    import numpy as np

    with open_audio(path, sampling_rate) as sound:
        samples = np.concatenate(list(sound)) if span is None else sound.region(span)
    return Waveform(samples, sampling_rate)

"""Which decoder reads a file, and which takes over where that one stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alm2vec_search.audio.container import is_for_ffmpeg, why_unreadable
from alm2vec_search.audio.decoder import UnreadableError
from alm2vec_search.errors import DecodeError, EmptyAudio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alm2vec_search.audio.decoder import Decoder, NativeBlock
    from alm2vec_search.audio.soundfile_decoder import SoundfileDecoder
    from alm2vec_search.audio.source import Source


def open_decoder(source: Source) -> Decoder:
    """libsndfile where it knows the format and says that there is sound in it, else FFmpeg.

    Raises:
        EmptyAudio: it is a well-formed file of no length.
        DecodeError: neither can open it, or there are only pictures in it.
    """
    from alm2vec_search.audio.av_decoder import AvDecoder
    from alm2vec_search.audio.soundfile_decoder import SoundfileDecoder

    is_empty = False
    if not is_for_ffmpeg(source):
        try:
            decoder = SoundfileDecoder(source)
        except UnreadableError:
            source.check_readable()
        else:
            if decoder.n_frames:
                return RescuedDecoder(source, decoder)
            is_empty = True  # or a recorder was stopped before it wrote the length
            decoder.close()
    try:
        return AvDecoder(source)
    except UnreadableError as error:
        source.check_readable()
        if is_empty:
            raise EmptyAudio(source.path, "there is no sound in it") from error
        raise DecodeError(source.path, why_unreadable(source)) from error


class RescuedDecoder:
    """libsndfile, and FFmpeg from where libsndfile gives up: at the first bad frame of a FLAC
    file, say, behind which FFmpeg finds its way again. See `Decoder`."""

    def __init__(self, source: Source, first: SoundfileDecoder) -> None:
        self._source = source
        self._first = first
        self.info = first.info
        self.vouched_s = first.vouched_s
        self.n_errors = 0
        self.position = 0

    def blocks(self, start_frame: int = 0) -> Iterator[NativeBlock]:
        try:
            for block in self._first.blocks(start_frame):
                self.position = self._first.position
                yield block
            self.position = self._first.position
        except UnreadableError:
            self._source.check_readable()
            self.n_errors += 1
            yield from self._rescue(self._first.position)

    def _rescue(self, start_frame: int) -> Iterator[NativeBlock]:
        from alm2vec_search.audio.av_decoder import AvDecoder

        try:
            second = AvDecoder(self._source)
        except UnreadableError:
            return
        try:
            for block in second.blocks(start_frame):
                self.position = second.position
                yield block
            self.position = second.position
        finally:
            self.n_errors += second.n_errors
            second.close()

    def close(self) -> None:
        self._first.close()

"""Sound as browsers play it: which files they take as they are, and WAV from all others.

The WAV that is made has 16 bits, one or two channels, and the rate of its source where browsers
play that. More than two channels are averaged into one: nothing says whether they are the places of
a film, the parts of a sound field or microphones in a wood, and the model hears their average, too.
"""

from __future__ import annotations

import struct
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.audio.cutting import stretch
from alm2vec_search.audio.reader import AudioReader, open_sound
from alm2vec_search.errors import EmptyAudio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    import soxr
    from numpy.typing import NDArray

    from alm2vec_search.audio.decoder import AudioInfo, Decoder, NativeBlock
    from alm2vec_search.audio.source import Source
    from alm2vec_search.domain import TimeSpan

    Frames = NDArray[np.float32]  # [n, channels]

# In Hz. Chrome refuses to play below 3 kHz; above 192 kHz, it depends on the browser.
PLAYABLE_RATES = (8_000, 192_000)
WAV_TYPE = "audio/wav"
WAV_HEADER_BYTES = 44
_LARGEST_WAV = 0xFFFF_FFFF - WAV_HEADER_BYTES  # bytes of sound
# What Chrome, Firefox and Safari all play, by container and codec. Ogg: Safari since 18.4.
_PLAYED: dict[tuple[str, str], str] = {
    ("wav", "pcm_u8"): WAV_TYPE,
    ("wav", "pcm_16"): WAV_TYPE,
    ("wav", "pcm_24"): WAV_TYPE,
    ("wavex", "pcm_16"): WAV_TYPE,
    ("wavex", "pcm_24"): WAV_TYPE,
    ("flac", "pcm_16"): "audio/flac",
    ("flac", "pcm_24"): "audio/flac",
    ("flac", "pcm_s8"): "audio/flac",
    ("mp3", "mp3"): "audio/mpeg",
    ("aac", "aac"): "audio/aac",
    ("mp4", "aac"): "audio/mp4",
    ("ogg", "vorbis"): "audio/ogg",
    ("ogg", "opus"): "audio/ogg",
    ("matroska", "opus"): "audio/webm",
    ("matroska", "vorbis"): "audio/webm",
}


def played_as_it_is(source: Source) -> str | None:
    """The media type of a file that browsers play; None of one that they don't, or not all.

    By what is inside. Films are not played as they are: only their sound is wanted.

    Raises:
        EmptyAudio: it says that there is no sound in it.
        DecodeError: it isn't audio.
    """
    with closing(open_sound(source)) as decoder:
        info = decoder.info
    lowest, highest = PLAYABLE_RATES
    if info.has_pictures or info.channels > 2 or not lowest <= info.sampling_rate <= highest:
        return None
    if info.container == "matroska" and b"webm" not in source.read_at(0, 64):
        return None
    return _PLAYED.get((info.container, info.codec))


class PlayableSound:
    """Decoded blocks to the samples of a WAV file that browsers play."""

    def __init__(self, info: AudioInfo, *, highest_rate: int = PLAYABLE_RATES[1]) -> None:
        self.channels = 2 if info.channels == 2 else 1
        self.sampling_rate = min(max(info.sampling_rate, PLAYABLE_RATES[0]), highest_rate)  # Hz
        self._stream: soxr.ResampleStream | None = None
        self._native_rate = self.sampling_rate

    def feed(self, block: NativeBlock) -> bytes:
        """16-bit samples that are ready after this block, which stays as it is."""
        before = self._change_rate(block.sampling_rate)
        frames = self._to_channels(_numbers(block.frames))
        if self._stream is not None:
            frames = _framed(self._stream.resample_chunk(frames), self.channels)
        return before + _to_16_bits(frames)

    def finish(self) -> bytes:
        """What was held back."""
        if self._stream is None:
            return b""
        nothing = np.empty((0, self.channels), np.float32)
        rest = _framed(self._stream.resample_chunk(nothing, last=True), self.channels)
        self._stream = None
        return _to_16_bits(rest)

    def header(self, n_bytes: int) -> bytes:
        """Of the WAV file that holds so many bytes of samples."""
        return wav_header(self.sampling_rate, self.channels, n_bytes)

    def _change_rate(self, native_rate: int) -> bytes:
        """At the start, and at the seam of a file that is glued together."""
        if native_rate == self._native_rate:
            return b""
        import soxr

        rest = self.finish()
        self._native_rate = native_rate
        if native_rate != self.sampling_rate:
            self._stream = soxr.ResampleStream(
                native_rate, self.sampling_rate, self.channels, quality="HQ"
            )
        return rest

    def _to_channels(self, frames: Frames) -> Frames:
        """[n, any] to [n, channels]. A new channel count midway is averaged or doubled, too."""
        if frames.shape[1] == self.channels:
            return frames
        if frames.shape[1] > 1:
            frames = frames.mean(axis=1, keepdims=True, dtype=np.float32)
        return np.repeat(frames, self.channels, axis=1)


def wav_header(sampling_rate: int, channels: int, n_bytes: int) -> bytes:
    """What stands before so many bytes of 16-bit samples."""
    frame_bytes = 2 * channels
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", WAV_HEADER_BYTES - 8 + n_bytes, b"WAVE"),
        *(b"fmt ", 16, 1, channels),
        *(sampling_rate, sampling_rate * frame_bytes, frame_bytes, 16),
        *(b"data", n_bytes),
    )


def write_playable(source: Source, span: TimeSpan, out: BinaryIO) -> float:
    """Write a stretch of a file as the WAV that browsers play, shorter where the file ends within
    it, and say how long it is, in seconds. `out` has to be one that seeks.

    Raises:
        DecodeError: the file can't be read.
        EmptyAudio: it has no sound in that stretch.
        OSError: `out` can't be written.
    """
    with closing(open_sound(source)) as decoder:
        sound = PlayableSound(decoder.info)
        out.seek(0)
        out.write(sound.header(0))
        n_bytes = 0
        for piece in _pieces(sound, stretch(decoder, span)):
            if n_bytes + len(piece) > _LARGEST_WAV:
                break
            out.write(piece)
            n_bytes += len(piece)
        source.check_readable()  # a failing disk may look like the end of a file
    if not n_bytes:
        raise EmptyAudio(source.path, f"there is no sound at {span.start_s:.1f} s")
    out.seek(0)
    out.write(sound.header(n_bytes))
    out.flush()
    return n_bytes / (2 * sound.channels * sound.sampling_rate)


def _pieces(sound: PlayableSound, blocks: Iterator[NativeBlock]) -> Iterator[bytes]:
    for block in blocks:
        yield sound.feed(block)
    yield sound.finish()


def read_while_playing(
    source: Source,
    sampling_rate: int,
    hear: Callable[[bytes], None],
    *,
    highest_rate: int = PLAYABLE_RATES[1],
) -> tuple[AudioReader, PlayableSound]:
    """A reader at a sampling rate in Hz that, as it is read, passes 16-bit samples to `hear`: both
    from one decoding.

    Raises:
        EmptyAudio, DecodeError: as `open_audio`. The file stays open then.
    """
    decoder = open_sound(source)
    sound = PlayableSound(decoder.info, highest_rate=highest_rate)
    return AudioReader(source, _Overheard(decoder, sound, hear), sampling_rate), sound


class _Overheard:
    """A decoder whose blocks someone else hears first. See `Decoder`."""

    def __init__(
        self, decoder: Decoder, sound: PlayableSound, hear: Callable[[bytes], None]
    ) -> None:
        self._decoder = decoder
        self._sound = sound
        self._hear = hear
        self.info = decoder.info
        self.vouched_s = decoder.vouched_s
        self.n_errors = 0
        self.position = 0

    def blocks(self, start_frame: int = 0) -> Iterator[NativeBlock]:
        for block in self._decoder.blocks(start_frame):
            self._note()
            self._hear(self._sound.feed(block))
            yield block
        self._note()
        self._hear(self._sound.finish())

    def _note(self) -> None:
        self.n_errors, self.position = self._decoder.n_errors, self._decoder.position

    def close(self) -> None:
        self._decoder.close()


def _numbers(frames: Frames) -> Frames:
    """0 where there is none; ±1 where a sound is louder than that, as players do it. A copy."""
    with np.errstate(invalid="ignore"):
        clean: Frames = np.nan_to_num(frames, nan=0.0, posinf=0.0, neginf=0.0)
    return np.clip(clean, -1, 1, out=clean)


def _framed(samples: Frames, channels: int) -> Frames:
    """One channel comes out of the resampler without its axis, whatever went in."""
    return samples.reshape(-1, channels)


def _to_16_bits(frames: Frames) -> bytes:
    """Little-endian. What had 16 bits before comes out as it was."""
    scaled = np.rint(frames * np.float32(1 << 15))
    samples: NDArray[np.int16] = np.clip(scaled, -(1 << 15), (1 << 15) - 1).astype("<i2")
    return samples.tobytes()

"""FFmpeg, through PyAV: everything else. Packet by packet, so that a bad one costs only itself."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.audio.plane import AudioPlane
from av.stream import Discard, Disposition

from alm2vec_search.audio.container import is_cut_off, mp3_knows_its_length
from alm2vec_search.audio.decoder import AudioInfo, NativeBlock, UnreadableError, block_frames
from alm2vec_search.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.codeccontext import AudioCodecContext
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from alm2vec_search.audio.source import Source

_FAILURES = (av.FFmpegError, OSError, ValueError, RuntimeError, LookupError, ArithmeticError)
_MAX_FAILURES_IN_A_ROW = 50  # a demuxer that stands still must not stop the run
_SHORT_NAMES = {"mov,mp4,m4a,3gp,3g2,mj2": "mp4", "matroska,webm": "matroska"}
_VOUCHING = {"mp4", "matroska", "flac", "ogg"}
# Before PyAV 19, a tag that isn't UTF-8 made the file unreadable unless told otherwise; since then
# the argument is gone.
_TAGS: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
)
# What FFmpeg may take a file for: containers and streams that hold their sound themselves. It knows
# playlists, too, which make it open the files and addresses that they name.
_PLAIN_FORMATS = ",".join(
    (
        *("wav", "w64", "aiff", "au", "caf", "voc", "sox", "ircam", "nistsphere", "avr", "paf"),
        *("pvf", "iff", "dsf", "flac", "ogg", "mp3", "aac", "loas", "latm", "ac3", "eac3", "ac4"),
        *("dts", "dtshd", "mlp", "truehd", "ape", "tta", "tak", "shn", "wv", "mpc", "mpc8", "bonk"),
        *("osq", "qoa", "rka", "amr", "amrnb", "amrwb", "gsm", "ilbc", "qcp", "oma", "aea", "lc3"),
        *("mov", "matroska", "asf", "asf_o", "xwma", "avi", "flv", "mpeg", "mpegts", "mxf", "nut"),
        *("rm", "wtv"),
    )
)
# FFmpeg's sample formats, less the p of the planar ones: numpy's name, and what stands for 1.0
_SAMPLES = {
    "u8": ("u1", 1 << 7),
    "s16": ("i2", 1 << 15),
    "s32": ("i4", 1 << 31),
    "s64": ("i8", 1 << 63),
    "flt": ("f4", 1),
    "dbl": ("f8", 1),
}


def _open(source: Source) -> InputContainer:
    """By descriptor, and nothing but that: a playlist that names other files or addresses must
    not make us read them. Twice over: no playlist, and no way to open anything else."""
    source.rewind()
    only_this = {
        "fd": str(source.descriptor),
        "protocol_whitelist": "fd",
        "format_whitelist": _PLAIN_FORMATS,
    }
    container: InputContainer = av.open("fd:", options=only_this, **_TAGS)
    return container


def read_tags(source: Source) -> list[tuple[str, str]]:
    """The tags of a file and of its first stream of sound, as FFmpeg names them."""
    try:
        with _open(source) as container:
            tags = list(container.metadata.items())
            for stream in container.streams.audio[:1]:
                tags += stream.metadata.items()
            return tags
    except _FAILURES:
        return []


class AvDecoder:
    """See `Decoder`."""

    def __init__(self, source: Source) -> None:
        """
        Raises:
            UnreadableError: FFmpeg doesn't know it.
            DecodeError: there is no sound in it, only pictures or text.
        """
        self._source = source
        try:
            self._container = _open(source)
        except _FAILURES as error:
            raise UnreadableError(str(error)) from error
        try:
            self._choose_stream(source)
        except BaseException:
            self.close()
            raise
        self.n_errors = 0
        self.position = 0

    def _choose_stream(self, source: Source) -> None:
        if not self._container.streams.audio:
            raise DecodeError(source.path, "no audio in it")
        self._stream = stream = self._container.streams.audio[0]
        for other in self._container.streams:
            if other is not stream:
                other.discard = Discard.all
        if stream.codec_context is None or not stream.rate:
            raise UnreadableError("an audio stream without a decoder or a rate")
        channels = _plain_channels(stream.codec_context)
        stream.codec_context.thread_count = 1  # whoever wants more cores decodes more files
        container = _SHORT_NAMES.get(self._container.format.name, self._container.format.name)
        self.info = AudioInfo(
            container=container,
            codec=_codec_name(stream.codec_context.name),
            sampling_rate=stream.rate,
            channels=channels,
            duration_s=self._declared_s(),
            has_pictures=any(map(_moves, self._container.streams.video)),
        )
        vouches = container in _VOUCHING
        if container == "mp3":
            vouches = mp3_knows_its_length(source)
        elif container == "asf":  # cut off, it gets a length guessed from the bit rate
            vouches = not is_cut_off(source)
        self.vouched_s = self.info.duration_s if vouches else None

    def _declared_s(self) -> float | None:
        """Of the sound. The whole container's length counts only where it can't be a picture's."""
        stream = self._stream
        if stream.duration is not None and stream.duration > 0 and stream.time_base:
            return float(
                stream.duration * stream.time_base.numerator / stream.time_base.denominator
            )
        if tag := stream.metadata.get("DURATION"):  # Matroska: 00:00:06.523000000
            with contextlib.suppress(ValueError):
                hours, minutes, seconds = tag.split(":")
                return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        if self._container.duration and len(self._container.streams) == 1:
            return float(self._container.duration / 1_000_000)
        return None

    def blocks(self, start_frame: int = 0) -> Iterator[NativeBlock]:
        pieces: list[NDArray[np.float32]] = []  # each [channels, n]
        n_pending = 0
        shape = (self.info.sampling_rate, self.info.channels)
        for rate, piece in self._pieces():
            to_pass = min(max(0, start_frame - self.position), piece.shape[1])
            self.position += piece.shape[1]
            if to_pass == piece.shape[1]:
                continue
            changed = (rate, piece.shape[0]) != shape
            if pieces and (changed or n_pending >= block_frames(*shape)):
                yield NativeBlock(np.concatenate(pieces, axis=1).T, shape[0])
                pieces, n_pending = [], 0
            shape = (rate, piece.shape[0])
            pieces.append(piece[:, to_pass:])
            n_pending += piece.shape[1] - to_pass
        if pieces:
            yield NativeBlock(np.concatenate(pieces, axis=1).T, shape[0])

    def _pieces(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Sampling rate and samples [channels, n] of each frame."""
        for packet in self._packets():
            try:
                frames = self._stream.decode(packet)
                pieces = [(frame.sample_rate, _to_float(frame)) for frame in frames]
            except _FAILURES:
                self._count_failure()
            else:
                yield from pieces

    def _packets(self) -> Iterator[av.Packet[AudioStream]]:
        failures_in_a_row = 0
        while failures_in_a_row < _MAX_FAILURES_IN_A_ROW:
            try:
                for packet in self._container.demux(self._stream):
                    yield packet
                    failures_in_a_row = 0
            except _FAILURES:
                self._count_failure()
                failures_in_a_row += 1  # asked again, FFmpeg goes on behind the bad place
            else:
                return

    def _count_failure(self) -> None:
        self._source.check_readable()
        self.n_errors += 1

    def close(self) -> None:
        with contextlib.suppress(*_FAILURES):
            self._container.close()


def _moves(pictures: VideoStream) -> bool:
    """Whether it is a film, and not the cover of a record."""
    return not pictures.disposition & Disposition.attached_pic


def _plain_channels(context: AudioCodecContext) -> int:
    """The number of channels, which are made channels without places from here on.

    PyAV 18 frees an unusual layout (centre before left, as in films) a second time with every
    copy that it hands out, the one in each frame among them, and the process dies. This copy is
    the only one, because the decoder forgets its own.
    """
    layout = context.layout
    if not layout.nb_channels:
        raise UnreadableError("an audio stream without channels")
    context.layout = f"{layout.nb_channels} channels"
    return layout.nb_channels


def _codec_name(decoder_name: str) -> str:
    """The codec, not which of FFmpeg's decoders for it.

    >>> _codec_name("mp3float"), _codec_name("libopus"), _codec_name("aac")
    ('mp3', 'opus', 'aac')
    """
    return decoder_name.removesuffix("float").removeprefix("lib")


def _to_float(frame: av.AudioFrame) -> NDArray[np.float32]:
    """[channels, n]. Not by `frame.to_ndarray()` or `frame.planes`: with eight channels they read
    on behind the last one, and the process dies."""
    dtype, full_scale = _SAMPLES[frame.format.name.removesuffix("p")]
    n_channels, n = frame.layout.nb_channels, frame.samples
    if frame.format.is_planar:
        samples = np.array([np.frombuffer(_plane(frame, i), dtype, n) for i in range(n_channels)])
    else:
        samples = np.frombuffer(_plane(frame, 0), dtype, n * n_channels).reshape(-1, n_channels).T
    if full_scale == 1:
        return samples.astype(np.float32, copy=not frame.format.is_planar)
    middle = np.float32(full_scale if dtype == "u1" else 0)
    return (samples.astype(np.float32) - middle) / np.float32(full_scale)


_plane: Any = AudioPlane  # a buffer, of a frame and a channel; it may be longer than the sound

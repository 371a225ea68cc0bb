"""Makers of audio files: one deterministic sound, encoded for real in every format we read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    Frames = NDArray[np.float32]  # [n, channels]


def make_sound(duration_s: float, sampling_rate: int, channels: int = 1) -> Frames:
    """A voice-like sound that never repeats: a gliding tone with overtones, swelling, with breath.

    Everything lies below 3.4 kHz, so that it survives 8 kHz and every lossy codec. Each further
    channel is quieter than the one before it. Peak below 0.7.
    """
    time_s = np.arange(round(duration_s * sampling_rate)) / sampling_rate
    pitch_hz = 150 + 60 * np.sin(2 * np.pi * 0.31 * time_s) + 4 * time_s % 70
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sampling_rate
    voice = sum(np.sin(k * phase) / k for k in (1, 2, 3, 5, 8))
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * 1.7 * time_s)
    breath = np.random.default_rng(7).standard_normal(len(time_s))
    breath = np.convolve(breath, np.hanning(max(3, sampling_rate // 2000)), mode="same")
    mono = 0.22 * swell * voice + 0.004 * breath
    gains = 1 / (1 + 0.5 * np.arange(channels))
    return (mono[:, None] * gains).astype(np.float32)


@dataclass(frozen=True)
class Encoding:
    """One way to write a sound into a file.

    `muxer` and `codec` are libsndfile's names in capitals (`WAV`, `PCM_16`), FFmpeg's in small
    letters (`mp4`, `aac`).
    """

    name: str
    suffix: str
    muxer: str
    codec: str
    lossless: bool = False
    picture: bool = False  # with a video stream in front

    def write(self, path: Path, frames: Frames, sampling_rate: int) -> Path:
        """Writes the file, and returns its path."""
        if self.muxer.isupper():
            _write_with_soundfile(path, frames, sampling_rate, self)
        else:
            _write_with_av(path, frames, sampling_rate, self)
        return path


WAV = Encoding("wav", ".wav", "WAV", "PCM_16", lossless=True)
WAV_FLOAT = Encoding("wav-float", ".wav", "WAV", "FLOAT", lossless=True)
FLAC = Encoding("flac", ".flac", "FLAC", "PCM_16", lossless=True)
MP3 = Encoding("mp3", ".mp3", "MP3", "MPEG_LAYER_III")
OGG = Encoding("ogg", ".ogg", "OGG", "VORBIS")
OPUS = Encoding("opus", ".opus", "OGG", "OPUS")
AIFF = Encoding("aiff", ".aiff", "AIFF", "PCM_16", lossless=True)
M4A = Encoding("m4a", ".m4a", "ipod", "aac")
MKV = Encoding("mkv", ".mkv", "matroska", "aac", picture=True)
MP4 = Encoding("mp4", ".mp4", "mp4", "aac", picture=True)

ENCODINGS = (
    WAV,
    Encoding("wav-24", ".wav", "WAV", "PCM_24", lossless=True),
    WAV_FLOAT,
    Encoding("wav-u8", ".wav", "WAV", "PCM_U8"),
    Encoding("wav-mulaw", ".wav", "WAV", "ULAW"),
    Encoding("wav-adpcm", ".wav", "WAV", "IMA_ADPCM"),
    Encoding("rf64", ".rf64", "RF64", "PCM_16", lossless=True),
    Encoding("w64", ".w64", "W64", "PCM_16", lossless=True),
    FLAC,
    Encoding("flac-24", ".flac", "FLAC", "PCM_24", lossless=True),
    MP3,
    Encoding("mp3-lame", ".mp3", "mp3", "libmp3lame"),
    OGG,
    OPUS,
    Encoding("oga-flac", ".oga", "ogg", "flac", lossless=True),
    AIFF,
    Encoding("aifc-mulaw", ".aifc", "AIFF", "ULAW"),
    Encoding("au", ".au", "AU", "PCM_16", lossless=True),
    Encoding("caf", ".caf", "CAF", "PCM_16", lossless=True),
    M4A,
    Encoding("alac", ".m4a", "ipod", "alac", lossless=True),
    Encoding("aac", ".aac", "adts", "aac"),
    Encoding("wma", ".wma", "asf", "wmav2"),
    Encoding("mka", ".mka", "matroska", "libopus"),
    MP4,
    Encoding("mov", ".mov", "mov", "aac", picture=True),
    MKV,
    Encoding("webm", ".webm", "webm", "libopus", picture=True),
    Encoding("avi", ".avi", "avi", "libmp3lame", picture=True),
)


def _write_with_soundfile(
    path: Path, frames: Frames, sampling_rate: int, encoding: Encoding
) -> None:
    import soundfile

    with soundfile.SoundFile(
        os.fsencode(path),
        "w",
        samplerate=sampling_rate,
        channels=frames.shape[1],
        format=encoding.muxer,
        subtype=encoding.codec,
    ) as file:
        # libsndfile's Vorbis encoder overflows the stack when given a minute at once
        for start in range(0, len(frames), sampling_rate):
            file.write(frames[start : start + sampling_rate])


def _write_with_av(path: Path, frames: Frames, sampling_rate: int, encoding: Encoding) -> None:
    import av

    layout = {1: "mono", 2: "stereo", 3: "3.0", 6: "5.1", 8: "7.1"}[frames.shape[1]]
    with path.open("wb") as file, av.open(file, "w", format=encoding.muxer) as container:
        picture = _add_picture(container, encoding.muxer) if encoding.picture else None
        sound: Any = container.add_stream(encoding.codec, rate=sampling_rate, layout=layout)
        sound.bit_rate = 128_000
        for start in range(0, len(frames), sampling_rate):  # a second of each in turn
            if picture is not None:
                container.mux(_a_second_of_grey(picture))
            block = np.ascontiguousarray(frames[start : start + sampling_rate])
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=layout)
            frame.sample_rate = sampling_rate
            frame.time_base = Fraction(1, sampling_rate)
            frame.pts = start
            container.mux(sound.encode(frame))
        for stream in (picture, sound):
            if stream is not None:
                container.mux(stream.encode(None))


def write_silent_film(path: Path) -> Path:
    """A second of video without a sound track."""
    import av

    with path.open("wb") as file, av.open(file, "w", format="mp4") as container:
        picture = _add_picture(container, "mp4")
        container.mux(_a_second_of_grey(picture))
        container.mux(picture.encode(None))
    return path


def _add_picture(container: OutputContainer, muxer: str) -> VideoStream:
    stream: Any = container.add_stream("libvpx" if muxer == "webm" else "mpeg4", rate=10)
    stream.width = stream.height = 32
    stream.pix_fmt = "yuv420p"
    return cast("VideoStream", stream)


def _a_second_of_grey(stream: VideoStream) -> list[Packet[VideoStream]]:
    import av

    grey = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 128, np.uint8), format="rgb24")
    return [packet for _ in range(10) for packet in stream.encode(grey)]

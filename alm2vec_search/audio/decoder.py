"""What the two decoders have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

_BLOCK_FRAMES = 65536
_MAX_BLOCK_SAMPLES = 1 << 21  # of all channels together: 8 MB


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file says about itself. Nothing was decoded to find out."""

    container: str  # as its decoder calls it, in small letters: wav, flac, mp3, ogg, mp4
    codec: str  # pcm_16, mp3, vorbis, aac
    sampling_rate: int  # Hz
    channels: int
    duration_s: float | None  # declared: a hint, often an estimate
    has_pictures: bool = False  # that move: a film, not a record with a cover


@dataclass(frozen=True, slots=True, eq=False)
class NativeBlock:
    """Decoded sound as the file has it. The array belongs to whoever takes the block, until the
    next block is asked for."""

    frames: NDArray[np.float32]  # [n, channels]
    sampling_rate: int  # Hz; a file glued together from several may change it midway


class UnreadableError(Exception):
    """A decoder can't open this, or can't go on. Never leaves the package."""


class Decoder(Protocol):
    """One open file, read once from front to back."""

    info: AudioInfo
    vouched_s: float | None  # how long it must be, where the file knows rather than estimates
    n_errors: int  # pieces that could not be decoded
    position: int  # frames read or passed over so far

    def blocks(self, start_frame: int = 0) -> Iterator[NativeBlock]:
        """The sound from a frame on, in blocks of one to a few seconds.

        Raises:
            UnreadableError: it can't go on from `position`.
            DecodeError: the file system can't read the file.
        """
        ...

    def close(self) -> None: ...


def block_frames(sampling_rate: int, channels: int) -> int:
    """Frames per block: 1 to 10 s, and less where so many channels would not fit.

    >>> block_frames(44100, 2), block_frames(192000, 8), block_frames(100, 1)
    (65536, 192000, 1000)
    """
    wanted = min(max(_BLOCK_FRAMES, sampling_rate), 10 * sampling_rate)
    return max(1, min(wanted, _MAX_BLOCK_SAMPLES // channels))

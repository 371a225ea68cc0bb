"""Whether two sounds are the same recording: what a codec, a cut or a fade leaves of it.

Both become log-mel frames; one is moved along the other to where they agree best; and there the
frames are compared one by one. A recording agrees with its own re-encoding nearly everywhere, and
with another recording of the same thing nowhere for long.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

    from alm2vec_search.domain import Samples, Waveform

    Frames = NDArray[np.float32]  # [t, bands]

PROPOSED = 0.85  # cosine of two embeddings, from where on the sounds are worth comparing
FRAME_S = 0.01  # from one to the next; each hears four times that
BANDS = 32
HIGHEST_HZ = 5000  # lossy codecs and low rates take away what is above
FLOOR_DB = 50.0  # below the loudest frame; what is fainter is as good as silence
SAME_FRAMES = 0.8  # of the frames that both have, so many have to agree
_AGREEING = 0.7  # correlation of two frames, each less what is always there
_LEAST_S = 0.12  # shorter overlaps say nothing
_TOLERANCE_S = 0.15  # what encoders put in front or behind


class Kind(Enum):
    """How two files come to hold the same recording."""

    BYTES = "same bytes"
    AUDIO = "same audio"  # sample for sample
    ENCODED = "re-encoded"
    TRIMMED = "trimmed"  # one is a part of the other


@dataclass(frozen=True, slots=True)
class Likeness:
    """How two sounds agree where they agree best."""

    agreement: float  # the share of frames that do, of those both have
    offset_s: float  # where the second begins within the first; below 0, the first in the second
    overlap_s: float

    @property
    def is_same(self) -> bool:
        return self.agreement >= SAME_FRAMES and self.overlap_s >= _LEAST_S


def likeness(first: Samples, second: Samples, sampling_rate: int) -> Likeness:
    """Compare two sounds [n] and [m] of one sampling rate, in Hz."""
    one, other = frames_of(first, sampling_rate), frames_of(second, sampling_rate)
    shift = _best_shift(one, other)  # frames
    start, end = max(0, shift), min(len(one), shift + len(other))
    here, there = one[start:end], other[start - shift : end - shift]
    heard = (here.max(axis=1, initial=0) > 0) | (there.max(axis=1, initial=0) > 0)  # [t]
    if not heard.any():
        return Likeness(0.0, 0.0, 0.0)
    here, there = here[heard], there[heard]
    agreeing = _correlation(here - here.mean(axis=0), there - there.mean(axis=0)) >= _AGREEING
    return Likeness(float(agreeing.mean()), shift * FRAME_S, (end - start) * FRAME_S)


def kind_of(found: Likeness, first_s: float, second_s: float) -> Kind | None:
    """What two sounds of these lengths are to each other; None: not the same recording."""
    if not found.is_same:
        return None
    whole = min(first_s, second_s)
    is_aligned = abs(found.offset_s) <= _TOLERANCE_S and abs(first_s - second_s) <= 2 * _TOLERANCE_S
    if is_aligned:
        return Kind.ENCODED
    return Kind.TRIMMED if found.overlap_s >= 0.5 * whole else None


class KnownCopies:
    """Which stretches were found to be copies, so that each pair is read and compared once.

    Threads may share one. Two that ask for the same pair at once may both compare it.

    Args:
        most: pairs that are remembered; of more, those that were asked for longest ago go.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, bool] = OrderedDict()
        self._lock = Lock()

    def are_copies(
        self, pair: Hashable, read: Callable[[], tuple[Waveform | None, Waveform | None]]
    ) -> bool:
        """
        Args:
            pair: names the two, by what is in them: of the same pair the same is believed.
            read: the sounds of both, at one sampling rate; None: it can't be read now, so nothing
                is known of it, nor remembered.
        """
        with self._lock:
            if pair in self._known:
                self._known.move_to_end(pair)
                return self._known[pair]
        one, other = read()
        if one is None or other is None:
            return False
        found = likeness(one.samples, other.samples, one.sampling_rate)
        is_copy = kind_of(found, one.duration_s, other.duration_s) is not None
        with self._lock:
            self._known[pair] = is_copy
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        return is_copy


def frames_of(samples: Samples, sampling_rate: int) -> Frames:
    """Log-mel frames [t, bands], 0 where nothing is heard, whatever the loudness of the whole."""
    size, hop = round(4 * FRAME_S * sampling_rate), round(FRAME_S * sampling_rate)
    padded = np.pad(np.asarray(samples, dtype=np.float32), (0, size))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]  # [t, size]
    power = np.abs(np.fft.rfft(windows * np.hanning(size).astype(np.float32), axis=1)) ** 2
    bands = power @ _mel_filters(size, sampling_rate)  # [t, bands]
    loudest = float(bands.max())
    if loudest <= 0:
        return np.zeros_like(bands, dtype=np.float32)
    decibels = 10 * np.log10(np.maximum(bands / loudest, 1e-12))
    above: Frames = np.maximum(0, decibels + FLOOR_DB).astype(np.float32)
    return above


@cache
def _mel_filters(size: int, sampling_rate: int) -> NDArray[np.float32]:
    """Triangles over the bins of a spectrum [bins, bands]."""
    top = min(HIGHEST_HZ, sampling_rate / 2)
    mel = np.linspace(_to_mel(60.0), _to_mel(top), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.fft.rfftfreq(size, 1 / sampling_rate)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters: NDArray[np.float32] = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return filters


def _to_mel(hz: float) -> float:
    return 2595 * float(np.log10(1 + hz / 700))


def _best_shift(one: Frames, other: Frames) -> int:
    """Where the second has to begin on the first for both to go up and down together."""
    n = len(one) + len(other) - 1
    size = 1 << (n - 1).bit_length()
    centred = [frames - frames.mean(axis=0) for frames in (one, other)]
    spectra = [np.fft.rfft(frames, size, axis=0) for frames in centred]
    together = np.fft.irfft((spectra[0] * spectra[1].conj()).sum(axis=1), size)  # [size]
    shifts = np.arange(-(len(other) - 1), len(one))
    return int(shifts[np.argmax(together[shifts])])


def _correlation(one: Frames, other: Frames) -> NDArray[np.float32]:
    """Of each frame with the other's [t]; 0 where one of them has nothing."""
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    product = (one * other).sum(axis=1)
    cosine: NDArray[np.float32] = np.where(norms > 1e-6, product / np.maximum(norms, 1e-6), 0)
    return cosine

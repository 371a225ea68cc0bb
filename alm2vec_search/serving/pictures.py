"""What a stretch of sound looks like: its outline, and its log-mel spectrogram, from one decoding.

Both are made column by column while the sound streams by, so that an hour takes no more memory than
a second.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.audio import read_source
from alm2vec_search.errors import QueryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from alm2vec_search.audio import Source
    from alm2vec_search.domain import Samples, TimeSpan

    Floats = NDArray[np.float32]

REVISION = 1  # of how pictures look: what is kept of an older one is not shown
RATE = 32_000  # Hz: half of it is about as high as people hear well
MOST_POINTS = 8192
MOST_WIDTH, MOST_HEIGHT = 4096, 512  # pixels
MOST_S = 3600.0  # of sound in one picture

_WINDOW = 1024  # samples: 32 ms
_LOWEST_HZ = 40.0
_STEP = 640  # samples, that frames lie apart at most: no click is missed, in no picture
_RANGE_DB = 70.0  # from what is invisible to the loudest
_QUIETEST_DB = -50.0  # the loudest of a picture counts as no less, so that silence stays white
_BATCH = 256  # frames: 1 MB at once


@dataclass(frozen=True, slots=True)
class Shape:
    """How many columns and rows are wanted.

    Raises:
        QueryError: too many, or none.
    """

    points: int = 800
    width: int = 800
    height: int = 128

    def __post_init__(self) -> None:
        _check("points", self.points, MOST_POINTS)
        _check("width", self.width, MOST_WIDTH)
        _check("height", self.height, MOST_HEIGHT)


@dataclass(frozen=True, slots=True, eq=False)
class Peaks:
    """The outline of a sound."""

    low: Samples  # [points], the least of each column, in [-1, 1]
    high: Samples  # [points], the most

    def to_bytes(self) -> bytes:
        return np.stack([self.low, self.high]).astype("<f4").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Peaks:
        low, high = np.frombuffer(data, "<f4").reshape(2, -1).astype(np.float32)
        return cls(low, high)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A stretch of sound, drawn."""

    peaks: Peaks
    spectrogram: bytes  # PNG, black, its alpha the loudness; low sounds at the bottom


def draw(source: Source, span: TimeSpan, shape: Shape) -> Picture:
    """Draw a stretch of a file, which is empty behind the end of the file. The source stays open.

    Raises:
        QueryError: the span is too long.
        DecodeError: the file can't be read, or the span begins behind its end.
        EmptyAudio: there is no sound in it.
    """
    if span.duration_s > MOST_S:
        raise QueryError(
            f"a picture of {span.duration_s:.0f} s is too long", hint=f"ask for up to {MOST_S:g} s"
        )
    n_samples = max(1, round(span.duration_s * RATE))
    outline = _Outline(n_samples, shape.points)
    spectrum = _Spectrum(n_samples, shape.width, shape.height)
    sound = read_source(source, RATE)
    try:
        for samples in sound.stretch(span):
            outline.feed(samples)
            spectrum.feed(samples)
    finally:
        sound.close_decoder()
    return Picture(outline.finish(), _to_png(spectrum.finish()))


class _Outline:
    """Least and most of each of `n_columns` equal parts of `n_samples` samples."""

    def __init__(self, n_samples: int, n_columns: int) -> None:
        # as many columns as there are samples at most: wider, they are repeated
        self._n_columns = n_columns
        n_parts = min(n_samples, n_columns)
        self._edges = np.arange(n_parts + 1) * n_samples // n_parts
        self._low = np.full(n_parts, np.inf, np.float32)
        self._high = np.full(n_parts, -np.inf, np.float32)
        self._n_seen = 0

    def feed(self, samples: Samples) -> None:
        start = self._n_seen
        samples = samples[: self._edges[-1] - start]
        if not len(samples):
            return
        self._n_seen += len(samples)
        first = int(np.searchsorted(self._edges, start, "right")) - 1
        end = int(np.searchsorted(self._edges, self._n_seen, "left"))
        starts = np.maximum(self._edges[first:end] - start, 0)
        low, high = self._low[first:end], self._high[first:end]
        np.minimum(low, np.minimum.reduceat(samples, starts), out=low)
        np.maximum(high, np.maximum.reduceat(samples, starts), out=high)

    def finish(self) -> Peaks:
        """Columns behind the end of the sound are 0."""
        unseen = self._low > self._high
        self._low[unseen] = self._high[unseen] = 0
        which = np.arange(self._n_columns) * len(self._low) // self._n_columns
        return Peaks(self._low[which], self._high[which])


class _Spectrum:
    """The loudest of the frames in each of `width` equal parts of `n_samples` samples, in `height`
    bands."""

    def __init__(self, n_samples: int, width: int, height: int) -> None:
        self._per_column = max(1, -(-n_samples // (width * _STEP)))  # rounded up
        n_frames = width * self._per_column
        middles = ((np.arange(n_frames) + 0.5) * n_samples / n_frames).astype(np.int64)
        self._starts = middles - _WINDOW // 2
        self._bands = mel_bands(height)
        # power of the bands, the loudest frame of each column
        self._power = np.zeros((width, height), np.float32)
        self._n_done = 0  # frames
        self._window = np.hanning(_WINDOW).astype(np.float32)
        # what is still needed of the sound, and where it begins; silence before the first sample
        self._kept = np.zeros(_WINDOW // 2, np.float32)
        self._kept_start = -(_WINDOW // 2)

    def feed(self, samples: Samples) -> None:
        self._kept = np.concatenate([self._kept, samples])
        end = self._kept_start + len(self._kept)
        n_ready = int(np.searchsorted(self._starts, end - _WINDOW, "right"))
        for first in range(self._n_done, n_ready, _BATCH):
            self._hear(first, min(first + _BATCH, n_ready))
        self._n_done = max(self._n_done, n_ready)
        if self._n_done < len(self._starts):
            unneeded = max(0, min(int(self._starts[self._n_done]), end) - self._kept_start)
        else:
            unneeded = len(self._kept)
        self._kept = self._kept[unneeded:].copy()
        self._kept_start += unneeded

    def finish(self) -> Floats:
        """Decibels below full scale [width, height]; silence behind the end of the sound."""
        self.feed(np.zeros(_WINDOW, np.float32))
        decibels: Floats = 10 * np.log10(np.maximum(self._power, np.float32(1e-12)))
        return decibels

    def _hear(self, first: int, end: int) -> None:
        at = (self._starts[first:end] - self._kept_start)[:, None] + np.arange(_WINDOW)
        spectra = np.fft.rfft(self._kept[at] * self._window)  # [frames, bins]
        # a sine at full scale has a power of 1
        power = np.square(np.abs(spectra) / (_WINDOW / 4)).astype(np.float32) @ self._bands
        columns = np.arange(first, end) // self._per_column
        new = np.flatnonzero(np.diff(columns, prepend=-1))
        loudest = self._power[columns[0] : columns[-1] + 1]
        np.maximum(loudest, np.maximum.reduceat(power, new, axis=0), out=loudest)


@lru_cache(maxsize=8)
def mel_bands(height: int) -> Floats:
    """How much each bin of a spectrum counts in each of `height` bands [bins, height], low ones
    first. A band is a triangle, no narrower than the bins lie apart."""
    bins_hz = np.arange(_WINDOW // 2 + 1) * RATE / _WINDOW
    middles_hz = _to_hz(np.linspace(_to_mel(_LOWEST_HZ), _to_mel(RATE / 2), height + 2))
    bin_hz = RATE / _WINDOW
    below = np.maximum(middles_hz[1:-1] - middles_hz[:-2], bin_hz)
    above = np.maximum(middles_hz[2:] - middles_hz[1:-1], bin_hz)
    away = bins_hz[:, None] - middles_hz[1:-1]
    weights = np.where(away < 0, 1 + away / below, 1 - away / above)
    bands: Floats = np.maximum(weights, 0).astype(np.float32)
    bands.setflags(write=False)
    return bands


def _to_mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))


def _to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    hz: NDArray[np.float64] = 700 * (10 ** (mel / 2595) - 1)
    return hz


def _to_png(decibels: Floats) -> bytes:
    from PIL import Image

    loudest = max(float(decibels.max()), _QUIETEST_DB)
    loudness = np.clip((decibels - loudest) / _RANGE_DB + 1, 0, 1)
    alpha = np.rint(loudness * 255).astype(np.uint8).T[::-1]  # [height, width], low at the bottom
    pixels = np.stack([np.zeros_like(alpha), alpha], axis=-1)
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    return png.getvalue()


def _check(name: str, number: int, most: int) -> None:
    if not 1 <= number <= most:
        raise QueryError(f"{name}={number} can't be drawn", hint=f"{name} is from 1 to {most}")

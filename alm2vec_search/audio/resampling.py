"""From the sound that a file has to the sound that a model takes: mono, clean, at one rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr

if TYPE_CHECKING:
    from alm2vec_search.audio.decoder import NativeBlock
    from alm2vec_search.domain import Samples


class MonoResampler:
    """Block by block; one resampler for all formats, so that one recording comes out alike.

    Values that aren't numbers become 0, values beyond ±1 are clipped as players clip them, and
    the channels are averaged.
    """

    def __init__(self, sampling_rate: int) -> None:
        self._sampling_rate = sampling_rate
        self._stream: soxr.ResampleStream | None = None
        self._native_rate = sampling_rate
        self._n_frames = 0  # at the native rate
        self._earlier_s = 0.0  # at other rates before
        self.n_samples = 0  # of all channels together
        self.n_not_numbers = 0

    @property
    def decoded_s(self) -> float:
        """How much sound has come in."""
        return self._earlier_s + self._n_frames / self._native_rate

    def feed(self, block: NativeBlock) -> Samples:
        """What is ready after this block: the resampler holds some of it back. Overwrites it."""
        frames = block.frames
        before = self._change_rate(block.sampling_rate)
        self._n_frames += len(frames)
        self.n_samples += frames.size
        with np.errstate(invalid="ignore"):
            clean = bool(frames.max() <= 1 and frames.min() >= -1)  # neither, where one is NaN
        if not clean:
            not_numbers = ~np.isfinite(frames)
            self.n_not_numbers += int(np.count_nonzero(not_numbers))
            frames[not_numbers] = 0
            np.clip(frames, -1, 1, out=frames)
        mono = _mean_of_channels(frames)
        if self._stream is not None:
            mono = _clipped(self._stream.resample_chunk(mono))
        return np.concatenate([before, mono]) if len(before) else mono

    def finish(self) -> Samples:
        """What was held back."""
        if self._stream is None:
            return np.empty(0, np.float32)
        rest = self._stream.resample_chunk(np.empty(0, np.float32), last=True)
        self._stream = None
        return _clipped(rest)

    def _change_rate(self, native_rate: int) -> Samples:
        if native_rate == self._native_rate:
            return np.empty(0, np.float32)
        rest = self.finish()
        self._earlier_s, self._n_frames = self.decoded_s, 0
        self._native_rate = native_rate
        if native_rate != self._sampling_rate:
            self._stream = soxr.ResampleStream(native_rate, self._sampling_rate, 1, quality="HQ")
        return rest


def _clipped(samples: Samples) -> Samples:
    """In place: resampling overshoots a little where the sound is at full scale."""
    np.clip(samples, -1, 1, out=samples)
    return samples


def _mean_of_channels(frames: Samples) -> Samples:
    """[n, channels] to [n]. Channel by channel: `mean` over so short an axis takes five times as
    long."""
    mono = frames[:, 0].copy()
    n_channels = frames.shape[1]
    for channel in range(1, n_channels):
        mono += frames[:, channel]
    if n_channels > 1:
        mono *= np.float32(1 / n_channels)
    return mono

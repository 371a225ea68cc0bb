"""Sound as training hears it: a stretch of a file, no longer than it may be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from alm2vec_search.audio import decode, open_audio
from alm2vec_search.domain import TimeSpan, Waveform
from alm2vec_search.errors import DecodeError

if TYPE_CHECKING:
    from trainer.pairs import AudioRef


def hear(ref: AudioRef, sampling_rate: int, max_audio_s: float | None, position: float) -> Waveform:
    """Decode a sound: all of it, or where it is longer than `max_audio_s`, so much of it.

    Args:
        ref: a file, or a stretch of one; what is taken lies within the stretch.
        sampling_rate: in Hz.
        max_audio_s: in seconds; None is all of it.
        position: in [0, 1), where it is cut out: from the earliest place to the last.

    Raises:
        EmptyAudio: there is no sound in the file.
        DecodeError: it can't be read, or the stretch begins behind its end.
    """
    if max_audio_s is None:
        return decode(ref.path, sampling_rate, ref.span)
    n_samples = max(1, round(max_audio_s * sampling_rate))
    cut = _cut_where_declared(ref, sampling_rate, n_samples, position)
    if cut is not None:
        return cut
    whole = decode(ref.path, sampling_rate, ref.span)
    start = math.floor(position * (max(0, len(whole.samples) - n_samples) + 1))
    return Waveform(whole.samples[start : start + n_samples], sampling_rate)


def _cut_where_declared(
    ref: AudioRef, sampling_rate: int, n_samples: int, position: float
) -> Waveform | None:
    """The cut alone, so that an hour isn't decoded for the sake of ten seconds.

    None where the file is short enough, doesn't say how long it is, or is shorter than it says.
    """
    span = ref.span or TimeSpan(0.0, math.inf)
    with open_audio(ref.path, sampling_rate) as sound:
        declared_s = sound.info.duration_s
        end_s = min(span.end_s, math.inf if declared_s is None else declared_s)
        if math.isinf(end_s):
            return None
        first = round(span.start_s * sampling_rate)
        room = math.floor(end_s * sampling_rate) - first - n_samples
        if room <= 0:
            return None
        start = first + math.floor(position * (room + 1))
        cut = TimeSpan(start / sampling_rate, (start + n_samples) / sampling_rate)
        try:
            samples = sound.region(cut)
        except DecodeError:
            return None
    return Waveform(samples, sampling_rate) if len(samples) == n_samples else None

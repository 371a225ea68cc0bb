"""The plan, and that cutting a stream keeps to it however the stream comes."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alm2vec_search.domain import TimeSpan
from indexer.chunker import SILENCE_PEAK, Chunking, cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

unhurried = settings(deadline=None)  # what else the machine does is no fault of the code
SAMPLING_RATES = st.sampled_from([100, 999, 1000, 8000, 11025, 16000])


@st.composite
def chunkings(draw: st.DrawFn) -> Chunking:
    window_ms = draw(st.integers(2, 90))
    hop_ms = draw(st.integers(1, window_ms))
    min_tail_ms = draw(st.integers(0, window_ms - 1))
    return Chunking(window_ms / 1000, hop_ms / 1000, min_tail_ms / 1000)


def spans_by_the_rules(n_samples: int, sampling_rate: int, chunking: Chunking) -> list[TimeSpan]:
    """The rules word for word, in exact arithmetic."""
    duration = Fraction(n_samples, sampling_rate)
    window, hop, tail = (
        Fraction(round(seconds * 1000), 1000)
        for seconds in (chunking.window_s, chunking.hop_s, chunking.min_tail_s)
    )
    spans: list[TimeSpan] = []
    start = Fraction(0)
    while start < duration:
        end = min(start + window, duration)
        spans.append(TimeSpan(float(start), float(end)))
        reached_the_end = end == duration
        start += hop
        if reached_the_end or duration - start <= tail:
            break
    return spans


def ramp(n_samples: int) -> NDArray[np.float32]:
    """Every sample says where it is from."""
    return np.arange(n_samples, dtype=np.float32) / np.float32(2**24)


def test_a_long_sound_is_cut_into_windows_and_a_tail() -> None:
    assert Chunking().spans(21.5) == [
        TimeSpan(0.0, 10.0),
        TimeSpan(10.0, 20.0),
        TimeSpan(20.0, 21.5),
    ]


@pytest.mark.parametrize(
    ("duration_s", "n_chunks"),
    [(0, 0), (1e-9, 1), (0.3, 1), (10, 1), (11, 1), (11.001, 2), (20, 2), (21, 2), (21.001, 3)],
)
def test_a_tail_of_a_second_or_less_is_left_out_but_a_first_window_never(
    duration_s: float, n_chunks: int
) -> None:
    assert Chunking().estimate(duration_s) == n_chunks
    assert len(Chunking().spans(duration_s)) == n_chunks


def test_an_overlapping_window_is_left_out_when_the_one_before_reached_the_end() -> None:
    chunking = Chunking(window_s=10, hop_s=5)
    assert chunking.spans(10) == [TimeSpan(0, 10)]
    assert chunking.spans(15) == [TimeSpan(0, 10), TimeSpan(5, 15)]
    assert chunking.spans(15.5) == [TimeSpan(0, 10), TimeSpan(5, 15), TimeSpan(10, 15.5)]


@unhurried
@given(chunkings(), SAMPLING_RATES, st.integers(0, 3000))
def test_the_closed_form_is_the_rules(
    chunking: Chunking, sampling_rate: int, n_samples: int
) -> None:
    planned = chunking.spans(n_samples / sampling_rate)
    assert planned == spans_by_the_rules(n_samples, sampling_rate, chunking)
    assert chunking.estimate(n_samples / sampling_rate) == len(planned)


@unhurried
@given(st.sampled_from([16000, 22050, 44100, 192000]), st.integers(1, 1000), st.integers(-3, 3))
def test_the_closed_form_holds_at_the_boundaries_of_long_sounds(
    sampling_rate: int, n_windows: int, offset: int
) -> None:
    chunking = Chunking(window_s=10, hop_s=3.333, min_tail_s=0.5)
    boundary_ms = 10_000 + 3_333 * n_windows
    n_samples = boundary_ms * sampling_rate // 1000 + offset
    planned = chunking.spans(n_samples / sampling_rate)
    assert planned == spans_by_the_rules(n_samples, sampling_rate, chunking)


@unhurried
@given(chunkings(), SAMPLING_RATES, st.lists(st.integers(0, 700), max_size=12))
def test_cutting_keeps_to_the_plan_however_the_stream_comes(
    chunking: Chunking, sampling_rate: int, block_lengths: list[int]
) -> None:
    sound = ramp(sum(block_lengths))
    blocks = np.split(sound, np.cumsum(block_lengths))
    chunks = list(cut(blocks, sampling_rate, chunking))

    assert [chunk.span for chunk in chunks] == chunking.spans(len(sound) / sampling_rate)
    at_once = cut([sound], sampling_rate, chunking)
    for chunk, same in zip(chunks, at_once, strict=True):
        np.testing.assert_array_equal(chunk.waveform.samples, same.waveform.samples)
        first = chunk.span.start_s * sampling_rate
        n = len(chunk.waveform.samples)
        assert n > 0
        assert abs(float(chunk.waveform.samples[0]) * 2**24 - first) < 1 + 1e-6
        assert abs(n - chunk.span.duration_s * sampling_rate) <= 2
        np.testing.assert_array_equal(chunk.waveform.samples, sound[math.floor(first + 1e-6) :][:n])


@unhurried
@given(st.integers(1, 40), st.integers(0, 3))
def test_at_whole_boundaries_not_a_sample_is_lost_or_doubled(n_seconds: int, extra: int) -> None:
    sound = ramp(n_seconds * 100 + extra)
    chunks = list(cut([sound], 100, Chunking(window_s=4, hop_s=4, min_tail_s=0)))
    np.testing.assert_array_equal(np.concatenate([c.waveform.samples for c in chunks]), sound)


def test_what_is_whole_comes_out_before_the_rest_is_read() -> None:
    n_read = 0

    def blocks() -> Iterator[NDArray[np.float32]]:
        nonlocal n_read
        for _ in range(100):
            n_read += 1
            yield np.zeros(1000, dtype=np.float32)

    next(iter(cut(blocks(), 1000, Chunking(window_s=3, hop_s=3))))
    assert n_read == 3


def test_a_long_sound_takes_no_more_memory_than_a_window() -> None:
    block = np.zeros(9000, dtype=np.float32)
    tracemalloc.start()
    try:
        n_chunks = 0
        for chunk in cut((block for _ in range(1000)), 16000, Chunking()):
            n_chunks += 1
            del chunk
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n_chunks == 57
    assert peak < 2.1 * 4 * 160_000  # what is held, and the copy that goes out


def test_chunks_are_safe_to_keep() -> None:
    reused = np.zeros(500, dtype=np.float32)

    def blocks() -> Iterator[NDArray[np.float32]]:
        for value in (0.1, 0.2, 0.3, 0.4):
            reused[:] = value
            yield reused

    kept = list(cut(blocks(), 1000, Chunking(window_s=1, hop_s=0.5, min_tail_s=0.1)))
    halves = [(chunk.waveform.samples[0], chunk.waveform.samples[-1]) for chunk in kept]
    np.testing.assert_allclose(halves, [(0.1, 0.2), (0.2, 0.3), (0.3, 0.4)])
    kept[0].waveform.samples[:] = 9
    assert kept[1].waveform.samples.max() < 1


@pytest.mark.parametrize("sign", [1, -1])
def test_a_chunk_is_silent_if_nothing_in_it_reaches_60_db_below_full_scale(sign: int) -> None:
    sound = np.zeros(3000, dtype=np.float32)
    sound[500] = sign * SILENCE_PEAK * 0.999
    sound[1500] = sign * SILENCE_PEAK * 1.001
    chunks = cut([sound], 1000, Chunking(window_s=1, hop_s=1, min_tail_s=0))
    assert [chunk.silent for chunk in chunks] == [True, False, True]


def test_no_sound_has_no_chunks() -> None:
    assert list(cut([], 16000, Chunking())) == []
    assert list(cut([np.empty(0, dtype=np.float32)] * 3, 16000, Chunking())) == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"window_s": 0.0}, "window_s must be more than 0"),
        ({"window_s": -1.0}, "window_s must be more than 0"),
        ({"window_s": math.nan}, "window_s must be a number"),
        ({"window_s": 1e308}, "window_s must be a number"),
        ({"hop_s": 0.0}, "hop_s must be more than 0"),
        ({"hop_s": 10.001}, "at most window_s"),
        ({"hop_s": 0.0001}, "whole milliseconds"),
        ({"min_tail_s": -0.001}, "min_tail_s must be at least 0"),
        ({"window_s": 1.0, "hop_s": 1.0}, "less than window_s"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Chunking(**settings)


@pytest.mark.parametrize("duration_s", [-1, math.nan, math.inf, 1e308])
def test_what_is_not_a_duration(duration_s: float) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        Chunking().spans(duration_s)


def test_what_is_not_a_sampling_rate() -> None:
    with pytest.raises(ValueError, match="not a sampling rate"):
        cut([], 0, Chunking())


@pytest.mark.parametrize(
    ("chunking", "name"),
    [
        (Chunking(), "10s/10s"),
        (Chunking(10, 10, 1), "10s/10s"),
        (Chunking(10, 2.5), "10s/2.5s"),
        (Chunking(12345.678, 0.001), "12345.678s/0.001s"),
        (Chunking(hop_s=0.1 + 0.2), "10s/0.3s"),
        (Chunking(min_tail_s=0.5), "10s/10s/0.5s"),
    ],
)
def test_names(chunking: Chunking, name: str) -> None:
    assert chunking.name == name


@unhurried
@given(chunkings(), chunkings())
def test_two_chunkings_have_one_name_exactly_if_they_are_equal(a: Chunking, b: Chunking) -> None:
    assert (a == b) == (a.name == b.name)
    assert Chunking.parse(a.name) == a


@pytest.mark.parametrize(
    "name", ["", "x", "10s", "10/10", "10s/10s/1s", "10s/10s/2s/3s", "nans/1s"]
)
def test_what_is_not_the_name_of_a_chunking(name: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Chunking.parse(name)

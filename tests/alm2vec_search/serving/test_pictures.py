"""Outlines and spectrograms show what is there, where it is, in flat memory."""

from __future__ import annotations

import io
import tracemalloc
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from PIL import Image

from alm2vec_search.audio.source import open_source
from alm2vec_search.domain import TimeSpan
from alm2vec_search.errors import AudioError, QueryError
from alm2vec_search.serving import pictures
from alm2vec_search.serving.pictures import (
    RATE,
    Peaks,
    Picture,
    Shape,
    draw,
    mel_bands,
)
from alm2vec_search.testing import tone

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def drawn(path: Path, span: TimeSpan, **shape: int) -> Picture:
    with closing(open_source(path)) as source:
        picture = draw(source, span, Shape(**shape))
        source.read_at(0, 1)  # still open
        return picture


def alpha(picture: Picture) -> np.ndarray:
    """[height, width]"""
    image = Image.open(io.BytesIO(picture.spectrogram))
    assert (image.format, image.mode) == ("PNG", "LA")
    black, alpha = image.split()
    assert np.asarray(black).max() == 0
    return np.asarray(alpha)


class TestPeaks:
    @pytest.mark.parametrize("points", [1, 7, 800, 1000, 1001])
    def test_least_and_most_of_each_column(self, tmp_path: Path, points: int) -> None:
        samples = np.random.default_rng(1).uniform(-1, 1, RATE * 9).astype(np.float32)
        path = write(tmp_path / "a.wav", samples)
        peaks = drawn(path, TimeSpan(0, 9), points=points).peaks
        edges = np.arange(points + 1) * len(samples) // points
        parts = [samples[a:b] for a, b in pairwise(edges)]
        np.testing.assert_array_equal(peaks.low, [part.min() for part in parts])
        np.testing.assert_array_equal(peaks.high, [part.max() for part in parts])

    def test_of_a_stretch(self, tmp_path: Path) -> None:
        samples = np.zeros(RATE * 4, np.float32)
        samples[2 * RATE : 3 * RATE] = tone(440, 1, RATE, peak=0.75)
        path = write(tmp_path / "a.wav", samples)
        peaks = drawn(path, TimeSpan(1.5, 2.5), points=10).peaks
        np.testing.assert_array_equal(peaks.high[:5], 0)
        np.testing.assert_allclose(peaks.high[5:], 0.75, atol=0.01)
        np.testing.assert_allclose(peaks.low[5:], -0.75, atol=0.01)

    def test_fewer_samples_than_points(self, tmp_path: Path) -> None:
        samples = np.linspace(-0.5, 0.5, RATE, dtype=np.float32)
        path = write(tmp_path / "a.wav", samples)
        peaks = drawn(path, TimeSpan(0, 0.01), points=800).peaks
        assert peaks.low.shape == peaks.high.shape == (800,)
        np.testing.assert_array_equal(peaks.low, samples[np.arange(800) * 320 // 800])

    def test_empty_behind_the_end(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.wav", np.full(RATE, 0.5, np.float32))
        peaks = drawn(path, TimeSpan(0, 2), points=10).peaks
        np.testing.assert_array_equal(peaks.high, [0.5] * 5 + [0] * 5)

    @pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
    def test_of_other_rates_and_channels(self, tmp_path: Path, rate: int) -> None:
        mono = tone(440, 2, rate, peak=0.6)
        path = write(tmp_path / "a.wav", np.stack([mono, mono / 3], axis=1), rate)
        peaks = drawn(path, TimeSpan(0, 2), points=50).peaks
        np.testing.assert_allclose(peaks.high[1:-1], 0.4, atol=0.02)

    def test_too_loud_is_within(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.wav", 5 * tone(440, 1, 44_100, peak=1), 44_100)
        peaks = drawn(path, TimeSpan(0, 1), points=50).peaks
        assert peaks.high.max() == 1
        assert peaks.low.min() == -1

    def test_there_and_back(self) -> None:
        peaks = Peaks(np.float32([-1, -0.25]), np.float32([0.5, 1]))
        again = Peaks.from_bytes(peaks.to_bytes())
        np.testing.assert_array_equal(again.low, peaks.low)
        np.testing.assert_array_equal(again.high, peaks.high)


class TestSpectrogram:
    @pytest.mark.parametrize(("width", "height"), [(1, 1), (800, 128), (37, 64), (4096, 512)])
    def test_size(self, tmp_path: Path, width: int, height: int) -> None:
        path = write(tmp_path / "a.wav", tone(440, 1, RATE))
        picture = drawn(path, TimeSpan(0, 1), width=width, height=height)
        assert alpha(picture).shape == (height, width)

    @pytest.mark.parametrize("hz", [100, 440, 1000, 4000, 12_000])
    def test_a_tone_lies_where_its_pitch_is(self, tmp_path: Path, hz: int) -> None:
        path = write(tmp_path / "a.wav", tone(hz, 2, RATE))
        rows = alpha(drawn(path, TimeSpan(0, 2), width=100, height=128)).mean(axis=1)
        low, high, mel = _mel(40), _mel(RATE / 2), _mel(hz)
        from_bottom = (mel - low) / (high - low) * 129 - 1
        bands_of_a_bin = max(1.0, 129 * (_mel(hz + 31.25) - mel) / (high - low))
        assert 127 - int(rows.argmax()) == pytest.approx(from_bottom, abs=1 + bands_of_a_bin)
        assert rows.max() == pytest.approx(255, abs=1)

    @pytest.mark.parametrize("duration_s", [0.2, 2.0, 47.0, 200.0])
    def test_a_click_lies_where_it_is(self, tmp_path: Path, duration_s: float) -> None:
        samples = np.zeros(round(duration_s * RATE), np.float32)
        at = round(0.7 * len(samples))
        samples[at : at + 32] = 0.9
        path = write(tmp_path / "a.wav", samples)
        columns = alpha(drawn(path, TimeSpan(0, duration_s), width=100)).max(axis=0)
        seen = np.flatnonzero(columns)
        window = 1024 / len(samples) * 100  # columns
        assert seen.mean() == pytest.approx(70, abs=1)
        assert 1 <= len(seen) <= window + 2

    def test_louder_is_blacker(self, tmp_path: Path) -> None:
        parts = [tone(1000, 1, RATE, peak=0.8 / 10**step) for step in range(4)]
        path = write(tmp_path / "a.wav", np.concatenate(parts))
        columns = alpha(drawn(path, TimeSpan(0, 4), width=40)).max(axis=0)
        middles = columns[[5, 15, 25, 35]].astype(int)
        assert middles[0] == 255
        np.testing.assert_allclose(np.diff(middles), -255 * 20 / 70, atol=2)

    def test_silence_is_empty(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.wav", np.zeros(RATE, np.float32))
        assert alpha(drawn(path, TimeSpan(0, 1))).max() == 0

    def test_of_a_stretch_as_of_the_whole(self, tmp_path: Path) -> None:
        sound = np.concatenate([tone(hz, 0.5, RATE) for hz in (300, 3000, 500, 5000)])
        path = write(tmp_path / "a.wav", sound)
        whole = alpha(drawn(path, TimeSpan(0, 2), width=80))
        part = alpha(drawn(path, TimeSpan(0.5, 1.5), width=40))
        np.testing.assert_array_equal(part[:, 2:-2], whole[:, 22:58])

    @pytest.mark.parametrize("height", [1, 64, 128, 512])
    def test_no_band_is_deaf(self, height: int) -> None:
        bands = mel_bands(height)
        assert bands.shape == (513, height)
        assert bands.max(axis=0).min() > 0.1


class TestBounds:
    @pytest.mark.parametrize("number", [0, -1, 10_000])
    @pytest.mark.parametrize("what", ["points", "width", "height"])
    def test_counts(self, what: str, number: int) -> None:
        with pytest.raises(QueryError, match=what) as error:
            Shape(**{what: number})
        assert "from 1 to" in str(error.value.hint)

    def test_too_long(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.wav", tone(440, 1, RATE))
        with pytest.raises(QueryError, match="too long"):
            drawn(path, TimeSpan(0, 3601))

    def test_behind_the_end(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.wav", tone(440, 1, RATE))
        with pytest.raises(AudioError, match=r"it is 1\.0 s long"):
            drawn(path, TimeSpan(5, 6))


def test_memory_is_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes, that would be 77 MB."""
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16", format="FLAC") as file:
        for _ in range(60):
            file.write(tone(440, 10, 16_000))
    monkeypatch.setattr(pictures, "_BATCH", 64)
    drawn(path, TimeSpan(0, 1))
    tracemalloc.start()
    try:
        drawn(path, TimeSpan(0, 600))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def _mel(hz: float) -> float:
    return float(2595 * np.log10(1 + hz / 700))

"""Sound as training hears it, from real files: where it is cut, and that it is no longer than it
may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from audio_files import M4A, MP3, make_sound

from alm2vec_search.audio import decode, open_audio
from alm2vec_search.errors import DecodeError, EmptyAudio
from trainer import hearing
from trainer.hearing import hear
from trainer.pairs import AudioRef

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 16_000  # Hz
LENGTH = 10 * RATE
POSITIONS = [0.0, 0.25, 0.5, 0.999999999999]


def write_ramp(path: Path, subtype: str | None = None) -> Path:
    """Ten seconds that rise from 0 to 1: a sample says where it comes from."""
    soundfile.write(path, np.arange(LENGTH, dtype=np.float32) / LENGTH, RATE, subtype=subtype)
    return path


def place(samples: NDArray[np.float32]) -> tuple[float, float]:
    """Where samples of a ramp begin and end, in seconds."""
    return round(float(samples[0]) * 10, 2), round(float(samples[-1]) * 10, 2)


@pytest.fixture(params=[("a.wav", "FLOAT"), ("a.wav", "PCM_24"), ("a.flac", "PCM_24")])
def ramp(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    name, subtype = request.param
    return write_ramp(tmp_path / name, subtype)


def test_what_is_short_stays_whole(ramp: Path) -> None:
    for most_s in (10.0, 11.0, None):
        for position in POSITIONS:
            assert len(hear(AudioRef(path=ramp), RATE, most_s, position).samples) == LENGTH


def test_what_is_long_is_cut(ramp: Path) -> None:
    heard = [hear(AudioRef(path=ramp), RATE, 2.0, position) for position in POSITIONS]
    assert {len(sound.samples) for sound in heard} == {2 * RATE}
    assert [place(sound.samples) for sound in heard] == [(0, 2), (2, 4), (4, 6), (8, 10)]
    whole = decode(ramp, RATE).samples
    for sound in heard:
        start = round(float(sound.samples[0]) * LENGTH)
        assert np.array_equal(sound.samples, whole[start : start + 2 * RATE])


@pytest.mark.parametrize(
    ("start_s", "end_s", "places"),
    [
        (3.0, 7.0, [(3, 5), (3.5, 5.5), (4, 6), (5, 7)]),
        (3.0, None, [(3, 5), (4.25, 6.25), (5.5, 7.5), (8, 10)]),
        (None, 3.0, [(0, 2), (0.25, 2.25), (0.5, 2.5), (1, 3)]),
        (6.0, 60.0, [(6, 8), (6.5, 8.5), (7, 9), (8, 10)]),  # behind the end of the file
        (3.0, 4.5, [(3, 4.5)] * 4),
        (9.0, 60.0, [(9, 10)] * 4),
    ],
)
def test_the_cut_lies_in_the_stretch(
    ramp: Path, start_s: float | None, end_s: float | None, places: list[tuple[float, float]]
) -> None:
    ref = AudioRef(path=ramp, start_s=start_s, end_s=end_s)
    assert [place(hear(ref, RATE, 2.0, position).samples) for position in POSITIONS] == places


def test_every_place_is_as_likely(tmp_path: Path) -> None:
    ramp = write_ramp(tmp_path / "a.wav", "FLOAT")
    positions = np.random.default_rng(0).random(200)
    starts = [hear(AudioRef(path=ramp), RATE, 1.0, p).samples[0] * 10 for p in positions]
    assert np.allclose(starts, positions * 9, atol=1e-3)


@pytest.mark.parametrize("suffix", [".ogg", ".mp3", ".m4a", ".flac"])
def test_a_cut_is_as_long_as_it_may_be_in_any_format(tmp_path: Path, suffix: str) -> None:
    path, rate = tmp_path / f"a{suffix}", 44_100
    frames = make_sound(5.0, rate, channels=2)
    if suffix in (".ogg", ".flac"):
        soundfile.write(path, frames, rate)
    else:
        (MP3 if suffix == ".mp3" else M4A).write(path, frames, rate)
    whole = decode(path, RATE).samples
    for position in POSITIONS:
        cut = hear(AudioRef(path=path), RATE, 1.5, position).samples
        assert len(cut) == 1.5 * RATE
        windows = np.lib.stride_tricks.sliding_window_view(whole, len(cut))
        start = round(position * (len(whole) - len(cut)))
        near = windows[max(0, start - 1000) : start + 1000]
        assert np.abs(near - cut).max(axis=1).min() < 1e-3  # it is a stretch of the whole


def test_only_the_cut_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(600 * RATE, np.float32), RATE)
    monkeypatch.setattr(hearing, "decode", None)
    assert hear(AudioRef(path=path), RATE, 2.0, 0.5).duration_s == 2.0


def test_a_file_shorter_than_it_says(tmp_path: Path) -> None:
    path = write_ramp(tmp_path / "a.flac")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size * 2 // 3])
    with open_audio(path, RATE) as sound:
        assert sound.info.duration_s == 10.0
    there_s = decode(path, RATE).duration_s
    assert there_s < 9
    for position in np.linspace(0, 0.999, 15):  # some cuts would go beyond the end, or begin there
        assert hear(AudioRef(path=path), RATE, 2.0, position).duration_s == 2.0
    start_s, end_s = place(hear(AudioRef(path=path), RATE, 2.0, POSITIONS[-1]).samples)
    assert end_s == pytest.approx(there_s, abs=0.02)
    assert start_s == pytest.approx(there_s - 2, abs=0.02)


def test_what_can_t_be_heard(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound at all")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    ramp = write_ramp(tmp_path / "a.wav")
    for most_s in (2.0, None):
        with pytest.raises(DecodeError, match="no such file"):
            hear(AudioRef(path=tmp_path / "gone.wav"), RATE, most_s, 0.5)
        with pytest.raises(DecodeError):
            hear(AudioRef(path=tmp_path / "text.wav"), RATE, most_s, 0.5)
        with pytest.raises(EmptyAudio):
            hear(AudioRef(path=tmp_path / "empty.wav"), RATE, most_s, 0.5)
        with pytest.raises(DecodeError, match=r"10\.0 s long, and the region begins at 12\.0 s"):
            hear(AudioRef(path=ramp, start_s=12), RATE, most_s, 0.5)

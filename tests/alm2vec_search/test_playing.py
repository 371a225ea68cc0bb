"""What browsers play as it is, and the WAV that is made of the rest."""

from __future__ import annotations

import io
import wave
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from audio_files import (
    AIFF,
    ENCODINGS,
    FLAC,
    M4A,
    MP3,
    MP4,
    OGG,
    OPUS,
    WAV,
    WAV_FLOAT,
    Encoding,
    make_sound,
)

from alm2vec_search.audio.playing import (
    played_as_it_is,
    read_while_playing,
    write_playable,
)
from alm2vec_search.audio.source import open_source
from alm2vec_search.domain import TimeSpan
from alm2vec_search.errors import AudioError, DecodeError, EmptyAudio

if TYPE_CHECKING:
    from pathlib import Path

    from audio_files import Frames

RATE = 44_100
SOUND = make_sound(4.0, RATE, channels=2)
WAV_24 = Encoding("wav-24", ".wav", "WAV", "PCM_24", lossless=True)
A_STEP = 2**-15  # of 16 bits


def by_name(value: object) -> str | None:
    return value.name if isinstance(value, Encoding) else None


def write(folder: Path, encoding: Encoding, frames: Frames = SOUND, rate: int = RATE) -> Path:
    return encoding.write(folder / f"source{encoding.suffix}", frames, rate)


def playable(path: Path, span: TimeSpan) -> bytes:
    out = io.BytesIO()
    with closing(open_source(path)) as source:
        duration_s = write_playable(source, span, out)
    with wave.open(io.BytesIO(out.getvalue())) as file:  # a reader that isn't ours
        assert file.getnframes() / file.getframerate() == pytest.approx(duration_s)
        assert file.getsampwidth() == 2
    return out.getvalue()


def samples(data: bytes) -> tuple[Frames, int]:
    frames, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    return frames, rate


class TestClip:
    @pytest.mark.parametrize("encoding", [WAV, FLAC, AIFF], ids=by_name)
    def test_16_bits_stay_as_they_are(self, tmp_path: Path, encoding: Encoding) -> None:
        path = write(tmp_path, encoding)
        clip, rate = samples(playable(path, TimeSpan(1.25, 2.75)))
        whole = soundfile.read(path, dtype="float32")[0]
        assert rate == RATE
        np.testing.assert_array_equal(clip, whole[round(1.25 * RATE) : round(2.75 * RATE)])

    @pytest.mark.parametrize("encoding", [WAV_24, WAV_FLOAT], ids=by_name)
    def test_more_bits_are_rounded(self, tmp_path: Path, encoding: Encoding) -> None:
        clip, _ = samples(playable(write(tmp_path, encoding), TimeSpan(0, 4)))
        np.testing.assert_allclose(clip, SOUND, rtol=0, atol=A_STEP)

    def test_full_scale_is_not_turned_over(self, tmp_path: Path) -> None:
        frames = np.array([[1.0], [0.99999], [-1.0], [2.5], [-7.0], [1e30], [-1e30]], np.float32)
        path = write(tmp_path, WAV_FLOAT, np.repeat(frames, 100, axis=0))
        clip, _ = samples(playable(path, TimeSpan(0, 1)))
        expected = np.repeat(np.clip(frames, -1, 1 - A_STEP), 100, axis=0)
        np.testing.assert_allclose(clip, expected, rtol=0, atol=A_STEP)

    def test_24_bits_at_full_scale(self, tmp_path: Path) -> None:
        path = tmp_path / "loud.wav"
        loudest = np.array([2**31 - 1, -(2**31)] * 500, np.int32)
        soundfile.write(path, loudest, RATE, subtype="PCM_24")
        clip, _ = samples(playable(path, TimeSpan(0, 1)))
        np.testing.assert_array_equal(clip[:, 0], [1 - A_STEP, -1.0] * 500)

    def test_what_is_no_number_is_silent(self, tmp_path: Path) -> None:
        frames = np.array([[np.nan], [np.inf], [-np.inf], [0.5]] * 100, np.float32)
        clip, _ = samples(playable(write(tmp_path, WAV_FLOAT, frames), TimeSpan(0, 1)))
        np.testing.assert_array_equal(clip[:, 0], [0, 0, 0, 0.5] * 100)

    @pytest.mark.parametrize("channels", [1, 2])
    def test_channels(self, tmp_path: Path, channels: int) -> None:
        sound = make_sound(1, RATE, channels)
        clip, _ = samples(playable(write(tmp_path, WAV, sound), TimeSpan(0, 1)))
        np.testing.assert_allclose(clip, sound, rtol=0, atol=A_STEP)

    @pytest.mark.parametrize("channels", [3, 6, 8])
    def test_more_channels_are_averaged(self, tmp_path: Path, channels: int) -> None:
        sound = make_sound(1, RATE, channels)
        clip, _ = samples(playable(write(tmp_path, WAV, sound), TimeSpan(0, 1)))
        np.testing.assert_allclose(clip, sound.mean(axis=1, keepdims=True), rtol=0, atol=2 * A_STEP)

    @pytest.mark.parametrize(
        ("rate", "played"), [(8_000, 8_000), (192_000, 192_000), (2_000, 8_000), (384_000, 192_000)]
    )
    def test_rates_that_browsers_play(self, tmp_path: Path, rate: int, played: int) -> None:
        t = np.arange(rate) / rate
        sound = (0.5 * np.sin(2 * np.pi * 300 * t)).astype(np.float32)[:, None]
        path = write(tmp_path, WAV, np.repeat(sound, 2, axis=1), rate)
        clip, clip_rate = samples(playable(path, TimeSpan(0.25, 0.75)))
        assert (clip_rate, clip.shape) == (played, (played // 2, 2))
        t = 0.25 + np.arange(played // 2) / played
        middle = slice(played // 8, -played // 8)
        expected = 0.5 * np.sin(2 * np.pi * 300 * t)
        np.testing.assert_allclose(clip[middle, 1], expected[middle], rtol=0, atol=2e-3)

    @pytest.mark.parametrize("encoding", ENCODINGS, ids=by_name)
    def test_of_every_format(self, tmp_path: Path, encoding: Encoding) -> None:
        rate = 48_000
        sound = make_sound(3, rate, 2)
        path = write(tmp_path, encoding, sound, rate)
        clip, clip_rate = samples(playable(path, TimeSpan(1, 2)))
        assert (clip_rate, clip.shape) == (rate, (rate, 2))
        expected = sound[rate : 2 * rate]
        best = max(
            np.corrcoef(clip[2500 + lag : rate - 2500 + lag, 0], expected[2500 : rate - 2500, 0])[
                0, 1
            ]
            for lag in range(-2400, 2400, 24)
        )
        assert best > 0.9

    def test_shorter_where_the_file_ends(self, tmp_path: Path) -> None:
        clip, _ = samples(playable(write(tmp_path, WAV), TimeSpan(3.5, 99)))
        assert len(clip) == RATE // 2

    def test_nothing_behind_the_end(self, tmp_path: Path) -> None:
        with pytest.raises(EmptyAudio, match=r"no sound at 4\.5 s"):
            playable(write(tmp_path, WAV), TimeSpan(4.5, 5))

    def test_over_the_seam_of_a_file_that_is_glued(self, tmp_path: Path) -> None:
        first = MP3.write(tmp_path / "a.mp3", make_sound(2, RATE), RATE).read_bytes()
        second = MP3.write(tmp_path / "b.mp3", make_sound(2, 22_050), 22_050).read_bytes()
        glued = tmp_path / "glued.mp3"
        glued.write_bytes(first + second)
        clip, rate = samples(playable(glued, TimeSpan(0, 10)))
        assert rate == RATE
        assert len(clip) / rate == pytest.approx(4, abs=0.2)
        assert np.abs(clip[-RATE:]).max() > 0.1

    def test_no_sound(self, tmp_path: Path) -> None:
        path = tmp_path / "text.wav"
        path.write_text("dear diary")
        with pytest.raises(DecodeError):
            playable(path, TimeSpan(0, 1))


class TestPlayedAsItIs:
    @pytest.mark.parametrize(
        ("encoding", "media_type"),
        [
            (WAV, "audio/wav"),
            (WAV_24, "audio/wav"),
            (FLAC, "audio/flac"),
            (MP3, "audio/mpeg"),
            (OGG, "audio/ogg"),
            (OPUS, "audio/ogg"),
            (M4A, "audio/mp4"),
            (Encoding("aac", ".aac", "adts", "aac"), "audio/aac"),
            (Encoding("webm", ".webm", "webm", "libopus"), "audio/webm"),
        ],
        ids=by_name,
    )
    def test_by_what_is_inside(self, tmp_path: Path, encoding: Encoding, media_type: str) -> None:
        path = write(tmp_path, encoding, make_sound(1, 48_000, 2), 48_000)
        path = path.rename(tmp_path / "name.txt")
        with closing(open_source(path)) as source:
            assert played_as_it_is(source) == media_type

    @pytest.mark.parametrize(
        "encoding",
        [
            AIFF,
            WAV_FLOAT,
            MP4,
            *(e for e in ENCODINGS if e.name in ("alac", "wma", "avi", "mkv", "mka", "caf", "au")),
            *(e for e in ENCODINGS if e.name in ("wav-mulaw", "wav-adpcm", "w64", "rf64", "webm")),
        ],
        ids=by_name,
    )
    def test_not_played_everywhere_or_a_film(self, tmp_path: Path, encoding: Encoding) -> None:
        path = write(tmp_path, encoding, make_sound(1, 48_000, 2), 48_000)
        path = path.rename(tmp_path / "name.wav")
        with closing(open_source(path)) as source:
            assert played_as_it_is(source) is None

    @pytest.mark.parametrize(("rate", "channels"), [(2_000, 1), (384_000, 1), (RATE, 6)])
    def test_odd_ones(self, tmp_path: Path, rate: int, channels: int) -> None:
        path = write(tmp_path, WAV, make_sound(1, rate, channels), rate)
        with closing(open_source(path)) as source:
            assert played_as_it_is(source) is None

    def test_a_record_with_a_cover(self, tmp_path: Path) -> None:
        path = write(tmp_path, MP3)
        picture = b"\0image/png\0\3\0" + b"\x89PNG\r\n\x1a\n" + bytes(2000)
        frame = b"APIC" + len(picture).to_bytes(4, "big") + b"\0\0" + picture
        size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
        path.write_bytes(b"ID3\3\0\0" + size + frame + path.read_bytes())
        with closing(open_source(path)) as source:
            assert played_as_it_is(source) == "audio/mpeg"

    def test_no_sound(self, tmp_path: Path) -> None:
        path = tmp_path / "text.mp3"
        path.write_text("dear diary")
        with closing(open_source(path)) as source, pytest.raises(AudioError):
            played_as_it_is(source)


@pytest.mark.parametrize("encoding", [WAV, FLAC, MP3, M4A], ids=by_name)
def test_both_from_one_decoding(tmp_path: Path, encoding: Encoding) -> None:
    path = write(tmp_path, encoding)
    heard = bytearray()
    source = open_source(path)
    reader, sound = read_while_playing(source, 16_000, heard.extend)
    with reader:
        mono = np.concatenate(list(reader))
    assert (sound.sampling_rate, sound.channels) == (RATE, 2)
    frames = np.frombuffer(heard, "<i2").reshape(-1, 2) / 2**15
    assert len(mono) / 16_000 == pytest.approx(len(frames) / RATE, abs=1e-3)
    clip, _ = samples(playable(path, TimeSpan(0, 10)))
    np.testing.assert_array_equal(frames, clip)

"""Every format for real: encoded here, damaged here, and read through the one doorway."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soxr
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
    write_silent_film,
)

from alm2vec_search.audio import AUDIO_SUFFIXES, decode, open_audio, probe
from alm2vec_search.domain import TimeSpan
from alm2vec_search.errors import AudioError, DecodeError, EmptyAudio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alm2vec_search.audio import DecodeReport
    from alm2vec_search.domain import Samples

RATE = 16000  # Hz, what we ask for
DURATION_S = 4.0
BY_NAME = {encoding.name: encoding for encoding in ENCODINGS}
each_encoding = pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda encoding: encoding.name)


def rate_of(encoding: Encoding) -> int:
    return 48000 if "opus" in encoding.codec.lower() else 44100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sound")


@pytest.fixture(scope="module")
def good(folder: Path) -> Callable[[Encoding], Path]:
    """Makes the stereo file of an encoding, once."""

    def make(encoding: Encoding) -> Path:
        path = folder / f"{encoding.name}{encoding.suffix}"
        if not path.exists():
            sound = make_sound(DURATION_S, rate_of(encoding), channels=2)
            encoding.write(path, sound, rate_of(encoding))
        return path

    return make


def read(path: Path, sampling_rate: int = RATE) -> tuple[Samples, DecodeReport]:
    with open_audio(path, sampling_rate) as sound:
        blocks = list(sound)
    samples = np.concatenate(blocks)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1
    return samples, sound.report


def reason(path: Path) -> str:
    """Why it can't be read, by both ways of opening it that get as far."""
    with pytest.raises(AudioError) as caught:
        read(path)
    assert caught.value.path == path
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    return caught.value.reason


def expected(native_rate: int, channels: int = 2, duration_s: float = DURATION_S) -> Samples:
    """What a perfect codec gives."""
    mono = make_sound(duration_s, native_rate, channels).mean(axis=1, dtype=np.float32)
    return np.asarray(soxr.resample(mono, native_rate, RATE, quality="HQ"), np.float32)


def likeness(a: Samples, b: Samples, lag: int = 0) -> float:
    """Correlation, with `a` late by `lag` samples."""
    a, b = a[max(0, lag) :], b[max(0, -lag) :]
    n = min(len(a), len(b))
    return float(np.corrcoef(a[:n], b[:n])[0, 1])


def likeness_wherever(a: Samples, b: Samples) -> float:
    """Correlation at the lag where it is largest."""
    n = len(a) + len(b)
    products = np.fft.irfft(np.fft.rfft(a, n) * np.fft.rfft(b, n).conj(), n)
    lag = int(np.argmax(products))
    return likeness(a, b, lag if lag < len(a) else lag - n)


def mutilate(path: Path, change: Callable[[bytearray], bytes | bytearray], name: str = "") -> Path:
    """A changed copy beside the file."""
    copy = path.with_name(f"changed-{name}{path.name}")
    copy.write_bytes(change(bytearray(path.read_bytes())))
    return copy


def halved(data: bytearray) -> bytearray:
    return data[: len(data) // 2]


def with_a_hole(data: bytearray) -> bytearray:
    middle, size = len(data) // 2, len(data) // 20
    data[middle : middle + size] = bytes(size)
    return data


# --- what good files give -------------------------------------------------------------------------


@each_encoding
def test_every_format_gives_the_sound_that_was_encoded(
    encoding: Encoding, good: Callable[[Encoding], Path]
) -> None:
    samples, report = read(good(encoding))
    wanted = expected(rate_of(encoding))
    # a codec's own padding: at most two frames of 1152 or 2048 at either end
    assert len(samples) / RATE == pytest.approx(DURATION_S, abs=0.1)
    if encoding.lossless:
        assert len(samples) == len(wanted)
        np.testing.assert_allclose(samples, wanted, atol=1e-4)  # 16 bits step by 3e-5
    else:
        assert likeness_wherever(samples, wanted) > 0.99
        loudness = np.sqrt(np.mean(samples**2) / np.mean(wanted**2))
        assert loudness == pytest.approx(1, rel=0.07)  # LAME turns everything down by 5 %

    assert report.note is None, "a good file must not raise an alarm"
    assert not report.damaged
    assert report.n_errors == 0
    assert (report.sampling_rate, report.channels) == (rate_of(encoding), 2)
    assert report.decoded_s == pytest.approx(DURATION_S, abs=0.1)
    assert report.declared_s is None or report.declared_s == pytest.approx(DURATION_S, abs=0.1)


@each_encoding
def test_probe_says_what_a_file_says_of_itself(
    encoding: Encoding, good: Callable[[Encoding], Path]
) -> None:
    info = probe(good(encoding))
    assert (info.sampling_rate, info.channels) == (rate_of(encoding), 2)
    assert info.duration_s == pytest.approx(DURATION_S, rel=0.1)  # an aac's is an estimate
    assert info.container == info.container.lower()
    assert info.codec == info.codec.lower()


@pytest.mark.parametrize(
    ("name", "container", "codec"),
    [
        ("wav-24", "wav", "pcm_24"),
        ("flac", "flac", "pcm_16"),
        ("mp3", "mp3", "mp3"),
        ("ogg", "ogg", "vorbis"),
        ("opus", "ogg", "opus"),
        ("m4a", "mp4", "aac"),
        ("webm", "matroska", "opus"),
    ],
)
def test_probe_names_things_as_people_do(
    name: str, container: str, codec: str, good: Callable[[Encoding], Path]
) -> None:
    info = probe(good(BY_NAME[name]))
    assert (info.container, info.codec) == (container, codec)


def test_one_recording_comes_out_alike_from_all_formats(
    good: Callable[[Encoding], Path],
) -> None:
    wav, _ = read(good(WAV))
    for encoding in (MP3, M4A, OGG, OPUS, FLAC, MP4):
        # no lag allowed: encoder delay is taken off
        assert likeness(read(good(encoding))[0], wav) > 0.98, encoding.name


def test_blocks_are_of_1_to_10_s_and_add_up(tmp_path: Path) -> None:
    for native_rate, duration_s in ((500, 40), (8000, 21), (44100, 6), (192000, 5)):
        path = tmp_path / f"{native_rate}.wav"
        WAV.write(path, make_sound(duration_s, native_rate), native_rate)
        with open_audio(path, RATE) as sound:
            blocks = list(sound)
        durations_s = [len(block) / RATE for block in blocks]
        assert sum(len(block) for block in blocks) == duration_s * RATE
        # the resampler holds back a little of the first block, and gives it out in a later one
        assert all(0.9 < duration_s < 12 for duration_s in durations_s[:-2])
        assert len(blocks) > 2
        np.testing.assert_array_equal(np.concatenate(blocks), decode(path, RATE).samples)


@pytest.mark.parametrize("native_rate", [8000, 11025, 22050, 44100, 96000, 192000])
@pytest.mark.parametrize("encoding", [WAV, FLAC, AIFF], ids=lambda encoding: encoding.name)
def test_all_sampling_rates(encoding: Encoding, native_rate: int, tmp_path: Path) -> None:
    path = encoding.write(tmp_path / "x", make_sound(1.5, native_rate), native_rate)
    samples, report = read(path)
    assert report.sampling_rate == native_rate
    np.testing.assert_allclose(samples, expected(native_rate, 1, 1.5), atol=1e-4)


@pytest.mark.parametrize("name", ["mp3", "ogg", "m4a", "aac", "wma", "avi", "mkv"])
def test_no_false_alarm_at_8_khz(name: str, tmp_path: Path) -> None:
    """Where a codec's frame is longest: 0.26 s."""
    encoding = BY_NAME[name]
    samples, report = read(encoding.write(tmp_path / "x", make_sound(3.3, 8000), 8000))
    assert len(samples) / RATE == pytest.approx(3.3, abs=0.3)
    assert report.note is None


@pytest.mark.parametrize("channels", [1, 6, 8])
@pytest.mark.parametrize("name", ["wav", "flac", "m4a", "opus"])
def test_channels_are_averaged(name: str, channels: int, tmp_path: Path) -> None:
    encoding = BY_NAME[name]
    path = encoding.write(tmp_path / "x", make_sound(1.0, 48000, channels), 48000)
    samples, report = read(path)
    assert report.channels == channels
    wanted = expected(48000, channels, 1.0)
    # lossy encoders thin out the quiet channels, and filter the one for the bass
    least = 0.99999 if encoding.lossless else 0.95
    assert likeness(samples, wanted) > least
    assert np.std(samples) == pytest.approx(np.std(wanted), rel=1e-3 if encoding.lossless else 0.2)


def test_channels_in_an_unusual_order(tmp_path: Path) -> None:
    """As films have them: centre, left, right. PyAV's own way to ask for them kills the process,
    so another one looks."""
    encoding = Encoding("mov", ".mov", "mov", "pcm_s16le")
    path = encoding.write(tmp_path / "x.mov", make_sound(1, 48000, channels=3), 48000)
    data = bytearray(path.read_bytes())
    layout = data.index(b"chan") + 8
    assert data[layout : layout + 4] == bytes([0, 113, 0, 3])  # left, right, centre
    data[layout + 1] = 114
    path.write_bytes(data)
    code = (
        "import sys; from alm2vec_search.audio import decode, probe\n"
        "path = sys.argv[1]; print(probe(path).channels, len(decode(path, 16000).samples))"
    )
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "3 16000\n", "")


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "ogg", "opus", "m4a", "webm"])
def test_50_ms(name: str, tmp_path: Path) -> None:
    encoding = BY_NAME[name]
    path = encoding.write(tmp_path / "x", make_sound(0.05, 48000), 48000)
    samples, report = read(path)
    assert 0.05 <= len(samples) / RATE <= 0.08  # m4a: whole frames of 1024
    assert report.note is None


def test_nothing_is_touched_where_the_rate_is_right_already(tmp_path: Path) -> None:
    sound = make_sound(2, RATE)
    path = WAV_FLOAT.write(tmp_path / "x.wav", sound, RATE)
    np.testing.assert_array_equal(decode(path, RATE).samples, sound[:, 0])


# --- regions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "mp3", "opus", "m4a", "wav-adpcm"])
@pytest.mark.parametrize("sampling_rate", [16000, 32000, 44100])
def test_a_region_is_what_the_whole_has_there(
    name: str, sampling_rate: int, good: Callable[[Encoding], Path]
) -> None:
    path = good(BY_NAME[name])
    whole = decode(path, sampling_rate)
    assert whole.sampling_rate == sampling_rate
    for start_s, end_s in [(0, 1), (0.05, 0.2), (1.2345, 3.21), (2.7, 2.71), (3.5, 9), (3, np.inf)]:
        region = decode(path, sampling_rate, TimeSpan(start_s, end_s)).samples
        last = None if end_s == np.inf else round(end_s * sampling_rate)
        wanted = whole.samples[round(start_s * sampling_rate) : last]
        assert len(region) == len(wanted)
        np.testing.assert_allclose(region, wanted, atol=1e-5)  # float32, filtered in other blocks


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_a_region_behind_the_end_says_how_long_the_file_is(
    name: str, good: Callable[[Encoding], Path]
) -> None:
    for start_s in (4.1, 100):
        with pytest.raises(DecodeError) as caught:
            decode(good(BY_NAME[name]), RATE, TimeSpan(start_s, start_s + 1))
        assert "it is 4.0 s long" in caught.value.reason


def test_a_region_of_a_damaged_file_is_what_the_whole_has_there(
    good: Callable[[Encoding], Path],
) -> None:
    path = mutilate(good(FLAC), with_a_hole, "region-")
    whole = decode(path, RATE).samples
    region = decode(path, RATE, TimeSpan(0.5, 1.5)).samples
    np.testing.assert_allclose(region, whole[RATE // 2 : 3 * RATE // 2], atol=1e-5)


# --- names and contents ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wav", "mp3", "m4a", "opus"])
@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".FLAC", ".Ogg", ".txt", ""])
def test_the_content_counts_and_not_the_suffix(
    name: str, suffix: str, good: Callable[[Encoding], Path], tmp_path: Path
) -> None:
    path = tmp_path / f"misnamed{suffix}"
    path.write_bytes(good(BY_NAME[name]).read_bytes())
    assert len(read(path)[0]) / RATE == pytest.approx(DURATION_S, abs=0.1)


@pytest.mark.parametrize("name", ["wav", "m4a"])  # one for each decoder
@pytest.mark.parametrize(
    "filename",
    [
        b"with space.x",
        b"new\nline.x",
        b"not utf-8 \xff\xe9.x",
        "日本語 ♫.x".encode(),
        b"-dash.x",
        b"%03d.x",
        b"http:x",
        b"pipe:0",
    ],
)
def test_any_name_will_do(
    name: str,
    filename: bytes,
    good: Callable[[Encoding], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = Path(os.fsdecode(filename))
    monkeypatch.chdir(tmp_path)
    path.write_bytes(good(BY_NAME[name]).read_bytes())
    for way in (path, path.absolute()):
        assert len(read(way)[0]) / RATE == pytest.approx(DURATION_S, abs=0.1)
        assert probe(way).channels == 2
    assert decode(str(path), RATE, TimeSpan(1, 2)).duration_s == 1


def test_suffixes_are_small_and_dotted() -> None:
    assert all(suffix.startswith(".") and suffix.islower() for suffix in AUDIO_SUFFIXES)
    assert {encoding.suffix for encoding in ENCODINGS} <= AUDIO_SUFFIXES


def test_a_film_without_sound(tmp_path: Path) -> None:
    assert reason(write_silent_film(tmp_path / "film.mp4")) == "no audio in it"
    with pytest.raises(DecodeError, match="no audio in it"):
        probe(tmp_path / "film.mp4")


def test_tags_that_are_not_utf_8(good: Callable[[Encoding], Path]) -> None:
    text = b"\x03\xe9\xff"  # it claims to be UTF-8
    frame = b"TIT2" + len(text).to_bytes(4, "big") + b"\0\0" + text
    tag = b"ID3\x03\0\0" + bytes([0, 0, 0, len(frame)]) + frame
    samples, report = read(mutilate(good(MP3), lambda data: tag + data))
    assert len(samples) == DURATION_S * RATE
    assert report.note is None


# --- what is in the file and easily missed --------------------------------------------------------


def test_an_mp3_without_a_xing_header_is_read_to_its_end(tmp_path: Path) -> None:
    """Its length is guessed from the first frames: here they are small, and the guess is short."""
    sound = make_sound(20, 44100)
    sound[: 44100 * 4] *= 1e-4
    path = MP3.write(tmp_path / "x.mp3", sound, 44100)
    data = path.read_bytes()
    header = max(data.find(b"Xing"), data.find(b"Info"))
    assert header > 0, "the maker has changed: nothing to take off"
    path.write_bytes(data[data.index(b"\xff\xfb", header) :])
    samples, report = read(path)
    assert len(samples) / RATE == pytest.approx(20, abs=0.1)
    assert report.declared_s is None
    assert report.note is None


@pytest.mark.parametrize("encoding", [MP3, OPUS, FLAC], ids=lambda encoding: encoding.name)
def test_files_glued_together_are_read_to_the_end(
    encoding: Encoding, good: Callable[[Encoding], Path]
) -> None:
    samples, report = read(mutilate(good(encoding), lambda data: data + data, "twice-"))
    assert len(samples) / RATE == pytest.approx(2 * DURATION_S, abs=0.1)
    assert report.note is None


def test_a_chained_ogg_is_read_to_the_end(good: Callable[[Encoding], Path], tmp_path: Path) -> None:
    """As a radio station sends it: one stream after the other."""
    again = OGG.write(tmp_path / "again.ogg", make_sound(3, 44100, channels=2), 44100)
    first = good(OGG).read_bytes()
    assert first[14:18] != again.read_bytes()[14:18], "the serial numbers are random"
    path = tmp_path / "chained.ogg"
    path.write_bytes(first + again.read_bytes())
    samples, report = read(path)
    assert len(samples) / RATE == pytest.approx(DURATION_S + 3, abs=0.1)
    assert report.note is None


def test_a_sampling_rate_that_changes_midway(tmp_path: Path) -> None:
    high = MP3.write(tmp_path / "high.mp3", make_sound(2, 44100), 44100).read_bytes()
    low = MP3.write(tmp_path / "low.mp3", make_sound(2, 22050), 22050).read_bytes()
    path = tmp_path / "both.mp3"
    path.write_bytes(high + low)
    samples, report = read(path)
    assert len(samples) / RATE == pytest.approx(4, abs=0.2)
    assert report.decoded_s == pytest.approx(4, abs=0.2)
    # the second half sounds at its own speed
    wanted = expected(22050, 1, 2)
    assert likeness_wherever(samples[2 * RATE :], wanted) > 0.98


@pytest.mark.parametrize(
    "tail",
    [b"TAG" + bytes(125), b"APETAGEX" + bytes(24) + b"TAG" + bytes(125), bytes(3000), b"?" * 3000],
    ids=["id3v1", "ape", "zeros", "junk"],
)
@pytest.mark.parametrize("encoding", [MP3, WAV, FLAC, AIFF], ids=lambda encoding: encoding.name)
def test_junk_behind_the_sound_is_no_damage(
    encoding: Encoding, tail: bytes, good: Callable[[Encoding], Path]
) -> None:
    samples, report = read(mutilate(good(encoding), lambda data: data + tail))
    assert len(samples) / RATE == pytest.approx(DURATION_S, abs=0.1)
    assert report.note is None


# --- damage ---------------------------------------------------------------------------------------

CUT_WITH_LENGTHS = (
    *("wav", "wav-24", "wav-float", "wav-mulaw", "wav-adpcm", "rf64", "flac", "aiff", "aifc-mulaw"),
    *("au", "caf", "mp3", "mp3-lame", "mka"),
)


@pytest.mark.parametrize("name", CUT_WITH_LENGTHS)
def test_a_file_cut_in_half_says_how_much_was_read(
    name: str, good: Callable[[Encoding], Path]
) -> None:
    samples, report = read(mutilate(good(BY_NAME[name]), halved))
    assert report.damaged
    # half of the bytes: of FLAC and Opus, not quite half of the sound
    assert report.decoded_s == pytest.approx(DURATION_S / 2, abs=0.25)
    assert len(samples) / RATE == pytest.approx(report.decoded_s, abs=1e-3)
    assert report.declared_s == pytest.approx(DURATION_S, abs=0.1)
    assert report.note == f"{report.decoded_s:.1f} of {report.declared_s:.1f} s could be read"


@pytest.mark.parametrize("name", ["ogg", "opus", "oga-flac", "w64", "wma", "avi"])
def test_a_file_cut_in_half_that_does_not_tell_its_length(
    name: str, good: Callable[[Encoding], Path]
) -> None:
    _, report = read(mutilate(good(BY_NAME[name]), halved))
    assert 1 < report.decoded_s < 3
    assert report.note == f"cut off after {report.decoded_s:.1f} s"


def test_an_ogg_cut_within_its_last_page(good: Callable[[Encoding], Path]) -> None:
    _, report = read(mutilate(good(OGG), lambda data: data[:-100]))
    assert report.note is not None
    assert report.note.startswith("cut off after")


@pytest.mark.parametrize("name", ["aac", "mkv", "webm"])
def test_a_file_cut_in_half_is_at_least_suspicious(
    name: str, good: Callable[[Encoding], Path]
) -> None:
    _, report = read(mutilate(good(BY_NAME[name]), halved))
    assert report.damaged
    assert 1 < report.decoded_s < 3


@pytest.mark.parametrize("name", ["m4a", "alac", "mp4", "mov"])
def test_an_mp4_without_its_index_can_not_be_read(
    name: str, good: Callable[[Encoding], Path]
) -> None:
    path = mutilate(good(BY_NAME[name]), halved)
    assert reason(path) == "cut off, and what is left of it can't be played"


def test_a_short_wav_cut_in_half(tmp_path: Path) -> None:
    path = WAV.write(tmp_path / "x.wav", make_sound(0.05, 44100), 44100)
    _, report = read(mutilate(path, lambda data: data[: 44 + (len(data) - 44) // 2]))
    assert report.decoded_s == 1102 / 44100
    assert report.note == "0.02 of 0.05 s could be read"


@pytest.mark.parametrize(
    "name", ["flac", "flac-24", "ogg", "opus", "mp3", "m4a", "alac", "mp4", "mkv"]
)
def test_behind_a_hole_reading_goes_on(name: str, good: Callable[[Encoding], Path]) -> None:
    encoding = BY_NAME[name]
    samples, report = read(mutilate(good(encoding), with_a_hole))
    assert report.damaged
    assert report.note is not None
    assert "could be read" in report.note
    assert report.decoded_s > 0.6 * DURATION_S
    # the end is there, wherever it came to lie
    assert likeness_wherever(samples[-RATE:], expected(rate_of(encoding))[-RATE // 2 :]) > 0.95


def test_a_recorder_that_was_killed(good: Callable[[Encoding], Path]) -> None:
    """Its header still says 0, where the length belongs."""

    def forget(data: bytearray) -> bytearray:
        data[4:8] = (36).to_bytes(4, "little")
        data[40:44] = bytes(4)
        return data

    samples, report = read(mutilate(good(WAV), forget, "killed-"))
    np.testing.assert_allclose(samples, expected(44100), atol=1e-4)
    assert report.note == "its header was never finished"


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000, 0x80000000])
def test_a_recorder_that_wrote_into_a_pipe(length: int, good: Callable[[Encoding], Path]) -> None:
    """It says a length that no file has, and everything is there."""

    def pretend(data: bytearray) -> bytearray:
        data[4:8] = min(length + 36, 0xFFFFFFFF).to_bytes(4, "little")
        data[40:44] = length.to_bytes(4, "little")
        return data

    samples, report = read(mutilate(good(WAV), pretend))
    assert len(samples) == DURATION_S * RATE
    assert report.note is None


def test_a_flac_that_was_streamed(good: Callable[[Encoding], Path]) -> None:
    """The encoder couldn't go back to write how many samples there are."""

    def forget(data: bytearray) -> bytearray:
        data[21] &= 0xF0
        data[22:26] = bytes(4)
        return data

    samples, report = read(mutilate(good(FLAC), forget, "streamed-"))
    np.testing.assert_allclose(samples, expected(44100), atol=1e-4)
    assert report.note is None
    assert report.declared_s is None


# --- samples that are none ------------------------------------------------------------------------


def test_samples_that_are_not_numbers_become_silence(tmp_path: Path) -> None:
    sound = make_sound(2, RATE, channels=2)
    sound[1000:1004, 0] = np.nan
    sound[2000:2004] = np.inf
    path = WAV_FLOAT.write(tmp_path / "x.wav", sound, RATE)
    samples, report = read(path)
    assert report.note == "12 samples were not numbers"
    assert report.damaged
    sound[~np.isfinite(sound)] = 0
    np.testing.assert_allclose(samples, sound.mean(axis=1), atol=1e-6)


def test_one_sample_that_is_not_a_number(tmp_path: Path) -> None:
    sound = make_sound(2, RATE)
    sound[1000] = -np.inf
    _, report = read(WAV_FLOAT.write(tmp_path / "x.wav", sound, RATE))
    assert report.note == "1 sample was not a number"


def test_not_one_sample_is_a_number(tmp_path: Path) -> None:
    path = WAV_FLOAT.write(tmp_path / "x.wav", np.full((5 * RATE, 2), np.nan, np.float32), RATE)
    assert reason(path) == "not one sample is a number"
    with pytest.raises(DecodeError, match="not one sample is a number"):
        decode(path, RATE, TimeSpan(2, 3))


def test_too_loud_is_clipped_as_players_do(tmp_path: Path) -> None:
    sound = make_sound(2, RATE, channels=2)
    path = WAV_FLOAT.write(tmp_path / "x.wav", 5 * sound, RATE)
    samples, report = read(path)
    np.testing.assert_allclose(samples, np.clip(5 * sound, -1, 1).mean(axis=1), atol=1e-6)
    assert report.note is None
    assert np.abs(decode(path, 44100).samples).max() <= 1  # resampling overshoots, too


# --- files that can't be read ---------------------------------------------------------------------


def test_a_file_of_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.touch()
    with pytest.raises(EmptyAudio, match="the file is empty"):
        open_audio(path, RATE)
    with pytest.raises(EmptyAudio, match="the file is empty"):
        probe(path)


@pytest.mark.parametrize("encoding", [WAV, WAV_FLOAT, AIFF], ids=lambda encoding: encoding.name)
def test_a_file_of_no_sound(encoding: Encoding, tmp_path: Path) -> None:
    path = encoding.write(tmp_path / "x", np.zeros((0, 1), np.float32), RATE)
    assert path.stat().st_size
    with pytest.raises(EmptyAudio, match="there is no sound in it"):
        read(path)


def test_a_file_of_one_sample(tmp_path: Path) -> None:
    """At the target rate, nothing is left of it."""
    path = WAV.write(tmp_path / "x.wav", np.ones((1, 1), np.float32), 192000)
    with pytest.raises(EmptyAudio, match="there is no sound in it"):
        read(path)


def test_a_header_with_an_absurd_sampling_rate(good: Callable[[Encoding], Path]) -> None:
    def slow(data: bytearray) -> bytearray:
        data[24:28] = (5).to_bytes(4, "little")
        return data

    path = mutilate(good(WAV), slow)
    assert reason(path) == "at 5 Hz, its samples can't carry sound"
    with pytest.raises(DecodeError, match="at 5 Hz"):
        probe(path)


@pytest.mark.parametrize(
    "data",
    [
        b"Dear reader,\nthis is no sound.\n" * 100,
        b"<html><body>404 Not Found</body></html>",
        b"%PDF-1.7\n" + bytes(range(256)) * 20,
        np.random.default_rng(5).bytes(50_000),
        bytes(50_000),
        b"x",
    ],
    ids=["text", "html", "pdf", "noise", "zeros", "one byte"],
)
def test_what_is_not_audio(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(data)
    assert reason(path) == "not audio"


@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "opus", "mp3", "caf", "wma", "m4a", "mkv"])
def test_a_file_cut_after_its_first_bytes(name: str, good: Callable[[Encoding], Path]) -> None:
    why = reason(mutilate(good(BY_NAME[name]), lambda data: data[:40], "stump-"))
    assert why in {
        "damaged, nothing in it could be read",
        "cut off, and what is left of it can't be played",
    }


def test_a_playlist_is_not_followed(good: Callable[[Encoding], Path], tmp_path: Path) -> None:
    """It may name any file of this machine, or an address."""
    for text in ("#EXTM3U\n#EXTINF:4,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n"):
        path = tmp_path / "list.wav"
        path.write_text(text.format(good(MP3)))
        assert reason(path) == "not audio"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert reason(tmp_path / "x.wav") == "no such file"
    (tmp_path / "file").touch()
    assert reason(tmp_path / "file" / "x.wav") == "no such file"
    with pytest.raises(DecodeError):
        probe(tmp_path / "nul\0.wav")


def test_other_troubles_of_the_file_system_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    assert reason(tmp_path / "loop.wav") == "Too many levels of symbolic links"
    assert reason(tmp_path / ("x" * 300)) == "File name too long"


def test_what_is_not_a_file(tmp_path: Path) -> None:
    assert reason(tmp_path) == "not a file"
    os.mkfifo(tmp_path / "pipe.wav")
    assert reason(tmp_path / "pipe.wav") == "not a file"  # and nobody waits for a writer


def test_a_file_that_we_may_not_read(good: Callable[[Encoding], Path], tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(good(WAV).read_bytes())
    probe(path)  # imports what it needs while it may
    path.chmod(0)
    with as_somebody_else():
        assert reason(path) == "permission denied"


@contextlib.contextmanager
def as_somebody_else() -> Iterator[None]:
    """Root may read everything, so be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "aiff", "mp3", "opus", "m4a"])
def test_a_disk_that_fails_midway_is_an_error_of_the_file(name: str, tmp_path: Path) -> None:
    encoding = BY_NAME[name]
    path = encoding.write(tmp_path / "x", make_sound(12, 48000, channels=2), 48000)
    with open_audio(path, RATE) as sound:
        blocks = iter(sound)
        next(blocks)
        fail_from_now_on(path)
        with pytest.raises(DecodeError) as caught:
            list(blocks)
    assert caught.value.reason == "Input/output error"
    assert isinstance(caught.value.__cause__, OSError)


def fail_from_now_on(path: Path) -> None:
    """Puts a file that can't be read (our own memory, where there is none) in the place of every
    descriptor of this one: the kernel answers EIO, and the decoders meet it for real."""
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{descriptor}") == str(path):
                memory = os.open("/proc/self/mem", os.O_RDONLY)
                os.dup2(memory, int(descriptor))
                os.close(memory)


# --- manners --------------------------------------------------------------------------------------


def test_the_report_comes_last(good: Callable[[Encoding], Path]) -> None:
    with open_audio(good(WAV), RATE) as sound:
        with pytest.raises(RuntimeError, match="read to its end"):
            _ = sound.report
        assert sound.info.channels == 2
        list(sound)
        with pytest.raises(RuntimeError, match="open it again"):
            list(sound)
    assert sound.report.decoded_s == DURATION_S


def test_no_descriptor_is_left_open(good: Callable[[Encoding], Path], tmp_path: Path) -> None:
    text = tmp_path / "x.wav"
    text.write_text("no sound")
    film = write_silent_film(tmp_path / "film.mp4")
    paths = [good(WAV), good(M4A), good(MP3), mutilate(good(FLAC), with_a_hole), text, film]
    before = set(os.listdir("/dev/fd"))
    for path in paths:
        for use in (probe, read, lambda path: decode(path, RATE, TimeSpan(1, 2))):
            with contextlib.suppress(AudioError):
                use(path)
        with contextlib.suppress(AudioError), open_audio(path, RATE) as sound:
            next(iter(sound))  # and no further
    assert set(os.listdir("/dev/fd")) == before


def test_nothing_is_printed_whatever_the_file(
    good: Callable[[Encoding], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """The decoders of both libraries write on stderr by themselves, past Python."""
    for encoding in ENCODINGS:
        for change in (halved, with_a_hole, lambda data: data[:300]):
            path = mutilate(good(encoding), change, "noisy-")
            with contextlib.suppress(AudioError):
                read(path)
            with contextlib.suppress(AudioError):
                decode(path, RATE, TimeSpan(1, 2))
    assert capfd.readouterr() == ("", "")


def test_memory_stays_flat(tmp_path: Path) -> None:
    """An hour: 230 MB as samples, if they were kept."""
    path = WAV.write(tmp_path / "x.wav", np.zeros((1, 1), np.float32), RATE)
    n_frames = 3600 * RATE
    with path.open("r+b") as file:
        header = bytearray(file.read(44))
        header[4:8] = (36 + 2 * n_frames).to_bytes(4, "little")
        header[40:44] = (2 * n_frames).to_bytes(4, "little")
        file.seek(0)
        file.write(header)
        file.truncate(44 + 2 * n_frames)  # a hole: it takes no room on the disk
    most = before = resident_bytes()
    with open_audio(path, RATE) as sound:
        for _ in sound:
            most = max(most, resident_bytes())
    assert sound.report.decoded_s == 3600
    assert most - before < 32 << 20


def resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("needs Linux's /proc")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_importing_it_imports_no_decoder() -> None:
    code = "import sys, alm2vec_search.audio; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "soundfile", "av", "soxr"}
    assert heavy.isdisjoint(run.stdout.split())

"""Clips hold the samples of their source, and are there whole or not at all."""

from __future__ import annotations

import resource
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from audio_files import FLAC, M4A, MKV, MP3, OPUS, WAV, WAV_FLOAT, Encoding, make_sound

from alm2vec_search.audio import cut_clip
from alm2vec_search.domain import TimeSpan
from alm2vec_search.errors import AudioError, DecodeError, EmptyAudio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from audio_files import Frames

RATE = 44100
SOUND = make_sound(4.0, RATE, channels=2)
SPAN = TimeSpan(1.25, 2.75)
TWO_STEPS = 2**-22  # of 24 bits
FFMPEG = shutil.which("ffmpeg")


def by_name(value: object) -> str | None:
    return value.name if isinstance(value, Encoding) else None


def write(folder: Path, encoding: Encoding, frames: Frames = SOUND, rate: int = RATE) -> Path:
    return encoding.write(folder / f"source{encoding.suffix}", frames, rate)


def read(path: Path) -> tuple[Frames, int]:
    frames, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return frames, rate


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def files_no_larger_than(n_bytes: int) -> Iterator[None]:
    """What a full disk does to whoever writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestSamples:
    @pytest.mark.parametrize("encoding", [WAV, FLAC, WAV_FLOAT], ids=by_name)
    @pytest.mark.parametrize(
        "span", [SPAN, TimeSpan(0, 0.5), TimeSpan(1.00001, 1.20003)], ids=["inner", "start", "odd"]
    )
    def test_as_in_the_source(self, tmp_path: Path, encoding: Encoding, span: TimeSpan) -> None:
        source = write(tmp_path, encoding)
        cut_clip(source, span, tmp_path / "clip.wav")
        whole, _ = read(source)
        clip, rate = read(tmp_path / "clip.wav")
        expected = whole[round(span.start_s * RATE) : round(span.end_s * RATE)]
        assert (rate, clip.shape) == (RATE, expected.shape)
        np.testing.assert_allclose(clip, expected, rtol=0, atol=TWO_STEPS)

    def test_a_wav_of_24_bits(self, tmp_path: Path) -> None:
        cut_clip(write(tmp_path, WAV), SPAN, tmp_path / "clip.wav")
        info = soundfile.info(tmp_path / "clip.wav")
        assert (info.format, info.subtype, info.channels) == ("WAV", "PCM_24", 2)
        assert names_in(tmp_path) == ["clip.wav", "source.wav"]

    def test_longer_than_what_is_decoded_at_once(self, tmp_path: Path) -> None:
        source = write(tmp_path, WAV, make_sound(20, 8000), rate=8000)
        span = TimeSpan(0.5, 19.5)
        cut_clip(source, span, tmp_path / "clip.wav")
        clip, rate = read(tmp_path / "clip.wav")
        assert (rate, clip.shape) == (8000, (152_000, 1))
        np.testing.assert_allclose(clip, read(source)[0][4000:156_000], rtol=0, atol=TWO_STEPS)

    def test_what_is_too_loud_is_clipped_and_not_turned_over(self, tmp_path: Path) -> None:
        loud = 5 * SOUND
        assert np.abs(loud).max() > 1
        source = write(tmp_path, WAV_FLOAT, loud)
        cut_clip(source, TimeSpan(0, 4), tmp_path / "clip.wav")
        clip, _ = read(tmp_path / "clip.wav")
        np.testing.assert_allclose(clip, np.clip(loud, -1, 1), rtol=0, atol=TWO_STEPS)

    @pytest.mark.parametrize("encoding", [M4A, MP3, OPUS, MKV], ids=by_name)
    def test_a_lossy_one_sounds_as_it_did_there(self, tmp_path: Path, encoding: Encoding) -> None:
        rate = 48000 if encoding is OPUS else RATE
        sound = make_sound(4.0, rate, channels=2)
        source = write(tmp_path, encoding, sound, rate)
        cut_clip(source, SPAN, tmp_path / "clip.wav")
        clip, clip_rate = read(tmp_path / "clip.wav")
        expected = sound[round(SPAN.start_s * rate) : round(SPAN.end_s * rate)]
        assert (clip_rate, clip.shape) == (rate, expected.shape)
        for channel in range(2):
            likeness = np.corrcoef(clip[:, channel], expected[:, channel])[0, 1]
            assert likeness > 0.98
        left, right = np.abs(clip).mean(axis=0)
        assert right / left == pytest.approx(2 / 3, rel=0.05)

    @pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg here to compare with")
    @pytest.mark.parametrize("encoding", [M4A, MP3], ids=by_name)
    def test_as_ffmpeg_decodes_it(self, tmp_path: Path, encoding: Encoding) -> None:
        source = write(tmp_path, encoding)
        cut_clip(source, SPAN, tmp_path / "clip.wav")
        command = [str(FFMPEG), "-v", "error", "-i", str(source), "-map", "a", "-f", "f32le", "-"]
        raw = subprocess.run(command, capture_output=True, check=True).stdout
        whole = np.frombuffer(raw, np.float32).reshape(-1, 2)
        expected = whole[round(SPAN.start_s * RATE) : round(SPAN.end_s * RATE)]
        np.testing.assert_allclose(read(tmp_path / "clip.wav")[0], expected, rtol=0, atol=1e-4)


class TestEnds:
    @pytest.mark.parametrize("encoding", [WAV, FLAC, M4A], ids=by_name)
    def test_shorter_where_the_file_ends_within(self, tmp_path: Path, encoding: Encoding) -> None:
        cut_clip(write(tmp_path, encoding), TimeSpan(3, 9), tmp_path / "clip.wav")
        clip, _ = read(tmp_path / "clip.wav")
        # a codec may add the rest of its last frame
        assert RATE <= len(clip) <= RATE + (0 if encoding.lossless else 2048)

    @pytest.mark.parametrize("encoding", [WAV, FLAC, MP3], ids=by_name)
    def test_nothing_behind_the_end(self, tmp_path: Path, encoding: Encoding) -> None:
        source = write(tmp_path, encoding)
        with pytest.raises(EmptyAudio, match=r"there is no sound at 5\.0 s"):
            cut_clip(source, TimeSpan(5, 6), tmp_path / "clip.wav")
        assert names_in(tmp_path) == [source.name]

    def test_up_to_the_seam_of_two_rates(self, tmp_path: Path) -> None:
        first = MP3.write(tmp_path / "a.mp3", make_sound(2, RATE), RATE).read_bytes()
        second = MP3.write(tmp_path / "b.mp3", make_sound(2, 22050), 22050).read_bytes()
        (tmp_path / "glued.mp3").write_bytes(first + second)
        cut_clip(tmp_path / "glued.mp3", TimeSpan(1, 3), tmp_path / "clip.wav")
        info = soundfile.info(tmp_path / "clip.wav")
        assert info.samplerate == RATE
        assert info.duration == pytest.approx(1, abs=0.1)


class TestWholeOrNotAtAll:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        return write(tmp_path, WAV)

    @pytest.fixture
    def out(self, tmp_path: Path) -> Path:
        (tmp_path / "clips").mkdir()
        return tmp_path / "clips" / "clip.wav"

    @pytest.mark.parametrize(
        ("content", "kind"),
        [(b"not audio at all", DecodeError), (b"", EmptyAudio), (None, DecodeError)],
    )
    def test_what_cannot_be_read(
        self, tmp_path: Path, out: Path, content: bytes | None, kind: type[AudioError]
    ) -> None:
        source = tmp_path / "bad.wav"
        if content is not None:
            source.write_bytes(content)
        with pytest.raises(kind) as caught:
            cut_clip(source, SPAN, out)
        assert caught.value.path == source
        assert names_in(out.parent) == []

    def test_no_folder_to_write_to(self, tmp_path: Path, source: Path) -> None:
        with pytest.raises((AudioError, OSError)):
            cut_clip(source, SPAN, tmp_path / "missing" / "clip.wav")
        with pytest.raises((AudioError, OSError)):
            cut_clip(source, SPAN, source / "clip.wav")
        assert names_in(tmp_path) == [source.name]

    def test_no_room(self, source: Path, out: Path) -> None:
        with files_no_larger_than(50_000), pytest.raises((AudioError, OSError)):
            cut_clip(source, SPAN, out)
        assert names_in(out.parent) == []

    def test_what_was_there_is_replaced_whole(self, source: Path, out: Path) -> None:
        out.write_bytes(b"x" * 5_000_000)  # longer than the clip
        cut_clip(source, SPAN, out)
        assert names_in(out.parent) == [out.name]
        assert len(read(out)[0]) == round(SPAN.duration_s * RATE)
        assert out.stat().st_size < 1_000_000

    def test_or_stays_whole(self, source: Path, out: Path) -> None:
        out.write_bytes(b"as it was")
        with pytest.raises(EmptyAudio):
            cut_clip(source, TimeSpan(5, 6), out)
        with files_no_larger_than(50_000), pytest.raises((AudioError, OSError)):
            cut_clip(source, SPAN, out)
        assert names_in(out.parent) == [out.name]
        assert out.read_bytes() == b"as it was"

    def test_a_folder_in_its_place(self, source: Path, out: Path) -> None:
        out.mkdir()
        with pytest.raises(OSError, match="directory"):
            cut_clip(source, SPAN, out)
        assert names_in(out.parent) == [out.name]

    def test_a_source_that_is_its_own_clip_is_read_first(self, source: Path) -> None:
        whole, _ = read(source)
        cut_clip(source, SPAN, source)
        np.testing.assert_allclose(
            read(source)[0], whole[round(1.25 * RATE) : round(2.75 * RATE)], atol=TWO_STEPS
        )

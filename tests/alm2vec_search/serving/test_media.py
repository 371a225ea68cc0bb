"""Clips, files and pictures: made once, kept, and never of other bytes than were indexed."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from audio_files import AIFF, FLAC, WAV, Encoding, make_sound

from alm2vec_search.domain import Content, Place, TimeSpan, Waveform
from alm2vec_search.errors import EmptyAudio, QueryError, SoundGone
from alm2vec_search.serving import pictures
from alm2vec_search.serving.indexed_files import IndexedSound, open_indexed
from alm2vec_search.serving.media import Media, Playable, span_within
from alm2vec_search.serving.media_cache import MediaCache, NoCache
from alm2vec_search.serving.uploads import Upload

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.audio import Source
    from alm2vec_search.serving.pictures import Picture, Shape

RATE = 16_000
SOUND = make_sound(4, RATE, 2)


@pytest.fixture
def cache(tmp_path: Path) -> MediaCache:
    return MediaCache(tmp_path / "cache", most_bytes=10_000_000)


@pytest.fixture
def media(cache: MediaCache) -> Media:
    return Media(cache)


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[TimeSpan]:
    """The spans of all pictures that are really drawn."""
    spans = []
    draw = pictures.draw

    def counted(source: Source, span: TimeSpan, shape: Shape) -> Picture:
        spans.append(span)
        return draw(source, span, shape)

    monkeypatch.setattr(pictures, "draw", counted)
    return spans


def indexed(library: Path, encoding: Encoding = WAV, *, identity: str = "hash") -> IndexedSound:
    path = library / f"a{encoding.suffix}"
    if not path.exists():
        encoding.write(path, SOUND, RATE)
    status = path.stat()
    content = Content(identity, status.st_size, 4.0, RATE, 2)
    return open_indexed(content, [Place(path, library, status.st_mtime_ns)], [library])


def heard(playable: Playable) -> tuple[np.ndarray, bytes]:
    with playable.file as file:
        data = file.read()
    assert len(data) == playable.size
    return soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0], data


class TestClip:
    def test_of_the_stretch(self, library: Path, media: Media) -> None:
        with indexed(library) as sound:
            playable = media.clip(sound, TimeSpan(1, 2.5))
        frames, _ = heard(playable)
        assert playable.media_type == "audio/wav"
        np.testing.assert_allclose(frames, SOUND[RATE : RATE * 5 // 2], rtol=0, atol=2**-14)

    def test_is_kept(self, library: Path, cache: MediaCache, media: Media) -> None:
        with indexed(library) as sound:
            first = heard(media.clip(sound, TimeSpan(1, 2)))[1]
            size = cache.size()
            assert heard(media.clip(sound, TimeSpan(1.00000001, 2)))[1] == first
            assert cache.size() == size > 0
            other = heard(media.clip(sound, TimeSpan(1, 2.1)))[1]
            assert len(other) > len(first)

    def test_of_another_sound(self, library: Path, media: Media) -> None:
        with indexed(library) as sound:
            first = heard(media.clip(sound, TimeSpan(0, 1)))[1]
        WAV.write(library / "a.wav", SOUND[RATE:], RATE)
        with indexed(library, identity="other") as sound:
            assert heard(media.clip(sound, TimeSpan(0, 1)))[1] != first

    def test_too_long(self, library: Path, cache: MediaCache) -> None:
        with indexed(library) as sound, pytest.raises(QueryError, match="too long"):
            Media(cache, longest_clip_s=2).clip(sound, TimeSpan(0, 2.5))

    def test_written_into_meanwhile(self, library: Path, cache: MediaCache, media: Media) -> None:
        with indexed(library) as sound:
            os.utime(library / "a.wav", ns=(1, 1))
            with pytest.raises(SoundGone):
                media.clip(sound, TimeSpan(0, 1))
            with pytest.raises(SoundGone):
                media.peaks(sound, TimeSpan(0, 1), points=10)
        assert cache.size() == 0

    def test_nothing_there(self, library: Path, media: Media) -> None:
        with indexed(library) as sound, pytest.raises(EmptyAudio):
            media.clip(sound, TimeSpan(5, 6))


class TestWhole:
    @pytest.mark.parametrize(("encoding", "kind"), [(WAV, "audio/wav"), (FLAC, "audio/flac")])
    def test_as_it_is(self, library: Path, media: Media, encoding: Encoding, kind: str) -> None:
        with indexed(library, encoding) as sound:
            playable = media.whole(sound)
        assert playable.media_type == kind
        assert heard(playable)[1] == (library / f"a{encoding.suffix}").read_bytes()

    def test_as_wav(self, library: Path, media: Media) -> None:
        with indexed(library, AIFF) as sound:
            playable = media.whole(sound)
        assert playable.media_type == "audio/wav"
        np.testing.assert_allclose(heard(playable)[0], SOUND, rtol=0, atol=2**-14)

    def test_too_long_for_wav(self, library: Path, cache: MediaCache) -> None:
        with indexed(library, AIFF) as sound, pytest.raises(QueryError, match="too long"):
            Media(cache, longest_clip_s=2).whole(sound)


class TestPictures:
    def test_both_from_one_drawing(
        self, library: Path, media: Media, drawings: list[TimeSpan]
    ) -> None:
        with indexed(library) as sound:
            span = TimeSpan(0, 4)
            peaks = media.peaks(sound, span, points=800)
            png = media.spectrogram(sound, span, width=800, height=128)
            again = media.peaks(sound, span, points=800)
        assert drawings == [span]
        assert png.startswith(b"\x89PNG")
        assert 0.1 < peaks.high.max() < 0.7
        np.testing.assert_array_equal(again.high, peaks.high)

    def test_another_size_is_another_picture(
        self, library: Path, media: Media, drawings: list[TimeSpan]
    ) -> None:
        with indexed(library) as sound:
            assert len(media.peaks(sound, TimeSpan(0, 4), points=10).low) == 10
            assert len(media.peaks(sound, TimeSpan(0, 4), points=20).low) == 20
        assert len(drawings) == 2

    def test_a_page_that_asks_for_both_at_once(
        self, library: Path, media: Media, drawings: list[TimeSpan]
    ) -> None:
        span = TimeSpan(0, 4)
        failed: list[BaseException] = []

        def ask(what: str) -> None:
            try:
                with indexed(library) as sound:
                    if what == "peaks":
                        media.peaks(sound, span, points=800)
                    else:
                        media.spectrogram(sound, span, width=800, height=128)
            except BaseException as error:
                failed.append(error)

        indexed(library).close()
        threads = [
            threading.Thread(target=ask, args=(what,)) for what in ["peaks", "spectrogram"] * 4
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert len(drawings) == 1

    def test_bounds(self, library: Path, media: Media) -> None:
        with indexed(library) as sound:
            with pytest.raises(QueryError, match="points"):
                media.peaks(sound, TimeSpan(0, 1), points=0)
            with pytest.raises(QueryError, match="height"):
                media.spectrogram(sound, TimeSpan(0, 1), width=10, height=100_000)


class TestSpanWithin:
    def test_all_of_it(self) -> None:
        assert span_within(None, None, 6.2) == TimeSpan(0, 6.2)

    def test_whole_milliseconds_around_it(self) -> None:
        assert span_within(1.0004, 2.0004, 6) == TimeSpan(1.0, 2.001)
        assert span_within(0.1 + 0.2, 0.7, 6) == TimeSpan(0.3, 0.7)

    @pytest.mark.parametrize(
        ("start_s", "end_s"),
        [(2, 1), (1, 1), (-1, 2), (6, 7), (7, None), (float("nan"), 1), (0, float("inf"))],
    )
    def test_no_stretch(self, start_s: float, end_s: float | None) -> None:
        with pytest.raises(QueryError):
            span_within(start_s, end_s, 6.0)


def test_what_was_sent_is_heard_and_seen_like_a_file(tmp_path: Path) -> None:
    path = WAV.write(tmp_path / "a.wav", SOUND, RATE)
    mono = Waveform(SOUND.mean(axis=1), RATE)
    upload = Upload(mono, 4.0, RATE, 2, path.read_bytes(), None)
    media = Media(NoCache())
    with upload.open() as sound:
        span = span_within(1, 2, sound.duration_s)
        frames, _ = heard(media.clip(sound, span))
        np.testing.assert_allclose(frames, SOUND[RATE : 2 * RATE], rtol=0, atol=2**-14)
        assert media.peaks(sound, span, points=10).high.max() > 0.1
        assert media.spectrogram(sound, span, width=10, height=10)
        assert heard(media.whole(sound))[1] == upload.wav
    other = Upload(mono, 4.0, RATE, 2, path.read_bytes(), None)
    assert other.identity != upload.identity

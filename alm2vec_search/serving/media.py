"""Sounds to listen to and to look at: clips, whole files, outlines and spectrograms, made once."""

from __future__ import annotations

import math
import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from alm2vec_search.domain import TimeSpan
from alm2vec_search.errors import QueryError
from alm2vec_search.serving import pictures
from alm2vec_search.serving.pictures import Peaks, Shape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from alm2vec_search.audio import Source
    from alm2vec_search.serving.media_cache import MediaCache, NoCache

LONGEST_CLIP_S = 600.0
_CLIP_REVISION = 1  # of how clips are made: what is kept of an older one is not played
_DEFAULT = Shape()


class OpenSound(Protocol):
    """What there is to hear: an indexed file, or one that was sent."""

    @property
    def identity(self) -> str:
        """The same for the same sound only."""
        ...

    @property
    def duration_s(self) -> float: ...

    @property
    def source(self) -> Source: ...

    def check_unchanged(self) -> None:
        """
        Raises:
            SoundGone: it isn't the sound any more that it was when it was opened.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Playable:
    """What a browser plays. Close the file."""

    file: BinaryIO  # at its start, and it seeks
    size: int  # bytes
    media_type: str


class Media:
    """Makes what is asked for, or finds it in its cache. Threads may share one.

    Args:
        cache: where things are kept. `NoCache` for sounds that must leave no trace.
        longest_clip_s: of what is made into WAV.
    """

    def __init__(
        self, cache: MediaCache | NoCache, *, longest_clip_s: float = LONGEST_CLIP_S
    ) -> None:
        self._cache = cache
        self._longest_clip_s = longest_clip_s
        self._turns = _Turns()

    def clip(self, sound: OpenSound, span: TimeSpan) -> Playable:
        """A stretch as WAV.

        Raises:
            QueryError: it is too long.
            SoundGone: the file was changed meanwhile.
            AudioError: it can't be read, or there is no sound in that stretch.
            MediaError: there is no room for it on the disk.
        """
        from alm2vec_search.audio.playing import WAV_TYPE, write_playable

        if span.duration_s > self._longest_clip_s:
            raise QueryError(
                f"a clip of {span.duration_s:.0f} s is too long",
                hint=f"ask for up to {self._longest_clip_s:g} s",
            )
        span = _to_milliseconds(span)
        key = (sound.identity, "clip", _CLIP_REVISION, span.start_s, span.end_s)

        def write(out: BinaryIO) -> None:
            write_playable(sound.source, span, out)
            sound.check_unchanged()

        with self._turns.of(key):
            file = self._cache.get(key) or self._cache.put(key, write)
        return _playable(file, WAV_TYPE)

    def whole(self, sound: OpenSound) -> Playable:
        """All of it: the file as it is where browsers play that, else as WAV.

        Raises:
            QueryError: browsers don't play it, and it is too long to be made into WAV.
            SoundGone, AudioError, MediaError: as `clip`.
        """
        from alm2vec_search.audio.playing import played_as_it_is

        if (media_type := played_as_it_is(sound.source)) is not None:
            sound.source.rewind()
            return _playable(os.fdopen(os.dup(sound.source.descriptor), "rb"), media_type)
        return self.clip(sound, TimeSpan(0, sound.duration_s))

    def peaks(self, sound: OpenSound, span: TimeSpan, *, points: int) -> Peaks:
        """The outline of a stretch.

        Raises:
            QueryError: there are too many points, or it is too long.
            SoundGone, AudioError, MediaError: as `clip`.
        """
        shape = Shape(points, _DEFAULT.width, _DEFAULT.height)
        return Peaks.from_bytes(self._drawn(sound, span, shape, _peaks_key))

    def spectrogram(self, sound: OpenSound, span: TimeSpan, *, width: int, height: int) -> bytes:
        """The log-mel spectrogram of a stretch, as PNG.

        Raises:
            QueryError: there are too many pixels, or it is too long.
            SoundGone, AudioError, MediaError: as `clip`.
        """
        return self._drawn(sound, span, Shape(_DEFAULT.points, width, height), _spectrogram_key)

    def _drawn(self, sound: OpenSound, span: TimeSpan, shape: Shape, wanted: _KeyOf) -> bytes:
        """A page asks for both pictures of a stretch at once: who comes first makes them both."""
        span = _to_milliseconds(span)
        with self._turns.of((sound.identity, span)):
            if (file := self._cache.get(wanted(sound, span, shape))) is not None:
                with file:
                    return file.read()
            picture = pictures.draw(sound.source, span, shape)
            sound.check_unchanged()
            made = {
                _peaks_key: picture.peaks.to_bytes(),
                _spectrogram_key: picture.spectrogram,
            }
            for key_of, data in made.items():
                key = key_of(sound, span, shape)
                self._cache.put(key, partial(_write, data)).close()
            return made[wanted]


def span_within(start_s: float | None, end_s: float | None, duration_s: float) -> TimeSpan:
    """The stretch of a sound that is asked for, up to its end at most.

    Raises:
        QueryError: there is no such stretch.

    >>> span_within(None, 99, 6.0)
    TimeSpan(start_s=0.0, end_s=6.0)
    """
    start_s = 0.0 if start_s is None else start_s
    end_s = duration_s if end_s is None else end_s
    if not (math.isfinite(start_s) and math.isfinite(end_s)) or start_s < 0:
        raise QueryError(f"{start_s:g}-{end_s:g} is no stretch", hint="start and end are seconds")
    if start_s >= duration_s:
        raise QueryError(
            f"the sound is {duration_s:.3f} s long, and the stretch begins at {start_s:g} s",
            hint="begin before its end",
        )
    return _to_milliseconds_of(start_s, min(end_s, duration_s))


def _to_milliseconds(span: TimeSpan) -> TimeSpan:
    """So that what is kept is found again, whatever a browser makes of fractions."""
    return _to_milliseconds_of(span.start_s, span.end_s)


def _to_milliseconds_of(start_s: float, end_s: float) -> TimeSpan:
    start_ms, end_ms = math.floor(start_s * 1000 + 1e-6), math.ceil(end_s * 1000 - 1e-6)
    if end_ms <= start_ms:
        raise QueryError(f"{start_s:g}-{end_s:g} is no stretch", hint="it ends before it begins")
    return TimeSpan(start_ms / 1000, end_ms / 1000)


class _KeyOf(Protocol):
    def __call__(self, sound: OpenSound, span: TimeSpan, shape: Shape) -> tuple[object, ...]: ...


def _peaks_key(sound: OpenSound, span: TimeSpan, shape: Shape) -> tuple[object, ...]:
    return (sound.identity, "peaks", pictures.REVISION, span.start_s, span.end_s, shape.points)


def _spectrogram_key(sound: OpenSound, span: TimeSpan, shape: Shape) -> tuple[object, ...]:
    pixels = (shape.width, shape.height)
    return (sound.identity, "spectrogram", pictures.REVISION, span.start_s, span.end_s, *pixels)


def _write(data: bytes, out: BinaryIO) -> None:
    out.write(data)


def _playable(file: BinaryIO, media_type: str) -> Playable:
    return Playable(file, os.fstat(file.fileno()).st_size, media_type)


class _Turns:
    """Who wants the same thing as somebody else waits until that one has it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: dict[object, tuple[Lock, int]] = {}

    @contextmanager
    def of(self, thing: object) -> Iterator[None]:
        with self._lock:
            turn, n = self._waiting.get(thing, (Lock(), 0))
            self._waiting[thing] = (turn, n + 1)
        try:
            with turn:
                yield
        finally:
            with self._lock:
                turn, n = self._waiting[thing]
                if n == 1:
                    del self._waiting[thing]
                else:
                    self._waiting[thing] = (turn, n - 1)

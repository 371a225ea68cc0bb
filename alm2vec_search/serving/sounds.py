"""Every sound that can be named: those of the index, those that were sent, and those sent along."""

from __future__ import annotations

import base64
import binascii
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from alm2vec_search.audio import read_source
from alm2vec_search.domain import TimeSpan, Waveform
from alm2vec_search.errors import QueryError
from alm2vec_search.queries import Sound
from alm2vec_search.serving.indexed_files import open_indexed
from alm2vec_search.serving.media import Media, span_within
from alm2vec_search.serving.media_cache import MediaCache, NoCache
from alm2vec_search.serving.sandbox import Sandbox
from alm2vec_search.serving.upload_store import UploadStore
from alm2vec_search.serving.uploads import UploadLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alm2vec_search.serving.engine import Engine
    from alm2vec_search.serving.indexed_files import IndexedSound
    from alm2vec_search.serving.limits import Limits
    from alm2vec_search.serving.schemas import Like
    from alm2vec_search.serving.uploads import OpenUpload, Upload


class Sounds:
    """All methods block, and may be called by several threads.

    Args:
        engine: knows what is indexed.
        cache: a folder for clips and pictures of indexed sounds. Nothing of uploads is kept there.
        limits: of what is sent and what is made.
    """

    def __init__(self, engine: Engine, *, cache: Path, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits
        self.of_index = Media(
            MediaCache(cache, most_bytes=limits.clips_kept_bytes), longest_clip_s=limits.clip_s
        )
        self.of_uploads = Media(NoCache(), longest_clip_s=limits.clip_s)
        self._uploads: UploadStore[Upload] = UploadStore(
            _size, most_bytes=limits.uploads_bytes, kept_s=limits.upload_kept_s
        )
        self._sandbox = Sandbox(
            UploadLimits(upload_bytes=limits.upload_bytes, duration_s=limits.upload_s),
            at_once=limits.decoded_uploads,
        )

    def close(self) -> None:
        self._sandbox.close()

    # To be listened to

    @contextmanager
    def indexed(self, content_hash: str) -> Iterator[IndexedSound]:
        """An indexed sound, open until the end of the block.

        Raises:
            SoundNotFound: it isn't in the index.
            SoundGone, SoundForbidden: its file isn't what it was, or lies elsewhere.
        """
        stored = self._engine.content(content_hash)
        with open_indexed(stored.content, stored.places, self._engine.libraries()) as sound:
            yield sound

    @contextmanager
    def uploaded(self, upload: str) -> Iterator[OpenUpload]:
        """An upload, open until the end of the block.

        Raises:
            SoundNotFound: there is none of that id, or it is gone.
        """
        with self._uploads[upload].open() as sound:
            yield sound

    def clip_bytes(self, content_hash: str, span: TimeSpan) -> bytes:
        """A stretch of an indexed sound as WAV.

        Raises:
            SoundNotFound, SoundGone, SoundForbidden: as `indexed`.
            QueryError: there is no such stretch, or it is too long.
        """
        with self.indexed(content_hash) as sound:
            within = span_within(span.start_s, span.end_s, sound.duration_s)
            with self.of_index.clip(sound, within).file as file:
                return file.read()

    # To be asked with

    def add(self, data: bytes) -> tuple[str, Upload]:
        """Decode and keep an audio file that was sent: its id, and what it is.

        Raises:
            UploadError: it can't be used.
        """
        with self._engine.encoder() as encoder:
            sampling_rate = encoder.sampling_rate
        upload = self._sandbox.decode(data, sampling_rate)
        return self._uploads.add(upload), upload

    def decode(self, data_uri: str, sampling_rate: int) -> Waveform:
        """The sound of a data URI (RFC 2397), at a rate in Hz.

        Raises:
            QueryError: it isn't one.
            UploadError: the file in it can't be used.
        """
        return self._sandbox.decode(_bytes_of(data_uri), sampling_rate).waveform

    def hear(self, like: Like, sampling_rate: int) -> Sound:
        """The sound, or the region of it, that a question names, at a rate in Hz.

        Raises:
            QueryError: not exactly one sound is named, or it has no such region.
            SoundNotFound, SoundGone, SoundForbidden, UploadError: it can't be had.
        """
        match like.sound, like.upload, like.data:
            case str(content_hash), None, None:
                return self._hear_indexed(content_hash, like, sampling_rate)
            case None, str(upload), None:
                kept = self._uploads[upload]
                if kept.waveform.sampling_rate != sampling_rate:
                    raise QueryError("the model changed meanwhile", hint="send the sound anew")
                return Sound(_region(kept.waveform, like), "the upload")
            case None, None, str(data_uri):
                return Sound(_region(self.decode(data_uri, sampling_rate), like), "the sound")
        raise QueryError(
            "like names no sound, or several", hint="give one of sound, upload and data"
        )

    def path_of(self, like: str) -> Path:
        """The file of an indexed sound, by its id; or any file, by its absolute path.

        Raises:
            QueryError: it is neither.
            SoundNotFound, SoundGone, SoundForbidden: as `indexed`.
        """
        if Path(like).is_absolute():
            return Path(like)
        with self.indexed(like) as sound:
            return sound.source.path

    def _hear_indexed(self, content_hash: str, like: Like, sampling_rate: int) -> Sound:
        with self.indexed(content_hash) as sound:
            span = span_within(like.start_s, like.end_s, sound.duration_s)
            if span.duration_s > self._limits.upload_s:
                raise QueryError(
                    f"{span.duration_s:.0f} s are too long to ask with",
                    hint=f"give a region of up to {self._limits.upload_s:g} s",
                )
            reader = read_source(sound.source, sampling_rate)
            try:
                samples = reader.region(span)
            finally:
                reader.close_decoder()
            sound.check_unchanged()
            return Sound(Waveform(samples, sampling_rate), sound.source.path.name)


def _size(upload: Upload) -> int:
    return upload.waveform.samples.nbytes + len(upload.wav)


def _region(waveform: Waveform, like: Like) -> Waveform:
    span = span_within(like.start_s, like.end_s, waveform.duration_s)
    rate = waveform.sampling_rate
    samples = waveform.samples[round(span.start_s * rate) : max(1, round(span.end_s * rate))]
    return Waveform(samples, rate)


def _bytes_of(data_uri: str) -> bytes:
    """
    Raises:
        QueryError: it can't be read.
    """
    head, comma, data = data_uri.partition(",")
    if not head.startswith("data:") or not comma:
        raise QueryError("not a data URI", hint="as in data:audio/wav;base64,UklGR...")
    if not head.endswith(";base64"):
        return unquote_to_bytes(data)
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise QueryError("the data URI isn't base64", hint="encode the whole file") from error

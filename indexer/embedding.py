"""From files to embedded chunks: hash → decode → cut → embed, in batches that span files."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.audio import open_audio, read_notes, reason_of
from alm2vec_search.domain import Content, EmbeddedChunk
from alm2vec_search.errors import AudioError, DecodeError
from indexer.chunker import cut
from indexer.walker import to_audio_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from alm2vec_search.audio import DecodeReport
    from alm2vec_search.domain import AudioFile, Encoder, Samples
    from indexer.chunker import Chunk, Chunking

CHUNKS_HELD = 64  # sorted by length before they are embedded, so that batches hold little padding


@dataclass(frozen=True, slots=True)
class Job:
    """A file to embed; its content hash where somebody has computed it already, and what lay at
    its path before, if anything did."""

    file: AudioFile
    content_hash: str | None = None
    before: Content | None = None


@dataclass(slots=True)
class StageSeconds:
    """Where the time went, in seconds of this process's CPU."""

    hash: float = 0.0
    decode: float = 0.0
    embed: float = 0.0

    def add(self, other: StageSeconds) -> None:
        self.hash += other.hash
        self.decode += other.decode
        self.embed += other.embed


@dataclass(frozen=True, slots=True)
class Embedded:
    """A file that was read, with all its chunks."""

    file: AudioFile
    content: Content
    chunks: list[EmbeddedChunk]
    note: str | None  # what is wrong with the file, though it could be read
    seconds: StageSeconds


@dataclass(frozen=True, slots=True)
class Retold:
    """A file whose bytes changed and whose sound didn't, as when its tags were edited."""

    file: AudioFile
    content: Content
    before: str  # the content hash whose chunks are its own, too
    note: str | None
    seconds: StageSeconds


@dataclass(frozen=True, slots=True)
class Failed:
    """A file that couldn't be read."""

    file: AudioFile
    reason: str
    transient: bool  # it may work next time though the file stays as it is


@dataclass(frozen=True, slots=True)
class Advance:
    """So much was embedded since the last time, of whichever files."""

    n_chunks: int
    audio_s: float  # of sound


Outcome = Embedded | Retold | Failed


def embed_files(
    jobs: Iterable[Job], encoder: Encoder, chunking: Chunking
) -> Iterator[Outcome | Advance]:
    """Embed files; outcomes come as their last chunk is done, not always in the given order.

    Never holds more than a window of chunks and one block of sound, however long a file is.

    Args:
        jobs: files that may be gone, damaged or anything else meanwhile.
    """
    held: list[_Held] = []
    for job in jobs:
        if (same := _with_the_same_sound(job, encoder.sampling_rate)) is not None:
            yield same
            continue
        reading = _Reading(job)
        try:
            for chunk in reading.chunks(encoder.sampling_rate, chunking):
                reading.n_pending += 1
                held.append(_Held(reading, len(reading.embedded), chunk))
                reading.embedded.append(None)
                if len(held) >= CHUNKS_HELD:
                    yield from _embed(held, encoder)
        except AudioError as error:
            held = [item for item in held if item.reading is not reading]
            yield Failed(job.file, error.reason, transient=_is_transient(error))
            continue
        reading.is_read = True
        if not reading.n_pending:
            yield reading.outcome()
    yield from _embed(held, encoder)


@dataclass(slots=True)
class _Held:
    """A chunk that waits to be embedded."""

    reading: _Reading
    index: int  # among its file's chunks
    chunk: Chunk


@dataclass(slots=True)
class _Reading:
    """One file on its way."""

    job: Job
    embedded: list[EmbeddedChunk | None] = field(default_factory=list)
    n_pending: int = 0
    is_read: bool = False
    content: Content | None = None
    note: str | None = None
    seconds: StageSeconds = field(default_factory=StageSeconds)

    def chunks(self, sampling_rate: int, chunking: Chunking) -> Iterator[Chunk]:
        """Decode and cut; afterwards `content` and `note` are known.

        Raises:
            AudioError: the file can't be read, or was written to meanwhile.
        """
        file = self.job.file
        started = time.process_time()
        content_hash = self.job.content_hash or hash_file(file.path)
        self.seconds.hash += time.process_time() - started
        audio_hash = hashlib.sha256()
        with open_audio(file.path, sampling_rate) as sound:
            yield from cut(self._timed(sound, audio_hash), sampling_rate, chunking)
            report = sound.report
        self.content = _content(file, content_hash, report, audio_hash.hexdigest())
        _check_unchanged(file)
        self.note = report.note

    def _timed(self, blocks: Iterable[Samples], audio_hash: hashlib._Hash) -> Iterator[Samples]:
        iterator = iter(blocks)
        while True:
            started = time.process_time()
            block = next(iterator, None)
            decoded = time.process_time()
            self.seconds.decode += decoded - started
            if block is None:
                return
            audio_hash.update(block.data)
            self.seconds.hash += time.process_time() - decoded
            yield block

    def outcome(self) -> Embedded:
        assert self.content is not None
        chunks = [chunk for chunk in self.embedded if chunk is not None]
        return Embedded(self.job.file, self.content, chunks, self.note, self.seconds)


def _content(file: AudioFile, content_hash: str, report: DecodeReport, audio_hash: str) -> Content:
    return Content(
        content_hash=content_hash,
        size=file.size,
        duration_s=report.decoded_s,
        sampling_rate=report.sampling_rate,
        channels=report.channels,
        notes=read_notes(file.path),
        audio_hash=audio_hash,
    )


def _with_the_same_sound(job: Job, sampling_rate: int) -> Retold | None:
    """The job's outcome, if its file sounds as it did when it was last embedded: decoded, but not
    embedded. None where it doesn't, or didn't exist, or can't be read."""
    file, before = job.file, job.before
    if before is None or not before.audio_hash:
        return None
    started = time.process_time()
    audio_hash = hashlib.sha256()
    try:
        with open_audio(file.path, sampling_rate) as sound:
            for block in sound:
                audio_hash.update(block.data)
            report = sound.report
        if audio_hash.hexdigest() != before.audio_hash:
            return None
        content_hash = job.content_hash or hash_file(file.path)
        content = _content(file, content_hash, report, before.audio_hash)
        _check_unchanged(file)
    except AudioError:
        return None  # whoever embeds it will meet that again, and tell
    seconds = StageSeconds(decode=time.process_time() - started)
    return Retold(file, content, before.content_hash, report.note, seconds)


def _embed(held: list[_Held], encoder: Encoder) -> Iterator[Embedded | Advance]:
    """Embed all that is held, empty the list, and give out the files that are done with that."""
    if not held:
        return
    items, held[:] = list(held), []
    started = time.process_time()
    embeddings = encoder.encode_document(audio=[item.chunk.waveform for item in items])
    share = (time.process_time() - started) / len(items)
    if not np.isfinite(embeddings).all():
        raise FloatingPointError(f"{encoder.name} made vectors that are not numbers")
    for item, embedding in zip(items, embeddings, strict=True):
        reading = item.reading
        reading.embedded[item.index] = EmbeddedChunk(item.chunk.span, embedding, item.chunk.silent)
        reading.seconds.embed += share
        reading.n_pending -= 1
    yield Advance(len(items), sum(item.chunk.span.duration_s for item in items))
    for reading in {id(item.reading): item.reading for item in items}.values():
        if reading.is_read and not reading.n_pending:
            yield reading.outcome()


def hash_file(path: Path) -> str:
    """sha256 of the bytes, hex.

    Raises:
        DecodeError: the file can't be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DecodeError(path, reason_of(error)) from error


def _check_unchanged(file: AudioFile) -> None:
    try:
        now = to_audio_file(file.path, file.library, os.stat(file.path))
    except OSError as error:
        raise DecodeError(file.path, "it vanished while it was read") from error
    if (now.size, now.mtime_ns) != (file.size, file.mtime_ns):
        raise DecodeError(file.path, CHANGED)


CHANGED = "it was written to while it was read"


def _is_transient(error: AudioError) -> bool:
    """Whether the reason lies in the file system, and not in what the file holds."""
    return isinstance(error.__cause__, OSError) or error.reason == CHANGED

"""Vectors under an instruction, beside the plain ones, for all that is indexed and has none yet.

A file is read once more for each aspect. What a killed run has done stays done: whatever lacks a
vector is what there is to do, also for contents that came or changed since.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from indexer.embedding import Advance, Embedded, Failed, Retold
from indexer.pipeline import job_of, units_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

    from alm2vec_search.collection.base import Collection
    from alm2vec_search.domain import Aspect, Embeddings, Encoder, Waveform
    from indexer.embedding import Job, Outcome
    from indexer.pipeline import Progress
    from indexer.workers import EncoderFactory

    Embed = Callable[[Iterable[list[Job]], EncoderFactory], Generator[Outcome | Advance]]


@dataclass(frozen=True, slots=True)
class Instructed:
    """A factory whose encoders embed documents under an instruction."""

    factory: EncoderFactory
    instruction: str

    def build(self) -> InstructedEncoder:
        return InstructedEncoder(self.factory.build(), self.instruction)


@dataclass(frozen=True, slots=True)
class InstructedEncoder:
    """An encoder of documents under one instruction; all else is the other's."""

    encoder: Encoder
    instruction: str

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        return self.encoder.encode_document(
            text=text, audio=audio, instruction=instruction or self.instruction
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)


@dataclass(slots=True)
class AspectReport:
    """What filling in one aspect came to. Counts are of contents."""

    aspect: str
    filled: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)  # and why; tried again next time


def fill_aspect(
    collection: Collection,
    aspect: Aspect,
    *,
    factory: EncoderFactory,
    embed: Embed,
    progress: Progress,
) -> AspectReport:
    """Give every chunk that lacks it its vector of an aspect.

    Raises:
        CollectionError: the collection can't be written.
        Exception: what the encoder raises.
    """
    report = AspectReport(aspect.name)
    lacking = list(collection.lacking(aspect.name))
    if not lacking:
        return report
    progress.started(len(lacking))
    units = units_of(map(job_of, lacking), len(lacking))
    with closing(embed(units, Instructed(factory, aspect.instruction))) as outcomes:
        for outcome in outcomes:
            match outcome:
                case Advance():
                    progress.advanced(outcome.n_chunks, outcome.audio_s)
                case Embedded():
                    _put(collection, outcome, report)
                    progress.finished(outcome.file.path, None)
                case Failed():
                    report.skipped.append((outcome.file.path, outcome.reason))
                    progress.finished(outcome.file.path, outcome.reason)
                case Retold():
                    raise AssertionError("no job here has something before it")
    collection.flush()
    return report


def _put(collection: Collection, done: Embedded, report: AspectReport) -> None:
    """The file may have other bytes by now; then the index doesn't know them yet, and nothing is
    put in."""
    if not collection.chunks(done.content.content_hash):
        report.skipped.append((done.file.path, "it changed since it was indexed"))
        return
    collection.put_aspect(report.aspect, done.content.content_hash, done.chunks)
    report.filled += 1

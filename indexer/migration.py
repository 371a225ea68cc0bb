"""Another model for what is indexed: its vectors are made beside the old ones, from the same files.

Searches go on with the old ones until all is there. What is done stays done: one that was
interrupted goes on where it was, and one that is repeated takes in what changed meanwhile.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.collection.base import SearchFilter
from indexer.embedding import Advance, Embedded, Failed, Retold
from indexer.pipeline import job_of, units_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path

    from alm2vec_search.collection.base import Collection, StoredContent
    from indexer.embedding import Job, Outcome
    from indexer.pipeline import Progress

    Embed = Callable[[Iterable[list[Job]]], Generator[Outcome | Advance]]

_ROUNDS = 5  # of looking for what came meanwhile
_SAMPLE = 50  # contents whose neighbours are compared
_NEIGHBOURS = 10


@dataclass(slots=True)
class MigrationReport:
    """What became of the contents of an index."""

    made: int = 0
    there: int = 0  # since an earlier run
    missing: list[tuple[Path, str]] = field(default_factory=list)  # and why
    chunks: int = 0
    # Of the ten nearest of a sound, how many are the same by both models; a mean over some sounds.
    same_neighbours: float | None = None


def fill(old: Collection, new: Collection, *, embed: Embed, progress: Progress) -> MigrationReport:
    """Make all that is in one collection in another one, of another model, out of the audio files.

    Args:
        old: is only read.
        new: what it has beside is deleted.
        embed: units of jobs → their outcomes, by the new model.

    Raises:
        CollectionError: one of the two can't be used.
        Exception: what the encoder raises.
    """
    report = MigrationReport(there=sum(1 for _ in new.contents()))
    for _ in range(_ROUNDS):
        lacking = _lacking(old, new)
        tried = {path for path, _ in report.missing}
        todo = [stored for stored in lacking if job_of(stored).file.path not in tried]
        if not todo:
            break
        _make(new, todo, report, embed=embed, progress=progress)
    _follow(old, new)
    new.flush()
    report.chunks = new.count()
    report.same_neighbours = _same_neighbours(old, new)
    return report


def _lacking(old: Collection, new: Collection) -> list[StoredContent]:
    there = {stored.content.content_hash for stored in new.contents() if stored.is_complete}
    return [stored for stored in old.contents() if stored.content.content_hash not in there]


def _make(
    new: Collection,
    todo: list[StoredContent],
    report: MigrationReport,
    *,
    embed: Embed,
    progress: Progress,
) -> None:
    wanted = {stored.content.content_hash: stored for stored in todo}
    progress.started(len(todo))
    with closing(embed(units_of(map(job_of, todo), len(todo)))) as outcomes:
        for outcome in outcomes:
            match outcome:
                case Advance():
                    progress.advanced(outcome.n_chunks, outcome.audio_s)
                case Embedded():
                    stored = wanted.get(outcome.content.content_hash)
                    note = None if stored else "it changed since it was indexed"
                    if stored is not None:
                        new.upsert(stored.content, stored.places, outcome.chunks)
                        report.made += 1
                    else:
                        report.missing.append((outcome.file.path, str(note)))
                    progress.finished(outcome.file.path, note)
                case Failed():
                    report.missing.append((outcome.file.path, outcome.reason))
                    progress.finished(outcome.file.path, outcome.reason)
                case Retold():
                    raise AssertionError("no job here has something before it")


def _follow(old: Collection, new: Collection) -> None:
    """What was moved or forgotten since it was made."""
    meant = {stored.content.content_hash: stored for stored in old.contents()}
    for stored in list(new.contents()):
        content_hash = stored.content.content_hash
        if content_hash not in meant:
            new.delete(content_hash)
        elif set(meant[content_hash].places) != set(stored.places):
            new.set_places(content_hash, meant[content_hash].places)


def _same_neighbours(old: Collection, new: Collection) -> float | None:
    """None where there are too few sounds to tell."""
    hashes = [stored.content.content_hash for stored in new.contents()]
    if len(hashes) <= _NEIGHBOURS:
        return None
    sample = np.random.default_rng(0).permutation(len(hashes))[:_SAMPLE]
    shared = [
        len(_neighbours(old, hashes[i]) & _neighbours(new, hashes[i])) for i in sorted(sample)
    ]
    return float(np.mean(shared))


def _neighbours(collection: Collection, content_hash: str) -> set[str]:
    chunks = collection.chunks(content_hash)
    if not chunks:
        return set()
    found = collection.nearest_contents(
        chunks[0].embedding, limit=_NEIGHBOURS + 1, where=SearchFilter(include_silent=True)
    )
    return {match.content_hash for match in found} - {content_hash}

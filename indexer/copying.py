"""From one collection to another, vectors and all: nothing is embedded again.

What is there already stays, and is not sent again; so a copy that broke off goes on when it is
made once more. Nothing is taken out of either.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from alm2vec_search.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from alm2vec_search.collection.base import Collection, StoredContent
    from alm2vec_search.domain import Place

FLUSH_EVERY_S = 5.0


@dataclass(slots=True)
class CopyReport:
    """What copying came to. Counts are of contents unless they say otherwise."""

    copied: int = 0
    placed: int = 0  # were there, and lie at more places now
    there: int = 0  # just as they are
    under_aspects: int = 0  # got their vectors of an aspect; each aspect counts
    chunks: int = 0  # copied
    skipped: list[tuple[Path, str]] = field(default_factory=list)  # not whole where they come from
    wall_s: float = 0.0


class CopyProgress(Protocol):
    """Who wants to know how it goes."""

    def started(self, what: str, n_contents: int) -> None:
        """Now so many are looked at."""

    def advanced(self) -> None:
        """One more is done."""


def copy_collection(source: Collection, target: Collection, progress: CopyProgress) -> CopyReport:
    """Put all that is in one collection into another, and see that it is there.

    Args:
        target: made by the same model, with the same chunks.

    Raises:
        CollectionError: an aspect of the target asks another thing; one of the two can't be used;
            or something isn't there in the end.
    """
    started = time.monotonic()
    report = CopyReport()
    for aspect in source.info.aspects:
        target.add_aspect(aspect)
    whole = []
    for stored in source.contents():
        if stored.is_complete:
            whole.append(stored)
        else:
            report.skipped.append((stored.places[0].path, "only a part of it is in the index"))
    _copy_contents(source, target, whole, report, progress)
    for aspect in source.info.aspects:
        _copy_aspect(source, target, aspect.name, whole, report, progress)
    target.flush()
    require_copied(source, target, whole)
    report.wall_s = time.monotonic() - started
    return report


def _copy_contents(
    source: Collection,
    target: Collection,
    whole: Sequence[StoredContent],
    report: CopyReport,
    progress: CopyProgress,
) -> None:
    there = {stored.content.content_hash: stored for stored in target.contents()}
    progress.started("copying", len(whole))
    flush = _Flushing(target)
    for stored in whole:
        known = there.get(stored.content.content_hash)
        places = _together(known.places if known else (), stored.places)
        if known is None or not _is_same(known, stored):
            chunks = source.chunks(stored.content.content_hash)
            target.upsert(stored.content, places, chunks)
            report.copied += 1
            report.chunks += len(chunks)
        elif set(places) != set(known.places):
            target.set_places(stored.content.content_hash, places)
            report.placed += 1
        else:
            report.there += 1
        flush.now_and_then()
        progress.advanced()


def _is_same(known: StoredContent, stored: StoredContent) -> bool:
    """All of its chunks are there; where it lies may differ."""
    return (
        known.is_complete
        and known.n_chunks == stored.n_chunks
        and replace(known, places=()) == replace(stored, places=())
    )


def _together(there: Sequence[Place], here: Sequence[Place]) -> list[Place]:
    """Each path once, as the source has it."""
    return list({place.path: place for place in [*there, *here]}.values())


def _copy_aspect(
    source: Collection,
    target: Collection,
    aspect: str,
    whole: Sequence[StoredContent],
    report: CopyReport,
    progress: CopyProgress,
) -> None:
    wanted = {stored.content.content_hash for stored in whole}
    lacking = [h for h in _hashes_lacking(target, aspect) if h in wanted]
    progress.started(f"copying the aspect {aspect}", len(lacking))
    flush = _Flushing(target)
    for content_hash in lacking:
        if chunks := source.chunks(content_hash, aspect):
            target.put_aspect(aspect, content_hash, chunks)
            report.under_aspects += 1
        flush.now_and_then()
        progress.advanced()


def _hashes_lacking(collection: Collection, aspect: str) -> Iterator[str]:
    for stored in collection.lacking(aspect):
        yield stored.content.content_hash


class _Flushing:
    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._at = time.monotonic()

    def now_and_then(self) -> None:
        if time.monotonic() - self._at > FLUSH_EVERY_S:
            self._collection.flush()
            self._at = time.monotonic()


def require_copied(source: Collection, target: Collection, wanted: Sequence[StoredContent]) -> None:
    """See that all contents are there, whole, at their places, under their aspects.

    Raises:
        CollectionError: says what isn't.
    """
    there = {stored.content.content_hash: stored for stored in target.contents()}
    for stored in wanted:
        found = there.get(stored.content.content_hash)
        path = stored.places[0].path
        if found is None or not _is_same(found, stored):
            raise _missing(f"not all chunks of {path} are")
        if not set(stored.places) <= set(found.places):
            raise _missing(f"not all places of {path} are")
    hashes = {stored.content.content_hash for stored in wanted}
    for aspect in source.info.aspects:
        without = hashes & set(_hashes_lacking(target, aspect.name))
        if more := without - set(_hashes_lacking(source, aspect.name)):
            path = there[min(more)].places[0].path
            raise _missing(f"the vectors of {path} under {aspect.name} aren't all")


def _missing(what: str) -> CollectionError:
    return CollectionError(
        f"{what} in the copy", hint="somebody may be writing to it; copy once more"
    )

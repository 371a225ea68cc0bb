"""An index as another: the same vectors in another store, without embedding anything again.

What is done stays done: a copy that was interrupted goes on where it was when it is run again, and
one that is repeated changes what changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from alm2vec_search.errors import CollectionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alm2vec_search.collection.base import Collection, StoredContent

    Advance = Callable[[int, int], None]  # contents done, of how many


@dataclass
class CopyReport:
    """What became of the contents of an index."""

    copied: int = 0
    moved: int = 0  # were there, and lie elsewhere by now
    unchanged: int = 0
    incomplete: int = 0  # half put in by a run that was killed: `alm2vec index` completes them
    others: int = 0  # only in the copy; they are left there


def copy_collection(
    source: Collection, target: Collection, advance: Advance = lambda n, of: None
) -> CopyReport:
    """Put all of a collection into another one of the same model: contents, places and aspects.

    Args:
        source: is only read. Of a content that both have, its places count.
        target: what it has beside that stays.
        advance: is told how many contents were looked at.

    Raises:
        CollectionError: one of the two can't be used, or something of the one isn't in the other in
            the end, as somebody else is writing to it.
    """
    report = CopyReport()
    target.leave_mark()
    for aspect in source.info.aspects:
        target.add_aspect(aspect)
    there = {stored.content.content_hash: stored for stored in target.contents()}
    wanted = list(source.contents())
    for number, stored in enumerate(wanted, start=1):
        known = there.pop(stored.content.content_hash, None)
        if not stored.is_complete:
            report.incomplete += 1
        elif known is not None and _are_equal(known, stored):
            report.unchanged += 1
        elif known is not None and _are_equal(replace(known, places=stored.places), stored):
            target.set_places(stored.content.content_hash, stored.places)
            report.moved += 1
        else:
            _put(source, target, stored)
            report.copied += 1
        advance(number, len(wanted))
    report.others = len(there)
    for aspect in source.info.aspects:
        _copy_aspect(source, target, aspect.name)
    target.flush()
    _require_all(source, target)
    return report


def _are_equal(known: StoredContent, stored: StoredContent) -> bool:
    same_places = sorted(known.places, key=str) == sorted(stored.places, key=str)
    return (
        known.is_complete
        and same_places
        and (known.content, known.n_chunks) == (stored.content, stored.n_chunks)
    )


def _put(source: Collection, target: Collection, stored: StoredContent) -> None:
    content_hash = stored.content.content_hash
    target.delete(content_hash)  # what is there may have other spans
    target.upsert(stored.content, stored.places, source.chunks(content_hash))


def _copy_aspect(source: Collection, target: Collection, aspect: str) -> None:
    for content_hash in _hashes(target.lacking(aspect)):
        if chunks := source.chunks(content_hash, aspect):
            target.put_aspect(aspect, content_hash, chunks)


def _hashes(contents: Iterator[StoredContent]) -> list[str]:
    """All at once: what is lacking changes while it is put in."""
    return [stored.content.content_hash for stored in contents]


def _require_all(source: Collection, target: Collection) -> None:
    there = {stored.content.content_hash: stored.n_chunks for stored in target.contents()}
    missing = [
        stored
        for stored in source.contents()
        if stored.is_complete and there.get(stored.content.content_hash) != stored.n_chunks
    ]
    if missing:
        raise CollectionError(
            f"{missing[0].places[0].path} isn't in the copy, nor are {len(missing) - 1} others",
            hint="somebody writes to one of them: run alm2vec copy again when that is done",
        )

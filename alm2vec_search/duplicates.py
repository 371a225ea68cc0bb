"""Copies in a collection: the same bytes, the same samples, and the same recording otherwise.

Bytes and samples are known from indexing. For the rest the embedding proposes, and the signal
confirms: every chunk's nearest chunks of other files are candidates, and both files are then read
and compared (`likeness.py`). Nothing is ever deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.audio import open_audio
from alm2vec_search.domain import TimeSpan
from alm2vec_search.errors import AudioError
from alm2vec_search.likeness import PROPOSED, Kind, kind_of, likeness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from alm2vec_search.collection.base import Collection, StoredContent
    from alm2vec_search.domain import Embeddings, Samples

# Beside those that are nearer than PROPOSED, each chunk's nearest so many of other files: a cut may
# move a vector far.
NEAREST = 3
_LEAST = 0.3  # cosine of those, at least
COMPARED_S = 120.0  # from the start of each file, at most
RATE_HZ = 16_000
_BLOCK = 1024  # chunks compared with all others at a time


@dataclass(frozen=True, slots=True)
class Copy:
    """Two files that hold the same recording. The first is the longer or larger one."""

    kind: Kind
    first: Path
    second: Path
    span: TimeSpan | None = None  # where the second lies in the first, if it is a part of it
    agreement: float = 1.0  # the share of frames that are alike


def exact_copies(collection: Collection) -> list[Copy]:
    """The same bytes, and the same samples under other tags or in another lossless format."""
    contents = list(collection.contents())
    copies = []
    for stored in contents:
        first, *others = sorted(place.path for place in stored.places)
        copies += [Copy(Kind.BYTES, first, other) for other in others]
    return copies + _by_audio(contents)[1]


def other_copies(
    collection: Collection,
    *,
    proposed: Callable[[int], None] = lambda _: None,
    compared: Callable[[], None] = lambda: None,
    unreadable: Callable[[Path, str], None] = lambda _path, _reason: None,
) -> Iterator[Copy]:
    """Re-encoded and trimmed ones. Takes memory for all vectors, and for two files.

    Args:
        proposed: is told how many pairs are going to be compared by their signal.
        compared: is told of each that was.
        unreadable: is told of files that can't be read now, and why.
    """
    contents, _ = _by_audio(list(collection.contents()))
    pairs = _proposed(collection, contents)
    proposed(len(pairs))
    sounds = _Sounds(unreadable)
    for one, other in pairs:
        if (found := _compared(contents[one], contents[other], sounds)) is not None:
            yield found
        compared()


def _by_audio(contents: Sequence[StoredContent]) -> tuple[list[StoredContent], list[Copy]]:
    """One content for each sound, and the others as copies of it: the largest is the first."""
    groups: dict[str, list[StoredContent]] = {}
    for stored in contents:
        content = stored.content
        groups.setdefault(content.audio_hash or content.content_hash, []).append(stored)
    copies = []
    for group in groups.values():
        group.sort(key=lambda stored: (-stored.content.size, _path(stored)))
        copies += [Copy(Kind.AUDIO, _path(group[0]), _path(other)) for other in group[1:]]
    return [group[0] for group in groups.values()], copies


def _proposed(collection: Collection, contents: Sequence[StoredContent]) -> list[tuple[int, int]]:
    """Pairs of contents with chunks that are near each other, by their numbers."""
    vectors: list[Embeddings] = []
    owners: list[int] = []
    for number, stored in enumerate(contents):
        chunks = [c for c in collection.chunks(stored.content.content_hash) if not c.silent]
        if chunks:
            vectors.append(np.stack([chunk.embedding for chunk in chunks]))
            owners += [number] * len(chunks)
    if not vectors:
        return []
    everything = np.concatenate(vectors)  # [n, dim]
    owner = np.array(owners)  # [n]
    pairs: set[tuple[int, int]] = set()
    for start in range(0, len(everything), _BLOCK):
        near = everything[start : start + _BLOCK] @ everything.T  # [b, n]
        own = owner[start : start + _BLOCK]
        near[own[:, None] == owner[None, :]] = -1.0
        nth = min(NEAREST, near.shape[1])
        nearest = np.partition(near, -nth, axis=1)[:, -nth, None]  # [b, 1]
        rows, columns = np.nonzero(near >= np.clip(nearest, _LEAST, PROPOSED))
        one, other = own[rows], owner[columns]
        low, high = np.minimum(one, other), np.maximum(one, other)
        pairs |= set(zip(low.tolist(), high.tolist(), strict=True))
    return sorted(pairs)


def _compared(one: StoredContent, other: StoredContent, sounds: _Sounds) -> Copy | None:
    first, second = sorted((one, other), key=lambda s: (-s.content.duration_s, -s.content.size))
    here, there = sounds.of(_path(first)), sounds.of(_path(second))
    if here is None or there is None:
        return None
    found = likeness(here, there, RATE_HZ)
    kind = kind_of(found, len(here) / RATE_HZ, len(there) / RATE_HZ)
    if kind is None:
        return None
    start_s = max(0.0, found.offset_s)
    span = TimeSpan(start_s, start_s + found.overlap_s) if kind is Kind.TRIMMED else None
    return Copy(kind, _path(first), _path(second), span, round(found.agreement, 3))


class _Sounds:
    """The beginnings of files, the last two of them kept."""

    def __init__(self, unreadable: Callable[[Path, str], None]) -> None:
        self._unreadable = unreadable
        self._told: set[Path] = set()
        self._kept: dict[Path, Samples] = {}

    def of(self, path: Path) -> Samples | None:
        if path not in self._kept:
            sound = self._read(path)
            if sound is None:
                return None
            self._kept[path] = sound
            while len(self._kept) > 2:
                self._kept.pop(next(iter(self._kept)))
        return self._kept[path]

    def _read(self, path: Path) -> Samples | None:
        if path in self._told:
            return None
        blocks: list[Samples] = []
        try:
            with open_audio(path, RATE_HZ) as sound:
                for block in sound:
                    blocks.append(block)
                    if sum(map(len, blocks)) >= COMPARED_S * RATE_HZ:
                        break
        except AudioError as error:
            self._told.add(path)
            self._unreadable(path, error.reason)
            return None
        return np.concatenate(blocks)[: round(COMPARED_S * RATE_HZ)]


def _path(stored: StoredContent) -> Path:
    return min(place.path for place in stored.places)

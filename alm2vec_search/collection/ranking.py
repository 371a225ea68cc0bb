"""What a store found, in the order that the contract promises.

A store gives the best n chunks. Of those that share the last score it may have left some out, and
which ones is chance; and some that it gives may not be meant (see `narrowing.py`). So more and
more are asked for, until enough of them are certain.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from alm2vec_search.collection.payload import to_match

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alm2vec_search.collection.base import Match, SearchFilter

    Pick = Callable[[Sequence[Match]], list[Match]]

CHUNKS_PER_CONTENT = 8  # first guess, when contents are asked for
_GROWTH = 4  # of the guess, each time it was too low


class Scored(Protocol):
    """A point as any Qdrant gives it."""

    @property
    def score(self) -> float: ...

    @property
    def payload(self) -> dict[str, Any] | None: ...


def ranked(
    query: Callable[[int], Sequence[Scored]],
    limit: int,
    where: SearchFilter,
    *,
    n_points: int,
    first_guess: int,
    pick: Pick,
    ties_matter: bool = True,
) -> list[Match]:
    """The first `limit` of what `pick` makes of the best chunks.

    Args:
        query: the best n points, best first.
        n_points: so many there are, about; no more are asked for at first.
        ties_matter: False takes what comes of chunks with the last score.
    """
    n_asked = min(first_guess, n_points + 1)
    while True:
        found = query(n_asked)
        are_all = len(found) < n_asked
        certain = found
        if ties_matter and not are_all:
            certain = [point for point in found if point.score > found[-1].score]
        picked = pick(in_order(certain, where))
        if are_all or len(picked) >= limit:
            return picked[:limit]
        n_asked *= _GROWTH


def in_order(points: Sequence[Scored], where: SearchFilter) -> list[Match]:
    """Those that are meant, in the order that the contract asks for."""
    matches = [to_match(point.payload or {}, point.score, where) for point in points]
    meant = [match for match in matches if match is not None]
    return sorted(meant, key=lambda m: (-m.score, m.content_hash, m.span))


def best_of_contents(matches: Sequence[Match]) -> list[Match]:
    """The first match of each content."""
    best: dict[str, Match] = {}
    for match in matches:
        best.setdefault(match.content_hash, match)
    return list(best.values())


def within_bounds(match: Match) -> Match:
    """Rounding may put a cosine a hair outside of [-1, 1]."""
    return replace(match, score=max(-1.0, min(1.0, match.score)))

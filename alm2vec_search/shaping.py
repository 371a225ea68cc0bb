"""From a ranking to a list for people: each sound once, no stretch twice, no folder everywhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from alm2vec_search.domain import TimeSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from alm2vec_search.collection.base import Match
    from alm2vec_search.domain import Place


@dataclass(frozen=True, slots=True)
class Shape:
    """How a list is to look."""

    per_folder: int | None = None  # answers of one folder, at most
    all_chunks: bool = False  # every matching stretch of a file, not only its best


def shaped(ranked: Iterable[Match], shape: Shape) -> list[Match]:
    """The matches that are shown, best first, each with all the places of its sound."""
    matches = with_copies(ranked)
    if shape.all_chunks:
        matches = without_overlaps(matches)
    else:
        matches = _first_of_each(matches, _sound_of, most=1)
    if shape.per_folder is not None:
        matches = _first_of_each(
            matches, lambda match: str(match.places[0].path.parent), most=shape.per_folder
        )
    return matches


def with_copies(ranked: Iterable[Match]) -> list[Match]:
    """The same samples once, whatever file they lie in; the places of the others join the best's.

    Files with the same bytes are one content already; these have other tags, or another lossless
    format.
    """
    best: dict[object, Match] = {}
    for match in ranked:
        key = (_sound_of(match), match.span)
        if key in best:
            places = (*best[key].places, *match.places)
            best[key] = replace(best[key], places=_once(places))
        else:
            best[key] = match
    return list(best.values())


def without_overlaps(ranked: Iterable[Match]) -> list[Match]:
    """Stretches of one file that overlap, as one: where any of them is, as good as the best."""
    kept: list[Match] = []
    for match in ranked:
        joined = [i for i, other in enumerate(kept) if _overlap(match, other)]
        if not joined:
            kept.append(match)
            continue
        spans = [_stretch(match), *(_stretch(kept[i]) for i in joined)]
        whole = TimeSpan(min(s.start_s for s in spans), max(s.end_s for s in spans))
        kept[joined[0]] = replace(kept[joined[0]], stretch=whole)
        for i in reversed(joined[1:]):  # it bridged what was apart
            del kept[i]
    return kept


def _sound_of(match: Match) -> str:
    return match.content.audio_hash or match.content_hash


def _overlap(one: Match, other: Match) -> bool:
    here, there = _stretch(one), _stretch(other)
    return (
        one.content_hash == other.content_hash
        and here.start_s < there.end_s
        and there.start_s < here.end_s
    )


def _stretch(match: Match) -> TimeSpan:
    return match.stretch or match.span


def _once(places: Iterable[Place]) -> tuple[Place, ...]:
    return tuple({place.path: place for place in places}.values())


def _first_of_each(
    matches: Iterable[Match], key: Callable[[Match], str], *, most: int
) -> list[Match]:
    seen: Counter[str] = Counter()
    kept = []
    for match in matches:
        seen[key(match)] += 1
        if seen[key(match)] <= most:
            kept.append(match)
    return kept

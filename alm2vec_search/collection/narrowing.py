"""A filter as Qdrant Edge looks it up in its indexes.

What comes out holds for every chunk that the filter means, and may hold for more: patterns are
looked up by the pieces between their wildcards, and what is said of several places of a content is
looked up together. `SearchFilter.places_of` then looks at what was found one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import qdrant_edge as qdrant

from alm2vec_search.collection.payload import (
    CONTENT_HASH,
    NUMBERS,
    PATH,
    SILENT,
    SOUGHT_NAMED,
    SOUGHT_PATHS,
    SOUGHT_TAGS,
    folder_prefix,
    path_to_text,
    storable,
)
from alm2vec_search.conditions import (
    And,
    Manner,
    NamedField,
    Not,
    NumberField,
    Or,
    Says,
    Within,
    WordField,
    literals,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.collection.base import SearchFilter
    from alm2vec_search.conditions import Condition


def to_filter(where: SearchFilter) -> qdrant.Filter:
    """Every chunk that is meant, and as few others as the indexes can tell."""
    conditions: list[qdrant.ConditionType] = []
    if not where.include_silent:
        conditions.append(equals(SILENT, 0))
    if where.under is not None:
        below = qdrant.MatchPrefix(folder_prefix(where.under))
        at_or_below: list[qdrant.ConditionType] = [
            equals(PATH, path_to_text(where.under)),
            qdrant.FieldCondition(PATH, match=below),
        ]
        conditions.append(qdrant.Filter(should=at_or_below))
    if where.contents is not None:
        among = qdrant.MatchAny(sorted(where.contents))
        conditions.append(qdrant.FieldCondition(CONTENT_HASH, match=among))
    if where.condition is not None:
        conditions += _narrowed(where.condition).conditions
    return qdrant.Filter(must=conditions)


def equals(field: str, value: str | int) -> qdrant.Filter:
    return qdrant.Filter(must=[qdrant.FieldCondition(field, match=qdrant.MatchValue(value))])


@dataclass(frozen=True, slots=True)
class _Narrowed:
    """A condition as far as it can be looked up."""

    conditions: Sequence[qdrant.ConditionType]  # all of them hold; none: it can't be looked up
    is_exact: bool  # they say neither more nor less


def _narrowed(condition: Condition) -> _Narrowed:
    match condition:
        case Within(field, interval):
            numbers = qdrant.RangeFloat(
                gte=interval.least, gt=interval.above, lte=interval.most, lt=interval.below
            )
            looked_up = qdrant.FieldCondition(NUMBERS[field], range=numbers)
            return _Narrowed([looked_up], is_exact=field is not NumberField.MODIFIED)
        case Says(field, manner, words):
            return _Narrowed(_said(field, manner, storable(words)), is_exact=False)
        case Not(part):
            narrowed = _narrowed(part)
            if not narrowed.is_exact:
                return _Narrowed([], is_exact=False)
            return _Narrowed([qdrant.Filter(must_not=_together(narrowed))], is_exact=True)
        case And(parts):
            all_of = [_narrowed(part) for part in parts]
            conditions = [looked_up for part in all_of for looked_up in part.conditions]
            return _Narrowed(conditions, is_exact=all(part.is_exact for part in all_of))
        case Or(parts):
            any_of = [_narrowed(part) for part in parts]
            if not all(part.conditions for part in any_of):
                return _Narrowed([], is_exact=False)
            either = [looked_up for part in any_of for looked_up in _together(part)]
            is_exact = all(part.is_exact for part in any_of)
            return _Narrowed([qdrant.Filter(should=either)], is_exact=is_exact)


def _together(narrowed: _Narrowed) -> list[qdrant.ConditionType]:
    """As one condition."""
    return [qdrant.Filter(must=list(narrowed.conditions))]


def _said(field: WordField | NamedField, manner: Manner, words: str) -> list[qdrant.ConditionType]:
    match field:
        case WordField.PATH:
            return _like(SOUGHT_PATHS, manner, words)
        case WordField.TAG:
            return _like(SOUGHT_TAGS, manner, words)
        case NamedField(name):
            return _like(SOUGHT_NAMED, manner, words, before=f"{storable(name)}=")
        case WordField.NAME | WordField.EXT:  # parts of the path
            return _like(SOUGHT_PATHS, Manner.CONTAINS, words, is_pattern=manner is Manner.PATTERN)
        case WordField.LIBRARY:
            return []


def _like(
    field: str, manner: Manner, words: str, *, before: str = "", is_pattern: bool | None = None
) -> list[qdrant.ConditionType]:
    """What a text that starts with `before` has in it, if the rest of it is like these words."""
    if is_pattern is None:
        is_pattern = manner is Manner.PATTERN
    pieces = literals(words) if is_pattern else [words]
    is_whole = manner is Manner.EQUALS or (manner is Manner.PATTERN and pieces == [words])
    matches: list[qdrant.MatchValue | qdrant.MatchPrefix | qdrant.MatchSubstring] = []
    if is_whole:
        matches.append(qdrant.MatchValue(f"{before}{words}"))
    else:
        if before:
            matches.append(qdrant.MatchPrefix(before))
        matches += [qdrant.MatchSubstring(piece) for piece in pieces if piece]
    return [qdrant.FieldCondition(field, match=match) for match in matches]

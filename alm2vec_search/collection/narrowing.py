"""A filter as Qdrant looks it up in its indexes, whichever Qdrant it is.

What comes out holds for every chunk that the filter means, and may hold for more: patterns are
looked up by the pieces between their wildcards, what is said of several places of a content is
looked up together, and what a Qdrant has no condition for isn't looked up at all.
`SearchFilter.places_of` then looks at what was found one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

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
    from alm2vec_search.conditions import Condition, Interval

C = TypeVar("C")  # a condition of one Qdrant


class Conditions(Protocol[C]):
    """What makes the conditions of one Qdrant. None: it has no such condition."""

    def equal_to(self, field: str, value: str | int) -> C: ...

    def one_of(self, field: str, values: Sequence[str]) -> C: ...

    def starting_with(self, field: str, text: str) -> C | None: ...

    def containing(self, field: str, text: str) -> C | None: ...

    def within(self, field: str, interval: Interval) -> C: ...

    def all_of(self, conditions: Sequence[C]) -> C: ...

    def any_of(self, conditions: Sequence[C]) -> C: ...

    def none_of(self, conditions: Sequence[C]) -> C: ...


def narrowed(where: SearchFilter, make: Conditions[C]) -> list[C]:
    """Conditions for every chunk that is meant, and as few others as the indexes can tell.

    All of them have to hold.
    """
    conditions: list[C] = []
    if not where.include_silent:
        conditions.append(make.equal_to(SILENT, 0))
    if where.under is not None:
        below = make.starting_with(PATH, folder_prefix(where.under))
        if below is not None:
            at = make.equal_to(PATH, path_to_text(where.under))
            conditions.append(make.any_of([at, below]))
    if where.contents is not None:
        conditions.append(make.one_of(CONTENT_HASH, sorted(where.contents)))
    if where.condition is not None:
        conditions += _Narrowing(make).of(where.condition).conditions
    return conditions


@dataclass(frozen=True, slots=True)
class _Narrowed(Generic[C]):
    """A condition as far as it can be looked up."""

    conditions: Sequence[C]  # all of them hold; none: it can't be looked up
    is_exact: bool  # they say neither more nor less


class _Narrowing(Generic[C]):
    def __init__(self, make: Conditions[C]) -> None:
        self._make = make

    def of(self, condition: Condition) -> _Narrowed[C]:
        make = self._make
        match condition:
            case Within(field, interval):
                looked_up = make.within(NUMBERS[field], interval)
                return _Narrowed([looked_up], is_exact=field is not NumberField.MODIFIED)
            case Says(field, manner, words):
                return _Narrowed(self._said(field, manner, storable(words)), is_exact=False)
            case Not(part):
                narrowed = self.of(part)
                if not narrowed.is_exact:
                    return _Narrowed([], is_exact=False)
                return _Narrowed([make.none_of([self._together(narrowed)])], is_exact=True)
            case And(parts):
                all_of = [self.of(part) for part in parts]
                conditions = [looked_up for part in all_of for looked_up in part.conditions]
                return _Narrowed(conditions, is_exact=all(part.is_exact for part in all_of))
            case Or(parts):
                any_of = [self.of(part) for part in parts]
                if not all(part.conditions for part in any_of):
                    return _Narrowed([], is_exact=False)
                either = make.any_of([self._together(part) for part in any_of])
                return _Narrowed([either], is_exact=all(part.is_exact for part in any_of))

    def _together(self, narrowed: _Narrowed[C]) -> C:
        """As one condition."""
        return self._make.all_of(list(narrowed.conditions))

    def _said(self, field: WordField | NamedField, manner: Manner, words: str) -> list[C]:
        match field:
            case WordField.PATH:
                return self._like(SOUGHT_PATHS, manner, words)
            case WordField.TAG:
                return self._like(SOUGHT_TAGS, manner, words)
            case NamedField(name):
                return self._like(SOUGHT_NAMED, manner, words, before=f"{storable(name)}=")
            case WordField.NAME | WordField.EXT:  # parts of the path
                is_pattern = manner is Manner.PATTERN
                return self._like(SOUGHT_PATHS, Manner.CONTAINS, words, is_pattern=is_pattern)
            case WordField.LIBRARY:
                return []

    def _like(
        self,
        field: str,
        manner: Manner,
        words: str,
        *,
        before: str = "",
        is_pattern: bool | None = None,
    ) -> list[C]:
        """What a text that starts with `before` has in it, if its rest is like these words."""
        if is_pattern is None:
            is_pattern = manner is Manner.PATTERN
        pieces = literals(words) if is_pattern else [words]
        is_whole = manner is Manner.EQUALS or (manner is Manner.PATTERN and pieces == [words])
        if is_whole:
            return [self._make.equal_to(field, f"{before}{words}")]
        start = self._make.starting_with(field, before) if before else None
        inside = [self._make.containing(field, piece) for piece in pieces if piece]
        return [found for found in [start, *inside] if found is not None]

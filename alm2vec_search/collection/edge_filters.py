"""The conditions of Qdrant Edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qdrant_edge as qdrant

from alm2vec_search.collection.narrowing import narrowed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.collection.base import SearchFilter
    from alm2vec_search.conditions import Interval

    Condition = qdrant.ConditionType


class EdgeConditions:
    """Makes conditions of Qdrant Edge; see `narrowing.Conditions`. It knows all of them."""

    def equal_to(self, field: str, value: str | int) -> Condition:
        return qdrant.FieldCondition(field, match=qdrant.MatchValue(value))

    def one_of(self, field: str, values: Sequence[str]) -> Condition:
        return qdrant.FieldCondition(field, match=qdrant.MatchAny(list(values)))

    def starting_with(self, field: str, text: str) -> Condition:
        return qdrant.FieldCondition(field, match=qdrant.MatchPrefix(text))

    def containing(self, field: str, text: str) -> Condition:
        return qdrant.FieldCondition(field, match=qdrant.MatchSubstring(text))

    def within(self, field: str, interval: Interval) -> Condition:
        numbers = qdrant.RangeFloat(
            gte=interval.least, gt=interval.above, lte=interval.most, lt=interval.below
        )
        return qdrant.FieldCondition(field, range=numbers)

    def all_of(self, conditions: Sequence[Condition]) -> Condition:
        return qdrant.Filter(must=list(conditions))

    def any_of(self, conditions: Sequence[Condition]) -> Condition:
        return qdrant.Filter(should=list(conditions))

    def none_of(self, conditions: Sequence[Condition]) -> Condition:
        return qdrant.Filter(must_not=list(conditions))


def equals(field: str, value: str | int) -> qdrant.Filter:
    """All points with this value."""
    return qdrant.Filter(must=[EdgeConditions().equal_to(field, value)])


def to_filter(where: SearchFilter) -> qdrant.Filter:
    """See `narrowing.narrowed`."""
    return qdrant.Filter(must=narrowed(where, EdgeConditions()))

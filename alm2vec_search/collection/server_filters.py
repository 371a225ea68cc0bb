"""The conditions of a Qdrant server. Older ones know fewer of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdrant_client import models as qdrant

from alm2vec_search.collection.narrowing import narrowed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.collection.base import SearchFilter
    from alm2vec_search.collection.server_schema import ServerFeatures
    from alm2vec_search.conditions import Interval


class ServerConditions:
    """Makes conditions of a Qdrant server; see `narrowing.Conditions`."""

    def __init__(self, features: ServerFeatures) -> None:
        self._features = features

    def equal_to(self, field: str, value: str | int) -> qdrant.Condition:
        return qdrant.FieldCondition(key=field, match=qdrant.MatchValue(value=value))

    def one_of(self, field: str, values: Sequence[str]) -> qdrant.Condition:
        return qdrant.FieldCondition(key=field, match=qdrant.MatchAny(any=list(values)))

    def starting_with(self, field: str, text: str) -> qdrant.Condition | None:
        if not self._features.has_prefixes:
            return None
        return qdrant.FieldCondition(key=field, match=qdrant.MatchPrefix(prefix=text))

    def containing(self, field: str, text: str) -> qdrant.Condition | None:
        if not self._features.has_substrings:
            return None
        return qdrant.FieldCondition(key=field, match=qdrant.MatchSubstring(substring=text))

    def within(self, field: str, interval: Interval) -> qdrant.Condition:
        numbers = qdrant.Range(
            gte=interval.least, gt=interval.above, lte=interval.most, lt=interval.below
        )
        return qdrant.FieldCondition(key=field, range=numbers)

    def all_of(self, conditions: Sequence[qdrant.Condition]) -> qdrant.Condition:
        return qdrant.Filter(must=list(conditions))

    def any_of(self, conditions: Sequence[qdrant.Condition]) -> qdrant.Condition:
        return qdrant.Filter(should=list(conditions))

    def none_of(self, conditions: Sequence[qdrant.Condition]) -> qdrant.Condition:
        return qdrant.Filter(must_not=list(conditions))


def equals(field: str, value: str | int) -> qdrant.Filter:
    """All points with this value."""
    found = qdrant.FieldCondition(key=field, match=qdrant.MatchValue(value=value))
    return qdrant.Filter(must=[found])


def to_filter(where: SearchFilter, features: ServerFeatures) -> qdrant.Filter:
    """See `narrowing.narrowed`."""
    return qdrant.Filter(must=narrowed(where, ServerConditions(features)))

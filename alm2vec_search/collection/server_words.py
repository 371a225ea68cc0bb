"""Words on a server that has no BM25: what of them a text has, and how rare they are.

Each word is looked up in the index of texts, by its stem, as the server makes it. A text's score is
the sum of its words' weights; how often a word is in it, and how long it is, don't count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qdrant_client import models as qdrant

from alm2vec_search.collection.payload import SOUGHT_WORDS, spaced
from alm2vec_search.conditions import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.collection.server_connection import Server

_MOST_WORDS = 12  # of a question
_MOST_POINTS = 2000  # with one word; of a word that more have, some are left out


@dataclass
class FoundText:
    """A chunk whose text has some of the words."""

    payload: dict[str, Any] | None
    score: float = field(default=0.0)


def by_words(
    server: Server, collection: str, words: str, among: qdrant.Filter, n_points: int
) -> Sequence[FoundText]:
    """Chunks that are told of in some of these words, best first."""
    found: dict[object, FoundText] = {}
    for word in dict.fromkeys(fold(spaced(words)).split()[:_MOST_WORDS]):
        has_word = qdrant.FieldCondition(key=SOUGHT_WORDS, match=qdrant.MatchText(text=word))
        n_with = _count(server, collection, qdrant.Filter(must=[has_word]))
        if not n_with:
            continue
        weight = math.log(1 + (n_points - n_with + 0.5) / (n_with + 0.5))
        looked_up = qdrant.Filter(must=[has_word, among])
        for record in _first(server, collection, looked_up):
            found.setdefault(record.id, FoundText(record.payload)).score += weight
    return sorted(found.values(), key=lambda text: -text.score)


def _count(server: Server, collection: str, of: qdrant.Filter) -> int:
    return server.ask(lambda client: client.count(collection, count_filter=of, exact=True)).count


def _first(server: Server, collection: str, of: qdrant.Filter) -> Sequence[qdrant.Record]:
    records, _ = server.ask(
        lambda client: client.scroll(
            collection, scroll_filter=of, limit=_MOST_POINTS, with_payload=True
        )
    )
    return records

"""From the payloads of chunks to the contents they are of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alm2vec_search.collection.base import StoredContent
from alm2vec_search.collection.payload import CONTENT_HASH, PLACES, to_content, to_places

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alm2vec_search.collection.payload import Payload


def stored_contents(payloads: Iterable[Payload]) -> Iterator[StoredContent]:
    """The contents of chunks that come in any order, by content hash."""
    tallies: dict[str, _Tally] = {}
    for payload in payloads:
        content_hash = payload[CONTENT_HASH]
        if content_hash not in tallies:
            tallies[content_hash] = _Tally(payload)
        tallies[content_hash].add(payload)
    for content_hash in sorted(tallies):
        yield tallies.pop(content_hash).stored()


class _Tally:
    """What is known of a content while its chunks come by."""

    def __init__(self, first: Payload) -> None:
        self._content = to_content(first)
        self._places = first[PLACES]
        self._n_expected: int = first["n_chunks"]
        self._n_seen = 0
        self._do_agree = True

    def add(self, payload: Payload) -> None:
        self._n_seen += 1
        self._do_agree &= payload[PLACES] == self._places

    def stored(self) -> StoredContent:
        return StoredContent(
            content=self._content,
            places=to_places(self._places),
            n_chunks=self._n_seen,
            is_complete=self._do_agree and self._n_seen >= self._n_expected,
        )

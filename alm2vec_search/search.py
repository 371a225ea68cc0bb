"""From a question to ranked hits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.collection.base import SearchFilter
from alm2vec_search.domain import Hit, Waveform
from alm2vec_search.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from alm2vec_search.collection.base import Collection, Match
    from alm2vec_search.domain import Embedding, Encoder, Place, Query


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """What narrows and shapes an answer."""

    limit: int = 10
    under: Path | None = None  # stay within this folder, or file; absolute
    all_chunks: bool = False  # every matching chunk of a file, not only its best
    include_silent: bool = False


class Searcher:
    """Answers queries from a collection.

    Args:
        encoder: must be the one that filled the collection.
        collection: open, and left open.
        window_s: a query's sound longer than this is embedded in windows, as files are.
    """

    def __init__(self, encoder: Encoder, collection: Collection, *, window_s: float = 10.0) -> None:
        self._encoder = encoder
        self._collection = collection
        self._window_s = window_s

    @property
    def sampling_rate(self) -> int:
        """Of a query's sound, in Hz."""
        return self._encoder.sampling_rate

    def search(self, query: Query, options: SearchOptions | None = None) -> list[Hit]:
        """The nearest files with their best span, or the nearest spans; best first.

        Raises:
            QueryError: the query is empty.
            CollectionError: the collection can't be read.
        """
        options = options or SearchOptions()
        embedding = self.embed(query)
        where = SearchFilter(under=options.under, include_silent=options.include_silent)
        if options.all_chunks:
            matches = self._collection.nearest(embedding, limit=options.limit, where=where)
        else:
            matches = self._collection.nearest_contents(embedding, limit=options.limit, where=where)
        return [_to_hit(match, options.under) for match in matches]

    def embed(self, query: Query) -> Embedding:
        """The query's vector [dim]. The windows of a long sound are averaged.

        Raises:
            QueryError: there is nothing in it.
        """
        text = query.text.strip() if query.text else None
        windows = _windows(query.audio, self._window_s)
        if not text and not windows:
            raise QueryError("the query is empty", hint='alm2vec search "rain on a tin roof"')
        n = max(1, len(windows))
        embeddings = self._encoder.encode_query(
            text=[text or None] * n,
            audio=windows or None,
            instruction=query.instruction,
        )  # [n, dim]
        mean: Embedding = embeddings.mean(axis=0)
        return mean / np.float32(np.linalg.norm(mean))


def _windows(audio: Waveform | None, window_s: float) -> list[Waveform]:
    """A sound in as few equal pieces as it takes for each to fit into a window."""
    if audio is None or not len(audio.samples):
        return []
    n = max(1, int(np.ceil(audio.duration_s / window_s)))
    return [Waveform(piece, audio.sampling_rate) for piece in np.array_split(audio.samples, n)]


def _to_hit(match: Match, under: Path | None) -> Hit:
    """The answer's first place, in the folder that was asked for; other places are its copies."""
    shown, *copies = _in_reading_order(match.places, under)
    return Hit(
        path=shown.path,
        library=shown.library,
        span=match.span,
        score=match.score,
        silent=match.silent,
        copies=tuple(copy.path for copy in copies),
    )


def _in_reading_order(places: Sequence[Place], under: Path | None) -> list[Place]:
    ordered = sorted(places, key=lambda place: place.path)
    if under is None:
        return ordered
    return [place for place in ordered if place.path.is_relative_to(under)]

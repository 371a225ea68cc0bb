"""What a ranking is worth, from where the right documents lie in it.

All of these are of one query, in [0, 1], and better when larger; a set's figure is their mean. With
`places` p₁ < p₂ < … of the right documents, counted from 0, and R of them in the pool:

    hit@k        1 if p₁ < k: R@k of the published tables (WavCaps' `t2a` and `a2t`)
    recall@k     |{pᵢ < k}| / R
    precision@k  |{pᵢ < k}| / k
    mrr          1 / (p₁ + 1)
    ap@k         Σ over pᵢ < k of i / (pᵢ + 1), divided by R: `map_cut` of trec_eval
    ndcg@k       Σ over pᵢ < k of 1 / log₂(pᵢ + 2), over the same of an ideal ranking: all right
                 documents first (Järvelin and Kekäläinen 2002, binary relevance)

Where scores tie, the wrong documents come first: a model that gives everything the same score finds
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from numpy.typing import NDArray

QUERIES_AT_A_TIME = 1024  # so that scores of many against many fit into memory
CUT = 10  # of nDCG, MAP and precision


@dataclass(frozen=True, slots=True)
class Places:
    """Where the right documents of one query lie in a ranking.

    Attributes:
        places: from 0, ascending; those that were found.
        num_right: how many there are in the pool.
    """

    places: tuple[int, ...]
    num_right: int

    @property
    def first(self) -> int | None:
        """Of the best right one; None if none was found."""
        return self.places[0] if self.places else None


def hit(found: Places, k: int) -> float:
    """
    >>> hit(Places((4, 9), num_right=2), 5)
    1.0
    """
    return float(bool(found.places) and found.places[0] < k)


def recall(found: Places, k: int) -> float:
    """
    >>> recall(Places((4, 9), num_right=2), 5)
    0.5
    """
    return sum(place < k for place in found.places) / found.num_right


def precision(found: Places, k: int) -> float:
    """
    >>> precision(Places((0, 9), num_right=2), 10)
    0.2
    """
    return sum(place < k for place in found.places) / k


def reciprocal_rank(found: Places) -> float:
    """
    >>> reciprocal_rank(Places((3,), num_right=1))
    0.25
    """
    return 1 / (found.places[0] + 1) if found.places else 0.0


def average_precision(found: Places, k: int) -> float:
    """
    >>> average_precision(Places((0, 3), num_right=2), 10)  # (1/1 + 2/4) / 2
    0.75
    """
    counted = [place for place in found.places if place < k]
    return sum(i / (place + 1) for i, place in enumerate(counted, start=1)) / found.num_right


def ndcg(found: Places, k: int) -> float:
    """
    >>> round(ndcg(Places((2,), num_right=1), 10), 3)  # 1 / log₂ 4
    0.5
    """
    gained = sum(_gain(place) for place in found.places if place < k)
    return gained / sum(_gain(place) for place in range(min(found.num_right, k)))


def _gain(place: int) -> float:
    return float(1 / np.log2(place + 2))


# ---- where the right ones lie ----


def ranked_places(
    queries: NDArray[np.float32],
    documents: NDArray[np.float32],
    relevant: Sequence[Collection[int]],
) -> Iterator[tuple[Places, NDArray[np.int64]]]:
    """Rank every document for every query, by inner product.

    Args:
        queries: unit vectors [Q, dim].
        documents: unit vectors [D, dim].
        relevant: for each query, the rows of its right documents; one at least.

    Yields:
        for each query, where its right documents lie, and all rows, best first [D].
    """
    for start in range(0, len(queries), QUERIES_AT_A_TIME):
        scores = queries[start : start + QUERIES_AT_A_TIME] @ documents.T  # [q, D]
        for row, own in zip(scores, relevant[start:], strict=False):
            is_right = np.zeros(len(documents), dtype=bool)
            is_right[list(own)] = True
            order = np.lexsort((is_right, -row))  # ties: the wrong ones first
            places = np.flatnonzero(is_right[order])
            yield Places(tuple(places.tolist()), len(own)), order

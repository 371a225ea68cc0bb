"""Several rankings as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RANK_CONSTANT = 60  # Cormack, Clarke and Buettcher, SIGIR 2009, section 3


def reciprocal_rank_fusion(
    scores: NDArray[np.floating], weights: Sequence[float]
) -> NDArray[np.float64]:
    """What n things come to that k judges gave scores [n, k]: higher is better [n].

    Each judge counts by the ranks that it gave, so that scores needn't be comparable. Things with
    the same score share a rank. NaN is no score, and adds nothing.

    >>> reciprocal_rank_fusion(np.array([[0.9, 3.0], [0.8, np.nan]]), [1, 1]).round(4)
    array([0.0328, 0.0161])
    """
    fused = np.zeros(len(scores))
    for judged, weight in zip(scores.T, weights, strict=True):
        better = judged[None, :] > judged[:, None]  # [n, n]
        rank = 1 + better.sum(axis=1)
        fused += np.where(np.isnan(judged), 0.0, weight / (RANK_CONSTANT + rank))
    return fused

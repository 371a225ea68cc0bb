"""How far a mean over queries may be from what it would be on other sounds of the same kind.

Queries about one clip, recording or speaker aren't independent, so that the bootstrap draws whole
groups anew (Field and Welsh 2007, cluster bootstrap), with a fixed seed: the same figures have the
same interval every time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
_AT_A_TIME = 500  # resamples: of a thousand groups, 4 MB
SEED = 0
OUTSIDE = 0.05  # of the probability


class Interval(NamedTuple):
    """95 %."""

    low: float
    high: float


def interval(values: ArrayLike, groups: Sequence[Hashable]) -> Interval | None:
    """Of the mean of `values`, each in [0, 1].

    Where all values are 1, or all 0, there is nothing to draw: what is given then is the exact
    binomial interval (Clopper and Pearson 1934) of as many trials as there are groups.

    Args:
        values: [n].
        groups: what each value belongs to, n of them.

    Returns:
        None, if all are of one group: nothing can be said.

    >>> interval([1.0, 1.0], ["one", "other"])
    Interval(low=0.15811388300841897, high=1.0)
    """
    measured = np.asarray(values, dtype=np.float64)
    n_groups = len(set(groups))
    if n_groups < 2:
        return None
    if np.all(measured == measured[0]) and measured[0] in (0.0, 1.0):
        edge = (OUTSIDE / 2) ** (1 / n_groups)
        return Interval(float(edge), 1.0) if measured[0] else Interval(0.0, float(1 - edge))
    return _drawn(measured, groups)


def difference_interval(
    values: ArrayLike, others: ArrayLike, groups: Sequence[Hashable]
) -> Interval | None:
    """Of the mean of `values` less that of `others`, measured on the same queries: what both find
    hard cancels out, so that it is narrower than the two intervals let one think.

    Args:
        values, others: [n], in the order of the queries.
        groups: what each query belongs to, n of them.

    Returns:
        None, if all are of one group.

    >>> difference_interval([1, 0, 1, 1], [1, 0, 1, 1], list("abcd"))
    Interval(low=0.0, high=0.0)
    """
    if len(set(groups)) < 2:
        return None
    return _drawn(np.asarray(values, np.float64) - np.asarray(others, np.float64), groups)


def _drawn(measured: NDArray[np.float64], groups: Sequence[Hashable]) -> Interval:
    """By drawing whole groups anew."""
    number = {group: row for row, group in enumerate(dict.fromkeys(groups))}
    group = np.array([number[one] for one in groups])
    sums, sizes = np.bincount(group, weights=measured), np.bincount(group)  # [G]
    rng = np.random.default_rng(SEED)
    means = []
    for _ in range(0, RESAMPLES, _AT_A_TIME):
        drawn = rng.integers(len(sizes), size=(_AT_A_TIME, len(sizes)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [OUTSIDE / 2, 1 - OUTSIDE / 2])
    return Interval(float(low), float(high))

"""Intervals: known distributions, groups, and what can't be drawn."""

from __future__ import annotations

import numpy as np
import pytest

from alm2vec_search.evaluation.intervals import Interval, difference_interval, interval


def test_the_interval_of_many_independent_coins_is_that_of_the_binomial() -> None:
    n, p = 400, 0.3
    values = [1.0] * round(p * n) + [0.0] * round((1 - p) * n)
    found = interval(values, [str(i) for i in range(n)])
    assert found is not None
    half = 1.96 * np.sqrt(p * (1 - p) / n)
    assert found.low == pytest.approx(p - half, abs=0.006)
    assert found.high == pytest.approx(p + half, abs=0.006)


def test_queries_of_one_group_are_drawn_together() -> None:
    """Ten copies of each query say no more than one: the interval stays as wide."""
    once = [float(i % 3 == 0) for i in range(60)]
    groups = [str(i) for i in range(60)]
    repeated = interval(np.repeat(once, 10), list(np.repeat(groups, 10)))
    assert repeated == interval(once, groups)


def test_groups_of_unequal_sizes_keep_their_weight() -> None:
    values, groups = [1.0] * 9 + [0.0], ["large"] * 9 + ["small"]
    assert interval(values, groups) == Interval(0.0, 1.0)  # either may be drawn twice


@pytest.mark.parametrize(
    ("value", "expected"), [(1.0, (0.025 ** (1 / 60), 1.0)), (0.0, (0.0, 1 - 0.025 ** (1 / 60)))]
)
def test_all_right_or_all_wrong_is_not_certain(value: float, expected: tuple[float, float]) -> None:
    found = interval([value] * 60, [str(i) for i in range(60)])
    assert found == pytest.approx(expected)


def test_it_is_the_same_every_time() -> None:
    values = np.random.default_rng(1).random(50)
    groups = [str(i) for i in range(50)]
    assert interval(values, groups) == interval(values, groups)


def test_what_both_find_hard_cancels_out() -> None:
    """The second is right wherever the first is, and in four more of a hundred."""
    hard = np.random.default_rng(2).random(100) < 0.5
    first = (~hard).astype(float)
    second = first.copy()
    second[np.flatnonzero(hard)[:4]] = 1
    groups = list(range(100))
    found = difference_interval(second, first, groups)
    assert found is not None
    assert 0 < found.low < 0.04 < found.high < 0.1
    alone, other = interval(first, groups), interval(second, groups)
    assert alone is not None
    assert other is not None
    assert other.low < alone.high  # which, looked at side by side, say nothing


def test_differences_of_one_group_are_drawn_together() -> None:
    second, first = [1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]
    once = difference_interval(second, first, [0, 1, 2, 3])
    again = difference_interval(
        np.repeat(second, 9), np.repeat(first, 9), list(np.repeat(range(4), 9))
    )
    assert once == again
    assert difference_interval(second, first, [0, 0, 0, 0]) is None


def test_one_group_says_nothing_of_others() -> None:
    assert interval([0.0, 1.0], ["the only", "the only"]) is None

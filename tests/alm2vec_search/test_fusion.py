"""Several rankings as one, checked against sums done by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alm2vec_search.fusion import RANK_CONSTANT, reciprocal_rank_fusion

NAN = float("nan")


def part(rank: int, weight: float = 1.0) -> float:
    """What one judge adds."""
    return weight / (RANK_CONSTANT + rank)


def test_judges_count_by_the_ranks_they_give() -> None:
    scores = np.array([[0.9, 1.0], [0.8, 300.0], [0.1, 2.0]])
    expected = [part(1) + part(3), part(2) + part(1), part(3) + part(2)]
    np.testing.assert_allclose(reciprocal_rank_fusion(scores, [1, 1]), expected)


def test_weights() -> None:
    scores = np.array([[0.9, 1.0], [0.8, 2.0]])
    expected = [part(1, 3) + part(2, 0.5), part(2, 3) + part(1, 0.5)]
    np.testing.assert_allclose(reciprocal_rank_fusion(scores, [3, 0.5]), expected)


def test_a_weight_of_zero_silences_a_judge() -> None:
    scores = np.array([[0.9, 1.0], [0.8, 2.0]])
    heard = reciprocal_rank_fusion(scores[:, :1], [1])
    np.testing.assert_array_equal(reciprocal_rank_fusion(scores, [1, 0]), heard)


def test_the_same_score_shares_a_rank_and_the_next_comes_after_all_of_them() -> None:
    scores = np.array([[0.5], [0.9], [0.5], [0.1]])
    expected = [part(2), part(1), part(2), part(4)]
    np.testing.assert_allclose(reciprocal_rank_fusion(scores, [1]), expected)


def test_no_score_adds_nothing_and_takes_no_rank() -> None:
    scores = np.array([[NAN, 1.0], [-5.0, NAN], [-6.0, 2.0], [NAN, NAN]])
    expected = [part(2), part(1), part(2) + part(1), 0.0]
    np.testing.assert_allclose(reciprocal_rank_fusion(scores, [1, 1]), expected)


def test_one_judge_keeps_its_order() -> None:
    scores = np.random.default_rng(0).normal(size=(50, 1))
    fused = reciprocal_rank_fusion(scores, [0.3])
    np.testing.assert_array_equal(np.argsort(fused), np.argsort(scores[:, 0]))


@pytest.mark.parametrize("n_judges", [1, 3])
def test_nothing_to_judge(n_judges: int) -> None:
    assert reciprocal_rank_fusion(np.zeros((0, n_judges)), [1] * n_judges).shape == (0,)


def test_each_judge_has_a_weight() -> None:
    with pytest.raises(ValueError, match="zip"):
        reciprocal_rank_fusion(np.zeros((2, 2)), [1])


@given(
    scores=st.lists(st.tuples(*[st.integers(-3, 3)] * 3), min_size=2, max_size=12),
    weights=st.tuples(*[st.floats(0.1, 10)] * 3),
)
def test_what_is_no_worse_for_any_judge_never_ends_lower(
    scores: list[tuple[int, int, int]], weights: tuple[float, float, float]
) -> None:
    judged = np.array(scores, dtype=np.float64)
    fused = reciprocal_rank_fusion(judged, weights)
    for mine, my_sum in zip(judged, fused, strict=True):
        for other, other_sum in zip(judged, fused, strict=True):
            if (mine >= other).all():
                assert my_sum >= other_sum
            if (mine > other).all():
                assert my_sum > other_sum

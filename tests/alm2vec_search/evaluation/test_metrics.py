"""Measures of a ranking: closed forms, ties, and what others' programs make of the same scores."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alm2vec_search.evaluation.metrics import (
    Places,
    average_precision,
    hit,
    ndcg,
    precision,
    ranked_places,
    recall,
    reciprocal_rank,
)

ORTHOGONAL = np.eye(4, dtype=np.float32)


def test_one_right_document_at_each_place() -> None:
    for place in range(12):
        found = Places((place,), num_right=1)
        assert hit(found, 5) == (place < 5)
        assert recall(found, 5) == (place < 5)
        assert reciprocal_rank(found) == 1 / (place + 1)
        assert average_precision(found, 10) == (1 / (place + 1) if place < 10 else 0)
        assert ndcg(found, 10) == pytest.approx(1 / math.log2(place + 2) if place < 10 else 0)


def test_several_right_documents() -> None:
    found = Places((1, 2, 12), num_right=4)
    assert hit(found, 1) == 0
    assert hit(found, 2) == 1
    assert recall(found, 10) == 2 / 4
    assert precision(found, 10) == 2 / 10
    assert average_precision(found, 10) == pytest.approx((1 / 2 + 2 / 3) / 4)
    gained = 1 / math.log2(3) + 1 / math.log2(4)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4) + 1 / math.log2(5)
    assert ndcg(found, 10) == pytest.approx(gained / ideal)


def test_an_ideal_ranking_has_an_ndcg_of_one_however_many_are_right() -> None:
    for right in (1, 5, 25):
        assert ndcg(Places(tuple(range(right)), right), 10) == pytest.approx(1)


def test_what_was_not_found_is_worth_nothing() -> None:
    nothing = Places((), num_right=2)
    assert nothing.first is None
    assert [hit(nothing, 10), recall(nothing, 10), precision(nothing, 10)] == [0, 0, 0]
    assert [reciprocal_rank(nothing), average_precision(nothing, 10), ndcg(nothing, 10)] == [0] * 3


def test_ties_go_to_the_wrong_documents() -> None:
    alike = np.ones((4, 4), dtype=np.float32) / 2
    (found, order), *_ = ranked_places(alike[:1], alike, [{0, 2}])
    assert found.places == (2, 3)
    assert set(order[:2].tolist()) == {1, 3}


def test_a_duplicate_of_the_right_sound_that_counts_as_wrong_comes_before_it() -> None:
    documents = ORTHOGONAL[[0, 0, 1]]
    ((found, _),) = ranked_places(ORTHOGONAL[:1], documents, [{0}])
    assert found.places == (1,)
    ((found, _),) = ranked_places(ORTHOGONAL[:1], documents, [{0, 1}])
    assert found.places == (0, 1)


def test_the_best_of_five_captions_counts() -> None:
    captions = np.stack([ORTHOGONAL[i] for i in (1, 2, 0, 3, 1)])
    ((found, order),) = ranked_places(ORTHOGONAL[:1], captions, [{0, 2, 4}])
    assert found.first == 0
    assert order[0] == 2


def test_many_queries_are_ranked_in_the_order_they_are_given() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((2500, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = [
        places.first for places, _ in ranked_places(vectors, vectors, [{i} for i in range(2500)])
    ]
    assert found == [0] * 2500  # across the bounds of what is scored at a time


@pytest.fixture(scope="module")
def judged() -> tuple[np.ndarray, list[set[int]]]:
    """Scores [40, 60] without ties, and one to six right documents a query."""
    rng = np.random.default_rng(5)
    scores = rng.permutation(40 * 60).reshape(40, 60).astype(np.float32) / (40 * 60)
    relevant = [
        set(rng.choice(60, size=rng.integers(1, 7), replace=False).tolist()) for _ in range(40)
    ]
    return scores, relevant


def ours(scores: np.ndarray, relevant: list[set[int]]) -> dict[str, float]:
    found = [p for p, _ in ranked_places(scores, np.eye(60, dtype=np.float32), relevant)]
    return {
        "mrr": float(np.mean([reciprocal_rank(p) for p in found])),
        "ndcg": float(np.mean([ndcg(p, 10) for p in found])),
        "map": float(np.mean([average_precision(p, 10) for p in found])),
        "precision": float(np.mean([precision(p, 10) for p in found])),
        "recall": float(np.mean([recall(p, 10) for p in found])),
        "hit": float(np.mean([hit(p, 10) for p in found])),
    }


def as_dicts(
    scores: np.ndarray, relevant: list[set[int]]
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, float]]]:
    qrels = {f"q{q}": {f"d{d}": 1 for d in sorted(right)} for q, right in enumerate(relevant)}
    run = {
        f"q{q}": {f"d{d}": float(score) for d, score in enumerate(row)}
        for q, row in enumerate(scores)
    }
    return qrels, run


def test_ranx_agrees(
    judged: tuple[np.ndarray, list[set[int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # compiling would take longer than all the rest
    import ranx

    qrels, run = as_dicts(*judged)
    names = {
        "mrr": "mrr",
        "ndcg": "ndcg@10",
        "map": "map@10",
        "precision": "precision@10",
        "recall": "recall@10",
        "hit": "hit_rate@10",
    }
    theirs = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), list(names.values()))
    measured = ours(*judged)
    for name, called in names.items():
        assert measured[name] == pytest.approx(theirs[called], abs=1e-9), name


def test_mteb_agrees(judged: tuple[np.ndarray, list[set[int]]]) -> None:
    from mteb._evaluators.retrieval_metrics import calculate_retrieval_scores

    qrels, run = as_dicts(*judged)
    theirs = calculate_retrieval_scores(run, qrels, [10])
    measured = ours(*judged)
    assert measured["ndcg"] == pytest.approx(theirs.ndcg["NDCG@10"], abs=1e-5)
    assert measured["map"] == pytest.approx(theirs.map["MAP@10"], abs=1e-5)
    assert measured["recall"] == pytest.approx(theirs.recall["Recall@10"], abs=1e-5)
    assert measured["precision"] == pytest.approx(theirs.precision["P@10"], abs=1e-5)

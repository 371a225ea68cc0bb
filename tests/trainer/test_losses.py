"""The contrastive loss, against closed forms and against itself written out term by term."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from alm2vec_search.errors import TrainingError
from trainer.losses import (
    AbsoluteMask,
    ContrastiveLoss,
    NoMask,
    PairIds,
    RelativeMask,
    SimilarityMask,
)

NO_OWNERS = torch.zeros(0, dtype=torch.int64)


def strangers(n_pairs: int, owners: list[int] | None = None) -> PairIds:
    """Ids of pairs that have nothing to do with each other, and their hard negatives."""
    owners = owners or []
    return PairIds(
        queries=torch.arange(n_pairs),
        documents=torch.arange(n_pairs + len(owners)) + 1000,
        clips=-1 - torch.arange(n_pairs),
        negative_owners=torch.tensor(owners, dtype=torch.int64),
    )


def on_circle(*degrees: float) -> torch.Tensor:
    """Embeddings [n, 2] whose cosines are those of the angles between them."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1).float()


def random_batch(n_pairs: int, owners: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(n_pairs)
    queries = torch.randn(n_pairs, 5, generator=generator)
    documents = torch.randn(n_pairs + len(owners), 5, generator=generator)
    documents[:n_pairs] += queries
    return queries, documents


def term_by_term(
    cosines: torch.Tensor, kept: torch.Tensor, kept_of_documents: torch.Tensor, temperature: float
) -> float:
    """The formula of the docstring, a term at a time; `kept` hold the positives, too."""
    n_pairs = len(cosines)
    total = 0.0
    for i in range(n_pairs):
        own = math.exp(cosines[i, i] / temperature)
        among_documents = sum(
            math.exp(cosines[i, j] / temperature) for j in range(cosines.shape[1]) if kept[i, j]
        )
        among_queries = sum(
            math.exp(cosines[j, i] / temperature) for j in range(n_pairs) if kept_of_documents[i, j]
        )
        total -= math.log(own / among_documents) + math.log(own / among_queries)
    return total / (2 * n_pairs)


@pytest.mark.parametrize("n_pairs", [2, 5])
def test_of_equal_scores_nothing_is_known(n_pairs: int) -> None:
    same = torch.ones(n_pairs, 3)

    outcome = ContrastiveLoss(mask=NoMask())(same, same, strangers(n_pairs))

    assert outcome.loss.item() == pytest.approx(math.log(n_pairs))


def test_orthogonal_pairs_have_the_closed_form() -> None:
    eye = torch.eye(4)

    outcome = ContrastiveLoss(0.5)(eye, 7 * eye, strangers(4))

    assert outcome.loss.item() == pytest.approx(math.log(math.exp(2) + 3) - 2)
    assert outcome.accuracy == 1
    assert outcome.scale == pytest.approx(2)
    assert outcome.temperature == pytest.approx(0.5)
    assert outcome.masked_by_similarity == outcome.masked_by_identity == 0
    assert outcome.without_negatives == 0


def test_without_masks_it_is_the_formula_with_hard_negatives_for_queries_only() -> None:
    owners = [0, 0, 2]
    queries, documents = random_batch(4, owners)
    cosines = torch.nn.functional.cosine_similarity(queries[:, None], documents[None], dim=-1)

    outcome = ContrastiveLoss(0.2, mask=NoMask())(queries, documents, strangers(4, owners))

    everything = torch.ones(4, 7, dtype=torch.bool)
    expected = term_by_term(cosines, everything, everything[:, :4], 0.2)
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_relative_rule_compares_each_way_with_its_own_positive() -> None:
    """Query 0 fits document 1 far better than its own, and document 1 its own query best."""
    queries, documents = on_circle(0, 20, 90), on_circle(60, 10, 100)
    cosines = torch.tensor(
        [[math.cos(math.radians(q - d)) for d in (60, 10, 100)] for q in (0, 20, 90)]
    )
    positives = cosines.diagonal()
    kept = ~(cosines > positives[:, None] + 0.1)
    kept_of_documents = ~(cosines.T > positives[:, None] + 0.1)
    assert (~kept).nonzero().tolist() == [[0, 1]]
    assert (~kept_of_documents).nonzero().tolist() == [[0, 1], [0, 2]]

    outcome = ContrastiveLoss(0.3)(queries, documents, strangers(3))

    expected = term_by_term(cosines, kept, kept_of_documents, 0.3)
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-5)
    assert outcome.masked_by_similarity == pytest.approx(3 / 12)
    assert outcome.masked_by_identity == 0
    assert outcome.without_negatives == 1  # document 0, which both other queries would leave


def test_the_margin_is_what_may_be_exceeded() -> None:
    """Document 1 beats query 0's own by 0.27, query 1 beats document 0's own by 0.37."""
    queries, documents = on_circle(0, 90), on_circle(60, 40)

    def share(margin: float) -> float:
        loss = ContrastiveLoss(mask=RelativeMask(margin))
        return float(loss(queries, documents, strangers(2)).masked_by_similarity)

    assert [share(margin) for margin in (0.26, 0.27, 0.36, 0.37)] == [2 / 4, 1 / 4, 1 / 4, 0]


def test_the_absolute_rule_is_a_threshold() -> None:
    queries, documents = on_circle(0, 90), on_circle(30, 80)
    # cosines: 0-30 0.87, 0-80 0.17, 90-30 0.5, 90-80 0.98
    outcome = ContrastiveLoss(mask=AbsoluteMask(0.4))(queries, documents, strangers(2))

    assert outcome.masked_by_similarity == pytest.approx(2 / 4)  # 0.5, on both of its ways
    assert outcome.without_negatives == 2  # query 1 and document 0


def test_masks_see_cosines_and_not_logits() -> None:
    """0.05 apart is 5 apart after a scale of 100."""
    queries, documents = on_circle(0, 180), on_circle(25, 22)
    mask = RelativeMask(0.1)

    outcome = ContrastiveLoss(0.01, mask=mask)(queries, documents, strangers(2))

    assert outcome.masked_by_similarity == 1 / 4  # query 0 among the document 1's
    close = ContrastiveLoss(0.01, mask=mask)(queries[:1], documents, strangers(1, [0]))
    assert close.masked_by_similarity == 0


@pytest.mark.parametrize(
    ("queries", "documents", "clips", "masked"),
    [
        ([0, 1, 2], [10, 11, 12], [-1, -2, -3], []),
        ([0, 0, 2], [10, 11, 12], [-1, -2, -3], [(0, 1), (1, 0)]),
        ([0, 1, 2], [10, 11, 10], [-1, -2, -3], [(0, 2), (2, 0)]),
        ([0, 1, 2], [10, 11, 12], [-1, 7, 7], [(1, 2), (2, 1)]),
        # query 0 asks what 1 asks, and document 2 is 1's: pairs 0 and 2 share nothing themselves
        (
            [0, 0, 2],
            [10, 11, 11],
            [-1, -2, -3],
            [(0, 1), (1, 0), (1, 2), (2, 1), (0, 2)],
        ),
    ],
    ids=["strangers", "one question", "one answer", "one clip", "by way of another pair"],
)
def test_what_belongs_together_is_never_apart(
    queries: list[int], documents: list[int], clips: list[int], masked: list[tuple[int, int]]
) -> None:
    embedded_queries, embedded_documents = random_batch(3, [])
    cosines = torch.nn.functional.cosine_similarity(
        embedded_queries[:, None], embedded_documents[None], dim=-1
    )
    ids = PairIds(torch.tensor(queries), torch.tensor(documents), torch.tensor(clips), NO_OWNERS)
    kept = torch.ones(3, 3, dtype=torch.bool)
    for i, j in masked:
        kept[i, j] = False

    outcome = ContrastiveLoss(0.3, mask=NoMask())(embedded_queries, embedded_documents, ids)

    expected = term_by_term(cosines, kept, kept.T, 0.3)
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-5)
    assert outcome.masked_by_identity == pytest.approx(len(masked) / 6)
    assert outcome.masked_by_similarity == 0


@pytest.mark.parametrize("mask", [RelativeMask(-2), AbsoluteMask(-2)])
def test_a_hard_negative_stays_with_its_owner_however_similar(mask: SimilarityMask) -> None:
    """A mask that leaves out everything leaves the hard negatives of one's own, and no other."""
    owners = [0, 2]
    queries, documents = random_batch(3, owners)
    cosines = torch.nn.functional.cosine_similarity(queries[:, None], documents[None], dim=-1)
    kept = torch.eye(3, 5, dtype=torch.bool)
    kept[0, 3] = kept[2, 4] = True

    outcome = ContrastiveLoss(0.3, mask=mask)(queries, documents, strangers(3, owners))

    expected = term_by_term(cosines, kept, torch.eye(3, dtype=torch.bool), 0.3)
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-5)
    assert outcome.without_negatives == 1 + 3
    assert outcome.masked_by_similarity == pytest.approx((12 - 2 + 6) / (12 + 6))


def test_a_hard_negative_may_be_right_for_others() -> None:
    """For those of its owner's clip, and where it is what answers them, its owner among them."""
    owners = [0, 0, 1]
    queries, documents = random_batch(3, owners)
    cosines = torch.nn.functional.cosine_similarity(queries[:, None], documents[None], dim=-1)
    ids = replace(
        strangers(3, owners),
        documents=torch.tensor([10, 11, 12, 11, 13, 11]),  # of 0: 1's document; of 1: its own
        clips=torch.tensor([5, -2, 5]),
    )
    kept = torch.ones(3, 6, dtype=torch.bool)
    kept[0, 2] = kept[2, 0] = False  # one clip
    kept[2, 3] = kept[2, 4] = False  # what 0 brought from that clip
    kept[1, 3] = kept[1, 5] = False  # what is 1's own document

    outcome = ContrastiveLoss(0.3, mask=NoMask())(queries, documents, ids)

    expected = term_by_term(cosines, kept, kept[:, :3].T, 0.3)
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-5)


def test_gradients_are_those_of_the_formula_and_pass_no_mask() -> None:
    owners = [1]
    queries, documents = random_batch(3, owners)
    queries, documents = queries.double(), documents.double()
    ids = strangers(3, owners)
    loss = ContrastiveLoss(0.3, mask=RelativeMask(0.05))
    masked = loss(queries, documents, ids).masked_by_similarity
    assert masked > 0
    queries.requires_grad_()

    loss(queries, documents, ids).loss.backward()

    step = 1e-2  # float32 inside
    for row, column in ((0, 0), (1, 3), (2, 4)):
        shifted = [queries.detach().clone() for _ in range(2)]
        shifted[0][row, column] += step
        shifted[1][row, column] -= step
        up, down = (loss(moved, documents, ids).loss.item() for moved in shifted)
        assert queries.grad is not None
        assert queries.grad[row, column].item() == pytest.approx((up - down) / (2 * step), abs=2e-3)


def test_where_all_negatives_are_masked_nothing_is_learnt_and_nothing_breaks() -> None:
    queries, documents = (side.requires_grad_() for side in random_batch(3, []))
    ids = replace(strangers(3), clips=torch.tensor([4, 4, 4]))

    outcome = ContrastiveLoss()(queries, documents, ids)
    outcome.loss.backward()

    assert outcome.loss == 0
    assert outcome.without_negatives == 6
    assert outcome.masked_by_identity == 1
    assert queries.grad is not None
    assert not queries.grad.any()


def test_the_temperature_is_learnt_within_its_bounds_and_can_come_back() -> None:
    eye = torch.eye(3)
    loss = ContrastiveLoss(0.5, mask=NoMask())
    optimiser = torch.optim.SGD(loss.parameters(), lr=1e4)

    loss(eye, eye, strangers(3)).loss.backward()  # all is right: it wants to be surer
    optimiser.step()
    assert loss.log_scale > 100
    assert loss.scale.item() == pytest.approx(100)
    loss.clamp_scale_()
    assert loss.log_scale.item() == pytest.approx(math.log(100))

    optimiser.zero_grad()
    loss(eye, eye.flip(0), strangers(3)).loss.backward()  # all is wrong
    assert loss.log_scale.grad is not None
    assert loss.log_scale.grad > 0
    optimiser.step()
    assert loss.scale.item() == pytest.approx(1)


def test_a_temperature_can_be_fixed() -> None:
    loss = ContrastiveLoss(0.05, learn_temperature=False)

    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert loss(torch.eye(2), torch.eye(2), strangers(2)).temperature == pytest.approx(0.05)


@pytest.mark.parametrize("temperature", [0.0, 0.009, 1.1, -1.0, math.nan])
def test_a_temperature_out_of_bounds_is_refused(temperature: float) -> None:
    with pytest.raises(TrainingError, match="out of bounds") as caught:
        ContrastiveLoss(temperature)
    assert caught.value.hint == "choose one from 0.01 to 1"


def test_the_bound_can_be_another() -> None:
    loss = ContrastiveLoss(0.05, max_scale=20)
    torch.nn.init.constant_(loss.log_scale, 9.0)

    assert loss.scale.item() == pytest.approx(20)
    loss.clamp_scale_()
    assert loss.log_scale.item() == pytest.approx(math.log(20))
    with pytest.raises(TrainingError, match="out of bounds") as caught:
        ContrastiveLoss(0.04, max_scale=20)
    assert caught.value.hint == "choose one from 0.05 to 1"


def test_it_is_computed_in_float32_whatever_autocast_says() -> None:
    queries, documents = random_batch(6, [])
    loss = ContrastiveLoss(0.01)
    expected = loss(queries, documents, strangers(6)).loss

    with torch.autocast("cpu", torch.bfloat16):
        found = loss(queries, documents, strangers(6)).loss

    assert found.dtype == torch.float32
    assert found.item() == expected.item()


def test_a_single_pair_teaches_nothing_unless_it_brings_a_negative() -> None:
    with pytest.raises(TrainingError, match="single pair") as caught:
        ContrastiveLoss()(torch.ones(1, 3), torch.ones(1, 3), strangers(1))
    assert caught.value.hint is not None
    assert "two pairs" in caught.value.hint

    queries, documents = on_circle(0), on_circle(90, 0)
    outcome = ContrastiveLoss(0.5)(queries, documents, strangers(1, [0]))
    assert outcome.loss.item() == pytest.approx(math.log(1 + math.exp(2)) / 2)


def test_what_is_not_finite_is_named() -> None:
    queries, documents = random_batch(9, [])
    queries[1, 0] = torch.nan
    documents[[0, 2, 3, 4, 5, 6, 7]] = torch.inf
    with pytest.raises(TrainingError) as caught:
        ContrastiveLoss()(queries, documents, strangers(9))
    assert str(caught.value) == (
        "the loss isn't finite: what the model makes of queries 1 and of documents 0, 2, 3, 4, 5 "
        "and 2 more of the batch isn't"
    )

    loss = ContrastiveLoss()
    torch.nn.init.constant_(loss.log_scale, torch.nan)
    with pytest.raises(TrainingError, match="the temperature isn't"):
        loss(*random_batch(3, []), strangers(3))

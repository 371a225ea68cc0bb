"""Which pairs a batch is made of: proportions, order, and that all of it follows from the seed."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from accelerate.data_loader import prepare_data_loader, skip_first_batches
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from alm2vec_search.errors import TrainingError
from trainer.mixture import STRIDE, TEETH, Draw, Mixture, floor_sum, mixed, permuted

SIZES = st.lists(st.integers(1, 5000), min_size=1, max_size=8)
WEIGHTS = st.floats(0.001, 1000)


def mixture(sizes: list[int], batch_size: int = 8, seed: int = 0, **rest: object) -> Mixture:
    return Mixture(sizes, batch_size, 100, seed, **rest)  # type: ignore[arg-type]


def shuffled(size: int, key: int) -> list[int]:
    keys = mixed(np.full(size, key, np.uint64))
    places: list[int] = permuted(np.arange(size), np.full(size, size), keys).tolist()
    return places


@given(st.integers(1, 400), st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_a_shuffle_is_a_bijection(size: int, key: int) -> None:
    assert sorted(shuffled(size, key)) == list(range(size))


@given(st.integers(2**40, 2**62), st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_a_shuffle_of_any_size_stays_in_it(size: int, key: int) -> None:
    places = np.array([0, 1, size // 2, size - 2, size - 1])
    there = permuted(places, np.full(5, size), np.full(5, key, np.uint64))
    assert len(set(there.tolist())) == 5
    assert (0 <= there).all()
    assert (there < size).all()


@pytest.mark.parametrize("size", [2, 3, 4])
def test_all_orders_are_equally_likely(size: int) -> None:
    tries = 6000
    keys = mixed(np.arange(tries, dtype=np.uint64)).repeat(size)
    places = np.tile(np.arange(size), tries)
    shuffles = permuted(places, np.full(len(places), size), keys).reshape(tries, size)
    seen = Counter(map(tuple, shuffles.tolist()))
    expected = tries / math.factorial(size)
    orders = itertools.permutations(range(size))
    chi_square = sum((seen[order] - expected) ** 2 / expected for order in orders)
    freedom = math.factorial(size) - 1
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)


def test_neighbours_are_torn_apart() -> None:
    order = np.array(shuffled(10_000, 5))
    together = int((np.abs(np.diff(order)) == 1).sum())
    assert together < 15  # 2 are expected
    assert abs(np.corrcoef(order, np.arange(10_000))[0, 1]) < 0.05


@given(*[st.integers(0, 60)] * 2, st.integers(1, 40), st.integers(0, 200))
def test_a_floor_sum_is_the_sum(n: int, slope: int, modulus: int, offset: int) -> None:
    expected = sum((slope * i + offset) // modulus for i in range(n))
    assert floor_sum(n, modulus, slope, offset) == expected


@given(SIZES, st.integers(1, 64), st.integers(0, 2**40), st.data())
@settings(deadline=None, max_examples=50)
def test_a_batch_holds_each_source_rounded_down_or_up(
    sizes: list[int], batch_size: int, seed: int, data: st.DataObject
) -> None:
    weights = data.draw(st.lists(WEIGHTS, min_size=len(sizes), max_size=len(sizes)))
    mix = mixture(sizes, batch_size, seed, weights=weights)
    for t in (0, 1, 2, 50, 10**6):
        batch = mix.batch(t)
        assert len(batch) == batch_size
        counts = Counter(draw.source for draw in batch)
        for source, weight in enumerate(weights):
            share = batch_size * weight / sum(weights)
            assert math.floor(share - 1e-6) <= counts[source] <= math.ceil(share + 1e-6)


@given(st.lists(WEIGHTS, min_size=1, max_size=8), st.integers(1, 64), st.integers(0, 2**40))
@settings(deadline=None)
def test_after_any_number_of_batches_the_proportions_hold(
    weights: list[float], batch_size: int, seed: int
) -> None:
    mix = mixture([7] * len(weights), batch_size, seed, weights=weights)
    for t in (1, 10, 100, 1000, 10_000, 100_000):
        drawn = mix.drawn(t)
        assert drawn.sum() == t * batch_size
        for source, weight in enumerate(weights):
            share = t * batch_size * weight / sum(weights)
            assert abs(drawn[source] - share) < 2 + math.log2(t)


def test_once_round_they_are_exact() -> None:
    assert math.gcd(TEETH, STRIDE) == 1
    weights = [1, 2, 5]  # eighths are whole numbers of the comb's steps
    drawn = mixture([9, 9, 9], 13, seed=4, weights=weights).drawn(TEETH)
    assert drawn.tolist() == [TEETH * 13 * weight // 8 for weight in weights]


def test_weights_are_square_roots_unless_they_are_given() -> None:
    assert mixture([100, 400, 4]).proportions == [10 / 32, 20 / 32, 2 / 32]
    assert mixture([100, 400, 4], weights=[1, 1, 2]).proportions == [0.25, 0.25, 0.5]


@given(SIZES, st.integers(1, 32), st.integers(0, 2**40))
@settings(deadline=None, max_examples=30)
def test_every_epoch_has_each_group_once(sizes: list[int], batch_size: int, seed: int) -> None:
    sizes = [1 + size % 50 for size in sizes]
    mix = mixture(sizes, batch_size, seed)
    drawn = [draw for t in range(60) for draw in mix.batch(t)]
    assert len(set(drawn)) == len(drawn)  # no two are equal
    for source, size in enumerate(sizes):
        walk = [draw for draw in drawn if draw.source == source]
        for n, draw in enumerate(walk):
            assert draw.epoch == n // size
        for epoch in range(len(walk) // size):
            groups = [draw.group for draw in walk[epoch * size : (epoch + 1) * size]]
            assert sorted(groups) == list(range(size))


def test_each_epoch_is_shuffled_anew() -> None:
    mix = mixture([40, 40], 8)
    drawn = [draw for t in range(30) for draw in mix.batch(t)]
    walks = {
        (source, epoch): [d.group for d in drawn if (d.source, d.epoch) == (source, epoch)]
        for source in (0, 1)
        for epoch in (0, 1, 2)
    }
    assert all(len(walk) == 40 for walk in walks.values())
    assert len({tuple(walk) for walk in walks.values()}) == 6


def test_another_seed_is_another_run() -> None:
    assert mixture([50, 80], seed=1).batch(0) != mixture([50, 80], seed=2).batch(0)


def test_a_batch_follows_from_the_seed_and_its_number() -> None:
    straight = list(mixture([50, 80, 3], seed=7))
    assert len(straight) == 100
    other = mixture([50, 80, 3], seed=7)
    assert [other.batch(t) for t in reversed(range(100))] == straight[::-1]


def test_this_very_batch() -> None:
    """Runs that were begun with an earlier version must go on as they were."""
    batch = Mixture([1000, 10, 5], 6, 1, seed=42).batch(33)
    epoch_0 = [Draw(0, 0, group) for group in (832, 861, 538, 92, 854)]
    assert batch == [*epoch_0, Draw(1, 1, 2)]


def test_a_source_smaller_than_its_share() -> None:
    batch = mixture([1, 1], 8).batch(3)
    assert batch == [Draw(source, 12 + i, 0) for source in (0, 1) for i in range(4)]


@pytest.mark.parametrize(
    ("sizes", "weights", "complaint"),
    [
        ([], None, "nothing to learn from"),
        ([5, 0], None, "source 2 is empty"),
        ([5, 5], [1.0], "1 weights for 2 sources"),
        ([5, 5], [1.0, 0.0], "weight 0.0"),
        ([5, 5], [-1.0, 1.0], "weight -1.0"),
        ([5, 5], [1.0, math.nan], "weight nan"),
        ([5, 5], [1.0, math.inf], "weight inf"),
    ],
)
def test_what_can_t_be_mixed(sizes: list[int], weights: list[float] | None, complaint: str) -> None:
    with pytest.raises(TrainingError, match=complaint) as caught:
        mixture(sizes, weights=weights)
    assert caught.value.hint


class Itself:
    """A data set that gives the draws themselves."""

    def __getitem__(self, draw: Draw) -> Draw:
        return draw


def loader(mix: Mixture, workers: int = 0) -> DataLoader[Draw]:
    return DataLoader(
        Itself(),  # type: ignore[arg-type]
        batch_sampler=mix,
        collate_fn=list,
        num_workers=workers,
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_torch_takes_it_for_a_batch_sampler(workers: int) -> None:
    mix = Mixture([50, 80], 8, 5, seed=1, world=2)
    batches = loader(mix, workers)
    assert len(batches) == 10
    assert list(batches) == [mix.batch(t) for t in range(10)]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_accelerate_deals_the_batches_out(world: int) -> None:
    mix = Mixture([50, 80], 8, 5, seed=1, world=world)
    for rank in range(world):
        dealt = prepare_data_loader(
            loader(mix), num_processes=world, process_index=rank, put_on_device=False
        )
        assert len(dealt) == 5
        expected = [mix.batch(t) for t in range(rank, 5 * world, world)]
        assert list(dealt) == expected
        assert list(skip_first_batches(dealt, 3)) == expected[3:]  # a run that resumes

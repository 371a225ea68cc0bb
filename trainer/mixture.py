"""Which pairs a batch is made of: sources in proportion to their weights, each walked epoch by
epoch. Batch t follows from the seed and t alone, so that a run resumes exactly where it was, and
nothing is remembered.

*Proportions.* A batch of B pairs holds B·p of a source whose share is p, rounded down or up: the
shares lie end to end on a line as long as the batch, and a comb of B teeth is laid over it
(systematic sampling). From batch to batch the comb moves on by the golden ratio, so that the
roundings even out as fast as they can: after any number of batches a source is a few pairs from its
share at most, and over 2³² batches it is exact.

*Order.* Each epoch of a source is a permutation of its own, by swap-or-not (Hoang, Morris, Rogaway,
CRYPTO 2012): a bijection of any range that is computed place by place and kept nowhere. Every group
comes once per epoch. Where an epoch ends within a batch, a group may come twice in that batch, as
it does when a source is smaller than its share; the loss knows equal ids.

Inside a batch the sources stand one after the other: what is alike shares mini-batches, and little
of them is padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.errors import TrainingError
from trainer.seeds import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

TEETH = 1 << 32  # steps between one tooth of the comb and the next
STRIDE = 0x9E3779B9  # of them from batch to batch: the golden ratio, and odd, so that all are met
ROUNDS = 24
GAMMA = np.uint64(0x9E3779B97F4A7C15)  # of SplitMix64, as the two below
MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
MIX_2 = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, slots=True)
class Draw:
    """One pair of a batch. No two of a run are equal."""

    source: int
    epoch: int  # of that source
    group: int  # of that source


class Mixture:
    """Batches of draws: a `batch_sampler` of torch, for all processes of a run together.

    Process r of `world` takes the batches t with t % world == r, which is how accelerate deals
    them out.

    Args:
        sizes: groups in each source.
        batch_size: pairs in a batch of one process.
        steps: of the run, each of `world` batches.
        seed: of the run.
        weights: of the sources, whatever their sum; None is the square root of each size.
        world: processes.

    Raises:
        TrainingError: a source is empty, or a weight is no positive number.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch_size: int,
        steps: int,
        seed: int,
        *,
        weights: Sequence[float] | None = None,
        world: int = 1,
    ) -> None:
        weights = _checked(sizes, weights)
        self.batch_size = batch_size
        self.steps = steps
        self.world = world
        self.proportions = [weight / math.fsum(weights) for weight in weights]
        self._sizes = np.array(sizes, np.int64)  # [S]
        self._edges = [
            round(math.fsum(self.proportions[:end]) * batch_size * TEETH)
            for end in range(len(sizes))
        ] + [batch_size * TEETH]
        self._offset = number_of("comb", seed) % TEETH
        self._keys = np.array(
            [number_of("order", seed, source) for source in range(len(sizes))], np.uint64
        )  # [S]

    def __len__(self) -> int:
        return self.steps * self.world

    def __iter__(self) -> Iterator[list[Draw]]:
        return map(self.batch, range(len(self)))

    def batch(self, t: int) -> list[Draw]:
        """Batch t, from 0, of all processes' batches."""
        before, after = self.drawn(t), self.drawn(t + 1)
        sources = np.repeat(np.arange(len(before)), after - before)  # [B]
        places = np.concatenate(list(map(np.arange, before, after)))  # [B], in a source's own walk
        sizes = self._sizes[sources]
        epochs, places = np.divmod(places, sizes)
        keys = mixed(self._keys[sources] + epochs.astype(np.uint64) * GAMMA)
        groups = permuted(places, sizes, keys)
        columns = (sources.tolist(), epochs.tolist(), groups.tolist())
        return [Draw(*fields) for fields in zip(*columns, strict=True)]

    def drawn(self, t: int) -> NDArray[np.int64]:
        """How many pairs of each source came before batch t: int64 [S]."""
        teeth = [floor_sum(t, TEETH, STRIDE, self._offset + edge) for edge in self._edges]
        return np.array([end - start for start, end in pairwise(teeth)], np.int64)


def permuted(
    places: NDArray[np.int64], sizes: NDArray[np.int64], keys: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Where shuffles put things: places [n], each in the range of its size [n], by its key [n]."""
    size, here = sizes.astype(np.uint64), places.astype(np.uint64)
    rounds = mixed(keys + np.arange(1, ROUNDS + 1, dtype=np.uint64)[:, None] * GAMMA)  # [ROUNDS, n]
    for round_key, mirror in zip(rounds, rounds % size + size, strict=True):
        there = (mirror - here) % size  # from there, it would be here
        swap = mixed(round_key + np.maximum(here, there) * GAMMA) >> np.uint64(63)
        here = np.where(swap == 1, there, here)
    return here.astype(np.int64)


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Bits well stirred: the last step of SplitMix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * MIX_1
    x = (x ^ (x >> np.uint64(27))) * MIX_2
    return x ^ (x >> np.uint64(31))


def floor_sum(n: int, modulus: int, slope: int, offset: int) -> int:
    """Σ floor((slope · i + offset) / modulus) for i in range(n), in as many steps as Euclid's
    algorithm takes; all of it is of whole numbers from 0 up.

    >>> floor_sum(5, 4, 3, 2) == sum((3 * i + 2) // 4 for i in range(5))
    True
    """
    total = 0
    while n > 0:
        total += n * (n - 1) // 2 * (slope // modulus) + n * (offset // modulus)
        slope, offset = slope % modulus, offset % modulus
        highest = slope * n + offset
        n, offset = divmod(highest, modulus)  # the same points, counted along the other axis
        modulus, slope = slope, modulus
    return total


def _checked(sizes: Sequence[int], weights: Sequence[float] | None) -> list[float]:
    if not sizes:
        raise TrainingError("there is nothing to learn from", hint="name a file of pairs")
    if empty := [number for number, size in enumerate(sizes, 1) if size < 1]:
        raise TrainingError(f"source {empty[0]} is empty", hint="leave it out")
    if weights is None:
        return [math.sqrt(size) for size in sizes]
    if len(weights) != len(sizes):
        raise TrainingError(f"{len(weights)} weights for {len(sizes)} sources", hint="give all")
    if wrong := [weight for weight in weights if not (weight > 0 and math.isfinite(weight))]:
        raise TrainingError(
            f"a source can't have the weight {wrong[0]}",
            hint="weights are positive numbers; leave out the source to have none of it",
        )
    return list(weights)

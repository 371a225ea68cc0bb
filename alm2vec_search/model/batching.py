"""Which inputs go through the model together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_PADDING = 0.1  # of a batch


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is computed at once.

    Args:
        rows: inputs, at most.
        tokens: of all inputs with their padding, at most, unless one alone is longer.
        free: a batch of up to so many tokens takes the device as long as a fuller one, so padding
            costs nothing in it.
    """

    rows: int
    tokens: int
    free: int = 0

    def halved(self) -> Budget:
        """Half of it: for a device that ran out of memory."""
        return replace(
            self, rows=max(1, self.rows // 2), tokens=max(1, self.tokens // 2), free=self.free // 2
        )


def batches(lengths: Sequence[int], budget: Budget) -> Iterator[list[int]]:
    """Inputs of like length together, the longest first, so that little of a batch is padding.

    Args:
        lengths: tokens of each input.

    Yields:
        places in `lengths`; each comes once.

    >>> list(batches([5, 100, 99, 5, 98], Budget(rows=8, tokens=200)))
    [[1, 2], [4], [0, 3]]
    """
    longest_first = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    batch: list[int] = []
    filled = 0
    for place in longest_first:
        length = lengths[place]
        longest = lengths[batch[0]] if batch else length
        size = (len(batch) + 1) * longest
        padding = size - filled - length
        fits = len(batch) < budget.rows and size <= budget.tokens
        if batch and not (fits and (padding <= MOST_PADDING * size or size <= budget.free)):
            yield batch
            batch, filled = [], 0
        batch.append(place)
        filled += length
    if batch:
        yield batch

"""Which inputs go through the model together: those of a kind, and of about a length.

A mini-batch is padded to its longest input, and what is padding costs as much as what isn't. A
batch's captions are ten tokens each, its sounds hundreds: side by side in one mini-batch, most of
what the model computes is thrown away. So texts are kept from sounds, sounds from sounds with
words, and each kind is sorted by length.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Size(NamedTuple):
    """How long an input is. Units don't matter, as long as all inputs have the same."""

    audio: int  # samples or frames; 0 without a sound
    words: int  # characters of text and instruction


def grouped(sizes: Sequence[Size], at_most: int) -> list[list[int]]:
    """Places of the inputs, in groups of at most so many, the shortest first.

    Texts come first, then sounds, then sounds with words. A kind that needs several groups is
    divided evenly. What is equally long stays in its order.

    >>> grouped([Size(0, 9), Size(500, 0), Size(0, 7), Size(0, 8), Size(500, 12)], at_most=2)
    [[2], [3, 0], [1], [4]]
    """
    kinds: dict[tuple[bool, bool], list[int]] = {}
    for place, size in enumerate(sizes):
        kinds.setdefault((size.audio > 0, size.words > 0), []).append(place)
    groups: list[list[int]] = []
    for _, places in sorted(kinds.items()):
        by_length = sorted(places, key=sizes.__getitem__)
        n_groups = -(-len(places) // at_most)
        groups += _evenly(by_length, n_groups)
    return groups


def rows_of(groups: Sequence[Sequence[int]]) -> Tensor:
    """Where each input is, when the groups are put one after the other: int64 [n].

    >>> rows_of([[2], [3, 0], [1], [4]]).tolist()
    [2, 3, 0, 1, 4]
    """
    return torch.tensor([place for group in groups for place in group], dtype=torch.int64).argsort()


def _evenly(places: list[int], n_parts: int) -> list[list[int]]:
    """Cut into parts that differ by one at most."""
    ends = [len(places) * part // n_parts for part in range(n_parts + 1)]
    return [places[start:end] for start, end in pairwise(ends)]

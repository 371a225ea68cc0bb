"""Inputs that go through the model together."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.grouping import Size, grouped, rows_of

sizes_of_all = st.lists(st.builds(Size, st.integers(0, 5), st.integers(0, 5)), max_size=40)


@given(sizes=sizes_of_all, at_most=st.integers(1, 9))
def test_every_input_is_in_one_group_of_its_kind(sizes: list[Size], at_most: int) -> None:
    groups = grouped(sizes, at_most)
    assert sorted(place for group in groups for place in group) == list(range(len(sizes)))
    for group in groups:
        assert 1 <= len(group) <= at_most
        assert len({(sizes[n].audio > 0, sizes[n].words > 0) for n in group}) == 1
        assert [sizes[n] for n in group] == sorted(sizes[n] for n in group)


@given(sizes=sizes_of_all, at_most=st.integers(1, 9))
def test_what_is_in_the_groups_order_comes_back_in_its_own(sizes: list[Size], at_most: int) -> None:
    groups = grouped(sizes, at_most)
    made = torch.tensor([place for group in groups for place in group], dtype=torch.int64)
    assert made[rows_of(groups)].tolist() == list(range(len(sizes)))


def test_a_kind_is_divided_evenly_and_by_length() -> None:
    texts = [Size(0, length) for length in (7, 1, 6, 2, 5, 3, 4)]
    assert grouped(texts, at_most=3) == [[1, 3], [5, 6], [4, 2, 0]]


def test_texts_then_sounds_then_sounds_with_words() -> None:
    """Short sounds aren't padded to long ones, nor sounds without words to those with some."""
    sizes = [Size(900, 20), Size(100, 0), Size(0, 30), Size(800, 0), Size(90, 0), Size(0, 10)]
    assert grouped(sizes, at_most=2) == [[5, 2], [4], [1, 3], [0]]


def test_nothing() -> None:
    assert grouped([], at_most=4) == []
    assert rows_of([]).tolist() == []

"""Sets: what makes sense as a task, and what is left of one."""

from __future__ import annotations

import pytest

from alm2vec_search.evaluation.sets import ChoiceTask, RetrievalTask
from trainer.pairs import Side

A, B, C = (Side(text=text) for text in "abc")


def test_a_task_of_fewer_rows() -> None:
    task = RetrievalTask(
        "t",
        (A, B, C),
        (C, B, A),
        tuple(map(frozenset, [[2], [1, 0], [0]])),
        ("1", "2", "3"),
        ("x", "y", "y"),
    )
    left = task.of([1, 2], [0, 2])
    assert (left.queries, left.documents) == ((B, C), (C, A))
    assert left.relevant == (frozenset([0]), frozenset([0]))
    assert (left.groups, left.domains) == (("2", "3"), ("y", "y"))


@pytest.mark.parametrize(
    "fields",
    [
        {"relevant": (frozenset(),)},
        {"relevant": (frozenset([0]), frozenset([0]))},
        {"groups": ()},
        {"domains": ("x", "y")},
    ],
)
def test_what_is_no_retrieval_task(fields: dict[str, tuple[object, ...]]) -> None:
    given = {"queries": (A,), "documents": (B,), "relevant": (frozenset([0]),), "groups": ("1",)}
    with pytest.raises(ValueError, match=r"^t: "):
        RetrievalTask("t", **(given | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields", [{"choices": ((B,),)}, {"right": (2,)}, {"groups": ()}, {"domains": ("x", "y")}]
)
def test_what_is_no_choice_task(fields: dict[str, tuple[object, ...]]) -> None:
    given = {"queries": (A,), "choices": ((B, C),), "right": (0,), "groups": ("1",)}
    with pytest.raises(ValueError, match=r"^t: "):
        ChoiceTask("t", **(given | fields))  # type: ignore[arg-type]

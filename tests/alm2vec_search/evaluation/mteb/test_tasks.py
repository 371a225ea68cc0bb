"""Names of tasks, held against the mteb that is installed."""

from __future__ import annotations

import mteb
import pytest
from mteb.types import PromptType
from toy_mteb import metadata

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.mteb.tasks import (
    AUDIO_TEXT_TO_AUDIO,
    AUDIO_TO_TEXT,
    MAEB,
    TEXT_TO_AUDIO,
    find_task,
    listed_tasks,
    task_instruction,
)


@pytest.mark.parametrize(
    ("names", "category"),
    [(AUDIO_TEXT_TO_AUDIO, "at2a"), (TEXT_TO_AUDIO, "t2a"), (AUDIO_TO_TEXT, "a2t")],
)
def test_they_are_the_retrievals_of_that_direction(names: tuple[str, ...], category: str) -> None:
    for name in names:
        told = find_task(name).metadata
        assert (told.type, told.category) == ("Any2AnyRetrieval", category)
        assert told.superseded_by is None


def test_the_benchmark_is_made_of_these() -> None:
    benchmark = mteb.get_benchmark("MAEB(v1)")

    assert sorted(task.metadata.name for task in benchmark.tasks) == sorted(MAEB)


def test_all_of_them_are_listed_once() -> None:
    listed = listed_tasks()

    names = [task.name for task in listed]
    assert set(names) == {*AUDIO_TEXT_TO_AUDIO, *TEXT_TO_AUDIO, *AUDIO_TO_TEXT, *MAEB}
    assert len(names) == len(set(names))
    types = {task.name: task.type for task in listed}
    assert types["CREMA_D"] == "AudioClassification"
    assert types["CLDAT2ARetrieval"] == "Any2AnyRetrieval"


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(EvaluationError, match="no task clothot2aretrieval") as error:
        find_task("clothot2aretrieval")
    assert "ClothoT2ARetrieval" in str(error.value.hint)

    with pytest.raises(EvaluationError) as error:
        find_task("zzzzzzzzzzzz")
    assert "--list" in str(error.value.hint)


def test_pictures_are_not_ours() -> None:
    with pytest.raises(EvaluationError, match="SpokenCOCOA2IRetrieval is about audio and image"):
        find_task("SpokenCOCOA2IRetrieval")


@pytest.mark.parametrize(
    ("prompt", "query", "document", "neither"),
    [
        (None, None, None, None),
        ("Find it.", "Find it.", None, "Find it."),
        ({"query": "Find it."}, "Find it.", None, None),
        ({"query": "Find it.", "document": "Be found."}, "Find it.", "Be found.", None),
    ],
)
def test_what_a_task_instructs(
    prompt: object, query: str | None, document: str | None, neither: str | None
) -> None:
    told = metadata("Toy", prompt=prompt)

    assert task_instruction(told, PromptType.query) == query
    assert task_instruction(told, PromptType.document) == document
    assert task_instruction(told, None) == neither

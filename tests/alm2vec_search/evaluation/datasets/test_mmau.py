"""MMAU-mini: the file as it comes, and its options bare."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from alm2vec_search.errors import EvaluationError, PairError
from alm2vec_search.evaluation.datasets.mmau import read
from alm2vec_search.evaluation.sets import ChoiceTask
from trainer.prepare.instructions import DOCUMENT, QUESTION

if TYPE_CHECKING:
    from pathlib import Path

RECORDS: list[dict[str, Any]] = [
    {
        "id": "1",
        "audio_id": "./test-mini-audios/one.wav",
        "question": "Which animal is it?",
        "choices": ["A dog", "A cat", "A cow", "An owl"],
        "answer": "A cat",
        "task": "sound",
    },
    {
        "id": "2",
        "audio_id": "./test-mini-audios/two.wav",
        "question": "Who speaks?",
        "choices": ["(A) Man", "(B) Woman"],
        "answer": "(B) Woman",
        "task": "speech",
    },
    {
        "id": "3",
        "audio_id": "./test-mini-audios/gone.wav",
        "question": "Which key?",
        "choices": ["C", "D"],
        "answer": "C",
        "task": "music",
    },
    {
        "id": "4",
        "audio_id": "./test-mini-audios/one.wav",
        "question": "Which one?",
        "choices": ["This", "That"],
        "answer": "Another",
        "task": "sound",
    },
]


def written(folder: Path, records: list[dict[str, Any]]) -> Path:
    (folder / "mmau-test-mini.json").write_text(json.dumps(records))
    (folder / "mmau-test.json").write_text(json.dumps([{"another": "split"}]))
    (folder / "test-mini-audios").mkdir()
    for name in ("one", "two"):
        (folder / f"test-mini-audios/{name}.wav").touch()
    return folder


def test_questions_with_their_choices(tmp_path: Path) -> None:
    measured = read(written(tmp_path, RECORDS))
    (task,) = measured.tasks
    assert isinstance(task, ChoiceTask)
    assert [query.text for query in task.queries] == ["Which animal is it?", "Who speaks?"]
    assert {query.instruction for query in task.queries} == {QUESTION}
    assert [[c.text for c in choices] for choices in task.choices] == [
        ["A dog", "A cat", "A cow", "An owl"],
        ["Man", "Woman"],  # bare
    ]
    assert {choice.instruction for choices in task.choices for choice in choices} == {DOCUMENT}
    assert task.right == (1, 1)
    assert task.domains == ("sound", "speech")
    assert measured.missing == ("test-mini-audios/gone.wav",)
    assert [aside.reason for aside in measured.set_aside] == ["the answer is none of the choices"]
    assert measured.pool == "2 questions: 1 sound, 1 speech"
    assert measured.notes == ("the published set has 334 music, 333 sound, 333 speech",)


def test_the_whole_set_needs_no_note(tmp_path: Path) -> None:
    counts = {"music": 334, "sound": 333, "speech": 333}
    records = [RECORDS[0] | {"task": task} for task, n in counts.items() for _ in range(n)]
    measured = read(written(tmp_path, records))
    assert measured.notes == ()
    assert measured.pool == "1,000 questions: 334 music, 333 sound, 333 speech"


def test_a_mirror_that_keeps_fields_one_level_down(tmp_path: Path) -> None:
    record = {key: value for key, value in RECORDS[0].items() if key != "task"}
    measured = read(written(tmp_path, [record | {"other_attributes": {"task": "sound"}}]))
    (task,) = measured.tasks
    assert task.domains == ("sound",)


@pytest.mark.parametrize("lacking", ["audio_id", "question", "choices", "answer", "task"])
def test_a_record_that_lacks_something(tmp_path: Path, lacking: str) -> None:
    record = {key: value for key, value in RECORDS[0].items() if key != lacking}
    with pytest.raises(PairError, match="expected a record of audio_id"):
        read(written(tmp_path, [record]))


def test_no_sound_is_there(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="no audio file of 1 clip"):
        read(written(tmp_path, [RECORDS[2]]))

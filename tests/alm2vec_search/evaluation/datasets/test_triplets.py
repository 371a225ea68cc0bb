"""Triplets: the forms of a line, and the halves of a query by themselves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from alm2vec_search.errors import EvaluationError, PairError, TrainingError
from alm2vec_search.evaluation.datasets.triplets import read
from trainer.pairs import AudioRef, Pair, Side, write_pairs

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, *lines: dict[str, Any]) -> Path:
    for name in ("a", "b", "c"):
        (folder / f"{name}.wav").touch()
    path = folder / "same-animal.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


ASKED = {
    "query": {"audio": "a.wav", "instruction": "what animal is it?"},
    "target": {"audio": "b.wav"},
    "hard_negative": {"audio": "c.wav"},
    "domain": "animal",
    "group": "tape 1",
}
SAID = {
    "query": {"text": "a dog"},
    "target": {"audio": "b.wav"},
    "hard_negative": [{"audio": "c.wav"}, {"text": "a cat"}],
}


def test_a_query_its_target_and_its_negatives(tmp_path: Path) -> None:
    measured = read(written(tmp_path, ASKED, SAID))
    task = measured.tasks[0]
    assert [c.audio.path for c in task.choices[0] if c.audio] == [  # type: ignore[union-attr]
        tmp_path / "b.wav",
        tmp_path / "c.wav",
    ]
    assert [len(choices) for choices in task.choices] == [2, 3]  # type: ignore[union-attr]
    assert task.right == (0, 0)  # type: ignore[union-attr]
    assert task.groups == ("tape 1", "line 2")
    assert task.domains == ("animal", "other")
    assert measured.name == "same-animal"
    assert measured.pool == "2 triplets, each of 2 or 3"


def test_each_half_of_a_query_with_two_is_asked_alone(tmp_path: Path) -> None:
    whole, by_sound, by_words = read(written(tmp_path, ASKED, SAID)).tasks
    assert [task.name for task in (whole, by_sound, by_words)] == [
        "triplets",
        "the sound alone",
        "the words alone",
    ]
    assert by_sound.queries == (Side(audio=AudioRef(path=tmp_path / "a.wav")),)
    assert by_words.queries == (Side(text="what animal is it?"),)
    assert by_words.domains == ("animal",)


def test_words_alone_have_no_other_half(tmp_path: Path) -> None:
    assert len(read(written(tmp_path, SAID)).tasks) == 1


def test_a_file_of_pairs_with_negatives_is_one_of_triplets(tmp_path: Path) -> None:
    written(tmp_path)
    pair = Pair(
        query=Side(text="what is it?", audio=AudioRef(path=tmp_path / "a.wav")),
        document=Side(text="a dog"),
        negatives=(Side(text="a cat"),),
        source="mine",
        clip="7",
    )
    write_pairs([pair.model_copy()], tmp_path / "pairs.jsonl")
    (task, *_) = read(tmp_path / "pairs.jsonl").tasks
    assert task.queries == (pair.query,)
    assert task.groups == ("7",)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    gone = SAID | {"target": {"audio": "gone.wav"}}
    measured = read(written(tmp_path, SAID, gone))
    assert measured.missing == (str(tmp_path / "gone.wav"),)
    assert measured.pool == "1 triplet, each of 3"
    with pytest.raises(EvaluationError, match="no audio file of 1 clip"):
        read(written(tmp_path, gone))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ('{"query": {"text": "a"}, "target": {"text": "b"}}', "hard_negative: Field required"),
        ('{"query": {}, "target": {"text": "b"}, "hard_negative": {"text": "c"}}', "neither text"),
        ('{"query": {"text": "a"}, "target": {"text": "b"}, "negatives": []}', "at least 1 item"),
    ],
)
def test_what_is_no_triplet(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(f"{json.dumps(SAID | {'target': {'text': 'b'}})}\n{line}\n")
    with pytest.raises(PairError, match=message) as caught:
        read(path)
    assert caught.value.line == 2
    assert caught.value.hint is not None


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="can't be read"):
        read(tmp_path / "none.jsonl")

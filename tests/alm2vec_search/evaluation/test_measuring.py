"""Tasks → results, on tones whose order is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tones import write_tone

from alm2vec_search.evaluation.embedding import Embedder
from alm2vec_search.evaluation.measuring import choice_result, measure, retrieval_result
from alm2vec_search.evaluation.metrics import Places
from alm2vec_search.evaluation.runs import Confusion
from alm2vec_search.evaluation.sets import ChoiceTask, RetrievalTask
from alm2vec_search.testing import FakeEncoder
from trainer.pairs import AudioRef, Side

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.evaluation.runs import TaskResult

NOTES = ("low", "middle", "high")


def name_of(path: Path) -> str:
    return path.name


def figures(result: TaskResult, domain: str | None = None) -> dict[str, float]:
    return {f.metric: f.value for f in result.figures if f.domain == domain}


@pytest.fixture
def tones(tmp_path: Path) -> tuple[Side, ...]:
    return tuple(
        Side(audio=AudioRef(path=write_tone(tmp_path / f"{note}.wav", note))) for note in NOTES
    )


def task_of(tones: tuple[Side, ...], words: tuple[str, ...] = NOTES) -> RetrievalTask:
    """Each word asks for the tone of its row."""
    return RetrievalTask(
        "text to audio",
        queries=tuple(Side(text=word) for word in words),
        documents=tones,
        relevant=tuple(frozenset([row]) for row in range(len(words))),
        groups=words,
    )


def test_words_find_their_tones(tones: tuple[Side, ...]) -> None:
    result = measure(task_of(tones), Embedder(FakeEncoder()), name_of)
    assert result is not None
    assert set(figures(result).values()) == {1.0}
    assert set(figures(result)) == {"r@1", "r@5", "r@10", "mrr", "ndcg@10", "map@10"}
    assert (result.queries, result.pool, result.places) == (3, 3, (0, 0, 0))
    assert result.worst == ()


def test_what_came_first_instead_is_told(tones: tuple[Side, ...]) -> None:
    result = measure(task_of(tones, ("low", "high", "middle")), Embedder(FakeEncoder()), name_of)
    assert result is not None
    assert figures(result)["r@1"] == pytest.approx(1 / 3)
    (one, other) = result.worst
    assert {str(one.query.text), str(other.query.text)} == {"high", "middle"}
    assert one.place == max(result.places, key=lambda place: place or 0)
    assert one.found[0].sound is not None
    assert one.found[0].sound.path == f"{one.query.text}.wav"
    assert one.wanted[0].sound != one.found[0].sound


def test_a_sound_that_cannot_be_read_is_in_no_pool(tones: tuple[Side, ...], tmp_path: Path) -> None:
    (tmp_path / "middle.wav").write_bytes(b"no sound")
    embedder = Embedder(FakeEncoder())
    result = measure(task_of(tones), embedder, name_of)
    assert result is not None
    assert (result.queries, result.pool) == (2, 2)
    assert [ref.path.name for ref in embedder.unreadable] == ["middle.wav"]


def test_nothing_left_to_ask(tones: tuple[Side, ...], tmp_path: Path) -> None:
    for note in NOTES:
        (tmp_path / f"{note}.wav").write_bytes(b"no sound")
    assert measure(task_of(tones), Embedder(FakeEncoder()), name_of) is None


def test_domains_have_rows_of_their_own(tones: tuple[Side, ...]) -> None:
    words = ("low", "high", "middle")
    task = task_of(tones, words)
    task = RetrievalTask(
        task.name,
        task.queries,
        task.documents,
        task.relevant,
        task.groups,
        ("calm", "shrill", "shrill"),
    )
    result = measure(task, Embedder(FakeEncoder()), name_of)
    assert result is not None
    assert figures(result, "calm")["r@1"] == 1
    assert figures(result, "shrill")["r@1"] == 0
    assert [f.n for f in result.figures if f.metric == "mrr"] == [3, 1, 2]


def test_the_nearest_choice_is_taken(tones: tuple[Side, ...]) -> None:
    choices = tuple(Side(text=note) for note in NOTES)
    task = ChoiceTask("which?", tones, (choices,) * 3, (0, 1, 0), ("1", "2", "3"))
    result = measure(task, Embedder(FakeEncoder()), name_of)
    assert result is not None
    assert figures(result) == {"accuracy": pytest.approx(2 / 3), "chance": pytest.approx(1 / 3)}
    assert result.places[:2] == (0, 0)
    (wrong,) = result.worst
    assert wrong.found[0].text == "high"
    assert wrong.wanted[0].text == "low"


def test_a_question_one_of_whose_choices_cannot_be_read_is_not_asked(
    tones: tuple[Side, ...], tmp_path: Path
) -> None:
    gone = Side(audio=AudioRef(path=tmp_path / "gone.wav"))
    asked = Side(text="low")
    task = ChoiceTask(
        "c", (asked, asked), ((tones[0], gone), (tones[0], tones[2])), (0, 0), ("1", "2")
    )
    result = measure(task, Embedder(FakeEncoder()), name_of)
    assert result is not None
    assert (result.queries, figures(result)["accuracy"]) == (1, 1.0)


def test_a_tie_between_choices_is_wrong() -> None:
    side = Side(text="x")
    task = ChoiceTask("c", (side,), ((side, side, side),), (0,), ("1",))
    result = choice_result(task, [np.array([0.5, 0.5, 0.1], dtype=np.float32)], name_of)
    assert result.places == (1,)
    assert figures(result)["accuracy"] == 0


def test_labels_that_are_taken_for_each_other() -> None:
    sound = Side(audio=AudioRef(path="a.wav"))  # type: ignore[arg-type]
    labels = tuple(Side(text=text) for text in ("rain", "sea", "wind"))
    relevant = tuple(frozenset([row]) for row in (0, 0, 0, 1))
    task = RetrievalTask("audio to text", (sound,) * 4, labels, relevant, ("1", "2", "3", "4"))
    rankings = [
        (Places((1,), 1), [1, 0, 2]),
        (Places((2,), 1), [1, 2, 0]),
        (Places((0,), 1), [0, 1, 2]),
        (Places((1,), 1), [2, 1, 0]),
    ]
    result = retrieval_result(task, rankings, name_of)
    assert result.confusions == (
        Confusion(wanted="rain", found="sea", count=2, of=3),
        Confusion(wanted="sea", found="wind", count=1, of=1),
    )


def test_what_was_not_found_is_the_worst() -> None:
    words = tuple(Side(text=text) for text in ("a", "b"))
    sounds = tuple(Side(audio=AudioRef(path=f"{n}.wav")) for n in range(2))  # type: ignore[arg-type]
    task = RetrievalTask("t", words, sounds, (frozenset([0]), frozenset([1])), ("1", "2"))
    result = retrieval_result(task, [(Places((1,), 1), [1, 0]), (Places((), 1), [0])], name_of)
    assert result.places == (1, None)
    assert [worst.place for worst in result.worst] == [None, 1]
    assert figures(result)["mrr"] == pytest.approx(0.25)


def test_several_right_documents_are_measured_by_how_many_are_found() -> None:
    word, sound = Side(text="a"), Side(audio=AudioRef(path="1.wav"))  # type: ignore[arg-type]
    task = RetrievalTask("t", (word,), (sound,) * 3, (frozenset([0, 1]),), ("1",))
    result = retrieval_result(task, [(Places((0, 2), 2), [0, 2, 1])], name_of)
    assert figures(result)["p@10"] == pytest.approx(0.2)
    assert figures(result)["recall@10"] == 1
    assert result.figures[0].low is None  # one group: no interval

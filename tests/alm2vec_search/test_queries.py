"""Questions as they are written down: clauses, how much they count, and lines of JSON."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from index_driver import SAMPLING_RATE, write_tone

from alm2vec_search.domain import Query
from alm2vec_search.errors import QueryError
from alm2vec_search.queries import Asked, read_inputs, read_queries, require_asked, split_clauses

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.domain import Question


@pytest.fixture
def horn(tmp_path: Path) -> Path:
    """A sound of a second."""
    return write_tone(tmp_path / "horn.wav", duration_s=1.0)


def told(question: Question) -> list[tuple[str, float]]:
    return [(clause.label, clause.weight) for clause in question.clauses]


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("dog barking, speaker is female", ["dog barking", "speaker is female"]),
        ("rain;wind , sea", ["rain", "wind", "sea"]),
        ("rain", ["rain"]),
        (" , rain,; ,", ["rain"]),
        ("a dog and a cat. no birds", ["a dog and a cat. no birds"]),
        ("", []),
        (",", []),
    ],
)
def test_clauses_stand_between_commas(text: str, clauses: list[str]) -> None:
    assert split_clauses(text) == clauses


class TestLoad:
    def test_words_are_one_clause(self) -> None:
        question = Asked(text=" rain, wind ", instruction="Find it.").load(SAMPLING_RATE)
        (clause,) = question.clauses
        assert clause.query == Query("rain, wind", None, "Find it.")
        assert (clause.weight, clause.label) == (1, "rain, wind")
        assert (question.words, question.instruction) == ("rain, wind", "Find it.")

    def test_a_sound_beside_words_is_one_clause(self, horn: Path) -> None:
        (clause,) = Asked(text="rain", like=str(horn)).load(SAMPLING_RATE).clauses
        assert (clause.query.text, clause.label) == ("rain", f"{horn} + rain")
        assert clause.query.audio is not None
        assert clause.query.audio.duration_s == 1

    def test_a_sound_alone(self, horn: Path) -> None:
        question = Asked(like=f"{horn}@0.25-0.75").load(SAMPLING_RATE)
        (clause,) = question.clauses
        assert (clause.query.text, clause.label) == (None, f"{horn}@0.25-0.75")
        assert clause.query.audio is not None
        assert clause.query.audio.duration_s == 0.5
        assert question.words == ""

    def test_split(self) -> None:
        question = Asked(text="rain, wind", instruction="Find it.").load(SAMPLING_RATE, split=True)
        assert told(question) == [("rain", 1), ("wind", 1)]
        assert [c.query for c in question.clauses] == [
            Query("rain", None, "Find it."),
            Query("wind", None, "Find it."),
        ]
        assert question.words == "rain wind"

    def test_split_with_a_sound(self, horn: Path) -> None:
        question = Asked(text="rain, wind", like=str(horn)).load(SAMPLING_RATE, split=True)
        assert told(question) == [(str(horn), 1), ("rain", 1), ("wind", 1)]
        assert [clause.query.text for clause in question.clauses] == [None, "rain", "wind"]
        assert [clause.query.audio is None for clause in question.clauses] == [False, True, True]

    @pytest.mark.parametrize(
        ("item", "label", "weight"),
        [
            ("thunder", "thunder", 1),
            ("2:thunder", "thunder", 2),
            (".5:x", "x", 0.5),
            ("2.:x", "x", 2),
            ("1.25: far away ", "far away", 1.25),
            ("note: loud", "note: loud", 1),
            ("-2:x", "-2:x", 1),
            ("3:4:x", "4:x", 3),
        ],
    )
    def test_how_much_it_counts(self, item: str, label: str, weight: float) -> None:
        question = Asked(text="rain", more=(item,), less=(item,)).load(SAMPLING_RATE)
        assert told(question) == [("rain", 1), (label, weight), (label, -weight)]
        assert [clause.query.text for clause in question.clauses] == ["rain", label, label]

    @pytest.mark.parametrize(
        "item", ["0:x", "0.0:x", "2:", "2: ", "", " ", "1001:x", f"{'9' * 400}:x"]
    )
    @pytest.mark.parametrize("side", ["more", "less"])
    def test_what_asks_for_nothing(self, item: str, side: str) -> None:
        with pytest.raises(QueryError, match="asks for nothing"):
            Asked.model_validate({"text": "rain", side: (item,)}).load(SAMPLING_RATE)

    def test_only_what_is_wanted_is_looked_for_in_names(self, horn: Path) -> None:
        asked = Asked(text="rain", more=("2:wind", str(horn)), less=("music",))
        assert asked.load(SAMPLING_RATE).words == "rain wind"

    @pytest.mark.parametrize("words", ["y" * 5000, "y" * 5000 + "@1-2", "meet@5-2", "a\0b"])
    def test_what_can_be_no_file_is_words(self, words: str) -> None:
        question = Asked(text="rain", more=(words,)).load(SAMPLING_RATE)
        assert question.clauses[1].query == Query(words)

    def test_a_file_is_a_sound(self, horn: Path) -> None:
        asked = Asked(more=(f"2:{horn}",), less=(f"{horn}@0-0.5",), instruction="Find it.")
        more, less = asked.load(SAMPLING_RATE).clauses
        assert (more.label, more.weight) == (str(horn), 2)
        assert (less.label, less.weight) == (f"{horn}@0-0.5", -1)
        assert more.query.text is less.query.text is None
        assert more.query.instruction == less.query.instruction == "Find it."
        assert more.query.audio is not None
        assert less.query.audio is not None
        np.testing.assert_array_equal(
            less.query.audio.samples, more.query.audio.samples[: SAMPLING_RATE // 2]
        )

    def test_a_file_without_sound(self, tmp_path: Path) -> None:
        text = tmp_path / "rain.wav"
        text.write_text("not a sound")
        with pytest.raises(QueryError, match=r"rain\.wav"):
            Asked(text="rain", more=(str(text),)).load(SAMPLING_RATE)


@pytest.mark.parametrize(
    ("asked", "is_empty"),
    [
        (Asked(), True),
        (Asked(text=" \n"), True),
        (Asked(like=""), True),
        (Asked(text=" , ;"), True),  # nothing is left of it where it is split
        (Asked(less=("music",)), True),
        (Asked(instruction="Find it."), True),
        (Asked(text="rain"), False),
        (Asked(like="rain.wav"), False),
        (Asked(more=("rain",)), False),
    ],
)
def test_is_empty(asked: Asked, is_empty: bool) -> None:
    assert asked.is_empty is is_empty
    if is_empty:
        with pytest.raises(QueryError, match="the query is empty"):
            require_asked(asked)
    else:
        assert require_asked(asked) is asked


class TestLines:
    def test_questions(self, tmp_path: Path) -> None:
        path = tmp_path / "asked.jsonl"
        path.write_text(
            '{"text": "rain", "more": ["2:wind"], "less": ["music", ".5:speech"]}\n'
            "\n"
            '{"id": "b", "more": ["thunder"]}\n'
            '{"id": 7, "like": "a.wav@1-2", "instruction": "Find it."}\n'
        )
        assert read_queries(str(path)) == [
            Asked(id=1, text="rain", more=("2:wind",), less=("music", ".5:speech")),
            Asked(id="b", more=("thunder",)),
            Asked(id=7, like="a.wav@1-2", instruction="Find it."),
        ]

    def test_a_line_without_an_id_is_called_by_its_number(self, tmp_path: Path) -> None:
        path = tmp_path / "asked.jsonl"
        path.write_text('\n\n{"text": "rain"}\n')
        assert [asked.id for asked in read_queries(str(path))] == [3]

    def test_from_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO('{"text": "rain"}\n'))
        assert read_queries("-") == [Asked(id=1, text="rain")]

    @pytest.mark.parametrize(
        ("line", "complaint"),
        [
            ('{"less": ["music"]}', "the query is empty"),
            ('{"text": "rain", "more": "wind"}', "more: "),
            ('{"text": "rain", "less": [3]}', r"less\.0: "),
            ('{"texts": "rain"}', "texts: "),
            ("rain", "Invalid JSON"),
        ],
    )
    def test_a_line_that_is_no_question(self, tmp_path: Path, line: str, complaint: str) -> None:
        path = tmp_path / "asked.jsonl"
        path.write_text(f'{{"text": "rain"}}\n{line}\n')
        with pytest.raises(QueryError, match=rf"asked\.jsonl:2: .*{complaint}"):
            read_queries(str(path))

    @pytest.mark.parametrize("read", [read_queries, read_inputs])
    def test_a_file_that_is_not_there(self, tmp_path: Path, read: object) -> None:
        assert callable(read)
        with pytest.raises(QueryError, match="can't be read: No such file"):
            read(str(tmp_path / "none.jsonl"))

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / "asked.jsonl"
        path.write_bytes(b'{"text": "\xff"}\n')
        with pytest.raises(QueryError, match="not UTF-8 text"):
            read_queries(str(path))

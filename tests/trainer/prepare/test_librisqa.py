"""LibriSQA: questions for speech in Part I, questions with options in Part II."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from alm2vec_search.errors import PairError, TrainingError
from trainer.prepare.instructions import DOCUMENT, QUESTION, SPEECH
from trainer.prepare.librisqa import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Dump, Read, Touch

SPEECH_PATH = "LibriSpeech/train-clean-360/100/121669/100-121669-0000.wav"
FILE = "LibriSpeech/train-clean-360/100/121669/100-121669-0000.flac"
# the keys of huggingface.co/datasets/ZihanZhao/LibriSQA
ONE: dict[str, Any] = {
    "speech_path": SPEECH_PATH,
    "question": "Who was Tom, and what did he do?",
    "answer": "Tom was the piper's son, and he stole a pig.",
    "text": "TOM THE PIPER'S SON",
    "duration": 2.8,
}
TWO: dict[str, Any] = {
    "speech_path": SPEECH_PATH,
    "question_and_option": "Whose son was Tom?\nA. The baker's\nB. The piper's\nC. The king's\n"
    "D. The miller's",
    "answer": "B",
    "answer_and_analysis": "B. The speech says that Tom was the piper's son.",
    "text": "TOM THE PIPER'S SON",
    "duration": 2.8,
}


@pytest.fixture
def both(dump: Dump) -> tuple[Path, Path]:
    dump("LibriSQA-PartI/LibriSQA-PartI-test.json", [{"speech_path": "of another split"}])
    return (
        dump("LibriSQA-PartI/LibriSQA-PartI-train.json", [ONE]),
        dump("LibriSQA-PartII/LibriSQA-PartII-train.json", [TWO]),
    )


@pytest.mark.usefixtures("both")
def test_both_parts(data: Path, out: Path, touch: Touch, read: Read) -> None:
    touch(FILE)

    report = prepare(data, out)

    to_speech, to_text, asked = read(out)
    assert to_speech.query.text == to_text.document.text == ONE["question"]
    assert to_speech.query.instruction == SPEECH.to_audio
    assert to_text.query.instruction == SPEECH.to_text
    assert to_speech.one_of == to_text.one_of == "100-121669-0000"
    assert asked.query.text == "Whose son was Tom?"
    assert asked.query.audio == to_text.query.audio == to_speech.document.audio
    assert asked.query.audio is not None
    assert asked.query.audio.path.as_posix() == FILE
    assert asked.query.instruction == QUESTION
    assert asked.document.text == "The piper's"
    assert asked.document.instruction == DOCUMENT
    assert [side.text for side in asked.negatives] == ["The baker's", "The king's", "The miller's"]
    assert {side.instruction for side in asked.negatives} == {DOCUMENT}
    assert asked.one_of is None
    assert {(pair.source, pair.clip) for pair in (to_speech, to_text, asked)} == {
        ("librisqa", "100-121669-0000")
    }
    assert (report.written, report.clips, report.is_clean) == (3, 1, True)


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize(("part", "written"), [("I", 2), ("II", 1)])
def test_one_part(part: Any, written: int, data: Path, out: Path, touch: Touch) -> None:
    touch(FILE)

    assert prepare(data, out, part=part).written == written


@pytest.mark.parametrize(
    "options",
    [
        "Whose son was Tom? A. The baker's B. The piper's C. The king's D. The miller's",
        "Whose son was Tom? A) The baker's B) The piper's C) The king's D) The miller's",
        "Whose son was Tom?\nA: The baker's\nB: The piper's\nC: The king's\nD: The miller's\n",
        "Whose son was Tom? (A) The baker's (B) The piper's (C) The king's (D) The miller's",
    ],
)
@pytest.mark.parametrize("answer", ["B", "B.", "(B)", "B. The piper's"])
def test_ways_to_write_options(
    options: str, answer: str, out: Path, dump: Dump, touch: Touch, read: Read
) -> None:
    touch(FILE)
    file = dump("train.json", [TWO | {"question_and_option": options, "answer": answer}])

    prepare(file, out)

    (pair,) = read(out)
    assert (pair.query.text, pair.document.text) == ("Whose son was Tom?", "The piper's")
    assert [side.text for side in pair.negatives] == ["The baker's", "The king's", "The miller's"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": "E"}, "the answer is none of the options A, B, C, D"),
        ({"answer": " "}, "no answer"),
        ({"question_and_option": "Whose son was Tom?"}, "no options A, B, … in question_and_opt"),
        ({"question_and_option": "A. a\nB. b"}, "no question"),
    ],
)
def test_what_cannot_be_asked_is_set_aside(
    change: dict[str, str], reason: str, out: Path, dump: Dump, touch: Touch
) -> None:
    touch(FILE)
    file = dump("train.json", [ONE, TWO | change])

    report = prepare(file, out)

    (aside,) = report.set_aside
    assert aside.where == f"{file}:9"
    assert aside.reason.startswith(reason)
    assert report.written == 2


@pytest.mark.usefixtures("both")
def test_missing_speech(data: Path, out: Path) -> None:
    with pytest.raises(TrainingError, match="no audio file of 1 clip") as caught:
        prepare(data, out)

    assert "100-121669-0000" in str(caught.value.hint)


@pytest.mark.parametrize(
    "record", [{"question": "Who?"}, {"speech_path": "a.flac"}, ["a.flac", "Who?"], "Who?"]
)
def test_another_json(record: Any, out: Path, dump: Dump) -> None:
    file = dump("train.json", [record])

    with pytest.raises(PairError, match=r"train.json:2: expected a record of speech_path with"):
        prepare(file, out)

"""Audio question answering: Audio Flamingo's forms, flat records, and what can't be asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from alm2vec_search.errors import PairError, TrainingError
from trainer.prepare.audioqa import prepare
from trainer.prepare.instructions import DOCUMENT, QUESTION

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Dump, Read, Touch

    from trainer.pairs import Pair


def talk(question: str, answer: str, sound: Any = "Y7fmOlUlwoNg.flac") -> dict[str, Any]:
    """A record of AudioSkills or LongAudio."""
    return {
        "id": "Y7fmOlUlwoNg",
        "sound": sound,
        "duration": 10.0,
        "conversations": [
            {"from": "human", "value": f"<sound>\n{question}"},
            {"from": "gpt", "value": answer},
        ],
    }


# questions of the README and the model card of Audio Flamingo 3
OPEN = talk("What is surprising about the barking?", "The dogs bark in time with the music.")
TONE = talk(
    "How does the tone of female speech change throughout the audio? Choose the correct option "
    "among the options below: (A) Sad to happy (B) Happy to sad (C) Neutral to happy "
    "(D) Happy to neutral.",
    "(A) Sad to happy",
)
# of AF_Reasoning_Eval/AQA_MCQ.json and static/mmar.json, github.com/NVIDIA/audio-flamingo
MANIFEST: dict[str, Any] = {
    "split": "train",
    "split_path": "Clotho-AQA/audio_files",
    "flamingo_task": "Clotho-AQA-AQA",
    "total_num": 2,
    "data": {
        "0": {
            "name": "IKEA_Cafeteria.wav",
            "prompt": "In what location are the people?\n(A) swimming pool. (B) restaurant. "
            "(C) church. (D) conference. Output the answer with <SUMMARY>, <CAPTION>, <REASONING>, "
            "and <CONCLUSION> tags.",
            "output": "(B) restaurant",
            "duration": 18.2,
        },
        "1": {
            "name": "owls/parrot.wav",
            "prompt": "Determine what is producing the sound in the audio Choose the correct option"
            " from the following options:\n(A) Owl\n(B) Robot\n(C) Rooster\n(D) Parrot",
            "output": "Parrot",
        },
    },
}


def negatives(pair: Pair) -> list[str | None]:
    return [side.text for side in pair.negatives]


class TestConversations:
    def test_an_open_question(
        self, data: Path, out: Path, dump: Dump, touch: Touch, read: Read
    ) -> None:
        dump("audioskills/WavCaps.json", [OPEN])
        touch("flac/Y7fmOlUlwoNg.flac")

        report = prepare(data, out)

        (pair,) = read(out)
        assert pair.query.text == "What is surprising about the barking?"
        assert pair.query.audio is not None
        assert pair.query.audio.path.as_posix() == "flac/Y7fmOlUlwoNg.flac"
        assert pair.query.instruction == QUESTION
        assert pair.document.text == "The dogs bark in time with the music."
        assert pair.document.instruction == DOCUMENT
        assert pair.document.audio is None
        assert (pair.source, pair.clip, pair.one_of) == ("WavCaps", "Y7fmOlUlwoNg", None)
        assert pair.negatives == ()
        assert report.is_clean

    def test_options(self, data: Path, out: Path, dump: Dump, touch: Touch, read: Read) -> None:
        dump("a.json", [TONE])
        touch("Y7fmOlUlwoNg.flac")

        prepare(data, out)

        (pair,) = read(out)
        assert pair.query.text == "How does the tone of female speech change throughout the audio?"
        assert pair.document.text == "Sad to happy"
        assert negatives(pair) == ["Happy to sad", "Neutral to happy", "Happy to neutral"]
        assert {side.instruction for side in pair.negatives} == {DOCUMENT}

    @pytest.mark.parametrize("name", ["7fmOlUlwoNg.wav", "x/Y7fmOlUlwoNg.mp3"])
    def test_youtube_with_a_y_or_without(
        self, name: str, data: Path, out: Path, dump: Dump, touch: Touch
    ) -> None:
        dump("a.json", [OPEN])
        touch(name)

        assert prepare(data, out).clips == 1

    def test_json_lines(self, data: Path, out: Path, touch: Touch, read: Read) -> None:
        (data / "a.jsonl").write_text(f"{json.dumps(OPEN)}\n\n{json.dumps(TONE)}\n")
        touch("Y7fmOlUlwoNg.flac")

        prepare(data, out)

        assert len(read(out)) == 2

    def test_half_a_character(
        self, data: Path, out: Path, dump: Dump, touch: Touch, read: Read
    ) -> None:
        dump("a.json", [talk("What?", "Rain \ud83d")])
        touch("Y7fmOlUlwoNg.flac")

        prepare(data, out)

        assert read(out)[0].document.text == "Rain ?"

    def test_a_list_of_one_sound(self, data: Path, out: Path, dump: Dump, touch: Touch) -> None:
        dump("a.json", [talk("What?", "Rain.", ["a_0.0_6.74.wav"])])
        touch("en/a_0.0_6.74.wav")

        assert prepare(data, out).written == 1

    def test_several_sounds_are_set_aside(
        self, data: Path, out: Path, dump: Dump, touch: Touch
    ) -> None:
        file = dump("a.json", [talk("What?", "Rain.", ["a.wav", "b.wav"]), OPEN])
        touch("a.wav", "b.wav", "Y7fmOlUlwoNg.flac")

        report = prepare(data, out)

        assert report.set_aside == ((f"{file}:2", "about 2 sounds, and a query has one"),)
        assert report.written == 1

    def test_only_the_first_question_stands_alone(
        self, data: Path, out: Path, dump: Dump, touch: Touch, read: Read
    ) -> None:
        later = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "Because."}]
        file = dump("a.json", [TONE | {"conversations": TONE["conversations"] + later}])
        touch("Y7fmOlUlwoNg.flac")

        report = prepare(data, out)

        (pair,) = read(out)
        assert pair.document.text == "Sad to happy"
        (aside,) = report.set_aside
        assert aside.where == f"{file}:2"
        assert aside.reason.startswith("later questions")

    @pytest.mark.parametrize(
        ("record", "reason"),
        [
            (talk("", "Rain."), "no question"),
            (talk("What?", " "), "no answer"),
            (talk("What? (A) rain (B) snow", "hail"), "the answer is none of the options A, B"),
            (talk("What? (A) rain (B) snow", "(A) snow"), "the answer is none of the options A, B"),
        ],
    )
    def test_what_cannot_be_asked_is_set_aside(
        self, record: Any, reason: str, data: Path, out: Path, dump: Dump, touch: Touch
    ) -> None:
        file = dump("a.json", [record, OPEN])
        touch("Y7fmOlUlwoNg.flac")

        assert prepare(data, out).set_aside == ((f"{file}:2", reason),)


class TestManifests:
    def test_options(self, data: Path, out: Path, dump: Dump, touch: Touch, read: Read) -> None:
        dump("Clotho-AQA-AQA/train.json", MANIFEST)
        touch("Clotho-AQA/audio_files/IKEA_Cafeteria.wav", "Clotho-AQA/audio_files/owls/parrot.wav")

        report = prepare(data, out)

        cafeteria, parrot = read(out)
        assert cafeteria.query.text == "In what location are the people?"
        assert cafeteria.document.text == "restaurant"
        assert negatives(cafeteria) == ["swimming pool", "church", "conference"]
        assert cafeteria.source == "Clotho-AQA-AQA"
        assert cafeteria.clip == "Clotho-AQA/audio_files/IKEA_Cafeteria"
        assert parrot.query.text == "Determine what is producing the sound in the audio"
        assert parrot.document.text == "Parrot"
        assert negatives(parrot) == ["Owl", "Robot", "Rooster"]
        assert report.is_clean

    def test_the_folder_tells_two_of_one_name(
        self, data: Path, out: Path, dump: Dump, touch: Touch, read: Read
    ) -> None:
        dump("train.json", MANIFEST)
        touch("Other/audio_files/IKEA_Cafeteria.wav", "Clotho-AQA/audio_files/IKEA_Cafeteria.wav")

        prepare(data, out)

        (pair,) = read(out)
        assert pair.query.audio is not None
        assert pair.query.audio.path.as_posix() == "Clotho-AQA/audio_files/IKEA_Cafeteria.wav"

    def test_another_split_is_set_aside(
        self, data: Path, out: Path, dump: Dump, touch: Touch
    ) -> None:
        dump("A/train.json", MANIFEST)
        test = dump("A/test.json", MANIFEST | {"split": "test"})
        touch("IKEA_Cafeteria.wav", "parrot.wav")

        report = prepare(data, out)

        assert report.set_aside == ((str(test), "its split is test, not train"),)
        assert report.written == 2

    def test_a_start(self, data: Path, out: Path, dump: Dump, touch: Touch, read: Read) -> None:
        entry = MANIFEST["data"]["1"] | {"audio_start": 2.5}
        dump("a.json", MANIFEST | {"data": {"0": entry}})
        touch("parrot.wav")

        prepare(data, out)

        audio = read(out)[0].query.audio
        assert audio is not None
        assert (audio.start_s, audio.end_s) == (2.5, None)

    @pytest.mark.parametrize(
        "entry",
        [{"name": "a.wav", "prompt": "What?"}, {"name": "a.wav", "prompt": 1, "output": ""}, "a"],
    )
    def test_another_entry(self, entry: Any, data: Path, out: Path, dump: Dump) -> None:
        dump("a.json", MANIFEST | {"data": {"7": entry}})

        with pytest.raises(PairError, match=r'a.json:1: data\["7"\]: expected name, prompt and'):
            prepare(data, out)


class TestFlatRecords:
    @pytest.mark.parametrize("choices", [["Man", "Woman"], ["(A) Man", "(B) Woman"]])
    def test_with_choices(
        self, choices: list[str], data: Path, out: Path, dump: Dump, touch: Touch, read: Read
    ) -> None:
        record = {
            "id": "3fe64f3d",
            "audio_id": "./test-mini-audios/3fe64f3d.wav",
            "question": "Who speaks?",
            "choices": choices,
            "answer": choices[1],
        }
        dump("mmau.json", [record])
        touch("test-mini-audios/3fe64f3d.wav")

        prepare(data, out)

        (pair,) = read(out)
        assert (pair.query.text, pair.document.text) == ("Who speaks?", "Woman")
        assert negatives(pair) == ["Man"]


class TestFiles:
    def test_pairs_are_no_data_set(
        self, data: Path, out: Path, dump: Dump, touch: Touch, read: Read
    ) -> None:
        dump("a.json", [OPEN])
        touch("Y7fmOlUlwoNg.flac")
        prepare(data, out)

        report = prepare(data, data / "again.jsonl")

        assert report.is_clean
        assert (data / "again.jsonl").read_text() == out.read_text()

    @pytest.mark.parametrize(
        "record",
        [{"sound": "a.wav"}, {"question": "Who?", "answer": "I"}, {"conversations": []}, "a", 1],
    )
    def test_another_json(self, record: Any, data: Path, out: Path, dump: Dump) -> None:
        dump("a.json", [OPEN, record])

        with pytest.raises(PairError, match=r"a.json:17: .*expected"):
            prepare(data, out)

        assert not out.exists()

    def test_no_json_at_all(self, data: Path, out: Path) -> None:
        with pytest.raises(TrainingError, match="no json below it"):
            prepare(data, out)

"""AudioCaps, Clotho and LibriSQA as they come, and the published protocol over them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from alm2vec_search.errors import EvaluationError, PairError
from alm2vec_search.evaluation.datasets import audiocaps, clotho, librisqa
from alm2vec_search.evaluation.sets import RetrievalTask
from trainer.prepare.instructions import SOUND, SPEECH

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.evaluation.sets import EvaluationSet

AUDIOCAPS = """audiocap_id,youtube_id,start_time,caption
1,aaaaaaaaaaa,30,A dog barks
2,bbbbbbbbbbb,0,Rain falls
3,aaaaaaaaaaa,30,A dog is barking loudly
4,ccccccccccc,10,A clip that is gone
5,bbbbbbbbbbb,0,A dog barks
"""


def both(measured: EvaluationSet) -> tuple[RetrievalTask, RetrievalTask]:
    one, other = measured.tasks
    assert isinstance(one, RetrievalTask)
    assert isinstance(other, RetrievalTask)
    return one, other


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test.csv").write_text(AUDIOCAPS)
    (tmp_path / "train.csv").write_text("audiocap_id,youtube_id,start_time,caption\n")
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio/aaaaaaaaaaa_30.wav").touch()
    (tmp_path / "audio/Ybbbbbbbbbbb.flac").touch()
    return tmp_path


def test_every_caption_is_a_query_and_a_clip_counts_by_the_best_of_its_own(folder: Path) -> None:
    measured = audiocaps.read(folder)
    by_text, by_sound = both(measured)
    assert [query.text for query in by_text.queries] == [
        "A dog barks",
        "A dog is barking loudly",
        "Rain falls",
        "A dog barks",  # of another clip: a query of its own, and another document
    ]
    assert by_text.relevant == tuple(frozenset([row]) for row in (0, 0, 1, 1))
    assert [d.audio.path.name for d in by_text.documents if d.audio] == [
        "aaaaaaaaaaa_30.wav",
        "Ybbbbbbbbbbb.flac",
    ]
    assert by_sound.queries == tuple(
        d.model_copy(update={"instruction": SOUND.to_text}) for d in by_text.documents
    )
    assert by_sound.relevant == (frozenset([0, 1]), frozenset([2, 3]))
    assert by_text.groups == ("aaaaaaaaaaa", "aaaaaaaaaaa", "bbbbbbbbbbb", "bbbbbbbbbbb")
    assert {q.instruction for q in by_text.queries} == {SOUND.to_audio}
    assert {d.instruction for d in (*by_text.documents, *by_sound.documents)} == {SOUND.document}


def test_what_is_missing_is_counted_and_the_pool_is_named(folder: Path) -> None:
    measured = audiocaps.read(folder)
    assert measured.missing == ("ccccccccccc_10",)
    assert measured.pool == "2 clips, 4 captions"
    assert (measured.key, measured.name) == ("audiocaps", "AudioCaps test")


def test_no_audio_at_all(folder: Path) -> None:
    for sound in (folder / "audio").iterdir():
        sound.unlink()
    with pytest.raises(EvaluationError, match="no audio file of 3 clips") as caught:
        audiocaps.read(folder)
    assert caught.value.hint is not None
    assert "--audio" in caught.value.hint
    assert "aaaaaaaaaaa_30" in caught.value.hint


def test_a_split_that_lists_nothing(folder: Path) -> None:
    with pytest.raises(EvaluationError, match="it lists nothing"):
        audiocaps.read(folder, split="train")


def test_another_table(folder: Path) -> None:
    (folder / "test.csv").write_text("a,b\n1,2\n")
    with pytest.raises(PairError, match="expected a column youtube_id"):
        audiocaps.read(folder)


def test_clotho_with_a_caption_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "clotho_captions_evaluation.csv").write_text(
        "file_name,caption_1,caption_2,caption_3\n"
        "rain.wav,It rains.,,Rain on a roof.\n"
        "gone.wav,Gone.,Gone.,Gone.\n"
    )
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation/rain.wav").touch()
    measured = clotho.read(tmp_path)
    by_text, by_sound = both(measured)
    assert [query.text for query in by_text.queries] == ["It rains.", "Rain on a roof."]
    assert by_sound.relevant == (frozenset([0, 1]),)
    assert measured.missing == ("gone.wav",)
    assert [aside.reason for aside in measured.set_aside] == ["caption 2 is blank"]


@pytest.fixture
def libri(tmp_path: Path) -> Path:
    speech = [
        {
            "speech_path": f"LibriSpeech/test-clean/1089/134686/1089-134686-000{n}.wav",
            "question": f"What is said in {n}?",
            "answer": "Nothing.",
            "text": "",
            "duration": 1.0,
        }
        for n in range(3)
    ]
    part_two = {
        "speech_path": speech[0]["speech_path"],
        "question_and_option": "What? A. One B. Two",
        "answer": "A",
    }
    (tmp_path / "LibriSQA-PartI-test.json").write_text(json.dumps(speech))
    (tmp_path / "LibriSQA-PartII-test.json").write_text(json.dumps([part_two]))
    folder = tmp_path / "LibriSpeech/test-clean/1089/134686"
    folder.mkdir(parents=True)
    for n in range(2):
        (folder / f"1089-134686-000{n}.flac").touch()
    return tmp_path


def test_librisqa_is_part_one_alone_one_question_an_utterance(libri: Path) -> None:
    measured = librisqa.read(libri)
    by_text, by_sound = both(measured)
    assert [task.name for task in measured.tasks] == ["text to speech", "speech to text"]
    assert [query.text for query in by_text.queries] == [f"What is said in {n}?" for n in range(2)]
    assert by_text.relevant == by_sound.relevant == (frozenset([0]), frozenset([1]))
    assert set(by_text.groups) == {"1089"}  # the speaker
    assert by_text.queries[0].instruction == SPEECH.to_audio
    assert measured.pool == "2 utterances, 2 questions"
    assert measured.missing == ("1089-134686-0002",)

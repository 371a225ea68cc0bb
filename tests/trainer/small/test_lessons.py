"""What is taught is true: the right answer is of the part that was asked for, the wrong isn't."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.pairs import AudioRef
from trainer.small import lessons
from trainer.small.lessons import CLEARLY_DB, Lessons, Scene, Sound
from trainer.small.ontology import Ontology

ONTOLOGY = Ontology(
    {name: name for name in ("Animal", "Dog", "Music", "Banjo", "Speech", "Water", "Rain")},
    {"Animal": ("Dog",), "Music": ("Banjo",), "Water": ("Rain",)},
)


def sound(name: str, label: str, kind: str = "sound") -> Sound:
    ref = AudioRef(path=Path(f"{name}.flac"))
    return Sound(ref, (f"a {name}",), (label,), kind, label, f"{name}.flac")


DOG, OTHER_DOG, RAIN, OTHER_RAIN = (
    sound("dog", "Dog"),
    sound("other dog", "Dog"),
    sound("rain", "Rain"),
    sound("other rain", "Rain"),
)
BANJO = sound("banjo", "Banjo", "music")
MAN = sound("man", "Speech", "speech")
SOUNDS = [DOG, OTHER_DOG, RAIN, OTHER_RAIN, BANJO, MAN]


def scene(front: Sound, behind: Sound, louder_db: float = 0.0) -> Scene:
    return Scene(AudioRef(path=Path("scene.flac")), front, behind, louder_db, "scene.flac")


@pytest.fixture
def teacher() -> Lessons:
    return Lessons(ONTOLOGY, SOUNDS, np.random.default_rng(0))


def asked(teacher: Lessons, where: Scene) -> dict[str, set[str]]:
    """What is asked about a scene that one part answers, by the part: all there can be."""
    found: dict[str, set[str]] = {where.front.clip: set(), where.behind.clip: set()}
    for _ in range(30):
        for wanted, other in ((where.front, where.behind), (where.behind, where.front)):
            found[wanted.clip] |= set(teacher._questions_for(wanted, other, where))
    return found


def test_a_caption_goes_both_ways_and_is_one_of_the_clips(teacher: Lessons) -> None:
    pairs = list(teacher.captions([DOG]))

    assert [(pair.query.text, pair.document.text) for pair in pairs] == [
        ("a dog", None),
        (None, "a dog"),
    ]
    assert {pair.one_of for pair in pairs} == {"dog.flac"}


def test_a_scene_is_told_with_both_its_parts(teacher: Lessons) -> None:
    texts = [p.query.text or p.document.text or "" for p in teacher.scenes([scene(DOG, RAIN)])]

    assert len(texts) == 6
    assert all("a dog" in text and "a rain" in text for text in texts)


def test_a_scene_is_neither_of_its_parts(teacher: Lessons) -> None:
    pairs = list(teacher.scenes([scene(DOG, RAIN)]))

    to_sound = [pair for pair in pairs if pair.query.text]
    assert len(to_sound) == 3
    for pair in to_sound:
        assert [side.audio for side in pair.negatives] == [DOG.audio, RAIN.audio]
    assert not any(pair.negatives for pair in pairs if pair not in to_sound)


def test_a_voice_in_a_scene_may_be_just_whose_it_is(teacher: Lessons) -> None:
    woman = replace(MAN, labels=("Speech", "Female speech, woman speaking"))

    pairs = [pair for _ in range(20) for pair in teacher.scenes([scene(DOG, woman)])]

    texts = {pair.query.text or pair.document.text or "" for pair in pairs}
    assert all("a dog" in text for text in texts)
    assert any("speaker is female" in text for text in texts)
    assert any("a man" in text for text in texts)  # as its own texts have it
    assert not any("male" in text.replace("female", "") for text in texts)


def test_questions_name_the_kinds_of_their_own_part_only(teacher: Lessons) -> None:
    found = asked(teacher, scene(DOG, RAIN))

    assert any("animal" in question for question in found["dog.flac"])
    assert not any("animal" in question for question in found["rain.flac"])
    assert any("water" in question for question in found["rain.flac"])


def test_a_kind_that_both_are_of_asks_for_neither(teacher: Lessons) -> None:
    found = asked(teacher, scene(DOG, OTHER_DOG))

    assert found == {"dog.flac": set(), "other dog.flac": set()}


def test_what_is_in_front_is_asked_for_where_it_is_clear(teacher: Lessons) -> None:
    vague = asked(teacher, scene(DOG, RAIN, CLEARLY_DB - 1))
    clear = asked(teacher, scene(DOG, RAIN, CLEARLY_DB))

    front, behind = set(lessons.OF_WHAT_IS_IN_FRONT), set(lessons.OF_WHAT_IS_BEHIND)
    assert not (vague["dog.flac"] | vague["rain.flac"]) & (front | behind)
    assert front <= clear["dog.flac"]
    assert not behind & clear["dog.flac"]
    assert behind <= clear["rain.flac"]


def test_behind_who_speaks_is_the_background_however_loud(teacher: Lessons) -> None:
    found = asked(teacher, scene(BANJO, MAN, CLEARLY_DB + 5))

    assert set(lessons.OF_WHAT_IS_BEHIND) <= found["banjo.flac"]
    assert set(lessons.OF_MUSIC) <= found["banjo.flac"]
    assert set(lessons.OF_A_VOICE) <= found["man.flac"]
    assert not set(lessons.OF_WHAT_IS_BEHIND) & found["man.flac"]


def test_the_answer_is_of_the_part_that_is_asked_for(teacher: Lessons) -> None:
    """A text, another such sound, or such a sound under the same question."""
    answers = {"a dog": DOG, "other dog.flac": DOG, "a rain": RAIN, "other rain.flac": RAIN}
    forms = set()
    pairs = [p for _ in range(100) for p in teacher.questions([scene(DOG, RAIN)])]
    for pair in pairs:
        (negative,) = pair.negatives
        right, wrong = (
            answers[side.text or str(side.audio.path if side.audio else None)]
            for side in (pair.document, negative)
        )
        words = f"{pair.query.text} {pair.query.instruction}"
        assert right is (DOG if "animal" in words or "dog" in words else RAIN)
        assert wrong is not right
        assert pair.document.instruction in (None, pair.query.instruction)
        forms.add((pair.document.text is None, pair.document.instruction is None))

    assert forms == {(False, True), (True, True), (True, False)}


def test_without_another_such_sound_the_answer_is_a_text(teacher: Lessons) -> None:
    pairs = [p for _ in range(20) for p in teacher.questions([scene(BANJO, MAN)])]

    assert pairs
    assert all(pair.document.text for pair in pairs)


def test_an_addition_is_answered_by_both_and_not_by_either(teacher: Lessons) -> None:
    for pair in (p for _ in range(50) for p in teacher.additions([scene(DOG, RAIN)])):
        assert pair.query.text
        assert pair.query.audio
        added = "rain" if "rain" in pair.query.text else "dog"
        assert added not in str(pair.query.audio.path)
        assert pair.document.audio == AudioRef(path=Path("scene.flac")) or all(
            name in (pair.document.text or "") for name in ("dog", "rain")
        )
        assert pair.negatives[0].audio == pair.query.audio
        assert pair.negatives[1].text == f"a {added}"

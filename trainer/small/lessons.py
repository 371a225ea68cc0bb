"""What the small model is taught: pairs of words and sounds, and of questions about sounds.

A `Sound` is anything that can be heard, real or virtual, with what is known about it. A `Scene` is
two of them at once. From these, the lessons:

- *captions*: a sound and what is said of it, either way round
- *scenes*: a scene, and both its parts put into words; the words never mean one part by itself
- *questions*: a scene under an instruction that asks for one part → that part in words, or another
  sound like it, or another scene with it under the same instruction; never the other part
- *additions*: a sound with "with … in the background" → the scene with both
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.pairs import AudioRef, Pair, Side
from trainer.small.ontology import called

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.random import Generator

    from trainer.small.ontology import Ontology

SCENES = (
    "{front} with {behind} in the background",
    "{front} while {behind} is heard",
    "{front} over {behind}",
    "{front} and {behind}",
    "{front}, {behind}",
)
EVEN = SCENES[-2:]  # either part may come first
ADDITIONS = (
    "with {it} in the background",
    "but with {it}",
    "and {it}",
    "together with {it}",
    "plus {it}",
    "{it} too",
)
SPEAKERS = {  # in a scene, of a voice by AudioSet's name for it
    "Male speech, man speaking": ("the speaker is male", "speaker is male", "a male speaker"),
    "Female speech, woman speaking": (
        "the speaker is female",
        "speaker is female",
        "a female speaker",
    ),
}
OF_A_KIND = (
    "what {kind} is it?",
    "which {kind} is heard?",
    "what kind of {kind} is this?",
    "what {kind} do you hear?",
    "the {kind}",
    "same {kind}",
    "listen to the {kind} only",
    "focus on the {kind}",
    "is there any {kind}? which?",
)
OF_A_VOICE = (
    "who is speaking?",
    "is the speaker male or female?",
    "is it a man or a woman who speaks?",
    "what is the speaker's gender?",
    "same speaker",
    "same voice",
    "the speaker",
    "what does the voice sound like?",
    "focus on the voice",
    "what can be said about the person who talks?",
)
OF_MUSIC = (
    "what music is playing?",
    "which instrument is played?",
    "same instrument",
    "the music",
    "what is the music like?",
    "focus on the music",
)
OF_WHAT_IS_IN_FRONT = (
    "what is in the foreground?",
    "the main sound",
    "what is the loudest sound?",
    "what is heard most clearly?",
)
OF_WHAT_IS_BEHIND = (
    "what plays in the background?",
    "what is in the background?",
    "the background sound",
    "same background",
    "what is heard faintly?",
    "which sounds surround the main one?",
)
VAGUE = frozenset(  # kinds that don't tell sounds apart
    {"Source-ambiguous sounds", "Generic impact sounds", "Surface contact", "Sounds of things",
     "Onomatopoeia", "Channel, environment and background", "Specific impact sounds",
     "Deformable shell", "Human sounds", "Natural sounds", "Acoustic environment", "Noise",
     "Miscellaneous sources", "Human voice", "Brief tone", "Other sourceless"}
)  # fmt: skip
CLEARLY_DB = 4.0  # from here on one part is in front


@dataclass(frozen=True, slots=True)
class Sound:
    """Something to hear, and what is known about it."""

    audio: AudioRef
    texts: tuple[str, ...]
    labels: tuple[str, ...]  # AudioSet's names
    kind: str  # "sound", "speech" or "music"
    alike: str  # sounds that share this could stand for each other
    clip: str


@dataclass(frozen=True, slots=True)
class Scene:
    """Two sounds at once."""

    audio: AudioRef
    front: Sound
    behind: Sound
    louder_db: float  # the one in front
    clip: str


class Lessons:
    """Makes pairs; what is left to chance comes from `rng`.

    Args:
        ontology: which sounds are kinds of which.
        sounds: those that can stand for one another.
    """

    def __init__(self, ontology: Ontology, sounds: Sequence[Sound], rng: Generator) -> None:
        self._ontology = ontology
        self._rng = rng
        self._groups: dict[str, list[Sound]] = {}
        for sound in sounds:
            self._groups.setdefault(sound.alike, []).append(sound)

    def captions(self, sounds: Sequence[Sound]) -> Iterator[Pair]:
        """Each sound with each of its texts, either way round; one of them each time."""
        for sound in sounds:
            for text in sound.texts:
                yield from self._both_ways(text, sound.audio, sound.clip)

    def scenes(self, scenes: Sequence[Scene]) -> Iterator[Pair]:
        """Each scene, both parts in words."""
        for scene in scenes:
            for form in self._some(SCENES, 3):
                front, behind = self._part(scene.front), self._part(scene.behind)
                if self._rng.random() < 0.5:
                    front, behind = (behind, front) if form in EVEN else (front, behind)
                text = form.format(front=front, behind=behind)
                to_sound, to_text = self._both_ways(text, scene.audio, scene.clip)
                parts = (Side(audio=scene.front.audio), Side(audio=scene.behind.audio))
                yield to_sound.model_copy(update={"negatives": parts})
                yield to_text

    def questions(self, scenes: Sequence[Scene], per_scene: int = 2) -> Iterator[Pair]:
        """Each scene under instructions that ask for one of its parts."""
        for scene in scenes:
            for wanted, other in ((scene.front, scene.behind), (scene.behind, scene.front)):
                forms = self._questions_for(wanted, other, scene)
                for instruction in self._some(forms, per_scene):
                    yield self._question(scene, wanted, other, instruction)

    def additions(self, scenes: Sequence[Scene]) -> Iterator[Pair]:
        """A sound like one part of a scene, and the other in words → the scene."""
        for scene in scenes:
            given, added = scene.front, scene.behind
            if self._rng.random() < 0.5:
                given, added = added, given
            start = self._another(given) or given
            both = f"{self._one(given.texts)} and {self._one(added.texts)}"
            is_heard = self._rng.random() < 0.6
            yield Pair(
                query=Side(
                    audio=start.audio,
                    text=self._one(ADDITIONS).format(it=self._one(added.texts)),
                ),
                document=Side(audio=scene.audio) if is_heard else Side(text=both),
                negatives=(Side(audio=start.audio), Side(text=self._one(added.texts))),
                source="additions",
                clip=scene.clip,
            )

    def _question(self, scene: Scene, wanted: Sound, other: Sound, instruction: str) -> Pair:
        chance = self._rng.random()
        similar, opposite = self._another(wanted), self._another(other)
        if chance < 0.5 or similar is None or opposite is None:
            right, wrong = Side(text=self._one(wanted.texts)), Side(text=self._one(other.texts))
        elif chance < 0.75:
            right, wrong = Side(audio=similar.audio), Side(audio=opposite.audio)
        else:  # judged by the same question
            right = Side(audio=similar.audio, instruction=instruction)
            wrong = Side(audio=opposite.audio, instruction=instruction)
        query = Side(audio=scene.audio, instruction=instruction)
        if right.text is not None and self._rng.random() < 0.4:
            query = Side(audio=scene.audio, text=instruction)
        return Pair(
            query=query,
            document=right,
            negatives=(wrong,),
            source="questions",
            clip=f"{scene.clip} {wanted.alike}",
        )

    def _part(self, sound: Sound) -> str:
        """A part of a scene in words; of a voice, now and then, just whose it is."""
        forms = [form for label in sound.labels for form in SPEAKERS.get(label, ())]
        is_told = forms and self._rng.random() < 0.4
        return self._one(forms if is_told else sound.texts)

    def _questions_for(self, wanted: Sound, other: Sound, scene: Scene) -> list[str]:
        """What can be asked that one part answers, and the other doesn't."""
        forms: list[str] = []
        not_it = {up for label in other.labels for up in (label, *self._ontology.above(label))}
        kinds = {
            up
            for label in wanted.labels
            for up in (label, *self._ontology.above(label))
            if up not in not_it and up not in VAGUE
        }
        for kind in sorted(kinds):
            forms += [form.format(kind=called(kind)[0]) for form in self._some(OF_A_KIND, 2)]
        if wanted.kind == "speech" and other.kind != "speech":
            forms += OF_A_VOICE
        if wanted.kind == "music" and other.kind != "music":
            forms += OF_MUSIC
        if wanted.kind != "speech" and other.kind == "speech":
            forms += OF_WHAT_IS_BEHIND  # behind who speaks, however loud
        elif scene.louder_db >= CLEARLY_DB and wanted.kind != "speech":
            forms += OF_WHAT_IS_IN_FRONT if wanted is scene.front else OF_WHAT_IS_BEHIND
        return forms

    def _another(self, sound: Sound) -> Sound | None:
        """One that could stand for this one, if there is any other."""
        group = [one for one in self._groups.get(sound.alike, ()) if one.clip != sound.clip]
        return group[int(self._rng.integers(len(group)))] if group else None

    def _both_ways(self, text: str, audio: AudioRef, clip: str) -> Iterator[Pair]:
        sides = Side(text=text), Side(audio=audio)
        for query, document in (sides, sides[::-1]):
            yield Pair(query=query, document=document, source="captions", clip=clip, one_of=clip)

    def _one(self, choices: Sequence[str]) -> str:
        return choices[int(self._rng.integers(len(choices)))]

    def _some(self, choices: Sequence[str], n: int) -> list[str]:
        places = self._rng.permutation(len(choices))[:n]
        return [choices[place] for place in places]

"""Virtual sounds with what is to be heard in them: of captions, of label sets, and two at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainer.pairs import AudioRef
from trainer.small.lessons import Scene, Sound
from trainer.small.ontology import called
from trainer.small.voices import GENDERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.random import Generator
    from torch import Tensor

    from trainer.small.ontology import Ontology
    from trainer.small.virtual import VirtualFrames

FILE = "virtual.safetensors"
LOUDEST_DB = 12.0  # the part in front, over the one behind it
IN_FRONT, BEHIND = 1 / 8, -1 / 4  # log-odds a dB


class ImaginedSounds:
    """Makes sounds, and keeps their frames.

    Args:
        classes: the detector's, by name.
    """

    def __init__(
        self, virtual: VirtualFrames, ontology: Ontology, classes: dict[str, int], rng: Generator
    ) -> None:
        self.frames: dict[str, Tensor] = {}  # float16 [T, D]
        self._virtual = virtual
        self._ontology = ontology
        self._classes = classes
        self._rng = rng

    def captioned(self, captions: Iterable[tuple[str, list[str]]]) -> list[Sound]:
        """A sound for each caption with its label set."""
        return [self._sound((caption,), labels) for caption, labels in captions]

    def named(self, sets: Sequence[list[str]], count: int) -> list[Sound]:
        """Sounds of label sets, called by these."""
        sounds = []
        for place in self._rng.integers(len(sets), size=count):
            labels = sets[place]
            names = [called(label)[0] for label in labels[:3]]
            texts = {", ".join(names), " and ".join(names[:2])}
            sounds.append(self._sound(tuple(sorted(texts)), labels))
        return sounds

    def scenes(self, sets: Sequence[list[str]], count: int) -> list[Scene]:
        """Two classes at once, neither of which is a kind of the other, or of what it is of."""
        made: list[Scene] = []
        while len(made) < count:
            front, behind = self._any_label(sets), self._any_label(sets)
            if self._are_related(front, behind):
                continue
            if (in_front := self._column(front)) is None or (back := self._column(behind)) is None:
                continue
            louder_db = float(self._rng.uniform(0, LOUDEST_DB))
            audio = self._keep(
                [in_front, back], {in_front: louder_db * IN_FRONT, back: louder_db * BEHIND}
            )
            first, second = (self._sound(_texts(name), [name]) for name in (front, behind))
            made.append(Scene(audio, first, second, louder_db, str(audio.frames)))
        return made

    def _any_label(self, sets: Sequence[list[str]]) -> str:
        labels = sets[int(self._rng.integers(len(sets)))]
        return labels[int(self._rng.integers(len(labels)))]

    def _are_related(self, one: str, other: str) -> bool:
        first, second = ({name, *self._ontology.above(name)} for name in (one, other))
        return not first.isdisjoint(second)

    def _sound(self, texts: tuple[str, ...], labels: Sequence[str]) -> Sound:
        audio = self._keep(self._ontology.columns(labels, self._classes), {})
        kind = self._kind(labels[0]) if len(labels) == 1 else "sound"
        return Sound(audio, texts, tuple(labels), kind, " ".join(labels), str(audio.frames))

    def _keep(self, columns: Sequence[int], louder: dict[int, float]) -> AudioRef:
        name = f"virtual/{len(self.frames):06}"
        self.frames[name] = self._virtual.draw(columns, louder)
        return AudioRef(path=Path(FILE), frames=name)

    def _column(self, name: str) -> int | None:
        return next(iter(self._ontology.columns([name], self._classes)), None)

    def _kind(self, name: str) -> str:
        above = {name, *self._ontology.above(name)}
        return "speech" if "Speech" in above else "music" if "Music" in above else "sound"


def _texts(name: str) -> tuple[str, ...]:
    for voice in GENDERS.values():
        if name == voice.label:
            return (f"a {voice.said}", voice.said.replace("speaking", "talking"))
    return tuple(called(name))

"""The material's sounds as they are taught: which are, which are kept to measure with, and two at
once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from trainer.pairs import AudioRef
from trainer.prepare.data_set import relative_to
from trainer.small.clips import read_lines
from trainer.small.lessons import Scene, Sound
from trainer.small.voices import GENDERS, said_by

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from trainer.frame_cache import FrameCache, Progress

HELD_OUT = 16  # one group of sounds in so many
HELD_OUT_SOURCES = ("clips/asterisk", "clips/ktuberling")  # real voices, to measure with


class RealSounds:
    """
    Args:
        material: the folder, with `clips.jsonl` and `mixtures.jsonl`.
        out: a file of pairs, from whose folder paths are written.
    """

    def __init__(self, material: Path, out: Path) -> None:
        self._material = material
        self._relative = relative_to(out)
        self._clips = {line["path"]: line for line in read_lines(material / "clips.jsonl")}
        self._mixtures = read_lines(material / "mixtures.jsonl")

    @cached_property
    def taught(self) -> list[Sound]:
        """Those that the model learns from."""
        return [sound for sound in self._sounds if sound.alike not in self._kept]

    @cached_property
    def held_out(self) -> list[Sound]:
        """Those that progress is measured with; nothing like them is taught."""
        return [sound for sound in self._sounds if sound.alike in self._kept]

    @cached_property
    def scenes(self) -> list[Scene]:
        """Two at once, both of which are taught."""
        taught = {sound.clip: sound for sound in self.taught}
        scenes = []
        for line in self._mixtures:
            front, behind = (taught.get(part) for part in line["parts"])
            if front and behind:
                audio = self._ref(line["path"])
                scenes.append(Scene(audio, front, behind, line["louder_db"], line["path"]))
        return scenes

    def genders(self) -> dict[str, str | None]:
        """Who speaks in each sound and scene that is taught, by its path; None: nobody does."""
        alone = {sound.clip: self._clips[sound.clip].get("gender") for sound in self.taught}
        parts = {scene.clip: (scene.front.clip, scene.behind.clip) for scene in self.scenes}
        together = {clip: said_by([alone[part] for part in both]) for clip, both in parts.items()}
        return alone | together

    def hear(self, cache: FrameCache, progress: Progress) -> dict[str, Tensor]:
        """Frames float32 [T, D] of each sound and scene that is taught, by its path.

        Args:
            progress: is called with how many were heard, and of how many.

        Raises:
            TrainingError: one can't be read.
        """
        paths = [sound.clip for sound in self.taught] + [scene.clip for scene in self.scenes]
        refs = {path: AudioRef(path=self._material / path) for path in paths}
        cache.fill(refs.values(), progress)
        return {path: cache.get(ref) for path, ref in refs.items()}

    @cached_property
    def _sounds(self) -> list[Sound]:
        usable = [path for path in self._clips if not path.startswith(HELD_OUT_SOURCES)]
        return [self._sound(self._clips[path]) for path in usable]

    @cached_property
    def _kept(self) -> set[str]:
        """What is held out, by what sounds like it."""
        return set(sorted({sound.alike for sound in self._sounds})[::HELD_OUT])

    def _sound(self, line: dict[str, Any]) -> Sound:
        labels = list(line["labels"])
        gender = line.get("gender")
        if gender and line["kind"] == "speech":
            labels.append(GENDERS[gender].label)
        return Sound(
            audio=self._ref(line["path"]),
            texts=tuple(line["texts"]),
            labels=tuple(labels),
            kind=line["kind"],
            alike=" ".join([*sorted(labels), line["texts"][0], str(gender)]),
            clip=line["path"],
        )

    def _ref(self, path: str) -> AudioRef:
        return AudioRef(path=self._relative(self._material / path))

"""A whole training run of the toy model: sounds, files of pairs, and a file of settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from toy_model import SAMPLING_RATE, save_toy_model

from trainer.config import read_config
from trainer.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from trainer.config import TrainConfig

COLOURS = ("red", "old", "wet", "cold", "tall", "far")
NOUNS = ("dog", "rain", "bell", "train")
SETTINGS = """
[model]
base = "model"
projector = "trained"
[[data]]
pairs = "train.jsonl"
[[data]]
pairs = "questions.jsonl"
[held_out]
pairs = "held_out.jsonl"
every = 5
[optimiser]
steps = 12
batch_size = 8
mini_batch_size = 4
learning_rate = 3e-3
min_learning_rate = 1e-4
warmup_steps = 3
[run]
out = "run"
log_every = 2
save_every = 3
device = "cpu"
"""


@dataclass(frozen=True)
class ToyRun:
    """A folder with all that a run needs."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "run.toml"

    def config(self, *changes: str, out: str = "run", held_out: bool = True) -> TrainConfig:
        config = read_config(self.file, changes, out=self.folder / out)
        return config if held_out else config.model_copy(update={"held_out": None})

    @classmethod
    def make(cls, folder: Path) -> ToyRun:
        """Write it: 24 sounds of two tones each, said in two captions, a quarter held out."""
        save_toy_model(folder / "model")
        captions: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        questions = []
        for number, (colour, noun) in enumerate((c, n) for c in COLOURS for n in NOUNS):
            clip = f"{colour}-{noun}"
            write_tones(
                folder / f"{clip}.wav", 200 + 150 * COLOURS.index(colour), 1500 + 400 * (number % 4)
            )
            for caption in (f"a {colour} {noun}", f"the {noun} is {colour}"):
                captions[number % 4 == number // 4 % 4] += both_ways(caption, clip)
            if number % 4 != number // 4 % 4:
                questions.append(
                    {
                        "query": {"text": f"what is {colour}?", "audio": f"{clip}.wav"},
                        "document": {"text": noun},
                        "negatives": [{"text": NOUNS[number % 4 - 1]}],
                        "clip": clip,
                    }
                )
        write_lines(folder / "train.jsonl", captions[False])
        write_lines(folder / "held_out.jsonl", captions[True])
        write_lines(folder / "questions.jsonl", questions)
        (folder / "run.toml").write_text(SETTINGS)
        return cls(folder)


def both_ways(caption: str, clip: str) -> list[dict[str, Any]]:
    text, audio = {"text": caption}, {"audio": f"{clip}.wav"}
    common = {"source": "toy", "clip": clip, "one_of": clip}
    return [
        {"query": text, "document": audio, **common},
        {"query": audio, "document": text, **common},
    ]


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def write_tones(path: Path, *pitches_hz: float, seconds: float = 0.3) -> None:
    times = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    tones = sum(np.sin(2 * np.pi * pitch * times) for pitch in pitches_hz)
    soundfile.write(path, 0.3 * np.asarray(tones, np.float32), SAMPLING_RATE)


class Watched(NoProgress):
    """A progress that remembers what it was told, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps: list[int] = []

    def started(self, step: int, steps: int) -> None:
        self.said.append(f"started at {step} of {steps}")

    def stepped(self, step: int) -> None:
        self.steps.append(step)

    def measured(self, step: int, line: str) -> None:
        self.said.append(f"measured {step}")

    def note(self, line: str) -> None:
        self.said.append(line)

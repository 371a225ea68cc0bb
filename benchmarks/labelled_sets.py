"""Writes the sets that the small model's page of results is made of, for `alm2vec eval`.

    python benchmarks/labelled_sets.py OUT MATERIAL --esc10 ESC-10 \\
        --gcompris SOUNDS --labels named_sounds.csv

What the sounds are and where they are from: `quality.py` and `questions.py`. None of them was
trained on. OUT then holds, with the sounds below it,

    esc10-fold5.csv         80 clips of ten classes
    named-sounds.csv        47 sounds of 45 names
    voices.csv              real voices alone, a woman's or a man's
    questions.jsonl         two sounds at once, and a question about one: its name, or the other's
    hard-questions.jsonl    the same, with a third name that the question's words would fit as well
    same-part.jsonl         is a scene with the same animal, instrument or kind of voice nearer than
                            one with the same company?
    dog-and-woman.jsonl     "dog barking, speaker is female", before four scenes with one half of it

In `questions.jsonl` the words alone give the answer away: "what animal is it?" is nearer to any
animal than to any instrument, whatever is heard. `hard-questions.jsonl` was made because of that.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from quality import SEED, read_esc10, read_named
from questions import (
    ASKED,
    RATE_HZ,
    SPEAKING,
    Sounds,
    kind_of,
    questions,
    same_parts,
    trials,
)

from alm2vec_search.errors import Alm2VecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alm2vec_search.domain import Waveform


class Folder:
    """Where the sets go; sounds that come twice are written once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: dict[bytes, str] = {}

    def copied(self, sound: Path, name: str) -> str:
        """A file of somebody else's, under a name."""
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sound, place)
        return name

    def written(self, sound: Waveform, kind: str) -> str:
        """A scene, or a part of one."""
        samples = sound.samples.tobytes()
        if samples not in self._names:
            name = f"scenes/{kind}-{len(self._names):04d}.flac"
            place = self.path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(place, sound.samples, RATE_HZ, subtype="PCM_16")
            self._names[samples] = name
        return self._names[samples]

    def table(self, name: str, rows: Iterable[tuple[str, str, str]]) -> None:
        with (self.path / name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "text", "group"))
            writer.writerows(rows)

    def lines(self, name: str, triplets: Iterable[dict[str, Any]]) -> None:
        with (self.path / name).open("w", encoding="utf-8") as file:
            for triplet in triplets:
                file.write(json.dumps(triplet) + "\n")


def main() -> None:
    args = parse_args()
    folder = Folder(args.out)
    try:
        sounds = Sounds(args.material, args.gcompris, args.labels)
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.table("esc10-fold5.csv", esc10(folder, args.esc10))
        folder.table("named-sounds.csv", named(folder, args.gcompris, args.labels))
        folder.table("voices.csv", voices(folder, sounds))
        folder.lines("questions.jsonl", asked(folder, sounds))
        folder.lines("hard-questions.jsonl", asked_hard(folder, sounds))
        folder.lines("same-part.jsonl", same(folder, sounds))
        folder.lines("dog-and-woman.jsonl", both_at_once(folder, sounds))
    except (Alm2VecError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("material", type=Path, metavar="MATERIAL")
    parser.add_argument("--esc10", type=Path, metavar="DIR", required=True)
    parser.add_argument("--gcompris", type=Path, metavar="DIR", required=True)
    parser.add_argument("--labels", type=Path, metavar="CSV", required=True)
    return parser.parse_args()


def esc10(folder: Folder, source: Path) -> Iterator[tuple[str, str, str]]:
    """The files' folders are their classes' names: here they have none."""
    for sound in read_esc10(source, [5]):
        yield folder.copied(sound.path, f"esc10/{sound.path.name}"), sound.label, sound.recording


def named(folder: Folder, source: Path, labels: Path) -> Iterator[tuple[str, str, str]]:
    """Under numbers, as their own names say what they are."""
    for number, sound in enumerate(read_named(source, labels)):
        name = f"named/{number:02d}-{kind_of(sound.recording)}{sound.path.suffix}"
        yield folder.copied(sound.path, name), sound.label, sound.recording


def voices(folder: Folder, sounds: Sounds) -> Iterator[tuple[str, str, str]]:
    for voice in sounds.voices:
        yield folder.written(voice.waveform, "voice"), SPEAKING[voice.kind], voice.source


def asked(folder: Folder, sounds: Sounds) -> Iterator[dict[str, Any]]:
    for question in questions(sounds, np.random.default_rng(SEED)):
        yield triplet(
            {"audio": folder.written(question.scene, "scene"), "instruction": question.instruction},
            {"text": question.right.name},
            [{"text": question.wrong.name}],
            domain=question.of,
            group=(question.wrong if question.right.is_voice else question.right).source,
        )


def asked_hard(folder: Folder, sounds: Sounds) -> Iterator[dict[str, Any]]:
    """Beside the part that isn't asked about, one of the asked kind that isn't there."""
    rng = np.random.default_rng(SEED + 1)
    for question in questions(sounds, np.random.default_rng(SEED)):
        heard = {question.right.name, question.wrong.name}
        kinds = tuple(SPEAKING) if question.right.is_voice else (question.right.kind,)
        absent = sorted({part.name for part in sounds.of(*kinds)} - heard)
        yield triplet(
            {"audio": folder.written(question.scene, "scene"), "instruction": question.instruction},
            {"text": question.right.name},
            [{"text": question.wrong.name}, {"text": str(rng.choice(absent))}],
            domain=question.of,
            group=(question.wrong if question.right.is_voice else question.right).source,
        )


def same(folder: Folder, sounds: Sounds) -> Iterator[dict[str, Any]]:
    """All three under the instruction, as `alm2vec search --instruction` hears the best again."""
    for scene in same_parts(sounds):
        query, right, wrong = (
            {"audio": folder.written(sound, "same"), "instruction": ASKED[scene.of][0]}
            for sound in (scene.scene, scene.right, scene.wrong)
        )
        yield triplet(
            query,
            right,
            [wrong],
            domain=scene.of,
            group=scene.source,
        )


def both_at_once(folder: Folder, sounds: Sounds) -> Iterator[dict[str, Any]]:
    for trial in trials(sounds):
        right, *wrong = (folder.written(sound, "dog-and-woman") for sound in trial.candidates)
        yield triplet(
            {"text": "dog barking, speaker is female"},
            {"audio": right},
            [{"audio": sound} for sound in wrong],
            group=trial.source,
        )


def triplet(
    query: dict[str, Any], target: dict[str, Any], negatives: list[dict[str, Any]], **about: str
) -> dict[str, Any]:
    return {"query": query, "target": target, "hard_negatives": negatives} | about


if __name__ == "__main__":
    main()

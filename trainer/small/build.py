"""From material to what training starts with: the untrained model, and files of pairs.

    python -m trainer.small.build MATERIAL --untrained FOLDER --audiocaps train_captions.csv \
        --label-sets label_sets.csv --ontology ontology.json --out OUT

reads the material's clips, mixtures and frames (`material`, `mixtures` and `hearing` make them),
the two bases put together (`alm2vec_search.model.start`), AudioCaps' captions and AudioSet's label
sets, and writes

    OUT/start/              the small model, untrained, that knows men's from women's voices
    OUT/*.jsonl             pairs, a file for each lesson, and `held_out.jsonl`
    OUT/*.safetensors       the frames that they speak of

`configs/train/mini.toml` trains with these.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import find_model
from alm2vec_search.model.start import soft_word
from alm2vec_search.terminal import say
from trainer.pairs import AudioRef, Pair, write_pairs
from trainer.small.hearing import FRAMES, read_frames
from trainer.small.lessons import Lessons, Scene, Sound
from trainer.small.ontology import Ontology, called
from trainer.small.virtual import Detector, VirtualSounds
from trainer.small.voices import GENDERS, Voices, fit, gather, said_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.random import Generator
    from torch import Tensor

SEED = 0
DIGITAL_SILENCE = -20.0  # median log-odds of the classes, below which a frame holds nothing
HELD_OUT = 16  # one group of sounds in so many
HELD_OUT_SOURCE = "asterisk"  # real voices, to measure with
CAPTIONS = 16_000  # virtual sounds for AudioCaps' captions
NAMED = 4_000  # virtual sounds for label sets
SCENES = 5_000  # virtual sounds of two classes
NEAREST = 3  # label sets a caption without one of its own may take
NEAREST_AS = (0.6, 0.25, 0.15)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("material", type=Path)
    parser.add_argument("--untrained", type=Path, required=True)
    parser.add_argument("--audiocaps", type=Path, required=True)
    parser.add_argument("--label-sets", type=Path, required=True)
    parser.add_argument("--ontology", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sources = Sources(args.untrained, args.audiocaps, args.label_sets, args.ontology)
    build(args.material, sources, args.out)


@dataclass(frozen=True, slots=True)
class Sources:
    """What is needed beside the material."""

    untrained: Path  # folder
    audiocaps: Path  # csv
    label_sets: Path  # csv
    ontology: Path  # JSON


def build(material: Path, sources: Sources, out: Path) -> None:
    """Write everything to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    clips, mixtures = read_lines(material / "clips.jsonl"), read_lines(material / "mixtures.jsonl")
    frames = read_frames(material / FRAMES)
    save_file(frames, out / FRAMES)

    knows = Knowledge.of(clips, mixtures, frames)
    start = out / "start"
    write_start(sources.untrained, start, fit(knows.voices(sources.untrained)))
    encoder = ALM2VecEncoder(find_model(str(start)), dtype="float32")
    ontology = Ontology.read(sources.ontology)
    classes = {name: column for column, name in enumerate(class_names(start))}
    detector = read_detector(start)
    virtual = Virtual(VirtualSounds(knows.heard(detector), detector, rng), ontology, classes)

    held_out, taught = knows.split()
    teacher = Lessons(ontology, others(taught, rng), rng)
    scenes = [scene for scene in knows.scenes(mixtures) if scene is not None]
    write(out / "clips.jsonl", teacher.captions(taught))
    write(out / "held_out.jsonl", teacher.captions(held_out))
    write(out / "scenes.jsonl", teacher.scenes(scenes))
    write(out / "questions.jsonl", teacher.questions(scenes))

    sets = read_label_sets(sources.label_sets, ontology)
    made = virtual.scenes(sets, SCENES, rng)
    dreamt = [part for scene in made for part in (scene.front, scene.behind)]
    teacher = Lessons(ontology, others(dreamt, rng), rng)
    write(out / "virtual_scenes.jsonl", teacher.scenes(made))
    write(out / "virtual_questions.jsonl", teacher.questions(made))
    write(out / "additions.jsonl", teacher.additions(made))
    captioned = virtual.captioned(captions_with_sets(sources.audiocaps, sets, encoder, rng))
    write(out / "captions.jsonl", teacher.captions(captioned))
    write(out / "names.jsonl", teacher.captions(virtual.named(sets, NAMED, rng)))
    save_file(virtual.frames, out / virtual.FILE)


def write(path: Path, pairs: Iterable[Pair]) -> None:
    say(f"{path.name}: {write_pairs(pairs, path)} pairs")


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known about real sounds, and how the encoder hears them."""

    sounds: dict[str, Sound]  # by path
    genders: dict[str, str | None]  # by path, of clips and mixtures
    frames: dict[str, Tensor]

    @classmethod
    def of(
        cls,
        clips: Sequence[dict[str, Any]],
        mixtures: Sequence[dict[str, Any]],
        frames: dict[str, Tensor],
    ) -> Knowledge:
        sounds = {clip["path"]: real(clip) for clip in clips if clip["path"] in frames}
        genders: dict[str, str | None] = {clip["path"]: clip.get("gender") for clip in clips}
        for line in mixtures:
            genders[line["path"]] = said_by([genders.get(part) for part in line["parts"]])
        return cls(sounds, genders, frames)

    def voices(self, untrained: Path) -> Voices:
        """What the voices' detector is fitted on."""
        whole = read_detector(untrained)
        column = class_names(untrained).index("Speech")
        speech = Detector(whole.weight[column : column + 1], whole.bias[column : column + 1])
        return gather(self.frames, self.genders, speech)

    def heard(self, detector: Detector) -> Tensor:
        """All frames of single clips but digital silence, [n, D]."""
        frames = torch.cat([self.frames[path].float() for path in self.sounds])
        loud = detector(frames).median(dim=1).values > DIGITAL_SILENCE
        return frames[loud]

    def split(self) -> tuple[list[Sound], list[Sound]]:
        """Some to measure progress with, and those that are taught. No group is in both."""
        groups = sorted({sound.alike for sound in self.sounds.values()})
        kept = set(groups[::HELD_OUT])
        held_out: list[Sound] = []
        taught: list[Sound] = []
        for sound in self.sounds.values():
            if f"/{HELD_OUT_SOURCE}" in sound.clip:
                continue
            (held_out if sound.alike in kept else taught).append(sound)
        return held_out, taught

    def scenes(self, mixtures: Sequence[dict[str, Any]]) -> list[Scene | None]:
        """The mixtures; None for those of a sound that is held out."""
        kept = set(self.sounds) - {sound.clip for sound in self.split()[1]}
        found: list[Scene | None] = []
        for line in mixtures:
            front, behind = (self.sounds.get(part) for part in line["parts"])
            if front is None or behind is None or {front.clip, behind.clip} & kept:
                found.append(None)
                continue
            audio = AudioRef(path=Path(FRAMES), frames=line["path"])
            found.append(Scene(audio, front, behind, line["louder_db"], line["path"]))
        return found


def real(clip: dict[str, Any]) -> Sound:
    """A clip of the material."""
    labels = list(clip["labels"])
    gender = clip.get("gender")
    if gender and clip["kind"] == "speech":
        labels.append(GENDERS[gender][0])
    alike = " ".join([*sorted(labels), clip["texts"][0], str(gender)])
    audio = AudioRef(path=Path(FRAMES), frames=clip["path"])
    return Sound(audio, tuple(clip["texts"]), tuple(labels), clip["kind"], alike, clip["path"])


def others(sounds: Sequence[Sound], rng: Generator) -> Any:
    """Finds another sound that could stand for one."""
    groups: dict[str, list[Sound]] = {}
    for sound in sounds:
        groups.setdefault(sound.alike, []).append(sound)

    def another(sound: Sound) -> Sound | None:
        group = [one for one in groups.get(sound.alike, ()) if one.clip != sound.clip]
        return group[int(rng.integers(len(group)))] if group else None

    return another


class Virtual:
    """Virtual sounds with what is to be heard in them."""

    FILE = "virtual.safetensors"

    def __init__(self, sounds: VirtualSounds, ontology: Ontology, classes: dict[str, int]) -> None:
        self._sounds = sounds
        self._ontology = ontology
        self._classes = classes
        self.frames: dict[str, Tensor] = {}

    def captioned(self, captions: Iterable[tuple[str, list[str]]]) -> list[Sound]:
        """A sound for each caption with its label set."""
        return [self._sound((caption,), labels, "sound") for caption, labels in captions]

    def named(self, sets: Sequence[list[str]], count: int, rng: Generator) -> list[Sound]:
        """Sounds of label sets, called by these."""
        chosen = [sets[int(place)] for place in rng.integers(len(sets), size=count)]
        sounds = []
        for labels in chosen:
            names = [called(label)[0] for label in labels[:3]]
            texts = {", ".join(names), " and ".join(names[:2])}
            sounds.append(self._sound(tuple(sorted(texts)), labels, "sound"))
        return sounds

    def scenes(self, sets: Sequence[list[str]], count: int, rng: Generator) -> list[Scene]:
        """Two classes of different sets at once."""
        made: list[Scene] = []
        while len(made) < count:
            places = rng.integers(len(sets), size=2)
            front, behind = (
                sets[int(place)][int(rng.integers(len(sets[int(place)])))] for place in places
            )
            related = {front, *self._ontology.above(front)} & {
                behind,
                *self._ontology.above(behind),
            }
            if related or not (self._column(front) and self._column(behind)):
                continue
            louder_db = float(rng.uniform(0, 12))
            parts = [
                self._sound(self._texts(name), [name], self._kind(name)) for name in (front, behind)
            ]
            louder = {
                self._column(front)[0]: louder_db / 8,
                self._column(behind)[0]: -louder_db / 4,
            }
            audio = self._keep([*self._column(front), *self._column(behind)], louder)
            clip = str(audio.frames)
            made.append(Scene(audio, parts[0], parts[1], louder_db, clip))
        return made

    def _sound(self, texts: tuple[str, ...], labels: list[str], kind: str) -> Sound:
        audio = self._keep(self._ontology.columns(labels, self._classes), {})
        return Sound(audio, texts, tuple(labels), kind, " ".join(labels), str(audio.frames))

    def _keep(self, columns: list[int], louder: dict[int, float]) -> AudioRef:
        name = f"virtual/{len(self.frames):06}"
        self.frames[name] = self._sounds.draw(columns, louder)
        return AudioRef(path=Path(self.FILE), frames=name)

    def _column(self, name: str) -> list[int]:
        return self._ontology.columns([name], self._classes)

    def _texts(self, name: str) -> tuple[str, ...]:
        spoken = {names[0]: said for names in GENDERS.values() for said in [names[1]]}
        if name in spoken:
            return (f"a {spoken[name]}", spoken[name].replace("speaking", "talking"))
        return tuple(called(name))

    def _kind(self, name: str) -> str:
        above = {name, *self._ontology.above(name)}
        return "speech" if "Speech" in above else "music" if "Music" in above else "sound"


def read_label_sets(path: Path, ontology: Ontology) -> LabelSets:
    """The label sets, each a list of names, by clip."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = {row["youtube_id"]: row["label_ids"].split() for row in csv.DictReader(file)}
    named = {
        clip: [ontology.names[one] for one in ids if one in ontology.names]
        for clip, ids in rows.items()
    }
    return LabelSets({clip: names for clip, names in named.items() if names})


class LabelSets(list[list[str]]):
    """All of them, and which clip has which."""

    def __init__(self, by_clip: dict[str, list[str]]) -> None:
        super().__init__(by_clip.values())
        self.by_clip = by_clip


def captions_with_sets(
    audiocaps: Path, sets: LabelSets, encoder: ALM2VecEncoder, rng: Generator
) -> list[tuple[str, list[str]]]:
    """Captions with the label set of their clip; where it isn't known, of one that reads alike."""
    with audiocaps.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = [row for row in rows if row["youtube_id"] in sets.by_clip]
    rest = [row for row in rows if row["youtube_id"] not in sets.by_clip]
    places = rng.permutation(len(rest))[: CAPTIONS - 2 * len(known)]
    guessed = [rest[int(place)]["caption"] for place in places]
    found = [(row["caption"], sets.by_clip[row["youtube_id"]]) for row in known]
    return [*found, *found, *zip(guessed, nearest_sets(guessed, sets, encoder, rng), strict=True)]


def nearest_sets(
    captions: Sequence[str], sets: LabelSets, encoder: ALM2VecEncoder, rng: Generator
) -> list[list[str]]:
    """For each caption one of the label sets that read most like it, by the language model."""
    distinct = {", ".join(names).lower(): names for names in sets}
    vectors = torch.from_numpy(encoder.encode_document(text=list(distinct)))
    chosen = []
    names = list(distinct.values())
    for start in range(0, len(captions), 1_000):
        asked = torch.from_numpy(encoder.encode_query(text=captions[start : start + 1_000]))
        for best in (asked @ vectors.T).topk(NEAREST).indices.tolist():
            chosen.append(names[best[int(rng.choice(NEAREST, p=NEAREST_AS))]])
    return chosen


def class_names(folder: Path) -> list[str]:
    """Of a model's detector, in the order of its rows."""
    names: dict[str, str] = json.loads((folder / "config.json").read_bytes())["id2label"]
    return [names[str(column)] for column in range(len(names))]


def read_detector(folder: Path) -> Detector:
    tensors = load_file(folder / "adapter.safetensors")
    return Detector(
        tensors["audio_projector.detector.weight"].float(),
        tensors["audio_projector.detector.bias"].float(),
    )


def write_start(untrained: Path, out: Path, voices: Detector) -> None:
    """The two bases put together, with classes for voices in the projector."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(untrained, out)
    config = json.loads((out / "config.json").read_bytes())
    tensors = load_file(out / "adapter.safetensors")
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    encoder = ALM2VecEncoder(find_model(str(untrained)), dtype="float32")
    embeddings = encoder._model.language_model.get_input_embeddings().weight.data
    words = torch.zeros(len(GENDERS), *tensors["audio_projector.words"].shape[1:])
    used = torch.zeros(words.shape[:2])
    for row, (_, said) in enumerate(GENDERS.values()):
        pieces = soft_word(said, tokenizer, embeddings, words.shape[1])
        words[row, : len(pieces)] = pieces
        used[row, : len(pieces)] = 1
    names = encoder.encode_query(text=[said for _, said in GENDERS.values()])
    new = {
        "detector.weight": voices.weight,
        "detector.bias": voices.bias,
        "words": words,
        "words_used": used,
        "relevance.names": torch.from_numpy(names),
    }
    for name, rows in new.items():
        key = f"audio_projector.{name}"
        tensors[key] = torch.cat([tensors[key], rows.to(tensors[key].dtype)])
    save_file(tensors, out / "adapter.safetensors", metadata={"format": "pt"})
    n_classes = config["projector_config"]["num_classes"]
    for row, (label, _) in enumerate(GENDERS.values()):
        config["id2label"][str(n_classes + row)] = label
    config["projector_config"]["num_classes"] = n_classes + len(GENDERS)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

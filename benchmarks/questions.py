"""Whether a question decides what of a sound counts, on sounds that the small model never heard.

    python benchmarks/questions.py MATERIAL --gcompris SOUNDS --labels named_sounds.csv

Scenes are two sounds at once: animals, instruments and everyday sounds of GCompris, named by a CSV
file (`quality.py` says where both are from), and real voices, the announcements of Asterisk and the
words of KTuberling. `python -m trainer.small.material MATERIAL` collects the voices, and training
leaves them out.

**Questions**: a scene with a question about one of its parts. Right, where that part comes before
the other: both in words ("violin", "a woman speaking"), or both as sounds by themselves. Without a
question half of them come out right, since each scene is asked about both its parts.

**The same part**: a scene as the query, and as answers one with the same animal, the same
instrument, or another voice of the same kind, over something else; and one with another part over
what the query's is over. Right, where the first comes before the second: without a question, with
one on the query alone, and with both answers heard under it, as `--instruction` does.

**Voices**: is "a woman speaking" or "a man speaking" nearer? Each voice alone, and over another
sound; and over another sound with a question.

**Dog and woman**: is a dog with a woman's voice the first for "dog barking, speaker is female",
before a dog with a man's voice, another animal with a woman's, and each of the two alone?

Intervals are bootstrapped, 95 %, with a fixed seed; what is drawn anew are speakers for the voices,
and else the sounds that aren't voices.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from quality import SEED, Figure, figure, read_named, table

from alm2vec_search.audio import decode
from alm2vec_search.domain import Waveform
from alm2vec_search.errors import Alm2VecError
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import BUNDLED, find_model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    from alm2vec_search.domain import Encoder

RATE_HZ = 16_000
LONGEST_S = 6.0
VOICES = ("asterisk-", "ktuberling")
SPEAKING = {"female": "a woman speaking", "male": "a man speaking"}
ASKED = {
    "animal": ("what animal is it?", "which animal can be heard?"),
    "instrument": ("which instrument is played?", "what instrument is it?"),
    "voice": ("who is speaking?", "is it a man or a woman who speaks?"),
    "background": ("what plays in the background?", "what can be heard behind the voice?"),
}
SCENES = 60  # of each kind
TRIALS = 60  # of the dog and the woman
BATCH = 64


@dataclass(frozen=True, slots=True)
class Part:
    """A sound by itself."""

    samples: NDArray[np.float32]  # [N], at 16 kHz
    name: str  # in words
    kind: str  # "animal", "instrument", "everyday", "female", "male"
    source: str  # whom or what was recorded

    @property
    def is_voice(self) -> bool:
        return self.kind in SPEAKING

    @property
    def waveform(self) -> Waveform:
        return Waveform(self.samples, RATE_HZ)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a scene, and the part that answers it."""

    of: str  # a key of `ASKED`
    instruction: str
    scene: Waveform
    right: Part
    wrong: Part


@dataclass(frozen=True, slots=True)
class SamePart:
    """A scene, one with the same part in other company, and one with another part in the same."""

    of: str  # "animal", "instrument", "voice"
    scene: Waveform
    right: Waveform
    wrong: Waveform
    source: str  # of the part


@dataclass(frozen=True, slots=True)
class Trial:
    """What is to come first for "dog barking, speaker is female", and four others."""

    candidates: tuple[Waveform, ...]  # the right one is the first
    source: str  # of the woman


class Sounds:
    """What scenes are made of."""

    def __init__(self, material: Path, gcompris: Path, labels: Path) -> None:
        named = read_named(gcompris, labels)
        self.parts = [
            Part(cut(decode(sound.path, RATE_HZ).samples), sound.label, kind, sound.recording)
            for sound, kind in ((sound, kind_of(sound.recording)) for sound in named)
        ]
        lines = (material / "clips.jsonl").read_text(encoding="utf-8").splitlines()
        for line in map(json.loads, lines):
            if (
                line["source"].startswith(VOICES)
                and line.get("gender")
                and line["kind"] == "speech"
            ):
                samples = cut(decode(material / line["path"], RATE_HZ).samples)
                gender = line["gender"]
                self.parts.append(Part(samples, SPEAKING[gender], gender, line["speaker"]))

    def of(self, *kinds: str) -> list[Part]:
        return [part for part in self.parts if part.kind in kinds]

    @cached_property
    def voices(self) -> list[Part]:
        return self.of(*SPEAKING)


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    try:
        encoder = ALM2VecEncoder(find_model(args.model), dtype="float32")
        sounds = Sounds(args.material, args.gcompris, args.labels)
        figures = [
            *measure_questions(sounds, encoder),
            *measure_same_part(sounds, encoder),
            *measure_voices(sounds, encoder),
            measure_dog_and_woman(sounds, encoder),
        ]
    except (Alm2VecError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    if args.json:
        print(json.dumps({"model": args.model, "figures": list(map(asdict, figures))}, indent=1))
    else:
        print(f"{args.model}\n\n{table(figures)}")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("material", type=Path, metavar="MATERIAL")
    parser.add_argument("--gcompris", type=Path, metavar="DIR", required=True)
    parser.add_argument("--labels", type=Path, metavar="CSV", required=True)
    parser.add_argument("--model", default=BUNDLED, help="a name, or a folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="for machines")
    return parser.parse_args()


# ---- scenes ----


def kind_of(path: str) -> str:
    """What a sound of GCompris is, by where it lies."""
    if "/instruments/" in path or "guitar" in path:
        return "instrument"
    if "/animals/" in path or "Bark" in path or "Frogs" in path:
        return "animal"
    return "everyday"


def cut(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """From where it begins to be heard, so many seconds, at a common loudness."""
    loud = np.flatnonzero(np.abs(samples) > 0.05 * np.abs(samples).max())
    heard = samples[loud[0] :][: round(LONGEST_S * RATE_HZ)]
    return heard * np.float32(0.1 / np.sqrt(np.mean(heard**2) + 1e-12))


def mix(front: Part, behind: Part, louder_db: float) -> Waveform:
    """Both at once, as long as the longer one; the shorter is repeated after a pause."""
    length = max(len(front.samples), len(behind.samples))
    together = repeated(front.samples, length)
    together = together + repeated(behind.samples, length) * np.float32(10 ** (-louder_db / 20))
    return Waveform((together * np.float32(0.7 / np.abs(together).max())), RATE_HZ)


def repeated(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    pause = np.zeros(RATE_HZ // 2, dtype=np.float32)
    once = np.concatenate([samples, pause])
    return np.tile(once, -(-length // len(once)))[:length]


def questions(sounds: Sounds, rng: Generator) -> Iterator[Question]:
    """Each scene is asked about both its parts."""

    def draw(*kinds: str) -> Part:
        found = sounds.of(*kinds)
        return found[int(rng.integers(len(found)))]

    def ask(of: str, scene: Waveform, right: Part, wrong: Part) -> Question:
        form = ASKED[of][int(rng.integers(len(ASKED[of])))]
        return Question(of, form, scene, right, wrong)

    for _ in range(SCENES):
        animal, instrument = draw("animal"), draw("instrument")
        scene = mix(animal, instrument, float(rng.uniform(-4, 4)))
        yield ask("animal", scene, animal, instrument)
        yield ask("instrument", scene, instrument, animal)
    for _ in range(SCENES):
        voice, behind = draw(*SPEAKING), draw("animal", "instrument", "everyday")
        scene = mix(voice, behind, float(rng.uniform(0, 8)))
        yield ask("voice", scene, voice, behind)
        yield ask("background", scene, behind, voice)


def same_parts(sounds: Sounds) -> Iterator[SamePart]:
    """So many of each kind."""
    rng = np.random.default_rng(SEED)
    kinds = {
        "animal": (sounds.of("animal"), sounds.of("instrument")),
        "instrument": (sounds.of("instrument"), sounds.of("animal")),
        "voice": (sounds.voices, sounds.of("animal", "instrument")),
    }

    def draw(parts: Sequence[Part]) -> Part:
        return parts[int(rng.integers(len(parts)))]

    def over(part: Part, company: Part) -> Waveform:
        return mix(part, company, float(rng.uniform(-3, 3)))

    for kind, (parts, companies) in kinds.items():
        for _ in range(SCENES):
            part, company = draw(parts), draw(companies)
            other_company = draw([c for c in companies if c.name != company.name])
            alike = [p for p in parts if p.name == part.name]
            if part.is_voice:
                alike = [p for p in alike if p.source != part.source]
            right = over(draw(alike), other_company)
            wrong = over(draw([p for p in parts if p.name != part.name]), company)
            yield SamePart(kind, over(part, company), right, wrong, part.source)


def trials(sounds: Sounds) -> Iterator[Trial]:
    """Of the dog and the woman."""
    rng = np.random.default_rng(SEED)
    dogs = [part for part in sounds.of("animal") if part.name.startswith("dog")]
    others = [part for part in sounds.of("animal") if not part.name.startswith("dog")]

    def draw(parts: Sequence[Part]) -> Part:
        return parts[int(rng.integers(len(parts)))]

    for _ in range(TRIALS):
        dog, woman, man = draw(dogs), draw(sounds.of("female")), draw(sounds.of("male"))
        candidates = (
            mix(woman, dog, 0.0),
            mix(man, dog, 0.0),
            mix(woman, draw(others), 0.0),
            dog.waveform,
            woman.waveform,
        )
        yield Trial(candidates, woman.source)


# ---- measures ----


def measure_questions(sounds: Sounds, encoder: Encoder) -> list[Figure]:
    asked = list(questions(sounds, np.random.default_rng(SEED)))
    scenes = [question.scene for question in asked]
    told = embed_scenes(encoder, scenes, [question.instruction for question in asked])
    untold = embed_scenes(encoder, scenes, None)
    names = sorted({part.name for part in sounds.parts})
    in_words = dict(zip(names, encoder.encode_document(text=names), strict=True))
    parts = list({id(part): part for q in asked for part in (q.right, q.wrong)}.values())
    heard = embed_documents(encoder, [part.waveform for part in parts])
    as_sounds = dict(zip(map(id, parts), heard, strict=True))
    nearer = {
        "in words": [in_words[q.right.name] - in_words[q.wrong.name] for q in asked],
        "as sounds": [as_sounds[id(q.right)] - as_sounds[id(q.wrong)] for q in asked],
    }
    groups = [(q.wrong if q.right.is_voice else q.right).source for q in asked]
    figures = []
    for how, differences in nearer.items():
        right = (told * np.stack(differences)).sum(axis=1) > 0
        without = (untold * np.stack(differences)).sum(axis=1) > 0
        for of in ASKED:
            rows = [row for row, question in enumerate(asked) if question.of == of]
            own = [groups[row] for row in rows]
            figures.append(figure(f"questions, {how}", of, right[rows], "scenes", own))
        figures.append(figure(f"questions, {how}", "all", right, "questions", groups))
        figures.append(figure(f"questions, {how}", "not asked", without, "questions", groups))
    return figures


def measure_same_part(sounds: Sounds, encoder: Encoder) -> list[Figure]:
    figures = []
    scenes_of: dict[str, list[SamePart]] = {}
    for scene in same_parts(sounds):
        scenes_of.setdefault(scene.of, []).append(scene)
    for kind, scenes in scenes_of.items():
        groups = [scene.source for scene in scenes]
        roles = [[getattr(s, role) for s in scenes] for role in ("scene", "right", "wrong")]
        asked = [ASKED[kind][0]] * len(scenes)
        plain = [embed_documents(encoder, sound) for sound in roles]
        told = [embed_scenes(encoder, sound, asked) for sound in roles]
        for how, (q, r, w) in {
            "not asked": plain,
            "asked of the query": (told[0], *plain[1:]),
            "heard again": told,
        }.items():
            nearer = ((q * r).sum(axis=1) > (q * w).sum(axis=1)).astype(bool)
            figures.append(figure(f"the same {kind}", how, nearer, "scenes", groups))
    return figures


def measure_voices(sounds: Sounds, encoder: Encoder) -> list[Figure]:
    rng = np.random.default_rng(SEED)
    voices, others = sounds.voices, sounds.of("animal", "instrument", "everyday")
    scenes = [
        mix(voice, others[int(rng.integers(len(others)))], float(rng.uniform(0, 8)))
        for voice in voices
    ]
    embedded = {
        "alone": embed_documents(encoder, [voice.waveform for voice in voices]),
        "over a sound": embed_documents(encoder, scenes),
        "over a sound, asked": embed_scenes(encoder, scenes, [ASKED["voice"][1]] * len(scenes)),
    }
    female, male = encoder.encode_query(text=[SPEAKING["female"], SPEAKING["male"]])
    is_female = np.array([voice.kind == "female" for voice in voices])
    speakers = [voice.source for voice in voices]
    return [
        figure("man or woman", how, (vectors @ (female - male) > 0) == is_female, "clips", speakers)
        for how, vectors in embedded.items()
    ]


def measure_dog_and_woman(sounds: Sounds, encoder: Encoder) -> Figure:
    query = encoder.encode_query(text=["dog barking, speaker is female"])[0]
    first, speakers = [], []
    for trial in trials(sounds):
        scores = embed_documents(encoder, trial.candidates) @ query
        first.append(int(scores.argmax()) == 0)
        speakers.append(trial.source)
    right = np.array(first)
    return figure("dog barking, speaker is female", "first of five", right, "trials", speakers)


def embed_documents(encoder: Encoder, sounds: Sequence[Waveform]) -> NDArray[np.float32]:
    """Unit vectors [n, dim]."""
    starts = range(0, len(sounds), BATCH)
    parts = [encoder.encode_document(audio=sounds[start : start + BATCH]) for start in starts]
    return np.concatenate(parts)


def embed_scenes(
    encoder: Encoder, scenes: Sequence[Waveform], instructions: Sequence[str] | None
) -> NDArray[np.float32]:
    """Scenes as queries, unit vectors [n, dim], each under its instruction or all under none."""
    asked = instructions or [""] * len(scenes)
    vectors: NDArray[np.float32] | None = None
    for instruction in sorted(set(asked)):
        rows = [row for row, one in enumerate(asked) if one == instruction]
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            found = encoder.encode_query(
                audio=[scenes[row] for row in some], instruction=instruction
            )
            if vectors is None:
                vectors = np.zeros((len(scenes), found.shape[1]), dtype=np.float32)
            vectors[some] = found
    assert vectors is not None
    return vectors


if __name__ == "__main__":
    main()

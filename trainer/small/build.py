"""From material to what training starts with: the untrained model, and files of pairs.

    python -m trainer.small.build MATERIAL --untrained FOLDER --audiocaps train_captions.csv \
        --label-sets label_sets.csv --ontology ontology.json --out OUT

reads the material (`trainer.small.material` and `trainer.small.mixtures` make it), the two bases
put together (`alm2vec_search.model.start`), AudioCaps' captions and AudioSet's label sets, and
writes

    OUT/start/                  the small model, untrained, that knows men's from women's voices
    OUT/*.jsonl                 pairs, a file for each lesson, and `held_out.jsonl`
    OUT/virtual.safetensors     the frames of virtual sounds
    OUT/frames/                 those of real ones, encoded once: `[audio] cache_frames`

What is held out, and one source of real voices, isn't learnt from in any way.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save_file

from alm2vec_search.errors import Alm2VecError
from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import find_model
from alm2vec_search.model.loading import load_model
from alm2vec_search.model.processing_alm2vec import ALM2VecProcessor
from alm2vec_search.terminal import say, say_error
from trainer.frame_cache import FrameCache
from trainer.pairs import write_pairs
from trainer.progress import choose_progress
from trainer.small.imagined import FILE, ImaginedSounds
from trainer.small.label_sets import captions_with_sets, read_label_sets
from trainer.small.lessons import Lessons
from trainer.small.ontology import Ontology
from trainer.small.real import RealSounds
from trainer.small.start import class_names, detector_of, write_start
from trainer.small.virtual import VirtualFrames
from trainer.small.voices import fit, gather

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.random import Generator

    from trainer.pairs import Pair

SEED = 0
LONGEST_S = 10.0  # of a sound; the material has none that is longer


@dataclass(frozen=True, slots=True)
class Sources:
    """What is read."""

    material: Path  # folder
    untrained: Path  # folder
    audiocaps: Path  # csv
    label_sets: Path  # csv
    ontology: Path  # JSON


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many virtual sounds there are to be."""

    captions: int = 11_000  # whose clips have no label set of their own
    named: int = 4_000
    scenes: int = 5_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("material", type=Path)
    for name in ("untrained", "audiocaps", "label-sets", "ontology", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = vars(parser.parse_args())
    out = args.pop("out")
    try:
        build(Sources(**args), out)
    except Alm2VecError as error:
        say_error(error)
        raise SystemExit(2) from error


def build(sources: Sources, out: Path, amounts: Amounts = Amounts()) -> None:
    """Write everything to `out`.

    Raises:
        Alm2VecError: something can't be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    ontology = Ontology.read(sources.ontology)
    real = RealSounds(sources.material, out / "clips.jsonl")
    virtual = prepare_model(sources.untrained, out, real, rng)
    teach(real, ontology, out, rng)
    encoder = ALM2VecEncoder(find_model(str(out / "start")), dtype="float32")
    names = class_names(ALM2VecConfig.from_pretrained(out / "start"))
    classes = {name: column for column, name in enumerate(names)}
    imagined = ImaginedSounds(virtual, ontology, classes, rng)
    teach_imagined(imagined, sources, encoder, ontology, amounts, out, rng)
    save_file(imagined.frames, out / FILE)


def prepare_model(untrained: Path, out: Path, real: RealSounds, rng: Generator) -> VirtualFrames:
    """Hear all that is taught, let the model know voices, and learn what real frames are like."""
    files = find_model(str(untrained))
    model = load_model(files, torch.float32, "cpu")
    processor = ALM2VecProcessor.from_folder(
        files.tokenizer_folder, model.config, model.count_audio_tokens
    )
    with choose_progress(quiet=False) as progress:
        cache = FrameCache.of(model, out / "frames", LONGEST_S)
        frames = real.hear(cache, partial(progress.preparing, "hearing"))
    known = detector_of(model)
    speech = known.row(class_names(model.config).index("Speech"))
    voices = fit(gather(frames, real.genders(), speech))
    write_start(untrained, out / "start", model, processor, voices)
    alone = torch.cat([frames[sound.clip] for sound in real.taught])  # [n, D]
    return VirtualFrames(alone, known.joined(voices), rng)


def teach(real: RealSounds, ontology: Ontology, out: Path, rng: Generator) -> None:
    """Write the lessons of real sounds."""
    lessons = Lessons(ontology, real.taught, rng)
    write(out / "clips.jsonl", lessons.captions(real.taught))
    write(out / "held_out.jsonl", lessons.captions(real.held_out))
    write(out / "scenes.jsonl", lessons.scenes(real.scenes))
    write(out / "questions.jsonl", lessons.questions(real.scenes))


def teach_imagined(
    imagined: ImaginedSounds,
    sources: Sources,
    encoder: ALM2VecEncoder,
    ontology: Ontology,
    amounts: Amounts,
    out: Path,
    rng: Generator,
) -> None:
    """Write the lessons of virtual sounds."""
    by_clip = read_label_sets(sources.label_sets, ontology)
    sets = list(by_clip.values())
    scenes = imagined.scenes(sets, amounts.scenes)
    lessons = Lessons(ontology, [part for s in scenes for part in (s.front, s.behind)], rng)
    write(out / "virtual_scenes.jsonl", lessons.scenes(scenes))
    write(out / "virtual_questions.jsonl", lessons.questions(scenes))
    write(out / "additions.jsonl", lessons.additions(scenes))
    captioned = captions_with_sets(sources.audiocaps, by_clip, amounts.captions, encoder, rng)
    write(out / "captions.jsonl", lessons.captions(imagined.captioned(captioned)))
    write(out / "names.jsonl", lessons.captions(imagined.named(sets, amounts.named)))


def write(path: Path, pairs: Iterable[Pair]) -> None:
    say(f"{path.name}: {write_pairs(pairs, path)} pairs")


if __name__ == "__main__":
    main()

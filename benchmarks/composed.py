"""Whether both halves of a question count: words and words, a sound and words, this and not that.

    python benchmarks/composed.py MATERIAL --esc10 ESC-10 --gcompris SOUNDS --labels LABELS.csv

The collection is 200 scenes of two sounds at once and all sounds by themselves, in a real store,
asked through the same code as `alm2vec search`; none of it was trained on (`questions.py` says
where it is from; of ESC-10 it is fold 5). A scene is an everyday sound of ESC-10 with another of
these, a sound of GCompris, or a voice. Right is whatever holds both that are asked for.

**Words and words**: "rooster, violin": as one vector, and split, each by itself; against either of
the two alone. **A sound and words**: another recording of the first and the second in words, as one
input of the model, as two vectors added (`--more`), and split; against the sound alone and the
words alone. **This and not that**: the first without the second; right holds the one and not the
other.

Intervals are bootstrapped over scenes, 95 %, with a fixed seed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from quality import SEED, Figure, figure, read_esc10, table
from questions import RATE_HZ, Part, Sounds, cut, embed_documents, mix

from alm2vec_search.audio import decode
from alm2vec_search.collection.base import CollectionInfo
from alm2vec_search.collection.edge import EdgeCollection
from alm2vec_search.domain import (
    Clause,
    Content,
    EmbeddedChunk,
    Place,
    Query,
    Question,
    TimeSpan,
)
from alm2vec_search.errors import Alm2VecError
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import BUNDLED, find_model
from alm2vec_search.search import Searcher, SearchOptions, Together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.random import Generator

    from alm2vec_search.domain import Encoder, Waveform

SCENES = 200
FOLD = 5
ANSWERS = 50  # what comes later counts as never
LIBRARY = Path("/scenes")


@dataclass(frozen=True, slots=True)
class Scene:
    """Two sounds at once, and another recording of the first."""

    sound: Waveform
    first: Part
    second: Part
    like_first: Part

    @property
    def names(self) -> frozenset[str]:
        return frozenset({self.first.name, self.second.name})


class Collection:
    """All scenes and single sounds in a store, and what each of them holds."""

    def __init__(
        self, folder: Path, encoder: Encoder, scenes: Sequence[Scene], parts: Sequence[Part]
    ):
        self.names = [scene.names for scene in scenes] + [frozenset({p.name}) for p in parts]
        vectors = embed_documents(encoder, [s.sound for s in scenes] + [p.waveform for p in parts])
        info = CollectionInfo(encoder.fingerprint, "10s/10s", encoder.embedding_dim, encoder.name)
        self.store = EdgeCollection.create(folder, info)
        for number, vector in enumerate(vectors):
            content = Content(f"{number:064x}", number, 10.0, RATE_HZ, 1)
            chunk = EmbeddedChunk(TimeSpan(0, 10), vector, silent=False)
            self.store.upsert(content, [Place(LIBRARY / str(number), LIBRARY, 0)], [chunk])
        self.searcher = Searcher(encoder, self.store)

    def ranked(
        self, question: Question, together: Together = Together.VECTOR
    ) -> list[frozenset[str]]:
        """What each of the best answers holds."""
        options = SearchOptions(limit=ANSWERS, together=together)
        hits = self.searcher.search(question, options)
        return [self.names[int(hit.path.name)] for hit in hits]


def main() -> None:
    args = parse_args()
    torch.set_num_threads(args.threads)
    try:
        encoder = ALM2VecEncoder(find_model(args.model), dtype="float32")
        sounds = Sounds(args.material, args.gcompris, args.labels)
        everyday = [
            Part(cut(decode(s.path, RATE_HZ).samples), s.label, "esc10", s.recording)
            for s in read_esc10(args.esc10, [FOLD])
        ]
        rng = np.random.default_rng(SEED)
        scenes = list(draw_scenes(everyday, sounds, rng))
        with tempfile.TemporaryDirectory() as folder:
            collection = Collection(Path(folder), encoder, scenes, [*everyday, *sounds.parts])
            figures = [
                *measure_words(collection, scenes),
                *measure_sound(collection, scenes),
                *measure_less(collection, scenes),
            ]
            collection.store.close()
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
    parser.add_argument("--esc10", type=Path, metavar="DIR", required=True)
    parser.add_argument("--gcompris", type=Path, metavar="DIR", required=True)
    parser.add_argument("--labels", type=Path, metavar="CSV", required=True)
    parser.add_argument("--model", default=BUNDLED, help="a name, or a folder")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="for machines")
    return parser.parse_args()


def draw_scenes(everyday: Sequence[Part], sounds: Sounds, rng: Generator) -> Iterator[Scene]:
    """A third with another everyday sound, a third with one of GCompris, a third with a voice."""

    def draw(parts: Sequence[Part]) -> Part:
        return parts[int(rng.integers(len(parts)))]

    seconds = (list(everyday), sounds.of("animal", "instrument", "everyday"), sounds.voices)
    for number in range(SCENES):
        first = draw(everyday)
        second = draw([p for p in seconds[number % 3] if p.name != first.name])
        like = draw([p for p in everyday if p.name == first.name and p.source != first.source])
        yield Scene(mix(first, second, float(rng.uniform(-4, 4))), first, second, like)


def words(text: str, weight: float = 1.0) -> Clause:
    return Clause(Query(text), weight)


def sound(part: Part, text: str | None = None) -> Clause:
    return Clause(Query(text, part.waveform))


def measure_words(collection: Collection, scenes: Sequence[Scene]) -> list[Figure]:
    def ask(scene: Scene) -> dict[str, tuple[Question, Together]]:
        first, second = words(scene.first.name), words(scene.second.name)
        both = words(f"{scene.first.name}, {scene.second.name}")
        return {
            "the first alone": (Question((first,)), Together.VECTOR),
            "the second alone": (Question((second,)), Together.VECTOR),
            "both, one text": (Question((both,)), Together.VECTOR),
            "both, --more": (Question((first, second)), Together.VECTOR),
            "both, --split": (Question((first, second)), Together.RANKS),
        }

    return measure("words and words", collection, scenes, ask)


def measure_sound(collection: Collection, scenes: Sequence[Scene]) -> list[Figure]:
    def ask(scene: Scene) -> dict[str, tuple[Question, Together]]:
        heard, told = sound(scene.like_first), words(scene.second.name)
        both = sound(scene.like_first, f"with {scene.second.name}")
        return {
            "the sound alone": (Question((heard,)), Together.VECTOR),
            "the words alone": (Question((told,)), Together.VECTOR),
            "both, one input": (Question((both,)), Together.VECTOR),
            "both, --more": (Question((heard, told)), Together.VECTOR),
            "both, --split": (Question((heard, told)), Together.RANKS),
        }

    return measure("a sound and words", collection, scenes, ask)


def measure(
    what: str,
    collection: Collection,
    scenes: Sequence[Scene],
    ask: Callable[[Scene], dict[str, tuple[Question, Together]]],
) -> list[Figure]:
    """How often the first answer holds both, one of the first five does, and how high it comes."""
    first: dict[str, list[tuple[bool, bool, float]]] = {}
    for scene in scenes:
        for how, (question, together) in ask(scene).items():
            ranked = collection.ranked(question, together)
            ranks = (r for r, names in enumerate(ranked, 1) if scene.names <= names)
            rank = next(ranks, math.inf)
            first.setdefault(how, []).append((rank == 1, rank <= 5, 1 / rank))
    groups = [str(number) for number in range(len(scenes))]
    return [
        figure(what, f"{how}, {name}", np.array([row[column] for row in rows]), "scenes", groups)
        for how, rows in first.items()
        for column, name in enumerate(("R@1", "R@5", "MRR"))
    ]


def measure_less(collection: Collection, scenes: Sequence[Scene]) -> list[Figure]:
    """Of the first five answers, how many hold the one and not the other, and how many both."""
    right: dict[str, list[float]] = {"asked for": [], "less": []}
    wrong: dict[str, list[float]] = {"asked for": [], "less": []}
    for scene in scenes:
        wanted, unwanted = words(scene.first.name), words(scene.second.name, -1.0)
        for how, clauses in (("asked for", (wanted,)), ("less", (wanted, unwanted))):
            answers = collection.ranked(Question(clauses))[:5]
            holds = [scene.first.name in names for names in answers]
            spoilt = [scene.names <= names for names in answers]
            right[how].append(
                float(np.mean([h and not s for h, s in zip(holds, spoilt, strict=True)]))
            )
            wrong[how].append(float(np.mean(spoilt)))
    groups = [str(number) for number in range(len(scenes))]
    names = {"asked for": "the first alone", "less": "the first --less the second"}
    return [
        figure("this and not that", f"{names[how]}, {of}", np.array(rows[how]), "scenes", groups)
        for how in names
        for of, rows in (("right of 5", right), ("both of 5", wrong))
    ]


if __name__ == "__main__":
    main()

"""What names are worth beside the sound: in a library with telling names, with useless ones, and
with wrong ones.

    python benchmarks/names.py --esc10 ESC-10 --gcompris SOUNDS --labels LABELS.csv

The collection is fold 5 of ESC-10 and the named sounds of GCompris (`quality.py` says where both
are from), in a real store, asked for each name that is there through the same code as `alm2vec
search`. Files are called by their label and a number; by a number; half of them by their label; or
by the label of another sound. The measure is mean average precision of the first 50 answers, by
sound alone, by names alone, and by both at several weights. Intervals are bootstrapped over
questions, 95 %, with a fixed seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from quality import SEED, Figure, figure, read_esc10, read_named, table
from verdicts import Sounds, embedded

from alm2vec_search.collection.base import CollectionInfo
from alm2vec_search.collection.edge import EdgeCollection
from alm2vec_search.domain import Content, EmbeddedChunk, Place, Query, TimeSpan
from alm2vec_search.errors import Alm2VecError
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import BUNDLED, find_model
from alm2vec_search.search import Searcher, SearchOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LIBRARY = Path("/library")
ANSWERS = 50
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--esc10", type=Path, metavar="DIR", required=True)
    parser.add_argument("--gcompris", type=Path, metavar="DIR", required=True)
    parser.add_argument("--labels", type=Path, metavar="CSV", required=True)
    parser.add_argument("--model", default=BUNDLED, help="a name, or a folder")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        encoder = ALM2VecEncoder(find_model(args.model), dtype="float32")
        sounds = embedded(encoder, read_esc10(args.esc10, [5]))
        sounds += embedded(encoder, read_named(args.gcompris, args.labels))
    except (Alm2VecError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    rng = np.random.default_rng(SEED)
    other = {
        label: str(rng.choice(sorted(set(sounds.labels) - {label}))) for label in set(sounds.labels)
    }
    libraries: dict[str, Callable[[int, str], str]] = {
        "telling": lambda number, label: f"{label} {number:03d}",
        "useless": lambda number, _: f"REC_{number:04d}",
        "half": lambda number, label: (
            f"{label} {number:03d}" if number % 2 else f"REC_{number:04d}"
        ),
        "wrong": lambda number, label: f"{other[label]} {number:03d}",
    }
    figures: list[Figure] = []
    for name, called in libraries.items():
        with tempfile.TemporaryDirectory() as folder:
            figures += measure(name, called, sounds, encoder, Path(folder))
    print(table(figures))


def measure(
    name: str,
    called: Callable[[int, str], str],
    sounds: Sounds,
    encoder: ALM2VecEncoder,
    folder: Path,
) -> list[Figure]:
    info = CollectionInfo(encoder.fingerprint, "10s/10s", encoder.embedding_dim, encoder.name)
    labels = sorted(set(sounds.labels))
    label_of = {}
    with EdgeCollection.create(folder, info) as collection:
        for number, (label, vector) in enumerate(zip(sounds.labels, sounds.vectors, strict=True)):
            path = LIBRARY / f"{called(number, label)}.wav"
            label_of[path] = label
            content = Content(f"{number:064x}", number, 10.0, 16_000, 1)
            chunk = EmbeddedChunk(TimeSpan(0, 10), vector, silent=False)
            collection.upsert(content, [Place(path, LIBRARY, 0)], [chunk])
        searcher = Searcher(encoder, collection)
        figures = []
        told = [
            average_precision(
                [label_of[m.places[0].path] for m in collection.by_words(label, limit=ANSWERS)],
                label,
                sounds.labels.count(label),
            )
            for label in labels
        ]
        figures.append(figure(f"{name} names", "names alone", np.array(told), "questions", labels))
        for weight in WEIGHTS:
            options = SearchOptions(limit=ANSWERS, words_weight=weight)
            precision = [
                average_precision(
                    [label_of[hit.path] for hit in searcher.search(Query(label), options)],
                    label,
                    sounds.labels.count(label),
                )
                for label in labels
            ]
            how = "sound alone" if weight == 0 else f"both, --words {weight:g}"
            figures.append(figure(f"{name} names", how, np.array(precision), "questions", labels))
    return figures


def average_precision(answers: list[str], label: str, n_right: int) -> float:
    right: NDArray[np.bool_] = np.array([answer == label for answer in answers], dtype=bool)
    if not right.any():
        return 0.0
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float(precision[right].sum() / n_right)


if __name__ == "__main__":
    main()

"""What each kind of question costs, against the plain one, in a collection of 100,000 chunks.

    python benchmarks/queries.py [--chunks N] [--dim D]

The chunks are random vectors in a real store, 10 to a file, with names, tags and lengths; the model
is not asked, so the figures are of the store and of what the query layer does around it. Kinds take
turns, and each is told by the median of its ratios to the plain question of the same turn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.collection.base import CollectionInfo, SearchFilter
from alm2vec_search.collection.edge import EdgeCollection
from alm2vec_search.domain import (
    Aspect,
    Clause,
    Content,
    EmbeddedChunk,
    Notes,
    Place,
    Query,
    Question,
    TimeSpan,
    Verdict,
)
from alm2vec_search.search import Searcher, SearchOptions, Together
from alm2vec_search.shaping import Shape
from alm2vec_search.verdicts import Judge
from alm2vec_search.where import parse_where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.domain import Embeddings

LIBRARY = Path("/library")
CHUNKS_A_FILE = 10
ROUNDS = 15
WORDS = ("rain", "thunder", "dog", "bell", "door", "wind", "river", "engine", "crowd", "piano")
ASPECT = Aspect("animal", "what animal is it?")


@dataclass(frozen=True)
class RandomEncoder:
    """Answers with random directions: the same for the same text."""

    embedding_dim: int
    fingerprint: str = "random-float32"
    name: str = "random"
    device: str = "cpu"
    sampling_rate: int = 16_000

    def encode_query(self, *, text: Sequence[str], **_: object) -> Embeddings:
        seeds = [sum(map(ord, one)) for one in text]
        return np.stack([directions(1, self.embedding_dim, seed)[0] for seed in seeds])


def directions(n: int, dim: int, seed: int) -> Embeddings:
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    unit: Embeddings = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        info = CollectionInfo("random-float32", "10s/10s", args.dim, "random")
        with EdgeCollection.create(Path(folder) / "index", info) as collection:
            collection.add_aspect(ASPECT)
            fill(collection, args.chunks, args.dim)
            encoder = RandomEncoder(args.dim)
            searcher = Searcher(encoder, collection, judge=Judge(encoder))  # type: ignore[arg-type]
            report(searcher)


def fill(collection: EdgeCollection, n_chunks: int, dim: int) -> None:
    chance = np.random.default_rng(0)
    for number in range(n_chunks // CHUNKS_A_FILE):
        spans = [TimeSpan(10.0 * i, 10.0 * i + 10) for i in range(CHUNKS_A_FILE)]
        vectors = directions(CHUNKS_A_FILE, dim, number)
        chunks = [EmbeddedChunk(s, v, silent=False) for s, v in zip(spans, vectors, strict=True)]
        word, tag = chance.choice(WORDS, 2)
        content = Content(
            f"{number:064x}",
            size=int(chance.integers(1_000, 9_000_000)),
            duration_s=float(chance.uniform(1, 100)),
            sampling_rate=int(chance.choice([44_100, 48_000])),
            channels=int(chance.integers(1, 3)),
            notes=Notes(tags=(str(tag),)),
        )
        path = LIBRARY / f"{number % 100:03d}" / f"{word}_{number:06d}.wav"
        collection.upsert(content, [Place(path, LIBRARY, 0)], chunks)
        if number % 10 == 0:
            collection.put_aspect(ASPECT.name, content.content_hash, chunks)


def report(searcher: Searcher) -> None:
    rain, dog = Clause(Query("rain")), Clause(Query("dog"))
    one = Question((rain,), words="rain")
    two = Question((rain, dog), words="rain dog")
    less = Question((rain, Clause(Query("dog"), -1.0)), words="rain")

    def where(text: str) -> SearchFilter:
        return SearchFilter(condition=parse_where(text))

    kinds: dict[str, tuple[Question, SearchOptions]] = {
        "plain": (one, SearchOptions()),
        "with verdicts": (one, SearchOptions(least=Verdict.WEAK)),
        "--where tag:rain (a tenth)": (one, SearchOptions(where=where("tag:rain"))),
        "--where 'duration<10 channels=2' (a 20th)": (
            one,
            SearchOptions(where=where("duration<10 channels=2")),
        ),
        "--where 'path:\"042/dog*\"' (a 1000th)": (
            one,
            SearchOptions(where=where('path:"042/dog*"')),
        ),
        "--where 'not path:*dog*'": (one, SearchOptions(where=where("not path:*dog*"))),
        "--words 0.3": (one, SearchOptions(words_weight=0.3)),
        "--less": (less, SearchOptions()),
        "--split, two clauses": (two, SearchOptions(together=Together.RANKS)),
        "--all-chunks": (one, SearchOptions(shape=Shape(all_chunks=True))),
        "--per-folder 1": (one, SearchOptions(shape=Shape(per_folder=1))),
        "--aspect, of a tenth": (one, SearchOptions(aspect=ASPECT)),
        "as the command asks": (one, SearchOptions(words_weight=0.3, least=Verdict.WEAK)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(ROUNDS):
        for name, (question, options) in kinds.items():
            started = time.perf_counter()
            searcher.search(question, options)
            seconds[name].append(time.perf_counter() - started)
    print(f"plain: {1000 * median(seconds['plain']):.0f} ms")
    for name, took in seconds.items():
        ratio = median(t / p for t, p in zip(took, seconds["plain"], strict=True))
        print(f"{ratio:6.2f}  {name}")


if __name__ == "__main__":
    main()

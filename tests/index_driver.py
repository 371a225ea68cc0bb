"""An index of tones: the real store and the real pipeline, and a stand-in for the model."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from alm2vec_search.audio import AUDIO_SUFFIXES
from alm2vec_search.collection.base import CollectionInfo, SearchFilter
from alm2vec_search.collection.edge import EdgeCollection
from alm2vec_search.domain import AudioFile, Query
from alm2vec_search.search import Searcher, SearchOptions
from alm2vec_search.shaping import Shape
from alm2vec_search.testing import NOTES_HZ, FakeEncoder, tone
from indexer.chunker import Chunking
from indexer.embedding import Job, embed_files
from indexer.manifest import Manifest
from indexer.notes import with_notes
from indexer.pipeline import IndexPipeline, forget_under
from indexer.progress import NoProgress
from indexer.walker import library_root, walk

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from alm2vec_search.domain import Embeddings, Hit, Waveform
    from indexer.embedding import Advance, Outcome
    from indexer.pipeline import IndexReport, Progress

CHUNKING = Chunking(window_s=2, hop_s=2)
SAMPLING_RATE = 16_000
NARROWING = ("under", "include_silent", "condition")


@dataclass
class CountingEncoder:
    """Counts the sounds it embeds; fails, or makes what isn't a number, when told to."""

    encoder: FakeEncoder = field(default_factory=FakeEncoder)
    n_sounds: int = 0
    is_broken: bool = False
    makes_nan: bool = False

    def encode_document(self, *, audio: Sequence[Waveform], **others: Any) -> Embeddings:
        if self.is_broken:
            raise RuntimeError("the model is broken")
        self.n_sounds += len(audio)
        vectors = self.encoder.encode_document(audio=audio, **others)
        return vectors * np.float32("nan") if self.makes_nan else vectors

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)


class Index:
    """A store in a folder, and what one does with it."""

    def __init__(
        self, folder: Path, encoder: FakeEncoder | None = None, *, chunking: Chunking = CHUNKING
    ) -> None:
        self.folder = folder
        self.encoder = CountingEncoder(encoder or FakeEncoder())
        self.chunking = chunking
        self.progress: Progress = NoProgress()

    @contextmanager
    def open(self) -> Iterator[tuple[EdgeCollection, Manifest]]:
        info = CollectionInfo(
            fingerprint=self.encoder.fingerprint,
            chunking=self.chunking.name,
            embedding_dim=self.encoder.embedding_dim,
            model=self.encoder.name,
        )
        with (
            EdgeCollection.open_or_create(self.folder, info) as collection,
            Manifest.open(self.folder / "manifest.sqlite") as manifest,
        ):
            yield collection, manifest

    def run(self, *roots: Path, retry_skipped: bool = False, **options: Any) -> IndexReport:
        """Index folders, in this process."""
        with self.open() as (collection, manifest):
            pipeline = IndexPipeline(
                collection,
                manifest,
                walk=with_notes(partial(walk, suffixes=AUDIO_SUFFIXES, **options)),
                embed=self.embed,
                progress=self.progress,
            )
            return pipeline.run([library_root(r) for r in roots], retry_skipped=retry_skipped)

    def embed(self, units: Iterable[list[Job]]) -> Generator[Outcome | Advance]:
        for unit in units:
            yield from embed_files(unit, self.encoder, self.chunking)

    def remove(self, path: Path) -> int:
        with self.open() as (collection, manifest):
            return forget_under(collection, manifest, path)

    def search(self, text: str, **options: Any) -> list[Hit]:
        with self.open() as (collection, _):
            narrow = {key: options.pop(key) for key in NARROWING if key in options}
            shape = Shape(all_chunks=options.pop("all_chunks", False))
            search_options = SearchOptions(
                **{"limit": 100, "where": SearchFilter(**narrow), "shape": shape, **options}
            )
            return Searcher(self.encoder, collection).search(Query(text), search_options)

    def names(self, text: str = "low") -> list[str]:
        """The names of all files that a search gives, sorted."""
        return sorted(hit.path.name for hit in self.search(text, include_silent=True))

    def dump(self) -> dict[str, Any]:
        """All that is in the index, comparable with another index of the same folders."""
        with self.open() as (collection, manifest):
            matches = collection.nearest(
                self.encoder.encode_query(text=["low"])[0],
                limit=100_000,
                where=SearchFilter(include_silent=True),
            )
            chunks = {
                (match.content_hash, match.span.start_s): (
                    match.span.end_s,
                    round(match.score, 5),
                    sorted((str(place.path), place.mtime_ns) for place in match.places),
                )
                for match in matches
            }
            assert len(chunks) == len(matches) == collection.count()
            return {
                "chunks": chunks,
                "libraries": manifest.libraries(),
                "totals": manifest.totals(),
            }


def write_tone(
    path: Path, note: str = "low", duration_s: float = 3.0, *, peak: float = 0.5
) -> Path:
    """A file whose sound the word `note` finds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = tone(NOTES_HZ[note], duration_s, SAMPLING_RATE, peak=peak)
    soundfile.write(path, samples, SAMPLING_RATE, format="WAV", subtype="PCM_16")
    return path


def jobs_in(library: Path) -> list[Job]:
    """All audio of a library, as work for the indexer."""
    found = walk(library, suffixes=AUDIO_SUFFIXES)
    return [Job(file) for file in found if isinstance(file, AudioFile)]

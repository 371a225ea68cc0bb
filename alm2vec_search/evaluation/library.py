"""Sounds → an index of them, made as `alm2vec index` makes one, for as long as it is measured."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from alm2vec_search.audio import AUDIO_SUFFIXES
from alm2vec_search.collection.edge import EdgeCollection
from indexer.manifest import FILE, Manifest
from indexer.notes import LISTS, with_notes
from indexer.pipeline import IndexPipeline
from indexer.shared_model import embed_with_one_model
from indexer.walker import walk
from indexer.workers import embed_in_processes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from alm2vec_search.collection.base import Collection, CollectionInfo
    from indexer.chunker import Chunking
    from indexer.pipeline import IndexReport, Progress
    from indexer.workers import EncoderFactory


@dataclass(frozen=True, slots=True)
class Making:
    """How an index is made."""

    factory: EncoderFactory
    info: CollectionInfo
    chunking: Chunking
    n_workers: int
    one_model: bool  # in a process of its own, for all workers


@dataclass(frozen=True, slots=True)
class IndexedLibrary:
    """Sounds that were indexed."""

    collection: Collection
    report: IndexReport
    index_s: float
    sounds: Mapping[Path, Path]  # the path of a hit → the path that was given


@contextmanager
def indexed(sounds: Iterable[Path], making: Making, progress: Progress) -> Iterator[IndexedLibrary]:
    """A library of links to the sounds, laid out and called as they are, and an index of it.

    Both are gone afterwards; the sounds stay where they are. What can't be read is in the report.

    Raises:
        ModelError: the model can't be loaded.
        CollectionError: the index can't be written.
    """
    with TemporaryDirectory(prefix="alm2vec-eval-") as temporary:
        folder = Path(os.path.realpath(temporary))
        links = _link(sounds, folder / "library")
        embed = embed_with_one_model if making.one_model else embed_in_processes
        started = time.perf_counter()
        with (
            EdgeCollection.open_or_create(folder / "index", making.info) as collection,
            Manifest.open(folder / "index" / FILE) as manifest,
        ):
            pipeline = IndexPipeline(
                collection,
                manifest,
                walk=with_notes(partial(walk, suffixes=AUDIO_SUFFIXES, exclude=())),
                embed=partial(
                    embed,
                    factory=making.factory,
                    chunking=making.chunking,
                    n_workers=making.n_workers,
                ),
                progress=progress,
            )
            report = pipeline.run([folder / "library"])
            yield IndexedLibrary(collection, report, time.perf_counter() - started, links)


def _link(sounds: Iterable[Path], library: Path) -> dict[Path, Path]:
    """Links below `library`, in the folders that the sounds have in common."""
    given = list(dict.fromkeys(sound.absolute() for sound in sounds))
    top = Path(os.path.commonpath([sound.parent for sound in given]))
    links = {library / sound.relative_to(top): sound for sound in given}
    for link, sound in links.items():
        if not link.parent.is_dir():
            link.parent.mkdir(parents=True)
            for name in LISTS:
                if (told := sound.parent / name).is_file():
                    (link.parent / name).symlink_to(told)
        link.symlink_to(sound)
    return links

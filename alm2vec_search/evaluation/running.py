"""A set and a system → a run: embed or index, measure, and say what it took."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.embedding import Embedder
from alm2vec_search.evaluation.library import indexed
from alm2vec_search.evaluation.measuring import measure
from alm2vec_search.evaluation.runs import FORMAT, Cost, Run, System, relative_sound
from alm2vec_search.evaluation.searching import LIMIT, SearchedLibrary, searchable, sounds_of
from alm2vec_search.model.hub import dtype_of
from alm2vec_search.settings import usable_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from alm2vec_search.collection.base import Collection
    from alm2vec_search.domain import Encoder
    from alm2vec_search.evaluation.embedding import Progress
    from alm2vec_search.evaluation.library import Making
    from alm2vec_search.evaluation.runs import TaskResult
    from alm2vec_search.evaluation.sets import EvaluationSet
    from alm2vec_search.search import Searcher
    from indexer.pipeline import Progress as IndexProgress


@dataclass(frozen=True, slots=True)
class Recording:
    """What a run's file says beside the figures.

    Attributes:
        out: where the file is going to be; sounds are named from there.
        command: that made it.
    """

    out: Path | None = None
    command: str = ""

    def shown(self, sound: Path) -> str:
        """The path of a sound, as the file has it."""
        return relative_sound(sound, self.out)

    def run(
        self,
        measured: EvaluationSet,
        system: System,
        tasks: Sequence[TaskResult],
        cost: Cost,
        unreadable: Sequence[str] = (),
    ) -> Run:
        """
        Raises:
            EvaluationError: nothing could be measured.
        """
        if not tasks:
            raise EvaluationError(
                f"{measured.name}: no sound of it can be read",
                hint=f"the first is {unreadable[0]}" if unreadable else None,
            )
        return Run(
            format=FORMAT,
            key=measured.key,
            set_name=measured.name,
            system=system,
            pool=measured.pool,
            missing=tuple(map(self._named, measured.missing)),
            unreadable=tuple(unreadable),
            set_aside=tuple(f"{self._named(a.where)}: {a.reason}" for a in measured.set_aside),
            notes=measured.notes,
            tasks=tuple(tasks),
            cost=cost,
            made=datetime.now(UTC).replace(microsecond=0),
            version=version("alm2vec-search"),
            command=self.command,
        )

    def _named(self, what: str) -> str:
        """A clip's name as it is; a file as the run's file has it."""
        if self.out is None or not os.path.isabs(what):
            return what
        return os.path.relpath(what, self.out.absolute().parent)


def by_vectors(
    measured: EvaluationSet,
    encoder: Encoder,
    recording: Recording,
    *,
    max_audio_s: float | None,
    plain: bool,
    load_s: float,
    progress: Progress,
) -> Run:
    """Every query against the whole pool, by cosine: what the published tables show.

    Args:
        max_audio_s, plain: as `Embedder` has them.
        load_s: what it took to load the model.

    Raises:
        EvaluationError: nothing could be measured, or a vector isn't finite.
    """
    started = time.perf_counter()
    embedder = Embedder(encoder, max_audio_s=max_audio_s, plain=plain, progress=progress)
    results = [measure(task, embedder, recording.shown) for task in measured.tasks]
    clock = embedder.clock
    cost = Cost(
        audio_s=clock.audio_s,
        load_s=load_s,
        decode_s=clock.decode_s,
        encode_s=clock.encode_s,
        total_s=load_s + time.perf_counter() - started,
        cores=usable_cores(),
    )
    unreadable = [
        f"{recording.shown(ref.path)}: {reason}" for ref, reason in embedder.unreadable.items()
    ]
    system = system_of(
        encoder, "vectors", detail="each input under the model's own instruction" if plain else ""
    )
    notes = [*measured.notes, *_left_out(measured, encoder)]
    if embedder.heard_s != max_audio_s:
        notes.append(
            f"{name_of(encoder)} takes no more than {embedder.heard_s:g} s of a sound: its start"
        )
    measured = replace(measured, notes=tuple(notes))
    return recording.run(measured, system, [r for r in results if r is not None], cost, unreadable)


def _left_out(measured: EvaluationSet, encoder: Encoder) -> tuple[str, ...]:
    if encoder.follows_instructions or not any(side.instruction for side in measured.sides()):
        return ()
    return (f"{name_of(encoder)} follows no instructions: they were left out",)


def by_search(
    measured: EvaluationSet,
    making: Making,
    recording: Recording,
    *,
    searcher_of: Callable[[Collection], tuple[Encoder, Searcher]],
    progress: IndexProgress,
) -> Run:
    """Through an index and the query layer: what a user gets.

    Args:
        making: how the index is made.
        searcher_of: what answers from a collection, and what it encodes questions with.

    Raises:
        EvaluationError: nothing of the set can be searched for.
        ModelError, CollectionError: as for an index.
    """
    started = time.perf_counter()
    tasks = searchable(measured)
    results: list[TaskResult] = []
    search_s = 0.0
    with indexed(sounds_of(tasks), making, progress) as library:
        before = time.perf_counter()
        encoder, searcher = searcher_of(library.collection)
        load_s = time.perf_counter() - before
        for task in tasks:
            found, seconds = SearchedLibrary(library, searcher).measure(task, recording.shown)
            results += found
            search_s += seconds
    cost = Cost(
        audio_s=library.report.audio_s,
        load_s=load_s,
        index_s=library.index_s,
        search_s=search_s,
        total_s=time.perf_counter() - started,
        cores=usable_cores(),
    )
    unreadable = [
        f"{recording.shown(library.sounds[path])}: {reason}"
        for path, reason in library.report.skipped
    ]
    system = system_of(encoder, "search", detail="through the index")
    chunks = f"indexed in chunks of {making.info.chunking}; {LIMIT} hits a question"
    measured = replace(measured, notes=(*measured.notes, chunks))
    return recording.run(measured, system, results, cost, unreadable)


def system_of(encoder: Encoder, kind: Literal["vectors", "search"], detail: str) -> System:
    """What was measured, as a run's file has it."""
    return System(
        kind=kind,
        name=name_of(encoder),
        detail=detail,
        fingerprint=encoder.fingerprint,
        embedding_dim=encoder.embedding_dim,
        dtype=dtype_of(encoder.fingerprint),
        device=encoder.device,
    )


def name_of(encoder: Encoder) -> str:
    """What people call it; folders are called by their last part."""
    return short_name(encoder.name)


def short_name(name: str) -> str:
    """
    >>> short_name("/models/my-model"), short_name("asr:/models/whisper+owner/text")
    ('my-model', 'asr:whisper+owner/text')
    """
    return re.sub(r"(?:^|(?<=[:+]))/(?:[^+]*/)?", "", name)

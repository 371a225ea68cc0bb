"""The search that a user gets, measured: files are indexed and asked for as the commands do it.

What is measured is everything between a file and a hit: decoding, chunks, the store, names and tags
beside the sound, copies that are one hit, and what the limit cuts off. A hit stands for all
documents of its file that it overlaps. A file that names itself in its path is found by that, so
that each task is asked a second time by sound alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alm2vec_search.domain import Clause, Query, Question, TimeSpan
from alm2vec_search.errors import AudioError, EvaluationError
from alm2vec_search.evaluation.measuring import retrieval_result
from alm2vec_search.evaluation.metrics import Places
from alm2vec_search.evaluation.sets import RetrievalTask
from alm2vec_search.search_request import SearchChoices
from trainer.hearing import hear

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

    from alm2vec_search.domain import Hit
    from alm2vec_search.evaluation.library import IndexedLibrary
    from alm2vec_search.evaluation.measuring import PathShown
    from alm2vec_search.evaluation.runs import TaskResult
    from alm2vec_search.evaluation.sets import EvaluationSet
    from alm2vec_search.search import Searcher
    from trainer.pairs import AudioRef, Side

LIMIT = 100  # hits that are asked for; what isn't among them wasn't found
OVERLAP = 0.5  # of the shorter of a hit and a document
SOUND_ALONE = "by sound alone"


def searchable(measured: EvaluationSet) -> list[RetrievalTask]:
    """The tasks that ask for sounds.

    Raises:
        EvaluationError: there are none.
    """
    found = [
        task
        for task in measured.tasks
        if isinstance(task, RetrievalTask)
        and all(document.audio is not None for document in task.documents)
    ]
    if not found:
        raise EvaluationError(
            f"{measured.name} has no task that asks for sounds, and only these can be searched for",
            hint="leave out --search",
        )
    return found


def sounds_of(tasks: Sequence[RetrievalTask]) -> list[Path]:
    """The files that are searched, each once."""
    refs = [document.audio for task in tasks for document in task.documents]
    return list(dict.fromkeys(ref.path for ref in refs if ref is not None))


@dataclass(frozen=True, slots=True)
class SearchedLibrary:
    """An index, and who answers from it."""

    library: IndexedLibrary
    searcher: Searcher

    def measure(self, task: RetrievalTask, shown: PathShown) -> tuple[list[TaskResult], float]:
        """A task as the command answers it, and by sound alone.

        Returns:
            the two results, and the seconds of searching.
        """
        unread = {path for path, _ in self.library.report.skipped}
        gone = {self.library.sounds[path] for path in unread}
        there = [
            row
            for row, document in enumerate(task.documents)
            if document.audio is not None and document.audio.path not in gone
        ]
        asked = [row for row, right in enumerate(task.relevant) if right & set(there)]
        if not asked:
            return [], 0.0
        task = task.of(asked, there)
        started = time.perf_counter()
        choices = SearchChoices(limit=LIMIT)
        arms = {task.name: choices}
        arms[f"{task.name}, {SOUND_ALONE}"] = choices.model_copy(update={"words": 0.0})
        results = []
        for name, arm in arms.items():
            result = retrieval_result(task, self._rankings(task, arm), shown)
            results.append(result.model_copy(update={"name": name}))
        return results, time.perf_counter() - started

    def _rankings(
        self, task: RetrievalTask, choices: SearchChoices
    ) -> Iterator[tuple[Places, list[int]]]:
        documents = _by_path(task)
        for query, right in zip(task.queries, task.relevant, strict=True):
            question = self._question(query)
            answer = choices.ask(self.searcher, self.library.collection.info, question)
            hits = [list(self._documents(hit, documents)) for hit in answer.hits]
            yield hit_places(hits, right), [rows[0] for rows in hits if rows]

    def _question(self, query: Side) -> Question:
        """As somebody asks who knows nothing of the protocol: words have no instruction."""
        sound = None
        if query.audio is not None:
            try:
                sound = hear(query.audio, self.searcher.sampling_rate, None, 0.0)
            except AudioError as error:
                raise EvaluationError(f"a query can't be read: {error}") from error
        words = query.text or ""
        asked = Query(query.text, sound, query.instruction if sound is not None else None)
        return Question((Clause(asked, label=words),), words=words)

    def _documents(
        self, hit: Hit, documents: dict[Path, list[tuple[int, AudioRef]]]
    ) -> Iterator[int]:
        """Rows of the pool that a hit stands for, those that it fits best first."""
        for path in (hit.path, *hit.copies):
            there = documents.get(self.library.sounds[path], [])
            fits = [(row, *_overlap(hit.span, ref)) for row, ref in there]
            meant = [(-alike, row) for row, covered, alike in fits if covered >= OVERLAP]
            yield from (row for _, row in sorted(meant))


def hit_places(hits: Sequence[Sequence[int]], right: Collection[int]) -> Places:
    """Where the right documents lie in a list of hits, each of which stands for some.

    A hit that brings several right ones at once counts as one.

    >>> hit_places([[7], [2, 5], [2]], {5, 2, 8})
    Places(places=(1,), num_right=2)
    """
    places: list[int] = []
    found: set[int] = set()
    for place, rows in enumerate(hits):
        if new := (set(rows) & set(right)) - found:
            places.append(place)
            found |= new
    return Places(tuple(places), len(right) - len(found) + len(places))


def _by_path(task: RetrievalTask) -> dict[Path, list[tuple[int, AudioRef]]]:
    found: dict[Path, list[tuple[int, AudioRef]]] = {}
    for row, document in enumerate(task.documents):
        assert document.audio is not None
        found.setdefault(document.audio.path, []).append((row, document.audio))
    return found


def _overlap(span: TimeSpan, ref: AudioRef) -> tuple[float, float]:
    """How much of the shorter of the two lies in the other, and of both together in both."""
    if ref.span is None:
        return 1.0, 1.0  # all of the file is meant
    both_s = min(span.end_s, ref.span.end_s) - max(span.start_s, ref.span.start_s)
    either_s = span.duration_s + ref.span.duration_s - both_s
    return both_s / min(span.duration_s, ref.span.duration_s), both_s / either_s

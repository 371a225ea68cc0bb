"""A task and its vectors → what came of it."""

from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.evaluation.intervals import interval
from alm2vec_search.evaluation.metrics import (
    CUT,
    Places,
    average_precision,
    hit,
    ndcg,
    precision,
    ranked_places,
    recall,
    reciprocal_rank,
)
from alm2vec_search.evaluation.runs import Confusion, Content, Figure, SoundRef, TaskResult, Worst
from alm2vec_search.evaluation.sets import RetrievalTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from alm2vec_search.evaluation.embedding import Embedder
    from alm2vec_search.evaluation.sets import ChoiceTask, Task
    from trainer.pairs import AudioRef, Side

    PathShown = Callable[[Path], str]  # the path of a sound, as the run's file has it

RECALLS = (1, 5, 10)
WORST = 20  # queries that are kept with what was found for them
FOUND = 5  # of what was found instead, and of what was wanted
CONFUSIONS = 100  # pairs of labels, the most frequent first
ACCURACY, CHANCE = "accuracy", "chance"
_OF_PLACES: dict[str, Callable[[Places], float]] = {
    **{f"r@{k}": partial(hit, k=k) for k in RECALLS},
    "mrr": reciprocal_rank,
    f"ndcg@{CUT}": partial(ndcg, k=CUT),
    f"map@{CUT}": partial(average_precision, k=CUT),
}
_OF_MANY: dict[str, Callable[[Places], float]] = {  # where a query has several right documents
    f"p@{CUT}": partial(precision, k=CUT),
    f"recall@{CUT}": partial(recall, k=CUT),
}


def measure(task: Task, embedder: Embedder, shown: PathShown) -> TaskResult | None:
    """Embed a task, and see what comes first.

    What can't be decoded is in no pool, and a query without a right document left isn't asked.

    Args:
        shown: the path of a sound, as the run's file has it.

    Returns:
        None, if there is nothing left to ask.

    Raises:
        EvaluationError: a vector isn't finite.
    """
    if isinstance(task, RetrievalTask):
        return _measure_retrieval(task, embedder, shown)
    return _measure_choice(task, embedder, shown)


def _measure_retrieval(
    task: RetrievalTask, embedder: Embedder, shown: PathShown
) -> TaskResult | None:
    documents, has_document = embedder.embed(task.documents, "document")
    queries, has_query = embedder.embed(task.queries, "query")
    asked = [
        row
        for row, right in enumerate(task.relevant)
        if has_query[row] and any(has_document[document] for document in right)
    ]
    if not asked:
        return None
    there = np.flatnonzero(has_document).tolist()
    left = task.of(asked, there)
    rankings = ranked_places(queries[asked], documents[there], left.relevant)
    return retrieval_result(left, rankings, shown)


def _measure_choice(task: ChoiceTask, embedder: Embedder, shown: PathShown) -> TaskResult | None:
    flat = [choice for choices in task.choices for choice in choices]
    ends = np.cumsum([len(choices) for choices in task.choices])
    documents, has_document = embedder.embed(flat, "document")
    queries, has_query = embedder.embed(task.queries, "query")
    asked, scores = [], []
    for row, (end, choices) in enumerate(zip(ends, task.choices, strict=True)):
        own = slice(end - len(choices), end)
        if has_query[row] and has_document[own].all():
            asked.append(row)
            scores.append(documents[own] @ queries[row])  # [C]
    return choice_result(task.of(asked), scores, shown) if asked else None


# ---- results ----


def retrieval_result(
    task: RetrievalTask, rankings: Iterable[tuple[Places, Iterable[int]]], shown: PathShown
) -> TaskResult:
    """What came of a task, whoever ranked.

    Args:
        rankings: for each query, where its right documents lie, and rows of the pool, best first;
            not all of them, if it is the list of a search.
    """
    found: list[Places] = []
    firsts: list[list[int]] = []
    for places, order in rankings:
        found.append(places)
        firsts.append([int(row) for row in islice(order, FOUND)])
    measures = dict(_OF_PLACES)
    if any(places.num_right > 1 for places in found):
        measures |= _OF_MANY
    figures = figures_of(task, {name: list(map(of, found)) for name, of in measures.items()})
    unlucky = sorted(range(len(found)), key=lambda row: _badness(found[row].first))[:WORST]
    return TaskResult(
        name=task.name,
        queries=len(task.queries),
        pool=len(task.documents),
        figures=figures,
        places=tuple(places.first for places in found),
        groups=numbered(task.groups),
        worst=tuple(
            Worst(
                query=content_of(task.queries[row], shown),
                wanted=_contents(task.documents, sorted(task.relevant[row])[:FOUND], shown),
                found=_contents(task.documents, firsts[row], shown),
                place=found[row].first,
            )
            for row in unlucky
            if found[row].first != 0
        ),
        confusions=_confusions(task, firsts),
    )


def choice_result(
    task: ChoiceTask, scores: Sequence[NDArray[np.float32]], shown: PathShown
) -> TaskResult:
    """What came of a task whose queries have candidates of their own.

    Args:
        scores: for each query, of each of its candidates. A tie goes to a wrong one.
    """
    places, orders = [], []
    for row, right in zip(scores, task.right, strict=True):
        is_right = np.arange(len(row)) == right
        order = np.lexsort((is_right, -row))
        places.append(int(np.flatnonzero(order == right)[0]))
        orders.append(order)
    values = {
        ACCURACY: [float(place == 0) for place in places],
        CHANCE: [1 / len(choices) for choices in task.choices],
    }
    margins = [
        float(row[right] - np.delete(row, right).max())
        for row, right in zip(scores, task.right, strict=True)
    ]
    unlucky = sorted(range(len(places)), key=lambda row: margins[row])[:WORST]
    return TaskResult(
        name=task.name,
        queries=len(task.queries),
        figures=figures_of(task, values),
        places=tuple(places),
        groups=numbered(task.groups),
        worst=tuple(
            Worst(
                query=content_of(task.queries[row], shown),
                wanted=(content_of(task.choices[row][task.right[row]], shown),),
                found=_contents(task.choices[row], orders[row][:FOUND].tolist(), shown),
                place=places[row],
            )
            for row in unlucky
            if places[row] != 0
        ),
    )


def numbered(groups: Sequence[str]) -> tuple[int, ...]:
    """
    >>> numbered(["tape 2", "tape 1", "tape 2"])
    (0, 1, 0)
    """
    number = {group: row for row, group in enumerate(dict.fromkeys(groups))}
    return tuple(number[group] for group in groups)


def _badness(first: int | None) -> float:
    return -float("inf") if first is None else -first


def figures_of(task: Task, values: Mapping[str, Sequence[float]]) -> tuple[Figure, ...]:
    """Over all queries, and over those of each domain."""
    rows_of: dict[str | None, list[int]] = {None: list(range(len(task.queries)))}
    for row, part in enumerate(task.domains):
        rows_of.setdefault(part, []).append(row)
    figures = []
    for domain, rows in rows_of.items():
        groups = [task.groups[row] for row in rows]
        for metric, of_all in values.items():
            measured = [of_all[row] for row in rows]
            bounds = None if metric == CHANCE else interval(measured, groups)
            figures.append(
                Figure(
                    metric=metric,
                    value=float(np.mean(measured)),
                    low=None if bounds is None else bounds.low,
                    high=None if bounds is None else bounds.high,
                    n=len(rows),
                    domain=domain,
                )
            )
    return tuple(figures)


def _confusions(task: RetrievalTask, firsts: Sequence[Sequence[int]]) -> tuple[Confusion, ...]:
    """Which label came first where another was right; for pools of labels only."""
    labels = [document.text for document in task.documents]
    if any(document.audio is not None for document in task.documents):
        return ()
    asked: Counter[str] = Counter()
    mistaken: Counter[tuple[str, str]] = Counter()
    for right, first in zip(task.relevant, firsts, strict=True):
        if len(right) > 1:
            continue  # which of them the sound was taken for can't be told
        wanted = str(labels[next(iter(right))])
        asked[wanted] += 1
        if first and first[0] not in right:
            mistaken[wanted, str(labels[first[0]])] += 1
    if max(asked.values(), default=0) < 2:
        return ()  # captions, not labels
    return tuple(
        Confusion(wanted=wanted, found=found, count=count, of=asked[wanted])
        for (wanted, found), count in sorted(mistaken.items(), key=lambda item: (-item[1], item[0]))
    )[:CONFUSIONS]


def _contents(sides: Sequence[Side], rows: Iterable[int], shown: PathShown) -> tuple[Content, ...]:
    return tuple(content_of(sides[row], shown) for row in rows)


def content_of(side: Side, shown: PathShown) -> Content:
    """A side as a run's file has it."""
    return Content(
        text=side.text,
        sound=None if side.audio is None else _sound(side.audio, shown),
        instruction=side.instruction,
    )


def _sound(ref: AudioRef, shown: PathShown) -> SoundRef:
    return SoundRef(path=shown(ref.path), start_s=ref.start_s or 0.0, end_s=ref.end_s)

"""Tasks of mteb, measured: its evaluation as it is, over our encoder or our search, to a `Run`."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from alm2vec_search.errors import Alm2VecError, EvaluationError, one_line
from alm2vec_search.evaluation.mteb.audio import our_decoders
from alm2vec_search.evaluation.mteb.search import MtebSearch, require_sounds
from alm2vec_search.evaluation.mteb.tasks import Instructions, without_advice
from alm2vec_search.evaluation.running import name_of
from alm2vec_search.evaluation.runs import Cost, Figure, Run, System, TaskResult
from alm2vec_search.model.hub import dtype_of
from alm2vec_search.settings import usable_cores
from alm2vec_search.terminal import counted, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import mteb

    from alm2vec_search.evaluation.mteb.encoder import MtebEncoder

BATCH_SIZE = 32  # inputs that are decoded at a time; how many are embedded is the encoder's choice
RETRIEVAL = ("Retrieval", "Reranking")
AT = re.compile(r"(?P<kind>\w+)_at_(?P<depth>\d+)")
SHORT = {"precision": "p"}
NO_METRICS = ("hf_subset", "languages", "mteb_version", "main_score")  # in scores, but no metrics


@dataclass(slots=True)
class _Found:
    """What is known by now."""

    results: list[TaskResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)


def measure(
    tasks: Sequence[mteb.AbsTask],
    model: MtebEncoder | MtebSearch,
    *,
    again: bool = False,
    command: str = "",
    announce: Callable[[str], None] = say,
) -> Run:
    """Measure a model on tasks. What mteb's cache has of the same model and way is taken from it.

    Args:
        tasks: tasks that can't be searched in are left out of a measurement of search, as long as
            there are others.
        model: what is measured. A search is left open.
        again: whether what is in the cache is measured anew.
        command: as it is noted in the run.
        announce: is told which task is begun.

    Raises:
        EvaluationError: there is nothing left to measure, or a data set isn't here.
        ModelError: the encoder can't do what a task asks of it.
    """
    started = time.perf_counter()
    found = _Found()
    doable = [task for task in tasks if _can_be_measured(task, model, found)]
    if not doable:
        raise EvaluationError(
            "; ".join(found.set_aside) or "no task was named",
            hint="alm2vec eval mteb --list shows the tasks; without --search, vectors are measured",
        )
    for number, task in enumerate(doable, start=1):
        announce(f"{task.metadata.name} ({number} of {len(doable)})")
        _measure_one(task, model, found, again=again)
    unreadable = model.unreadable if isinstance(model, MtebSearch) else []
    if unreadable:
        name, reason = unreadable[0]
        found.notes.append(
            f"{counted(len(unreadable), 'document')} can't be read, and so can't be found; "
            f"the first is {name}: {reason}"
        )
    names = ", ".join(task.metadata.name for task in doable)
    mteb_version = version("mteb")
    return Run(
        format=1,
        key="mteb",
        set_name=names if len(doable) == 1 else f"{len(doable)} tasks of MTEB",
        system=_system(model),
        pool=f"as mteb {mteb_version} has it: {names}",
        unreadable=tuple(name for name, _ in unreadable),
        set_aside=tuple(found.set_aside),
        notes=tuple(dict.fromkeys(found.notes)),
        tasks=tuple(found.results),
        cost=_cost(model, time.perf_counter() - started),
        made=datetime.now(UTC),
        version=version("alm2vec-search"),
        command=command,
    )


def _can_be_measured(task: mteb.AbsTask, model: MtebEncoder | MtebSearch, found: _Found) -> bool:
    if not isinstance(model, MtebSearch):
        return True
    try:
        require_sounds(task.metadata)
    except EvaluationError as error:
        found.set_aside.append(str(error))
        return False
    return True


def _measure_one(
    task: mteb.AbsTask, model: MtebEncoder | MtebSearch, found: _Found, *, again: bool
) -> None:
    import mteb

    metadata = task.metadata
    cache = mteb.ResultCache()
    kept = None if again else cache.load_task_result(metadata.name, model.mteb_model_meta)
    if kept is not None and not kept.get_missing_evaluations(task):
        found.notes.append(f"{metadata.name}: from mteb's cache, where it was measured before")
    with our_decoders(), without_advice():
        # Loaded here, so that an error of it is known from one of the evaluation.
        if kept is None or kept.get_missing_evaluations(task):
            _load(task)
        result = mteb.evaluate(
            model,
            task,
            co2_tracker=False,
            encode_kwargs={"batch_size": BATCH_SIZE, "show_progress_bar": False},
            cache=cache,
            overwrite_strategy="always" if again else "only-missing",
            show_progress_bar=False,
            num_proc=1,
        )
    found.notes.append(f"{metadata.name}: its main score is {_metric(metadata.main_score)}")
    if metadata.is_beta:
        found.notes.append(f"{metadata.name} is in beta: its data, and with it figures, may change")
    if metadata.superseded_by:
        found.notes.append(f"{metadata.name} has a later version: {metadata.superseded_by}")
    for outcome in result.task_results:
        found.results += _results(task, outcome.scores)
    if task.data_loaded:
        task.unload_data()


def _load(task: mteb.AbsTask) -> None:
    """
    Raises:
        EvaluationError: its data set isn't here, and can't be fetched.
    """
    import datasets

    try:
        task.load_data()
    except Alm2VecError:
        raise
    except Exception as error:  # of three libraries, and of the operating system
        path = task.metadata.dataset["path"]
        raise EvaluationError(
            f"{task.metadata.name}: its data set {path} can't be loaded: {one_line(error)}",
            hint="it is fetched where there is a network, and kept in "
            f"{datasets.config.HF_DATASETS_CACHE}",
        ) from error


def _results(
    task: mteb.AbsTask, scores: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[TaskResult]:
    """One for each split and subset."""
    is_one = sum(len(subsets) for subsets in scores.values()) == 1
    for split, subsets in scores.items():
        for said in subsets:
            subset = str(said["hf_subset"])
            n_queries, n_documents = _counts(task, split, subset)
            figures = list(_figures(said, task.metadata.main_score, n_queries, _inputs(task)))
            where = "" if is_one else f", {split}" + ("" if subset == "default" else f" {subset}")
            yield TaskResult(
                name=task.metadata.name + where,
                queries=n_queries,
                pool=n_documents,
                figures=tuple(figures),
            )


def _figures(scores: Mapping[str, Any], main_score: str, n: int, inputs: str) -> Iterator[Figure]:
    """All numbers, the main score first."""
    numbers = {
        name: float(value)
        for name, value in scores.items()
        if isinstance(value, int | float) and name not in NO_METRICS and value == value
    }
    numbers = {main_score: float(scores["main_score"])} | numbers
    for name, value in numbers.items():
        yield Figure(metric=_metric(name), value=value, n=n, of=inputs)


def _metric(name: str) -> str:
    """`ndcg_at_10` → `ndcg@10`, as it is written elsewhere."""
    match = AT.fullmatch(name)
    if match is None:
        return name
    return f"{SHORT.get(match['kind'], match['kind'])}@{match['depth']}"


def _is_retrieval(task: mteb.AbsTask) -> bool:
    return any(kind in str(task.metadata.type) for kind in RETRIEVAL)


def _inputs(task: mteb.AbsTask) -> str:
    return "queries" if _is_retrieval(task) else "samples"


def _counts(task: mteb.AbsTask, split: str, subset: str) -> tuple[int, int | None]:
    """Queries and documents of a retrieval; of another task its samples. By the data, or if it
    wasn't loaded, by what mteb says of it; 0 is not known."""
    if task.data_loaded and task.dataset:
        loaded: Any = task.dataset.get(subset, task.dataset)
        part = loaded[split]
        if _is_retrieval(task):
            return len(part["queries"]), len(part["corpus"])
        return len(part), None
    said: Any = (task.metadata.descriptive_stats or {}).get(split, {})
    said = said.get("hf_subset_descriptive_stats", {}).get(subset, said)
    if _is_retrieval(task):
        return int(said.get("num_queries", 0)), said.get("num_documents")
    return int(said.get("num_samples", 0)), None


def _system(model: MtebEncoder | MtebSearch) -> System:
    encoder = model.encoder
    way = "vectors"
    if isinstance(model, MtebSearch):
        way = f"through the index, in chunks of {model.chunking.name}"
    under = "the task" if model.instructions is Instructions.TASK else "the model"
    return System(
        kind="mteb",
        name=name_of(encoder),
        detail=f"{way}, under the instructions of {under}",
        fingerprint=encoder.fingerprint,
        embedding_dim=encoder.embedding_dim,
        dtype=dtype_of(encoder.fingerprint),
        device=encoder.device,
    )


def _cost(model: MtebEncoder | MtebSearch, total_s: float) -> Cost:
    spent = model.spent
    return Cost(
        audio_s=spent.audio_s,
        decode_s=spent.decode_s,
        encode_s=spent.encode_s,
        index_s=spent.index_s,
        search_s=spent.search_s,
        total_s=total_s,
        cores=usable_cores(),
    )

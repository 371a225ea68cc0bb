"""A report before it has a form: per set its tables, and what is to be said of each run.

Markdown and the page are written from the same sections, so that they say the same.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.intervals import difference_interval
from alm2vec_search.evaluation.report.published import published
from alm2vec_search.evaluation.runs import read_run
from alm2vec_search.terminal import counted, length

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from alm2vec_search.evaluation.report.published import Published, PublishedSet, PublishedSystem
    from alm2vec_search.evaluation.runs import Cost, Figure, Run, TaskResult

NOT_KNOWN = "–"
NAMED = 5  # of what is missing, so many are named
MOST_MEASURES = 10  # in one table; mteb has sixty
FAMILIES = {"r": "R", "p": "P", "ndcg": "nDCG", "map": "mAP", "mrr": "MRR"}
KINDS = {
    "vectors": "vectors, each query against the whole pool",
    "search": "the whole search",
    "answers": "answers of a model that writes",
    "mteb": "by MTEB",
}


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    interval: str = ""  # 95 %, and what else belongs in brackets
    is_code: bool = False

    @property
    def is_number(self) -> bool:
        """
        >>> Cell("43.2").is_number, Cell("4,785").is_number, Cell("957 / 4,785").is_number
        (True, True, False)
        """
        return re.fullmatch(r"[+-]?[\d,]+(\.\d+)?", self.text) is not None


@dataclass(frozen=True, slots=True)
class Row:
    head: str
    cells: tuple[Cell, ...]
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """
    Attributes:
        columns: one more than a row has cells: the first stands over the rows' heads.
        note: what to know before comparing.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""

    def holds_numbers(self, column: int) -> bool:
        """Whether there are any among the cells of a column, counted without the heads."""
        return any(row.cells[column].is_number for row in self.rows)


@dataclass(frozen=True, slots=True)
class Reported:
    """A run as a report names it."""

    run: Run
    path: Path
    label: str  # like no other in its section


@dataclass(frozen=True, slots=True)
class Section:
    """All runs on one set."""

    key: str
    title: str
    runs: tuple[Reported, ...]
    tables: tuple[Table, ...]

    @property
    def task_names(self) -> tuple[str, ...]:
        return tuple(_task_names(self.runs))


def read_runs(paths: Sequence[Path]) -> list[tuple[Path, Run]]:
    """
    Raises:
        EvaluationError: there are none, one is given twice, or is no run.
    """
    if not paths:
        raise EvaluationError(
            "there is nothing to report", hint="alm2vec eval ... -o run.json measures something"
        )
    for path, n in Counter(path.resolve() for path in paths).items():
        if n > 1:
            raise EvaluationError(f"{path} is given twice", hint="name each run once")
    return [(path, read_run(path)) for path in paths]


def sections_of(runs: Sequence[tuple[Path, Run]]) -> tuple[Section, ...]:
    """One for each set, in the order in which sets come up first."""
    by_set: dict[tuple[str, str], list[tuple[Path, Run]]] = {}
    for path, run in runs:
        by_set.setdefault((run.key, run.set_name), []).append((path, run))
    found = []
    for (key, title), of_set in by_set.items():
        reported = _labelled(of_set)
        found.append(Section(key, title, reported, tuple(_tables(key, reported))))
    return tuple(found)


def systems_table(sections: Sequence[Section]) -> Table | None:
    """How to run here what has published rows in these sections; None where nothing has."""
    keys = {section.key for section in sections}
    systems = [system for system in published().systems if keys & set(system.sets)]
    if not systems:
        return None
    rows = tuple(
        Row(
            system.name,
            (
                Cell(system.kind),
                Cell(system.runs, is_code=True)
                if system.runs
                else Cell(f"can't be run here: {system.runs_not}"),
                Cell(system.licence or NOT_KNOWN),
                Cell(system.note),
            ),
        )
        for system in systems
    )
    columns = ("system", "kind", "options of alm2vec eval", "licence", "note")
    return Table("Published systems", columns, rows)


def sources_of(sections: Sequence[Section]) -> tuple[str, ...]:
    """Where the published figures of these sections come from, each source once."""
    known = published()
    keys = {
        source
        for section in sections
        for system in known.systems_on(section.key)
        for source in system.sources(section.key)
    }
    return tuple(
        f"{source.name}: {source.cite}" for key, source in known.sources.items() if key in keys
    )


def facts_of(reported: Reported) -> tuple[tuple[str, str], ...]:
    """What is to be said of a run besides its figures: labels, and texts as they are."""
    run = reported.run
    system = run.system
    model = [
        system.name,
        f"{system.embedding_dim} dimensions" if system.embedding_dim else "",
        system.dtype or "",
        f"on {system.device}" if system.device else "",
        f"fingerprint {system.fingerprint[:12]}" if system.fingerprint else "",
    ]
    facts = [
        ("Model", ", ".join(filter(None, model))),
        ("Measured", ", ".join(filter(None, (KINDS[system.kind], system.detail)))),
        ("Pool", run.pool),
        *((f"Task {task.name}", _size(task)) for task in run.tasks),
        ("Missing", named(run.missing, "listed clip without a file", "listed clips without files")),
        ("Unreadable", named(run.unreadable, "file", "files", "in no pool")),
        ("Set aside", named(run.set_aside, "entry", "entries")),
        *(("Note", note) for note in run.notes),
        ("Cost", cost(run.cost)),
        ("Made", f"{run.made:%Y-%m-%d %H:%M}, by version {run.version}"),
        ("Command", run.command),
        ("Run", str(reported.path)),
    ]
    return tuple((label, text) for label, text in facts if text)


def named(things: Sequence[str], one: str, many: str, remark: str = "") -> str:
    """How many, and the first few of them; nothing of none.

    >>> named(["a.wav", "b.wav"], "file", "files")
    '2 files: a.wav, b.wav'
    >>> named(list("abcdefg"), "file", "files", "in no pool")
    '7 files, in no pool: a, b, c, d, e, and 2 more'
    """
    if not things:
        return ""
    head = f"{len(things):,} {one if len(things) == 1 else many}" + (remark and f", {remark}")
    rest = [f"and {len(things) - NAMED:,} more"] if len(things) > NAMED else []
    return f"{head}: " + ", ".join([*things[:NAMED], *rest])


def cost(cost: Cost) -> str:
    """What it took, in words; nothing where that wasn't measured."""
    if not cost.total_s:
        return ""
    stages = (
        ("loading", cost.load_s),
        ("decoding", cost.decode_s),
        ("embedding", cost.encode_s),
        ("indexing", cost.index_s),
        ("searching", cost.search_s),
    )
    parts = ", ".join(f"{name} {seconds:,.1f} s" for name, seconds in stages if seconds)
    sound = f"; {length(cost.audio_s)} of sound" if cost.audio_s else ""
    total = f"{cost.total_s:,.1f} s on {counted(cost.cores, 'core')}"
    return total + (f" ({parts})" if parts else "") + sound


def metric_name(metric: str, of: str = "queries") -> str:
    """
    >>> metric_name("r@10"), metric_name("ndcg@10"), metric_name("mrr", "labels")
    ('R@10', 'nDCG@10', 'MRR, mean over labels')
    """
    family, at, k = metric.partition("@")
    name = FAMILIES.get(family, family) + at + k
    return name if of == "queries" else f"{name}, mean over {of}"


def in_percent(figure: Figure | None) -> Cell:
    """A figure with its interval, in percent."""
    if figure is None:
        return Cell(NOT_KNOWN)
    if figure.low is None or figure.high is None:
        return Cell(f"{100 * figure.value:.1f}")
    return Cell(f"{100 * figure.value:.1f}", f"{100 * figure.low:.1f}–{100 * figure.high:.1f}")


def task_of(run: Run, name: str) -> TaskResult | None:
    return next((task for task in run.tasks if task.name == name), None)


def _labelled(runs: Sequence[tuple[Path, Run]]) -> tuple[Reported, ...]:
    """Each by the shortest name that is no other's: its model, with details, with its file."""
    names = [run.system.name for _, run in runs]
    detailed = [", ".join(filter(None, (run.system.name, run.system.detail))) for _, run in runs]
    labels = []
    for place, (path, _) in enumerate(runs):
        if names.count(names[place]) == 1:
            labels.append(names[place])
        elif detailed.count(detailed[place]) == 1:
            labels.append(detailed[place])
        else:
            labels.append(f"{detailed[place]} ({path})")
    return tuple(
        Reported(run, path, label) for (path, run), label in zip(runs, labels, strict=True)
    )


def _tables(key: str, runs: Sequence[Reported]) -> Iterator[Table]:
    known = published()
    if (compared := known.find_set(key)) is not None:
        yield _comparison(known, compared, runs)
    yield _figures(runs)
    if (parts := _by_domain(runs)) is not None:
        yield parts
    if (beside := _differences(runs)) is not None:
        yield beside


def _task_names(runs: Sequence[Reported]) -> Iterator[str]:
    yield from dict.fromkeys(task.name for reported in runs for task in reported.run.tasks)


def _comparison(known: Published, compared: PublishedSet, runs: Sequence[Reported]) -> Table:
    rows = [
        row
        for system in known.systems_on(compared.key)
        for row in _printed(known, compared, system)
    ]
    for reported in runs:
        figures = []
        for column in compared.columns:
            task = task_of(reported.run, column.task)
            found = task and _find(task, column.metric, column.domain)
            figures.append(in_percent(found or None))
        rows.append(
            Row(
                reported.label,
                (
                    Cell(reported.run.system.kind),
                    *figures,
                    Cell(_searched(reported.run)),
                    Cell("measured here"),
                ),
                ours=True,
            )
        )
    heads = (column.head for column in compared.columns)
    return Table(
        "Beside published figures",
        ("system", "kind", *heads, "pool", "figures from"),
        tuple(rows),
        compared.note,
    )


def _printed(known: Published, compared: PublishedSet, system: PublishedSystem) -> Iterator[Row]:
    """A row for each source; one without figures where there is none."""
    nothing = tuple(Cell(NOT_KNOWN) for _ in compared.columns)
    pool = Cell(NOT_KNOWN)
    for source in system.sources(compared.key):
        figures = (system.figure(compared.key, column, source) for column in compared.columns)
        cells = (Cell(NOT_KNOWN if f is None else f"{f:.1f}") for f in figures)
        name = Cell(known.sources[source].name)
        yield Row(system.name, (Cell(system.kind), *cells, pool, name))
    if not system.sources(compared.key):
        yield Row(system.name, (Cell(system.kind), *nothing, pool, Cell(NOT_KNOWN)))


def _searched(run: Run) -> str:
    """How much each query of each task chose from."""
    sizes = (f"{t.queries:,} questions" if t.pool is None else f"{t.pool:,}" for t in run.tasks)
    return " / ".join(dict.fromkeys(sizes))


def _size(task: TaskResult) -> str:
    if task.pool is None:
        return f"{task.queries:,} queries, each with choices of its own"
    return f"{task.queries:,} queries, each over {task.pool:,} documents"


def _figures(runs: Sequence[Reported]) -> Table:
    """Of each task a row for each system."""
    results = list(_results(runs))
    of_tasks = [[(f.metric, f.of) for f in t.figures if f.domain is None] for _, t in results]
    main = [measures[0] for measures in of_tasks if measures]  # of each task, its first
    keys = list(dict.fromkeys([*main, *chain.from_iterable(of_tasks)]))
    shown = keys[:MOST_MEASURES]
    rows = tuple(
        Row(
            task.name,
            (
                Cell(reported.label),
                Cell(f"{task.queries:,}"),
                Cell(NOT_KNOWN if task.pool is None else f"{task.pool:,}"),
                *(in_percent(_find(task, metric, None, of)) for metric, of in shown),
            ),
        )
        for reported, task in results
    )
    heads = (metric_name(metric, of) for metric, of in shown)
    note = ""
    if len(keys) > len(shown):
        note = f"{len(keys) - len(shown)} more measures are in the files of the runs."
    return Table("Figures", ("task", "system", "queries", "pool", *heads), rows, note)


def _by_domain(runs: Sequence[Reported]) -> Table | None:
    """Of each part of a task its main measure, a column for each system."""
    tasks = {reported.label: reported.run.tasks for reported in runs}
    places = dict.fromkeys(
        (task.name, figure.domain)
        for of_run in tasks.values()
        for task in of_run
        for figure in task.figures
        if figure.domain is not None
    )
    if not places:
        return None
    rows = []
    for name, domain in places:
        figures = []
        for reported in runs:
            task = task_of(reported.run, name)
            main = task.figures[0] if task and task.figures else None
            figures.append(task and main and _find(task, main.metric, domain, main.of))
        rows.append(Row(f"{name}: {domain}", tuple(_with_size(f or None) for f in figures)))
    return Table("By domain", ("task and domain", *tasks), tuple(rows))


def _differences(runs: Sequence[Reported]) -> Table | None:
    """How far other systems are from the first, on the same queries."""
    if len(runs) < 2:
        return None
    base, *others = runs
    rows = []
    for task in base.run.tasks:
        cells = [_difference(task, task_of(other.run, task.name)) for other in others]
        if any(cell.interval for cell in cells):
            rows.append(Row(task.name, tuple(cells)))
    if not rows:
        return None
    return Table(
        f"Less or more than {base.label}",
        ("task", *(other.label for other in others)),
        tuple(rows),
        "Of R@1, or of accuracy, in percent, query by query: an interval without 0 in it is a "
        "difference that other sounds of the kind would show as well.",
    )


def _difference(base: TaskResult, other: TaskResult | None) -> Cell:
    is_same = other and other.places and (base.groups, base.pool) == (other.groups, other.pool)
    if not (other and is_same and len(base.places) == len(other.places) == len(base.groups)):
        return Cell(NOT_KNOWN)
    first, second = ([float(p == 0) for p in task.places] for task in (base, other))
    bounds = difference_interval(second, first, base.groups)
    less = 100 * (sum(second) - sum(first)) / len(first)
    if bounds is None:
        return Cell(f"{less:+.1f}")
    return Cell(f"{less:+.1f}", f"{100 * bounds.low:+.1f} to {100 * bounds.high:+.1f}")


def _results(runs: Sequence[Reported]) -> Iterator[tuple[Reported, TaskResult]]:
    for name in _task_names(runs):
        for reported in runs:
            if (task := task_of(reported.run, name)) is not None:
                yield reported, task


def _with_size(figure: Figure | None) -> Cell:
    cell = in_percent(figure)
    if figure is None:
        return cell
    return Cell(cell.text, f"{cell.interval}{cell.interval and ', '}n = {figure.n:,}")


def _find(task: TaskResult, metric: str, domain: str | None, of: str = "queries") -> Figure | None:
    wanted = (metric, domain, of)
    return next((f for f in task.figures if (f.metric, f.domain, f.of) == wanted), None)


def capitalised(text: str) -> str:
    """
    >>> capitalised("text to audio"), capitalised("")
    ('Text to audio', '')
    """
    return text[:1].upper() + text[1:]

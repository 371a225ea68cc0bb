"""How a measurement shows itself: progress while it runs, and a table at its end."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from alm2vec_search.terminal import counted, data, length, printable, say, talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress as Bar

    from alm2vec_search.evaluation.runs import Figure, Run, TaskResult

SHOWN = 5  # of what is missing or couldn't be used; the run's file has all
PLAIN_EVERY_S = 10.0


class MeasuringProgress:
    """A moving line on a terminal, now and then a plain one elsewhere, or nothing."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._said_at = time.monotonic()
        self._bar: Bar | None = None

    def __enter__(self) -> MeasuringProgress:
        if not self._quiet and talk().is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

            columns = ("  measuring", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=talk(), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=None)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, of: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=of)
        elif not self._quiet and time.monotonic() - self._said_at >= PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            say(f"  {done:,} of {of:,} inputs")


def print_run(run: Run) -> None:
    """The figures on stdout: a table on a terminal, tab-separated lines into a pipe."""
    if sys.stdout.isatty():
        _print_table(run)
        return
    print("task\tdomain\tmetric\tvalue\tlow\thigh\tn")
    for task in run.tasks:
        for figure in task.figures:
            bounds = [_number(figure.low), _number(figure.high)]
            row = [task.name, printable(figure.domain or ""), figure.metric, _number(figure.value)]
            print("\t".join([*row, *bounds, str(figure.n)]))


def _print_table(run: Run) -> None:
    """A column for each task, so that it fits where there is little room."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for task in run.tasks:
        table.add_column(task.name, justify="right")
    table.add_row("queries", *(f"{task.queries:,}" for task in run.tasks))
    if any(task.pool is not None for task in run.tasks):
        pools = ("" if task.pool is None else f"{task.pool:,}" for task in run.tasks)
        table.add_row("pool", *pools)
    rows = dict.fromkeys((f.domain, f.metric) for task in run.tasks for f in task.figures)
    for domain, metric in rows:
        name = metric if domain is None else f"{metric}, {printable(domain)}"
        table.add_row(Text(name), *(_cell(_find(task, domain, metric)) for task in run.tasks))
    data().print(table)


def _find(task: TaskResult, domain: str | None, metric: str) -> Figure | None:
    found = (f for f in task.figures if (f.domain, f.metric) == (domain, metric))
    return next(found, None)


def _cell(figure: Figure | None) -> str:
    """
    >>> from alm2vec_search.evaluation.runs import Figure
    >>> _cell(Figure(metric="r@1", value=0.5, low=0.25, high=0.75, n=8))
    '50.0 (25–75)'
    """
    if figure is None:
        return ""
    value = f"{100 * figure.value:.1f}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({100 * figure.low:.0f}–{100 * figure.high:.0f})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def say_run(run: Run) -> None:
    """What was measured with, what is missing of it, and what it took."""
    say(f"{run.set_name}: {run.pool}; {run.system.name}, {run.system.detail or run.system.kind}")
    for note in run.notes:
        say(f"note: {printable(note)}")
    _say_first("no file", "clip", run.missing)
    _say_first("can't be read", "sound", run.unreadable)
    _say_first("set aside", "row", run.set_aside)
    cost = run.cost
    said = f"{length(cost.total_s)} on {counted(cost.cores, 'core')}"
    if cost.audio_s:
        said += f", for {length(cost.audio_s)} of sound"
    say(said)


def _say_first(what: str, noun: str, items: Sequence[str]) -> None:
    if not items:
        return
    say(f"{what}: {counted(len(items), noun)}")
    for item in items[:SHOWN]:
        say(f"  {printable(item)}")
    if len(items) > SHOWN:
        say(f"  and {len(items) - SHOWN:,} more")

"""A report as one HTML page: the tables, recall curves, what is taken for what, and the worst
queries with their sounds. It needs no network and runs no script."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from alm2vec_search.evaluation.report.drawing import (
    TICKS,
    Curve,
    draw_curves,
    draw_sample,
    recall_curve,
)
from alm2vec_search.evaluation.report.sections import (
    capitalised,
    facts_of,
    sources_of,
    systems_table,
    task_of,
)
from alm2vec_search.evaluation.report.sounds import page_sound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jinja2 import Template
    from markupsafe import Markup

    from alm2vec_search.evaluation.report.sections import Reported, Section
    from alm2vec_search.evaluation.report.sounds import PageSound
    from alm2vec_search.evaluation.runs import Confusion, Content, TaskResult, Worst

MOST_PLACES = 100  # that curves are drawn to
MOST_LABELS = 12  # in a table of what is taken for what
MOST_PAIRS = 30  # in the list below it
HEAT_FROM = (0.0, 0.05, 0.1, 0.2, 0.4)  # shares above which a cell is warmer


@dataclass(frozen=True, slots=True)
class Chart:
    """Recall curves of one task, one for each run."""

    task: str
    picture: Markup
    legend: tuple[tuple[Markup, str], ...]
    ks: tuple[int, ...]  # where the same is given in numbers
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Heat:
    """How often `wanted` was taken for `found`."""

    wanted: str
    found: str
    text: str  # "3 of 10"; nothing where it never happened
    percent: str
    level: int  # of warmth, from 0


@dataclass(frozen=True, slots=True)
class Mixture:
    """What one run takes for what in one task.

    Attributes:
        labels: of the table, those that are mixed up most.
        cells: a row for each label that was right, a column for each that came first.
        pairs: the most frequent ones of all labels, most frequent first.
        n_more: pairs that are not among them.
    """

    task: str
    run: str
    labels: tuple[str, ...]
    cells: tuple[tuple[Heat, ...], ...]
    pairs: tuple[Heat, ...]
    n_more: int

    @property
    def is_worth_a_table(self) -> bool:
        """Whether a table of the labels wouldn't be empty for the most part."""
        filled = sum(bool(cell.text) for row in self.cells for cell in row)
        return filled >= len(self.labels)


@dataclass(frozen=True, slots=True)
class PageContent:
    text: str
    instruction: str
    sound: PageSound | None


@dataclass(frozen=True, slots=True)
class PageWorst:
    query: PageContent
    wanted: tuple[PageContent, ...]
    found: tuple[PageContent, ...]
    place: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """The worst queries of one run in one task."""

    task: str
    run: str
    worst: tuple[PageWorst, ...]


@dataclass(frozen=True, slots=True)
class PageSection:
    section: Section
    charts: tuple[Chart, ...]
    mixtures: tuple[Mixture, ...]
    troubles: tuple[Trouble, ...]
    facts: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]  # of each run, by its label


def as_page(sections: Sequence[Section], report: Path) -> str:
    """The whole page.

    Args:
        report: the file that it is going to be; sounds are addressed from there.
    """
    return _template().render(
        sections=[_page_section(section, report) for section in sections],
        systems=systems_table(sections),
        sources=sources_of(sections),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    folder = files("alm2vec_search.evaluation.report")
    return environment.from_string(folder.joinpath("page.html.jinja").read_text("utf-8"))


def _page_section(section: Section, report: Path) -> PageSection:
    results = [
        (reported, task)
        for name in section.task_names
        for reported in section.runs
        if (task := task_of(reported.run, name)) is not None
    ]
    charts = (_chart(name, section.runs) for name in section.task_names)
    return PageSection(
        section,
        tuple(filter(None, charts)),
        tuple(mixture_of(r.label, task) for r, task in results if task.confusions),
        tuple(_trouble(r, task, report) for r, task in results if task.worst),
        tuple((r.label, facts_of(r)) for r in section.runs),
    )


def _chart(name: str, runs: Sequence[Reported]) -> Chart | None:
    """None where there is nothing to draw: no places, or each query has choices of its own."""
    curves = list(_curves(name, runs))
    if not curves:
        return None
    most = max(len(curve.recalls) for curve in curves)
    ks = tuple(k for k in TICKS if k <= most)
    rows = tuple((curve.label, tuple(_at(curve, k) for k in ks)) for curve in curves)
    picture = draw_curves(curves, most, f"{capitalised(name)}: recall at k, in percent, over k")
    legend = tuple((draw_sample(i), curve.label) for i, curve in enumerate(curves))
    return Chart(capitalised(name), picture, legend, ks, rows)


def _at(curve: Curve, k: int) -> str:
    """In percent; beyond the end of a smaller pool as at its end."""
    return f"{100 * curve.recalls[min(k, len(curve.recalls)) - 1]:.1f}"


def _curves(name: str, runs: Sequence[Reported]) -> Iterator[Curve]:
    for reported in runs:
        task = task_of(reported.run, name)
        if task and task.places and task.pool and task.pool > 1:
            recalls = recall_curve(task.places, min(MOST_PLACES, task.pool))
            yield Curve(reported.label, recalls)


def mixture_of(run: str, task: TaskResult) -> Mixture:
    """
    Args:
        task: with confusions.
    """
    often = sorted(task.confusions, key=lambda c: (-c.count, -c.count / max(c.of, 1)))
    labels = tuple(dict.fromkeys(label for c in often for label in (c.wanted, c.found)))
    labels = labels[:MOST_LABELS]
    by_pair = {(c.wanted, c.found): _heat(c) for c in often}
    cells = tuple(
        tuple(by_pair.get((w, f), Heat(w, f, "", "", level=0)) for f in labels) for w in labels
    )
    pairs = tuple(map(_heat, often[:MOST_PAIRS]))
    return Mixture(task.name, run, labels, cells, pairs, len(often) - len(pairs))


def _heat(confusion: Confusion) -> Heat:
    share = confusion.count / max(confusion.of, 1)
    level = sum(share > least for least in HEAT_FROM)
    text = f"{confusion.count:,} of {confusion.of:,}"
    return Heat(confusion.wanted, confusion.found, text, f"{100 * share:.0f}", level)


def _trouble(reported: Reported, task: TaskResult, report: Path) -> Trouble:
    worst = tuple(_worst(worst, task, reported.path, report) for worst in task.worst)
    return Trouble(task.name, reported.label, worst)


def _worst(worst: Worst, task: TaskResult, run: Path, report: Path) -> PageWorst:
    def shown(content: Content) -> PageContent:
        sound = None if content.sound is None else page_sound(content.sound, run, report)
        return PageContent(content.text or "", content.instruction or "", sound)

    if worst.place is None:
        place = "no right answer was found"
    else:
        of = f" of {task.pool:,}" if task.pool is not None else ""
        place = f"the first right answer is at place {worst.place + 1:,}{of}"
    return PageWorst(
        shown(worst.query),
        tuple(map(shown, worst.wanted)),
        tuple(map(shown, worst.found)),
        place,
    )

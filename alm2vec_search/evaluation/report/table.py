"""A report as Markdown: per set ours beside the published rows, and what each run had to work with.

Whatever comes from files is escaped: a title with a bar in it breaks no table.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from alm2vec_search.evaluation.report.sections import facts_of, sources_of, systems_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alm2vec_search.evaluation.report.sections import Cell, Row, Section, Table

INTRODUCTION = (
    "All figures are in percent, with their 95 % interval where it was measured. Beside published "
    "ones, ours are bold. – is what is not known, or was not measured."
)
_SPECIAL = re.compile(r"[\\`*\[\]<>|~&#$]|(?<![^\W_])_|_(?![^\W_])")


def as_markdown(sections: Sequence[Section]) -> str:
    """The whole report, ending in a newline."""
    return "\n".join(_lines(sections))


def escaped(text: str) -> str:
    r"""A text on one line, with nothing in it that Markdown would act upon.

    >>> print(escaped("a|b\n<c> snake_case _d_"))
    a\|b \<c\> snake_case \_d\_
    """
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def _lines(sections: Sequence[Section]) -> Iterator[str]:
    yield from ("# Evaluation", "", INTRODUCTION, "")
    for section in sections:
        yield from (f"## {escaped(section.title)}", "")
        for table in section.tables:
            yield from _table(table)
        for reported in section.runs:
            yield from (f"### Run: {escaped(reported.label)}", "")
            for label, text in facts_of(reported):
                yield f"- {escaped(label)}: {escaped(text)}"
            yield ""
    if (systems := systems_table(sections)) is not None:
        yield from _table(systems, level=2)
        yield from ("Sources of the published figures:", "")
        yield from (f"- {escaped(source)}" for source in sources_of(sections))
        yield ""


def _table(table: Table, level: int = 3) -> Iterator[str]:
    yield from (f"{'#' * level} {escaped(table.title)}", "")
    yield _row(map(escaped, table.columns))
    n_cells = len(table.columns) - 1
    yield _row(["---", *("---:" if table.holds_numbers(i) else "---" for i in range(n_cells))])
    for row in table.rows:
        yield _row(_cells(row))
    yield ""
    if table.note:
        yield from (escaped(table.note), "")


def _cells(row: Row) -> Iterator[str]:
    yield _bold(row.head) if row.ours else escaped(row.head)
    for cell in row.cells:
        yield _cell(cell, bold=row.ours)


def _cell(cell: Cell, *, bold: bool) -> str:
    if cell.is_code:  # one of ours, without backticks and bars
        return f"`{cell.text}`"
    text = _bold(cell.text) if bold and cell.is_number else escaped(cell.text)
    return f"{text} ({escaped(cell.interval)})" if cell.interval else text


def _bold(text: str) -> str:
    return f"**{escaped(text)}**" if text else ""


def _row(cells: Iterator[str] | Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"

"""`alm2vec eval report`: runs beside each other, and beside what others have printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN.json...", help="What alm2vec eval wrote, of one set or more."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="FILE.md, or FILE.html with curves and sounds. [default: Markdown, to stdout]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Report runs as Markdown or as a page: per set a table, ours beside the published rows.

    The page plays the sounds of the worst queries from where they lie: keep it with the runs.

    alm2vec eval report small.json clap.json -o report.html
    """
    from alm2vec_search.evaluation.report.page import as_page
    from alm2vec_search.evaluation.report.sections import read_runs, sections_of
    from alm2vec_search.evaluation.report.table import as_markdown
    from alm2vec_search.evaluation.runs import write_text
    from alm2vec_search.terminal import data_for_a_pipe, say, shown

    if output is not None:
        require_report(output, runs)
    sections = sections_of(read_runs(runs))
    if output is None:
        with data_for_a_pipe():
            print(as_markdown(sections), end="")
        return
    is_page = output.suffix == ".html"
    write_text(as_page(sections, output) if is_page else as_markdown(sections), output)
    say(f"written to {shown(output)}")


def require_report(output: Path, runs: list[Path]) -> None:
    """
    Raises:
        EvaluationError: no report can be written there, or it would take the place of a run.
    """
    from alm2vec_search.errors import EvaluationError
    from alm2vec_search.evaluation.runs import require_writable

    if output.suffix not in (".md", ".html"):
        raise EvaluationError(
            f"{output}: a report is a .md or a .html file",
            hint=f"name it {output.with_suffix('.html').name}" if output.name else None,
        )
    if output.resolve() in [run.resolve() for run in runs]:
        raise EvaluationError(f"{output} is one of the runs", hint="name another file")
    require_writable(output)

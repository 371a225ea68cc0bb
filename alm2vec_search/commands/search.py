"""`alm2vec search`: words, a sound, or both, and files with time ranges as the answer."""

from __future__ import annotations

import json
import os
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alm2vec_search.commands.options import (
    DeviceOption,
    ModelOption,
    StoreOption,
    TrustOption,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alm2vec_search.domain import Hit


class Format(Enum):
    """How hits are written."""

    TABLE = "table"
    LINES = "lines"
    JSON = "json"
    PATHS = "paths"
    PATHS_NUL = "paths, each ended by NUL"


def search(
    text: Annotated[
        str | None,
        typer.Argument(help='What to look for, as in "dog barking".', show_default=False),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="FILE[@START-END]", help="Look for what sounds like this."),
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option(help="What counts, as in 'same speaker'. The small model hardly heeds it."),
    ] = None,
    limit: Annotated[int, typer.Option("-k", "--limit", min=1, help="How many hits.")] = 10,
    under: Annotated[
        Path | None, typer.Option("--under", metavar="PATH", help="Stay within this folder.")
    ] = None,
    all_chunks: Annotated[
        bool, typer.Option("--all-chunks", help="Every span of a file, not only its best.")
    ] = False,
    include_silent: Annotated[
        bool, typer.Option("--include-silent", help="Silent spans, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_paths: Annotated[bool, typer.Option("--paths", help="Paths only.")] = False,
    as_paths_nul: Annotated[
        bool, typer.Option("-0", help="Paths only, each ended by NUL, for xargs -0.")
    ] = False,
    queries: Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="Many queries: JSON lines with id, text, like, instruction; - is stdin.",
        ),
    ] = None,
    store: StoreOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    trust_remote_code: TrustOption = None,
) -> None:
    """Find files, and where in them, by words or by a sound.

    alm2vec search "rain on a tin roof"

    alm2vec search --like ref.wav@2.5-4 -k 5

    alm2vec search "dog barking" -0 | xargs -0 mpv
    """
    from alm2vec_search.errors import QueryError
    from alm2vec_search.queries import ask, read_queries
    from alm2vec_search.search import SearchOptions
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import say
    from alm2vec_search.wiring import build_searcher, open_collection

    settings = load_settings(
        store=store, model=model, device=device, trust_remote_code=trust_remote_code
    )
    shape = _format(as_json=as_json, as_paths=as_paths, as_paths_nul=as_paths_nul)
    options = SearchOptions(limit, _absolute(under), all_chunks, include_silent)
    if queries is not None and (text or like):
        raise QueryError("both a query and --queries were given", hint="give one of them")
    if queries is not None:
        asked = read_queries(queries)
    else:
        asked = [ask(text=text, like=like, instruction=instruction)]
    with open_collection(settings) as collection:
        searcher = build_searcher(settings, collection, say)
        for item in asked:
            hits = searcher.search(item.load(searcher.sampling_rate), options)
            _write(hits, shape, query_id=item.id)


def _format(*, as_json: bool, as_paths: bool, as_paths_nul: bool) -> Format:
    from alm2vec_search.errors import QueryError

    if as_json + as_paths + as_paths_nul > 1:
        raise QueryError("--json, --paths and -0 exclude each other", hint="give one of them")
    if as_json:
        return Format.JSON
    if as_paths_nul:
        return Format.PATHS_NUL
    if as_paths:
        return Format.PATHS
    return Format.TABLE if sys.stdout.isatty() else Format.LINES


def _absolute(under: Path | None) -> Path | None:
    """As the index has it: with the links of its folders resolved."""
    return None if under is None else Path(os.path.realpath(under.expanduser()))


def _write(hits: Sequence[Hit], shape: Format, *, query_id: Any) -> None:
    from alm2vec_search.terminal import data_for_a_pipe, say

    if not hits:
        say("nothing found" if query_id is None else f"{query_id}: nothing found")
        return
    writers: dict[Format, Callable[[Sequence[Hit], Any], None]] = {
        Format.TABLE: _write_table,
        Format.LINES: _write_lines,
        Format.JSON: _write_json,
        Format.PATHS: lambda hits, _: _write_paths(hits, b"\n"),
        Format.PATHS_NUL: lambda hits, _: _write_paths(hits, b"\0"),
    }
    with data_for_a_pipe():
        writers[shape](hits, query_id)


def _write_table(hits: Sequence[Hit], query_id: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from alm2vec_search.terminal import clock, data, shown

    table = Table(box=None, pad_edge=False, title=None if query_id is None else str(query_id))
    table.add_column("score", justify="right", style="cyan")
    table.add_column("from", justify="right")
    table.add_column("to", justify="right")
    table.add_column("file", overflow="fold")
    for hit in hits:
        name = Text(shown(hit.path))
        if hit.copies:
            name.append(f"  (+{len(hit.copies)} the same)", style="dim")
        if hit.silent:
            name.append("  (silent)", style="dim")
        table.add_row(f"{hit.score:.3f}", clock(hit.span.start_s), clock(hit.span.end_s), name)
    data().print(table)


def _write_lines(hits: Sequence[Hit], query_id: Any) -> None:
    from alm2vec_search.terminal import printable

    prefix = "" if query_id is None else f"{printable(str(query_id))}\t"
    for hit in hits:
        span = f"{hit.span.start_s:.2f}\t{hit.span.end_s:.2f}"
        print(f"{prefix}{hit.score:.4f}\t{span}\t{printable(str(hit.path))}")


def _write_json(hits: Sequence[Hit], query_id: Any) -> None:
    for rank, hit in enumerate(hits, start=1):
        record = {} if query_id is None else {"id": query_id}
        record |= {
            "rank": rank,
            "path": str(hit.path),
            "start_s": round(hit.span.start_s, 3),
            "end_s": round(hit.span.end_s, 3),
            "score": round(hit.score, 6),
            "library": str(hit.library),
        }
        if hit.copies:
            record["copies"] = [str(copy) for copy in hit.copies]
        if hit.silent:
            record["silent"] = True
        print(json.dumps(record))


def _write_paths(hits: Sequence[Hit], end: bytes) -> None:
    from alm2vec_search.terminal import print_path

    for path in dict.fromkeys(hit.path for hit in hits):
        print_path(path, end=end)

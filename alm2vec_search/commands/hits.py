"""Hits as they are written: for people, for pipes, for players and for editors."""

from __future__ import annotations

import csv
import json
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from alm2vec_search.domain import Verdict
from alm2vec_search.errors import QueryError
from alm2vec_search.records import record
from alm2vec_search.terminal import clock, data, print_path, printable, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from alm2vec_search.domain import Hit

_STYLES = {Verdict.STRONG: "green", Verdict.LIKELY: "yellow", Verdict.WEAK: "dim"}
CSV_COLUMNS = (
    *("id", "rank", "path", "start_s", "end_s", "score", "verdict", "probability"),
    *("duration_s", "library"),
)


class Format(StrEnum):
    """How hits are written."""

    TABLE = "table"
    LINES = "lines"
    JSON = "json"
    CSV = "csv"
    PATHS = "paths"
    PATHS0 = "paths0"
    M3U8 = "m3u8"
    AUDACITY = "audacity"
    REAPER = "reaper"


def write_hits(hits: Sequence[Hit], form: Format, query_id: Any = None) -> None:
    """On stdout.

    Raises:
        QueryError: labels and regions are asked for, and the hits lie in several files.
    """
    writers: dict[Format, Callable[[Sequence[Hit], Any], None]] = {
        Format.TABLE: _write_table,
        Format.LINES: _write_lines,
        Format.JSON: _write_json,
        Format.CSV: _write_csv,
        Format.PATHS: lambda hits, _: _write_paths(hits, b"\n"),
        Format.PATHS0: lambda hits, _: _write_paths(hits, b"\0"),
        Format.M3U8: lambda hits, _: _write_playlist(hits),
        Format.AUDACITY: lambda hits, _: _write_labels(hits),
        Format.REAPER: lambda hits, _: _write_regions(hits),
    }
    writers[form](hits, query_id)


def _write_table(hits: Sequence[Hit], query_id: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, title=None if query_id is None else str(query_id))
    table.add_column("score", justify="right", style="cyan")
    is_judged = any(hit.verdict for hit in hits)
    if is_judged:
        table.add_column("match")
    labels = [c.label for c in hits[0].clauses]
    for label in labels:
        table.add_column(Text(printable(label)), justify="right", style="dim")
    table.add_column("from", justify="right")
    table.add_column("to", justify="right")
    table.add_column("file", overflow="fold")
    for hit in hits:
        name = Text(shown(hit.path))
        if hit.copies:
            name.append(f"  (+{len(hit.copies)} the same)", style="dim")
        if hit.silent:
            name.append("  (silent)", style="dim")
        for line in _explained(hit):
            name.append(f"\n  {line}", style="dim")
        verdict = [Text(hit.verdict.value, _STYLES[hit.verdict])] if hit.verdict else []
        table.add_row(
            f"{hit.score:.3f}",
            *verdict,
            *(f"{c.score:.2f}" for c in hit.clauses),
            clock(hit.span.start_s),
            clock(hit.span.end_s),
            name,
        )
    data().print(table)


def _explained(hit: Hit) -> Iterator[str]:
    """Why it is a hit, in lines for people."""
    why = hit.explanation
    if why is None:
        return
    if why.window != hit.span:
        yield f"best window: {clock(why.window.start_s)} to {clock(why.window.end_s)}"
    if why.compared != "plain":
        yield f"compared: {why.compared}"
    if hit.probability is not None:
        yield f"an answer in {hit.probability:.0%} of such cases"
    if hit.words_score is not None:
        yield f"names and tags: {hit.words_score:.1f} (BM25)"
    if why.heard:
        yield "heard: " + " · ".join(f"{label.name} {label.presence:.2f}" for label in why.heard)


def _write_lines(hits: Sequence[Hit], query_id: Any) -> None:
    prefix = "" if query_id is None else f"{printable(str(query_id))}\t"
    for hit in hits:
        span = f"{hit.span.start_s:.2f}\t{hit.span.end_s:.2f}"
        print(f"{prefix}{hit.score:.4f}\t{span}\t{printable(str(hit.path))}")


def _write_json(hits: Sequence[Hit], query_id: Any) -> None:
    for rank, hit in enumerate(hits, start=1):
        named = {} if query_id is None else {"id": query_id}
        print(json.dumps({**named, **record(hit, rank)}))


def write_csv_header() -> None:
    csv.writer(sys.stdout).writerow(CSV_COLUMNS)


def _write_csv(hits: Sequence[Hit], query_id: Any) -> None:
    rows = csv.DictWriter(sys.stdout, CSV_COLUMNS, extrasaction="ignore", restval="")
    for rank, hit in enumerate(hits, start=1):
        told = record(hit, rank)
        for key in ("path", "library"):  # bytes that are no text; a line break may stay
            told[key] = told[key].encode("utf-8", "backslashreplace").decode()
        rows.writerow({"id": "" if query_id is None else query_id, **told})


def _write_paths(hits: Sequence[Hit], end: bytes) -> None:
    for path in dict.fromkeys(hit.path for hit in hits):
        print_path(path, end=end)


def _write_playlist(hits: Sequence[Hit]) -> None:
    """Extended M3U in UTF-8; where a player knows how, each file from the hit's start to its end.

    Paths are addresses where a name isn't text, or has a line break in it.
    """
    print("#EXTM3U")
    for hit in hits:
        path = str(hit.path)
        address = path if path.isprintable() else hit.path.as_uri()
        print(f"#EXTINF:{hit.span.duration_s:.3f},{printable(hit.path.stem)}")
        print(f"#EXTVLCOPT:start-time={hit.span.start_s:.3f}")
        print(f"#EXTVLCOPT:stop-time={hit.span.end_s:.3f}")
        print(address)


def _write_labels(hits: Sequence[Hit]) -> None:
    """A label track of Audacity: start, end and text, in seconds, with tabs between them."""
    for hit in _of_one_file(hits, Format.AUDACITY):
        print(f"{hit.span.start_s:.6f}\t{hit.span.end_s:.6f}\t{_label(hit)}")


def _write_regions(hits: Sequence[Hit]) -> None:
    """A list for Reaper's region manager."""
    ordered = _of_one_file(hits, Format.REAPER)
    rows = csv.writer(sys.stdout)
    rows.writerow(("#", "Name", "Start", "End", "Length"))
    for number, hit in enumerate(ordered, start=1):
        span = hit.span
        times = (f"{t:.6f}" for t in (span.start_s, span.end_s, span.duration_s))
        rows.writerow((f"R{number}", _label(hit), *times))


def _label(hit: Hit) -> str:
    return f"{hit.verdict.value if hit.verdict else 'match'} {hit.score:.2f}"


def _of_one_file(hits: Sequence[Hit], form: Format) -> list[Hit]:
    """In the order of time."""
    if len({hit.path for hit in hits}) > 1:
        raise QueryError(
            f"{form.value} is about one file, and the hits lie in several",
            hint="stay within one with --under FILE --all-chunks, or cut clips with --cut DIR",
        )
    return sorted(hits, key=lambda hit: hit.span)

"""`alm2vec duplicates`: copies in the index, and how they come to be copies."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer

from alm2vec_search.commands.options import StoreOption

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.duplicates import Copy


def duplicates(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Only the same bytes and the same samples; at once.")
    ] = False,
    store: StoreOption = None,
) -> None:
    """List files that hold the same recording, with kind. Nothing is deleted.

    Kinds: the same bytes; the same audio, sample for sample, under other tags or in another
    lossless format; re-encoded; trimmed, where one is a part of the other. For the last two,
    what is near by its embedding is compared by its signal, in the first two minutes of each file.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from alm2vec_search.duplicates import exact_copies, other_copies
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import counted, data_for_a_pipe, say, shown, talk
    from alm2vec_search.wiring import open_collection

    settings = load_settings(store=store)
    n_found = 0
    columns = (TextColumn("comparing"), BarColumn(), MofNCompleteColumn())
    with (
        open_collection(settings) as collection,
        data_for_a_pipe(),
        Progress(*columns, console=talk(), transient=True, disable=not talk().is_terminal) as bar,
    ):
        task = bar.add_task("comparing", total=None)

        def unreadable(path: Path, reason: str) -> None:
            say(f"not compared: {shown(path)}: {reason}")

        others = other_copies(
            collection,
            proposed=lambda n: bar.update(task, total=n),
            compared=lambda: bar.advance(task),
            unreadable=unreadable,
        )
        for copy in chain(exact_copies(collection), () if exact else others):
            _write(copy, as_json=as_json)
            n_found += 1
    say(f"{counted(n_found, 'pair')} of copies" if n_found else "no copies")


def _write(copy: Copy, *, as_json: bool) -> None:
    from alm2vec_search.terminal import clock, printable

    if as_json:
        record = {
            "kind": copy.kind.value,
            "first": str(copy.first),
            "second": str(copy.second),
            "agreement": copy.agreement,
        }
        if copy.span is not None:
            record |= {"start_s": round(copy.span.start_s, 2), "end_s": round(copy.span.end_s, 2)}
        print(json.dumps(record))
        return
    where = ""
    if copy.span is not None:
        where = f" {clock(copy.span.start_s)}–{clock(copy.span.end_s)}"
    first, second = printable(str(copy.first)), printable(str(copy.second))
    print(f"{copy.kind.value}{where}\t{first}\t{second}")

"""`alm2vec copy`: an index from one store into another."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer


def copy(
    source: Annotated[
        str,
        typer.Argument(metavar="FROM", help="A folder, or http://HOST:6333 of a Qdrant server."),
    ],
    target: Annotated[str, typer.Argument(metavar="TO", help="The same; made if it isn't there.")],
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Errors only.")] = False,
) -> None:
    """Copy an index into another store, without embedding anything again.

    Run it as often as you like: what is there already is left alone, and one that was interrupted
    goes on. Nothing is ever deleted in TO. Run alm2vec index --store TO afterwards: it finds all
    files unchanged.
    """
    from rich.progress import Progress

    from alm2vec_search.errors import CollectionError
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import counted, say, talk
    from alm2vec_search.wiring import open_collection, open_or_create_collection
    from indexer.copying import copy_collection

    one, other = load_settings(store=source), load_settings(store=target)
    if one.store_name == other.store_name:
        raise CollectionError(f"{one.store_name} is both", hint="name two different stores")
    with (
        open_collection(one) as there,
        open_or_create_collection(other, replace(there.info, aspects=())) as here,
        Progress(console=talk(), transient=True, disable=quiet) as bars,
    ):
        bar = bars.add_task("copying", total=None)
        report = copy_collection(there, here, lambda n, of: bars.update(bar, completed=n, total=of))
        n_chunks = here.count()
    if quiet:
        return
    parts = [
        f"{counted(report.copied, 'sound')} copied",
        *([f"{report.moved} with other places"] if report.moved else []),
        *([f"{report.unchanged} there already"] if report.unchanged else []),
        *([f"{report.others} of others left alone"] if report.others else []),
    ]
    say(f"{', '.join(parts)}; {counted(n_chunks, 'chunk')} in {other.store_name}")
    if report.incomplete:
        say(f"left out: {counted(report.incomplete, 'sound')} that alm2vec index has to complete")
        raise typer.Exit(1)

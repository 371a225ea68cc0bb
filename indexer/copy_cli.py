"""`alm2vec copy`: parse → open both → copy → print."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from alm2vec_search.collection.base import Collection, CollectionInfo
    from alm2vec_search.settings import Settings
    from indexer.copying import CopyReport

FROM_KEY = "ALM2VEC_FROM_API_KEY"


def copy(
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="An index: a folder, or a Qdrant server.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="TO", help="The same; it is made where there is none.")
    ],
    from_collection: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What it is called on the server it comes from."),
    ] = None,
    to_collection: Annotated[
        str | None, typer.Option(metavar="NAME", help="What it is called on the other.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report, as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Errors only.")] = False,
) -> None:
    """Copy an index to another place, vectors and all: nothing is embedded again.

    alm2vec copy ~/.local/share/alm2vec/index http://localhost:6333

    What is in TO already stays, and isn't sent again, so a copy that broke off goes on when you
    copy once more. The key of TO is in ALM2VEC_API_KEY; that of FROM, if it has another, in
    ALM2VEC_FROM_API_KEY.
    """
    from alm2vec_search.errors import ConfigError
    from alm2vec_search.settings import load_settings

    here = load_settings(
        store=source, collection=from_collection, api_key=os.environ.get(FROM_KEY) or None
    )
    there = load_settings(store=target, collection=to_collection)
    if here.store_path.resolve() == there.store_path.resolve():
        raise ConfigError(f"{here.store_name} is where it is", hint="name two places")
    report = _run(here, there, quiet=quiet)
    if as_json:
        print(json.dumps(asdict(report), default=str))
    if not quiet:
        _say(report)
    if report.skipped:
        raise typer.Exit(1)


def _run(here: Settings, there: Settings, *, quiet: bool) -> CopyReport:
    from alm2vec_search.terminal import say
    from alm2vec_search.wiring import open_collection, sole_writer
    from indexer.copying import copy_collection
    from indexer.manifest import FILE, Manifest
    from indexer.pipeline import mend
    from indexer.progress import choose_copy_progress

    with (
        open_collection(here) as source,
        sole_writer(there),
        _open_target(there, source.info) as target,
        Manifest.open(there.store_path / FILE) as manifest,
        choose_copy_progress(quiet=quiet) as progress,
    ):
        if not quiet:
            say(f"{source.info}: from {here.store_name} to {there.store_name}")
        manifest.begin(target.leave_mark())
        report = copy_collection(source, target, progress)
        mend(target, manifest)
        return report


def _open_target(there: Settings, info: CollectionInfo) -> Collection:
    from dataclasses import replace

    from alm2vec_search.errors import IncompatibleCollection
    from alm2vec_search.wiring import open_or_create

    try:
        return open_or_create(there, replace(info, aspects=()))
    except IncompatibleCollection as error:
        raise IncompatibleCollection(
            error.store,
            expected=error.expected,
            found=error.found,
            hint="vectors of two models don't mix: copy to another place, or under another name",
        ) from error


def _say(report: CopyReport) -> None:
    from alm2vec_search.terminal import counted, length, say, shown

    counts = {
        "copied": report.copied,
        "at more places": report.placed,
        "there already": report.there,
        "skipped": len(report.skipped),
    }
    said = ", ".join(f"{n:,} {what}" for what, n in counts.items() if n)
    say(f"sounds: {said}" if said else "the index is empty")
    if report.under_aspects:
        say(f"under aspects: {report.under_aspects:,}")
    say(f"{counted(report.chunks, 'chunk')} in {length(report.wall_s)}; all is there")
    for path, reason in report.skipped:
        say(f"  {shown(path)}: {reason}; alm2vec index reads it again")

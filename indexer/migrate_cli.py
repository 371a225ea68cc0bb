"""`alm2vec migrate`: another model for an index on a server, without a moment without answers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from alm2vec_search.commands.options import DeviceOption, ModelOption, StoreOption

if TYPE_CHECKING:
    from alm2vec_search.addresses import ServerAddress
    from alm2vec_search.settings import Settings
    from indexer.migration import MigrationReport

SHOWN = 10  # of what is missing


def migrate(
    window_s: Annotated[
        float | None,
        typer.Option("--window", metavar="S", help="Length of a chunk. [default: as it was]"),
    ] = None,
    hop_s: Annotated[
        float | None,
        typer.Option("--hop", metavar="S", help="From one chunk's start to the next's."),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Move though some files couldn't be read: they drop out."
        ),
    ] = False,
    back: Annotated[
        bool, typer.Option("--back", help="Move back to what the index was before, and no more.")
    ] = False,
    drop_others: Annotated[
        bool, typer.Option("--drop-others", help="Delete all but what is in use, and no more.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Errors only.")] = False,
    store: StoreOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Move an index on a Qdrant server to another model, or to chunks of another length.

    The vectors are made beside the old ones, from the same files, while searches go on with these.
    When all are there, the index's name is moved, in one step. The old ones are kept, for --back.
    Run it again after an interruption, or for what changed meanwhile.
    """
    from alm2vec_search.collection.server import ServerCollection
    from alm2vec_search.errors import ConfigError
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import counted, say
    from alm2vec_search.wiring import sole_writer

    settings = load_settings(
        store=store, model=model, device=device, window_s=window_s, hop_s=hop_s
    )
    address = settings.server
    if address is None:
        raise ConfigError(
            f"{settings.store_name} is a folder, and only an index on a server can be migrated",
            hint="index into another folder: alm2vec index ... --model NAME --store FOLDER",
        )
    if back:
        with ServerCollection.open_before(address) as before:
            before.take_over()
            say(f"back to {before.info}")
        return
    if drop_others:
        with ServerCollection.open(address) as current:
            say(f"deleted {counted(current.drop_others(), 'collection')}")
        return
    with sole_writer(settings):
        report = _fill(settings, address, quiet=quiet)
    if report.missing:
        for path, reason in report.missing[:SHOWN]:
            say(f"missing: {path}: {reason}")
        say(f"{counted(len(report.missing), 'file')} of the index couldn't be made anew")
        if not allow_missing:
            say("the index is as it was; bring it up to date with alm2vec index, and migrate again")
            raise typer.Exit(1)
    _take_over(settings, address)


def _fill(settings: Settings, address: ServerAddress, *, quiet: bool) -> MigrationReport:
    from alm2vec_search.collection.server import ServerCollection
    from alm2vec_search.terminal import counted, say
    from alm2vec_search.wiring import fetch_model
    from indexer.aspects import fill_aspect
    from indexer.cli import made_by
    from indexer.migration import fill
    from indexer.progress import choose_progress
    from indexer.shared_model import embed_with_one_model
    from indexer.workers import embed_in_processes

    if settings.model is not None:
        fetch_model(settings.model, say)
    making = made_by(settings, anew=False)
    making.spec.warn_if_ill()
    with (
        ServerCollection.open(address) as old,
        ServerCollection.open_beside(address, making.info) as new,
        choose_progress(quiet=quiet) as progress,
    ):
        if not quiet:
            say(f"from {old.info} to {making.info}")
        new.leave_mark()
        embed = partial(
            embed_with_one_model if making.spec.is_shared else embed_in_processes,
            chunking=making.chunking,
            n_workers=settings.workers or making.spec.num_workers,
        )
        report = fill(
            old, new, embed=partial(embed, factory=making.spec.for_workers), progress=progress
        )
        for aspect in old.info.aspects:
            new.add_aspect(aspect)
            filled = fill_aspect(
                new,
                aspect,
                factory=making.spec.for_workers,
                embed=lambda units, factory: embed(units, factory=factory),
                progress=progress,
            )
            report.missing += filled.skipped
    if not quiet:
        say(f"made {counted(report.made, 'sound')}, {report.there} were there")
        if report.same_neighbours is not None:
            say(
                f"of the 10 nearest of a sound, {report.same_neighbours:.1f} are the same as before"
            )
    return report


def _take_over(settings: Settings, address: ServerAddress) -> None:
    from alm2vec_search.collection.server import ServerCollection
    from alm2vec_search.terminal import counted, say
    from indexer.cli import made_by

    info = replace(made_by(settings, anew=False).info, aspects=())
    with ServerCollection.open_beside(address, info) as new:
        new.take_over()
        say(f"the index is by {new.info} now, {counted(new.count(), 'chunk')}")
        say("alm2vec migrate --back moves back; --drop-others deletes what it was before")

"""`alm2vec index`, `status` and `remove`: parse → build → call → print."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alm2vec_search.commands.options import (
    DeviceOption,
    ModelOption,
    StoreOption,
    TrustOption,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.collection.base import CollectionInfo
    from alm2vec_search.domain import Aspect
    from alm2vec_search.settings import Settings
    from alm2vec_search.wiring import EncoderSpec
    from indexer.aspects import AspectReport
    from indexer.chunker import Chunking
    from indexer.manifest import Manifest
    from indexer.pipeline import IndexReport, Walk


def index(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Folders of audio, or single files.")
    ],
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="PATTERN", help="As in a .gitignore; may be repeated."),
    ] = None,
    aspect: Annotated[
        list[str] | None,
        typer.Option(
            "--aspect",
            metavar="NAME=INSTRUCTION",
            help="A vector under this instruction, too, for all that is indexed; may be repeated.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Forget the whole index first, and start anew.")
    ] = False,
    retry_skipped: Annotated[
        bool, typer.Option("--retry-skipped", help="Try again what couldn't be read before.")
    ] = False,
    window_s: Annotated[
        float | None,
        typer.Option("--window", metavar="S", help="Length of a chunk. [default: 10]"),
    ] = None,
    hop_s: Annotated[
        float | None,
        typer.Option(
            "--hop", metavar="S", help="From one chunk's start to the next's. [default: window]"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes that decode and embed; on a GPU they decode for one more, which "
            "embeds. [default: one a core; a single one for a large model without a GPU]",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="auto, float32 or bfloat16. [default: as in the index]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report, as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Errors only.")] = False,
    store: StoreOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    trust_remote_code: TrustOption = None,
) -> None:
    """Make folders of audio searchable, or bring their index up to date.

    Run it as often as you like: files that haven't changed cost a look, moved ones are recognised,
    and those that are gone are forgotten. Files that can't be read are reported, and what was
    indexed of them before is kept.

    Patterns of what to leave out can also stand in a file .alm2vecignore in any folder.
    """
    from alm2vec_search.settings import load_settings
    from indexer.reports import print_report_json, say_aspects, say_report
    from indexer.walker import library_root

    settings = load_settings(
        store=store,
        model=model,
        device=device,
        trust_remote_code=trust_remote_code,
        dtype=dtype,
        workers=workers,
        window_s=window_s,
        hop_s=hop_s,
    )
    aspects = _aspects(aspect or [])
    roots = list(dict.fromkeys(library_root(path) for path in paths))
    walk = _walker(exclude or [])
    if dry_run:
        _plan(settings, roots, walk, anew=rebuild, as_json=as_json)
        return
    report, filled = _run(
        settings,
        roots,
        walk,
        aspects,
        rebuild=rebuild,
        retry_skipped=retry_skipped,
        quiet=quiet,
    )
    if as_json:
        print_report_json(report, filled)
    if not quiet:
        say_report(report)
        say_aspects(filled)
    if not report.is_clean or any(one.skipped for one in filled):
        raise typer.Exit(1)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with all paths.")] = False,
    store: StoreOption = None,
) -> None:
    """What is indexed, by which model, how large it is, and what was skipped and why."""
    from alm2vec_search.errors import CollectionNotFound
    from alm2vec_search.settings import load_settings
    from alm2vec_search.wiring import read_info
    from indexer.reports import print_status, status_record

    settings = load_settings(store=store)
    info = read_info(settings)
    if info is None:
        raise CollectionNotFound(settings.store_name)
    folder = settings.store_path if settings.server is None else None
    with _manifest_to_read(settings, anew=False) as manifest:
        record = status_record(settings.store_name, folder, info, manifest)
    if as_json:
        print(json.dumps(record, indent=2))
    else:
        print_status(record)


def remove(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="Files or folders.")
    ] = None,
    aspect: Annotated[
        list[str] | None,
        typer.Option("--aspect", metavar="NAME", help="An aspect, with all its vectors."),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Forget files, or all files below folders, or an aspect. The files themselves stay.

    They come back when a folder that holds them is indexed again.
    """
    from alm2vec_search.errors import ConfigError, LibraryError
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import counted, say, shown
    from alm2vec_search.wiring import open_collection, sole_writer
    from indexer.manifest import FILE, Manifest
    from indexer.pipeline import forget_under

    if not paths and not aspect:
        raise ConfigError("nothing to forget was named", hint="name files, folders, or --aspect")
    settings = load_settings(store=store)
    with (
        sole_writer(settings),
        open_collection(settings) as collection,
        Manifest.open(settings.store_path / FILE) as manifest,
    ):
        for name in aspect or []:
            if collection.info.aspect(name) is None:
                known = ", ".join(a.name for a in collection.info.aspects) or "none"
                raise ConfigError(f"there is no aspect {name}", hint=f"there are: {known}")
            collection.remove_aspect(name)
            say(f"forgot the aspect {name}")
        for path in paths or []:
            n = 0
            for spelling in dict.fromkeys([_resolved(path), Path(os.path.abspath(path))]):
                n += forget_under(collection, manifest, spelling)
            if not n:
                raise LibraryError(
                    path, "nothing is indexed there", hint="alm2vec status lists what is"
                )
            say(f"{shown(path)}: forgot {counted(n, 'file')}")


def _run(
    settings: Settings,
    roots: Sequence[Path],
    walk: Walk,
    aspects: Sequence[Aspect],
    *,
    rebuild: bool,
    retry_skipped: bool,
    quiet: bool,
) -> tuple[IndexReport, list[AspectReport]]:
    from functools import partial

    from alm2vec_search.terminal import say
    from alm2vec_search.wiring import drop_collection, fetch_model, open_or_create, sole_writer
    from indexer.aspects import fill_aspect
    from indexer.manifest import FILE, Manifest
    from indexer.pipeline import IndexPipeline
    from indexer.progress import choose_progress
    from indexer.shared_model import embed_with_one_model
    from indexer.workers import embed_in_processes

    if settings.model is not None:
        fetch_model(settings.model, say)
    making = made_by(settings, anew=rebuild)
    making.spec.require_device()
    making.spec.warn_if_ill()
    manifest_path = settings.store_path / FILE
    with sole_writer(settings):
        if rebuild:
            drop_collection(settings)
            manifest_path.unlink(missing_ok=True)
        with (
            open_or_create(settings, making.info) as collection,
            Manifest.open(manifest_path) as manifest,
            choose_progress(quiet=quiet) as progress,
        ):
            if not quiet:
                say(f"{making.info}, on {making.spec.device}; index in {settings.store_name}")
            for aspect in aspects:
                collection.add_aspect(aspect)
            embed = partial(
                embed_with_one_model if making.spec.is_shared else embed_in_processes,
                chunking=making.chunking,
                n_workers=settings.workers or making.spec.num_workers,
            )
            pipeline = IndexPipeline(
                collection,
                manifest,
                walk=walk,
                embed=partial(embed, factory=making.spec.for_workers),
                progress=progress,
            )
            report = pipeline.run(roots, retry_skipped=retry_skipped)
            filled = [
                fill_aspect(
                    collection,
                    aspect,
                    factory=making.spec.for_workers,
                    embed=lambda units, factory: embed(units, factory=factory),
                    progress=progress,
                )
                for aspect in collection.info.aspects
            ]
            return report, filled


def _aspects(texts: Sequence[str]) -> list[Aspect]:
    from alm2vec_search.domain import Aspect
    from alm2vec_search.errors import ConfigError

    try:
        return [Aspect.parse(text) for text in texts]
    except ValueError as error:
        hint = 'as in --aspect speaker="Who is speaking?"'
        raise ConfigError(str(error), hint=hint) from error


@dataclass(frozen=True)
class MadeBy:
    """What makes the vectors of an index under some settings."""

    spec: EncoderSpec
    chunking: Chunking

    @cached_property
    def info(self) -> CollectionInfo:
        """Found out once: it hashes the weights, and may have to load the model."""
        from alm2vec_search.collection.base import CollectionInfo

        return CollectionInfo(
            fingerprint=self.spec.fingerprint,
            chunking=self.chunking.name,
            embedding_dim=self.spec.embedding_dim,
            model=self.spec.model,
        )


def made_by(settings: Settings, *, anew: bool) -> MadeBy:
    """What settings leave open is as in the index that is there, unless it is made anew."""
    from alm2vec_search.wiring import encoder_spec, read_info

    existing = None if anew else read_info(settings)
    making = MadeBy(encoder_spec(settings, existing), _chunking(settings, existing))
    _require_all_is_heard(making)
    return making


def _require_all_is_heard(making: MadeBy) -> None:
    from alm2vec_search.errors import ConfigError

    most_s, window_s = making.spec.files.max_audio_s, making.chunking.window_s
    if most_s is not None and window_s > most_s:
        raise ConfigError(
            f"{making.spec.model} hears {most_s:g} s at a time, and chunks would have "
            f"{window_s:g} s",
            hint=f"use --window {most_s:g}, or raise max_audio_s in the model's config.json",
        )


def _chunking(settings: Settings, existing: CollectionInfo | None) -> Chunking:
    from alm2vec_search.errors import ConfigError
    from indexer.chunker import Chunking

    window_s, hop_s = settings.window_s, settings.hop_s
    if existing is not None and window_s is None and hop_s is None:
        return Chunking.parse(existing.chunking)
    window_s = window_s or Chunking().window_s
    try:
        return Chunking(window_s=window_s, hop_s=hop_s or window_s)
    except ValueError as error:
        raise ConfigError(str(error), hint="see --window and --hop") from error


def _walker(exclude: Sequence[str]) -> Walk:
    from functools import partial

    from alm2vec_search.audio import AUDIO_SUFFIXES
    from indexer.notes import with_notes
    from indexer.walker import walk

    return with_notes(partial(walk, suffixes=AUDIO_SUFFIXES, exclude=exclude))


def _resolved(path: Path) -> Path:
    """A path as the index has it: the links of its folders resolved, its own name kept."""
    if path.is_dir():
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent), path.name)


def _plan(
    settings: Settings, roots: Sequence[Path], walk: Walk, *, anew: bool, as_json: bool
) -> None:
    from alm2vec_search.terminal import say
    from indexer.estimate import estimate
    from indexer.pipeline import IndexReport, find_work
    from indexer.progress import NoProgress
    from indexer.reports import print_plan_json, say_plan

    making = made_by(settings, anew=anew)
    report = IndexReport()
    with _manifest_to_read(settings, anew=anew) as manifest:
        plan = find_work(roots, walk, manifest, report, NoProgress())
        n_chunks_before = manifest.totals().chunks
    outlook = estimate(plan.to_read, making.chunking)
    n_bytes = outlook.index_bytes(n_chunks_before, making.info.embedding_dim)
    if as_json:
        print_plan_json(plan, report, outlook, n_bytes)
    else:
        say(str(making.info))
        say_plan(plan, report, outlook, n_bytes)


def _manifest_to_read(settings: Settings, *, anew: bool) -> Manifest:
    """The manifest that is there; one in memory where there is none, or where it isn't to be
    believed."""
    from indexer.manifest import FILE, Manifest

    path = settings.store_path / FILE
    if anew:
        return Manifest.in_memory()
    if settings.server is not None:
        return _manifest_of_server(settings, path)
    return Manifest.open(path) if path.is_file() else Manifest.in_memory()


def _manifest_of_server(settings: Settings, path: Path) -> Manifest:
    from alm2vec_search.errors import CollectionNotFound
    from alm2vec_search.wiring import open_collection
    from indexer.manifest import Manifest
    from indexer.pipeline import is_trusted

    in_memory = Manifest.in_memory()
    try:
        with open_collection(settings) as collection:
            if path.is_file():
                manifest = Manifest.open(path)
                if is_trusted(collection, manifest):
                    return manifest
                manifest.close()
            in_memory.rebuild(collection.contents())
            in_memory.finish()
    except CollectionNotFound:
        pass
    return in_memory

"""`alm2vec search`: words, a sound, or both, and files with time ranges as the answer."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alm2vec_search.commands.hits import Format
from alm2vec_search.commands.options import (
    DeviceOption,
    ModelOption,
    StoreOption,
    TrustOption,
)
from alm2vec_search.domain import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.domain import Aspect, Hit, Question
    from alm2vec_search.queries import Asked

ASK = "What is asked"
NARROW = "Which of it"
SHOW = "How it is shown"


def search(
    text: Annotated[
        str | None,
        typer.Argument(help='What to look for, as in "dog barking".', show_default=False),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="FILE[@START-END]",
            help="Look for what sounds like this; with words, for both.",
            rich_help_panel=ASK,
        ),
    ] = None,
    instruction: Annotated[
        str | None,
        typer.Option(
            help="What of a sound counts, as in 'what animal is it?'.", rich_help_panel=ASK
        ),
    ] = None,
    reembed: Annotated[
        int,
        typer.Option(
            "--reembed",
            metavar="N",
            min=0,
            help="Under an instruction, so many of the best are heard again with it, and ranked "
            "anew; 0 is none.",
            rich_help_panel=ASK,
        ),
    ] = 30,
    aspect: Annotated[
        str | None,
        typer.Option(
            "--aspect",
            metavar="NAME",
            help="What counts, as it was indexed beforehand: see alm2vec index --aspect.",
            rich_help_panel=ASK,
        ),
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option(
            "--more",
            metavar="[N:]WHAT",
            help="And this: words or a file, N times as much. May be repeated.",
            rich_help_panel=ASK,
        ),
    ] = None,
    less: Annotated[
        list[str] | None,
        typer.Option("--less", metavar="[N:]WHAT", help="And not this.", rich_help_panel=ASK),
    ] = None,
    split: Annotated[
        bool,
        typer.Option(
            "--split",
            help="Ask by itself for what stands between commas; each hit shows a score for each.",
            rich_help_panel=ASK,
        ),
    ] = False,
    words_weight: Annotated[
        float | None,
        typer.Option(
            "--words",
            metavar="W",
            min=0,
            help="How much names, tags and notes count, beside 1 for the sound; 0 is not at all. "
            "[default: 0.3]",
            rich_help_panel=ASK,
        ),
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="Many queries: JSON lines with id, text, like, instruction, more, less; "
            "- is stdin.",
            rich_help_panel=ASK,
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="As in 'duration<10 and tag:rain and path:\"field/*\"'.",
            rich_help_panel=NARROW,
        ),
    ] = None,
    under: Annotated[
        Path | None,
        typer.Option(
            "--under", metavar="PATH", help="Stay within this folder.", rich_help_panel=NARROW
        ),
    ] = None,
    least: Annotated[
        Verdict,
        typer.Option("--min", help="What a hit has to be, at least.", rich_help_panel=NARROW),
    ] = Verdict.WEAK,
    fail_if_empty: Annotated[
        bool,
        typer.Option(
            "--fail-if-empty", help="Exit code 1 where nothing is found.", rich_help_panel=NARROW
        ),
    ] = False,
    per_folder: Annotated[
        int | None,
        typer.Option(
            "--per-folder",
            metavar="N",
            min=1,
            help="Hits of one folder, at most.",
            rich_help_panel=NARROW,
        ),
    ] = None,
    all_chunks: Annotated[
        bool,
        typer.Option(
            "--all-chunks",
            help="Every stretch of a file, not only its best.",
            rich_help_panel=NARROW,
        ),
    ] = False,
    keep_copies: Annotated[
        bool,
        typer.Option(
            "--keep-copies",
            help="Re-encoded and trimmed copies of a hit as hits of their own.",
            rich_help_panel=NARROW,
        ),
    ] = False,
    include_silent: Annotated[
        bool,
        typer.Option("--include-silent", help="Silent spans, too.", rich_help_panel=NARROW),
    ] = False,
    limit: Annotated[
        int, typer.Option("-k", "--limit", min=1, help="How many hits.", rich_help_panel=SHOW)
    ] = 10,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="How hits are written. [default: table, or lines into a pipe]",
            rich_help_panel=SHOW,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line.", rich_help_panel=SHOW)
    ] = False,
    as_paths: Annotated[
        bool, typer.Option("--paths", help="Paths only.", rich_help_panel=SHOW)
    ] = False,
    as_paths_nul: Annotated[
        bool,
        typer.Option(
            "-0", help="Paths only, each ended by NUL, for xargs -0.", rich_help_panel=SHOW
        ),
    ] = False,
    cut: Annotated[
        Path | None,
        typer.Option(
            "--cut",
            metavar="DIR",
            help="Write each hit's stretch there, as a WAV file.",
            rich_help_panel=SHOW,
        ),
    ] = None,
    play: Annotated[
        bool,
        typer.Option("--play", help="Play the hits, one after the other.", rich_help_panel=SHOW),
    ] = False,
    store: StoreOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    trust_remote_code: TrustOption = None,
) -> None:
    """Find files, and where in them, by words or by a sound.

    alm2vec search "rain on a tin roof"

    alm2vec search --like ref.wav@2.5-4 -k 5

    alm2vec search "thunder" --less "rain" --where 'duration<30'

    alm2vec search "dog barking" -0 | xargs -0 mpv
    """
    from alm2vec_search.collection.base import SearchFilter
    from alm2vec_search.commands.hits import write_csv_header
    from alm2vec_search.errors import QueryError
    from alm2vec_search.queries import Asked, read_queries, require_asked
    from alm2vec_search.search import WORDS_WEIGHT, SearchOptions, Together
    from alm2vec_search.settings import load_settings
    from alm2vec_search.shaping import Shape
    from alm2vec_search.terminal import data_for_a_pipe, say
    from alm2vec_search.where import parse_where
    from alm2vec_search.wiring import build_searcher, open_collection

    settings = load_settings(
        store=store, model=model, device=device, trust_remote_code=trust_remote_code
    )
    form = _format(form, as_json=as_json, as_paths=as_paths, as_paths_nul=as_paths_nul)
    options = SearchOptions(
        limit=limit,
        where=SearchFilter(
            _absolute(under), include_silent, (where and parse_where(where)) or None
        ),
        shape=Shape(per_folder, all_chunks),
        together=Together.RANKS if split else Together.VECTOR,
        words_weight=WORDS_WEIGHT if words_weight is None else words_weight,
        least=least,
        collapse=not keep_copies,
        reembed=reembed,
    )
    asked: Sequence[Asked]
    if queries is not None:
        if text or like or more or less or instruction:
            raise QueryError("both a query and --queries were given", hint="give one of them")
        asked = read_queries(queries)
    else:
        one = Asked(
            text=text,
            like=like,
            instruction=instruction,
            more=tuple(more or ()),
            less=tuple(less or ()),
        )
        asked = [require_asked(one)]
    found: list[Hit] = []
    with open_collection(settings) as collection, data_for_a_pipe():
        searcher = build_searcher(settings, collection, say)
        if form is Format.CSV:
            write_csv_header()
        info = collection.info
        if aspect is not None and info.aspect(aspect) is None:
            known = ", ".join(a.name for a in info.aspects)
            raise QueryError(
                f"the index has no aspect {aspect}",
                hint=f"it has {known}" if known else "alm2vec index --aspect adds one",
            )
        for item in asked:
            question = item.load(searcher.sampling_rate, split=split)
            chosen = info.aspect(aspect) if aspect else info.aspect_asked(item.instruction or "")
            started = time.perf_counter()
            hits = searcher.search(question, replace(options, aspect=chosen))
            _say_way(hits, question, chosen, time.perf_counter() - started)
            _write(hits, form, query_id=item.id)
            found += hits
    _listen(found, cut, play=play)
    if fail_if_empty and not found:
        raise typer.Exit(1)


def _say_way(
    hits: Sequence[Hit], question: Question, aspect: Aspect | None, seconds: float
) -> None:
    """Which way a question with an instruction went, and what that took."""
    from alm2vec_search.terminal import length, say

    if aspect is not None:
        say(f"by the aspect {aspect.name}: {aspect.instruction}")
    elif any(hit.reembedded for hit in hits):
        say(f"the best were heard again under the instruction: {length(seconds)}")
    elif question.instruction:
        say("only the question was read under the instruction, not the sounds")


def _format(form: Format | None, *, as_json: bool, as_paths: bool, as_paths_nul: bool) -> Format:
    from alm2vec_search.errors import QueryError

    if (form is not None) + as_json + as_paths + as_paths_nul > 1:
        raise QueryError("--format, --json, --paths and -0 exclude each other", hint="give one")
    if as_json:
        return Format.JSON
    if as_paths_nul:
        return Format.PATHS0
    if as_paths:
        return Format.PATHS
    return form or (Format.TABLE if sys.stdout.isatty() else Format.LINES)


def _absolute(under: Path | None) -> Path | None:
    """As the index has it: with the links of its folders resolved."""
    return None if under is None else Path(os.path.realpath(under.expanduser()))


def _write(hits: Sequence[Hit], form: Format, *, query_id: Any) -> None:
    from alm2vec_search.commands.hits import write_hits
    from alm2vec_search.terminal import printable, say

    about = "" if query_id is None else f"{printable(str(query_id))}: "
    if not hits:
        say(f"{about}nothing found")
        return
    if all(hit.verdict is Verdict.WEAK for hit in hits):
        say(f"{about}nothing here matches well; the nearest are")
    write_hits(hits, form, query_id)


def _listen(hits: Sequence[Hit], cut: Path | None, *, play: bool) -> None:
    from alm2vec_search.commands.listening import cut_clips
    from alm2vec_search.commands.listening import play as play_hits

    if cut is not None and hits:
        cut_clips(hits, cut)
    if play and hits:
        play_hits(hits)

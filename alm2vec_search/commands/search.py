"""`alm2vec search`: words, a sound, or both, and files with time ranges as the answer."""

from __future__ import annotations

import sys
import time
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

    from alm2vec_search.domain import Hit
    from alm2vec_search.queries import Asked
    from alm2vec_search.search_request import Answer

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
        float,
        typer.Option(
            "--words",
            metavar="W",
            min=0,
            help="How much names, tags and notes count, beside 1 for the sound; 0 is not at all.",
            rich_help_panel=ASK,
        ),
    ] = 0.3,
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
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Why each hit is one: its window, its scores, and what is heard in it.",
            rich_help_panel=SHOW,
        ),
    ] = False,
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
    save: Annotated[
        str | None,
        typer.Option(
            "--save",
            metavar="NAME",
            help="Keep this search: alm2vec saved run NAME asks it again.",
            rich_help_panel=SHOW,
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

    alm2vec search "thunder" --less "rain" --where 'duration<30'

    alm2vec search "dog barking" -0 | xargs -0 mpv
    """
    from alm2vec_search.errors import QueryError
    from alm2vec_search.queries import Asked, read_queries, require_asked
    from alm2vec_search.saved_searches import SavedSearches
    from alm2vec_search.search_request import SearchRequest
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import data_for_a_pipe, say
    from alm2vec_search.wiring import build_searcher, open_collection

    settings = load_settings(
        store=store, model=model, device=device, trust_remote_code=trust_remote_code
    )
    form = chosen_format(form, as_json=as_json, as_paths=as_paths, as_paths_nul=as_paths_nul)
    asked: Sequence[Asked]
    if queries is not None:
        if text or like or more or less or instruction or save:
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
    requests = [
        SearchRequest(
            asked=item,
            split=split,
            words=words_weight,
            aspect=aspect,
            reembed=reembed,
            where=where,
            under=None if under is None else str(under),
            min=least,
            per_folder=per_folder,
            all_chunks=all_chunks,
            keep_copies=keep_copies,
            include_silent=include_silent,
            explain=explain,
            limit=limit,
        )
        for item in asked
    ]
    for request in requests:
        request.options()  # what is wrong with them is known before the model is loaded
    found: list[Hit] = []
    with open_collection(settings) as collection, data_for_a_pipe():
        searcher = build_searcher(settings, collection, say)
        for number, request in enumerate(requests):
            started = time.perf_counter()
            answer = request.run(searcher, collection.info)
            _say_way(answer, time.perf_counter() - started)
            is_first = number == 0
            write_answer(answer.hits, form, query_id=request.asked.id, is_first=is_first)
            found += answer.hits
        if save is not None:
            searches = SavedSearches(settings.store_path)
            searches.save(save, requests[0])
            searches.named(save).see(found)
            searches.write()
            say(f"saved as {save}: alm2vec saved run {save}")
    _listen(found, cut, play=play)
    if fail_if_empty and not found:
        raise typer.Exit(1)


def _say_way(answer: Answer, seconds: float) -> None:
    """Which way a question with an instruction went, and what that took."""
    from alm2vec_search.terminal import length, say

    if answer.way is None:
        return
    took = f": {length(seconds)}" if any(hit.reembedded for hit in answer.hits) else ""
    say(f"{answer.way}{took}")


def chosen_format(
    form: Format | None,
    *,
    as_json: bool = False,
    as_paths: bool = False,
    as_paths_nul: bool = False,
) -> Format:
    """What the flags say; a table on a terminal, and lines into a pipe, where they say nothing.

    Raises:
        QueryError: they say different things.
    """
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


def write_answer(
    hits: Sequence[Hit], form: Format, *, query_id: Any = None, is_first: bool = True
) -> None:
    """Hits on stdout, and on stderr what is to be said of them.

    Args:
        is_first: of several answers; a header is written before it alone.
    """
    from alm2vec_search.commands.hits import write_csv_header, write_hits
    from alm2vec_search.terminal import printable, say

    about = "" if query_id is None else f"{printable(str(query_id))}: "
    if form is Format.CSV and is_first:
        write_csv_header()
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

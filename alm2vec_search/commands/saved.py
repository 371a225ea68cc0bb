"""`alm2vec saved`: searches that were given a name by `alm2vec search ... --save NAME`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from alm2vec_search.commands.hits import Format
from alm2vec_search.commands.options import DeviceOption, StoreOption

app = typer.Typer(
    help="Searches with a name: alm2vec search ... --save NAME saves one.", no_args_is_help=True
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As it was saved.")]


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    store: StoreOption = None,
) -> None:
    """The saved searches of this index."""
    from alm2vec_search.saved_searches import SavedSearches
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import printable, say

    searches = SavedSearches(load_settings(store=store).store_path).searches
    for name, saved in sorted(searches.items()):
        request = saved.request.model_dump(mode="json", exclude_defaults=True)
        if as_json:
            print(json.dumps({"name": name, "seen": len(saved.seen), **request}))
        else:
            asked = saved.request.asked
            what = " ".join(filter(None, [asked.text, asked.like, *asked.more]))
            print(f"{printable(name)}\t{printable(what)}\t{saved.request.where or ''}".rstrip())
    if not searches:
        say("no search is saved")


@app.command()
def run(
    name: NameArgument,
    new: Annotated[bool, typer.Option("--new", help="Only what it hasn't shown before.")] = False,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format", help="How hits are written. [default: table, or lines into a pipe]"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    store: StoreOption = None,
    device: DeviceOption = None,
) -> None:
    """Search again, and remember what was shown."""
    from alm2vec_search.commands.search import chosen_format, write_answer
    from alm2vec_search.saved_searches import SavedSearches
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import data_for_a_pipe, say
    from alm2vec_search.wiring import build_searcher, open_collection

    settings = load_settings(store=store, device=device)
    form = chosen_format(form, as_json=as_json)
    with open_collection(settings) as collection, data_for_a_pipe():
        searches = SavedSearches(settings.store_path)
        saved = searches.named(name)
        searcher = build_searcher(settings, collection, say)
        hits = saved.request.run(searcher, collection.info).hits
        shown = [hit for hit in hits if saved.is_new(hit)] if new else hits
        if new and not shown:
            say("nothing new")
        else:
            write_answer(shown, form)
        saved.see(hits)
        searches.write()


@app.command()
def forget(name: NameArgument, store: StoreOption = None) -> None:
    """Forget a saved search."""
    from alm2vec_search.saved_searches import SavedSearches
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import say

    SavedSearches(load_settings(store=store).store_path).forget(name)
    say(f"forgot {name}")

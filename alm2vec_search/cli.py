"""The command `alm2vec`: mounts the commands, and gives every error its exit code.

0    done
1    ran, but found a problem: files that couldn't be read, a model that is ill
2    wrong usage or input
3    set-up: no index, an index of another model, a model that can't be loaded
130  interrupted
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated, NoReturn

import typer

import alm2vec_search.evaluation.cli
import indexer.cli
import indexer.copy_cli
import indexer.migrate_cli
import trainer.cli
from alm2vec_search.commands import bench, duplicates, embed, mcp, model, saved, search, serve
from alm2vec_search.errors import Alm2VecError, CollectionError, ModelError
from alm2vec_search.terminal import INTERRUPTED, say, say_error

EXIT_CODES = (
    "Exit codes: 0 done · 1 ran, but some files couldn't be read · 2 wrong usage or input · "
    "3 no index, another model's index, or no model · 130 interrupted."
)

app = typer.Typer(
    name="alm2vec",
    help="Search over audio collections by meaning: in words, by sound, or both.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # in "rich", brackets are markup, and vanish
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(indexer.cli.index)
app.command()(search.search)
app.command()(duplicates.duplicates)
app.command()(indexer.cli.status)
app.command()(indexer.cli.remove)
app.command()(indexer.copy_cli.copy)
app.command()(indexer.migrate_cli.migrate)
app.command()(embed.embed)
app.command()(serve.serve)
app.command()(mcp.mcp)
app.command()(bench.bench)
app.add_typer(saved.app, name="saved")
app.add_typer(model.app, name="model")
app.add_typer(trainer.cli.app, name="train")
app.add_typer(alm2vec_search.evaluation.cli.app, name="eval")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"alm2vec {version('alm2vec-search')}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Search over audio collections by meaning: in words, by sound, or both."""


def exit_code(error: Alm2VecError) -> int:
    """Set-up problems are 3; all others come from what was given."""
    return 3 if isinstance(error, CollectionError | ModelError) else 2


def main() -> NoReturn:
    """The entry point: no error we know of ends in a traceback."""
    try:
        app()
    except Alm2VecError as error:
        say_error(error)
        sys.exit(exit_code(error))
    except SystemExit as done:
        if done.code == INTERRUPTED:
            say("interrupted; what was done until here is kept")
        raise
    sys.exit(0)


if __name__ == "__main__":
    main()

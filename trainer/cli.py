"""`alm2vec train`, `train prepare` and `train export`: parse → plan → train → print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import trainer.prepare.command

if TYPE_CHECKING:
    from trainer.export import Choice
    from trainer.plan import Plan

HELP = """Train a model on pairs of what is asked and what answers it: an adapter comes of it.

From a data set to a search with what was learnt:

    alm2vec train prepare audiocaps --source audiocaps/ -o pairs.jsonl
    alm2vec train --config run.toml
    alm2vec index FOLDER --model runs/mine/best

run.toml says what is trained, on what, and where it goes; all else has a default:

    [model]
    base = "small"            # or a model's folder, or owner/name of a hub
    [[data]]
    pairs = "pairs.jsonl"     # several such sections are mixed
    [held_out]
    pairs = "test.jsonl"      # measured as training goes on; the best is kept
    [optimiser]
    steps = 1000
    batch_size = 64
    [run]
    out = "runs/mine"

Paths are relative to the file. configs/train/ has the files of ALM2Vec's two stages, with every
number explained.

On several GPUs: accelerate launch -m trainer --config run.toml"""

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE.toml", help="The file of the run.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Where the run goes. [default: as in the file]"),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Wins over the file: optimiser.steps=10, data.0.weight=2; may be repeated.",
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]
OutputOption = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Where the model goes.")
]


app = typer.Typer(
    help="Train a model on pairs of what is asked and what answers it.",
    invoke_without_command=True,
    no_args_is_help=True,
)
app.add_typer(trainer.prepare.command.app, name="prepare")


@app.callback(help=HELP)
def train(
    context: typer.Context,
    config: ConfigOption = None,
    out: OutOption = None,
    changes: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file and the data, and say what would be.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Errors only.")] = False,
) -> None:
    """Train."""
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise typer.BadParameter("name the file of the run", param_hint="--config")
    planned = _plan(config, changes or [], out, resume=resume, quiet=quiet)
    if not dry_run:
        _train(planned, quiet=quiet)


@app.command()
def export(
    run: RunArgument,
    output: OutputOption,
    merged: Annotated[
        bool,
        typer.Option("--merged", help="Weights that need no other model beside them."),
    ] = False,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="best, last, or a step. [default: best, if something was held out]",
        ),
    ] = None,
) -> None:
    """Write what a run has trained as a folder that alm2vec takes for --model.

    It is an adapter of some megabytes, which needs the model that was trained; or with --merged
    a model of its own. A run that is still going on can be exported, too.
    """
    from alm2vec_search.terminal import say, shown
    from trainer.export import export as write

    done = write(run, output, merged=merged, checkpoint=_choice(checkpoint), announce=say)
    kind = "model" if merged else "adapter"
    say(f"{shown(done.folder)}: {kind} of step {done.step:,}, {done.weights_hash}")


def _plan(config: Path, changes: list[str], out: Path | None, *, resume: bool, quiet: bool) -> Plan:
    from alm2vec_search.errors import Alm2VecError
    from alm2vec_search.terminal import say
    from trainer.config import read_config
    from trainer.run import is_main_process

    talks = is_main_process() and not quiet
    settings = read_config(config, changes, out=out)
    from trainer.plan import plan  # takes its time: first what is quickly said

    try:
        planned = plan(settings, resume=resume, announce=say if talks else _nobody)
    except Alm2VecError:
        if is_main_process():
            raise
        raise typer.Exit(2) from None  # the first process says the same
    if talks:
        for line in planned.lines():
            say(line)
    if is_main_process():
        for warning in planned.warnings:
            say(f"warning: {warning}")
    return planned


def _train(planned: Plan, *, quiet: bool) -> None:
    from alm2vec_search.terminal import INTERRUPTED, say
    from trainer.progress import choose_progress
    from trainer.run import is_main_process
    from trainer.training import carry_out

    talks = is_main_process() and not quiet
    with choose_progress(quiet=not talks) as progress:
        report = carry_out(planned, progress)
    if talks:
        for line in report.lines():
            say(line)
    if not report.is_finished:
        raise typer.Exit(INTERRUPTED)


def _nobody(line: str) -> None: ...


def _choice(text: str | None) -> Choice:
    """
    Raises:
        BadParameter: it is none.
    """
    if text in (None, "best", "last"):
        return text
    assert text is not None
    if not text.isdecimal():
        raise typer.BadParameter(f"--checkpoint is best, last, or a step, not {text}")
    return int(text)

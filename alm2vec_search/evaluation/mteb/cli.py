"""`alm2vec eval mteb`: tasks of mteb, by our encoder or our whole search."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from alm2vec_search.commands.options import DeviceOption
from alm2vec_search.evaluation.mteb.tasks import Instructions
from alm2vec_search.evaluation.options import ModelOption, OutputOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mteb import AbsTask

    from alm2vec_search.evaluation.runs import Run
    from alm2vec_search.settings import Settings


def mteb(
    tasks: Annotated[
        list[str] | None,
        typer.Argument(metavar="TASK...", help="Tasks, by the names that mteb has for them."),
    ] = None,
    search: Annotated[
        bool,
        typer.Option(
            "--search",
            help="Measure the whole search: documents are files that are indexed in chunks. "
            "Without it, the vectors alone are measured.",
        ),
    ] = False,
    instruction: Annotated[
        Instructions,
        typer.Option(
            help="Under which instruction is embedded: the model's own, or that of the task, for "
            "models that follow it."
        ),
    ] = Instructions.MODEL,
    again: Annotated[
        bool, typer.Option("--again", help="Measure anew what mteb's cache has already.")
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="Show the tasks about sounds: name, type, direction.")
    ] = False,
    output: OutputOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Measure a model on tasks of mteb, the benchmark of text and audio embeddings.

    alm2vec eval mteb ClothoT2ARetrieval.v2 ClothoA2TRetrieval.v2 -o clotho.json

    alm2vec eval mteb CLDAT2ARetrieval --search --model cara-ai/ALM2Vec-FT

    Data sets are fetched by mteb, once. Its results are kept in its own cache, $MTEB_CACHE, too.
    """
    from alm2vec_search.errors import EvaluationError
    from alm2vec_search.evaluation.mteb.tasks import find_task, listed_tasks, require_mteb
    from alm2vec_search.evaluation.runs import require_writable, write_run
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import counted, data_for_a_pipe, say

    require_mteb()
    if list_:
        with data_for_a_pipe():
            for task in listed_tasks():
                print(f"{task.name}\t{task.type}\t{task.category}")
        return
    if not tasks:
        raise EvaluationError("no task was named", hint="alm2vec eval mteb --list shows them")
    if output is not None:
        require_writable(output)
    settings = load_settings(model=model, device=device)
    found = [find_task(name) for name in dict.fromkeys(tasks)]
    run = _measured(settings, found, instruction, through_search=search, again=again)
    if output is not None:  # first, since whoever reads what is printed may stop reading
        write_run(run, output)
    for reason in run.set_aside:
        say(f"left out: {reason}")
    if run.unreadable:
        say(f"{counted(len(run.unreadable), 'document')} can't be read: {run.unreadable[0]} ...")
    with data_for_a_pipe():
        for result in run.tasks:
            main = result.figures[0]
            print(f"{result.name}\t{main.metric}\t{main.value:.4f}")
    if run.unreadable or run.set_aside:
        raise typer.Exit(1)


def _measured(
    settings: Settings,
    tasks: Sequence[AbsTask],
    instructions: Instructions,
    *,
    through_search: bool,
    again: bool,
) -> Run:
    from alm2vec_search.errors import EvaluationError
    from alm2vec_search.evaluation.mteb.encoder import MtebEncoder
    from alm2vec_search.evaluation.mteb.meta import model_meta
    from alm2vec_search.evaluation.mteb.running import measure
    from alm2vec_search.evaluation.mteb.search import MtebSearch
    from alm2vec_search.terminal import say
    from alm2vec_search.wiring import fetch_model
    from indexer.cli import made_by

    if settings.model is not None:
        fetch_model(settings.model, say)
    making = made_by(settings, anew=True)
    making.spec.require_device()
    making.spec.say_where(say)
    encoder = making.spec.build()
    if instructions is Instructions.TASK and not encoder.follows_instructions:
        raise EvaluationError(
            f"{encoder.name} follows no instructions", hint="leave out --instruction task"
        )
    meta = model_meta(encoder, making.spec.files)
    command = shlex.join(["alm2vec", *sys.argv[1:]])
    if not through_search:
        by_vectors = MtebEncoder(encoder, meta, instructions=instructions)
        return measure(tasks, by_vectors, again=again, command=command)
    with MtebSearch(
        encoder, meta, chunking=making.chunking, instructions=instructions
    ) as by_search:
        return measure(tasks, by_search, again=again, command=command)

"""`alm2vec eval`: parse → read the set → measure → print."""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from alm2vec_search.commands.options import DeviceOption, TrustOption
from alm2vec_search.evaluation.mteb.cli import mteb
from alm2vec_search.evaluation.options import (
    AnswersOption,
    AudioOption,
    JsonOption,
    MaxAudioOption,
    ModelOption,
    NameOption,
    OutputOption,
    PlainOption,
    QuietOption,
    SearchOption,
    SourceOption,
)
from alm2vec_search.evaluation.report.cli import report

if TYPE_CHECKING:
    from collections.abc import Callable

    from alm2vec_search.collection.base import Collection
    from alm2vec_search.domain import Encoder
    from alm2vec_search.evaluation.running import Recording
    from alm2vec_search.evaluation.runs import Run
    from alm2vec_search.evaluation.sets import EvaluationSet
    from alm2vec_search.search import Searcher
    from alm2vec_search.settings import Settings

app = typer.Typer(
    help="Measure a model, or the whole search, on labelled sounds.\n\n"
    "Nothing is fetched: get the data set first. What has no audio file is counted and named, and "
    "the exit code is 1. -o keeps all of it, for alm2vec eval report.",
    no_args_is_help=True,
)


@app.command()
def audiocaps(
    source: SourceOption,
    audio: AudioOption = None,
    split: Annotated[
        Literal["train", "val", "test"], typer.Option(help="Which files of a folder.")
    ] = "test",
    search: SearchOption = False,
    model: ModelOption = None,
    plain: PlainOption = False,
    max_audio_s: MaxAudioOption = 30.0,
    output: OutputOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = None,
    trust_remote_code: TrustOption = None,
) -> None:
    """AudioCaps: captions find clips, clips find captions.

    Every caption is asked, and a clip counts by the best of its five. The table is that of WavCaps
    and of ALM2Vec.
    """
    from alm2vec_search.evaluation.datasets.audiocaps import read

    how = How(
        search=search,
        model=model,
        plain=plain,
        max_audio_s=max_audio_s,
        output=output,
        as_json=as_json,
        quiet=quiet,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    _measure(lambda: read(source, audio=audio, split=split), how)


@app.command()
def clotho(
    source: SourceOption,
    audio: AudioOption = None,
    split: Annotated[
        Literal["development", "validation", "evaluation"],
        typer.Option(help="Which files of a folder."),
    ] = "evaluation",
    search: SearchOption = False,
    model: ModelOption = None,
    plain: PlainOption = False,
    max_audio_s: MaxAudioOption = 30.0,
    output: OutputOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = None,
    trust_remote_code: TrustOption = None,
) -> None:
    """Clotho: captions find clips, clips find captions; as for AudioCaps."""
    from alm2vec_search.evaluation.datasets.clotho import read

    how = How(
        search=search,
        model=model,
        plain=plain,
        max_audio_s=max_audio_s,
        output=output,
        as_json=as_json,
        quiet=quiet,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    _measure(lambda: read(source, audio=audio, split=split), how)


@app.command()
def librisqa(
    source: SourceOption,
    audio: AudioOption = None,
    split: Annotated[
        Literal["train", "test"], typer.Option(help="Which files of a folder.")
    ] = "test",
    search: SearchOption = False,
    model: ModelOption = None,
    plain: PlainOption = False,
    max_audio_s: MaxAudioOption = 30.0,
    output: OutputOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = None,
    trust_remote_code: TrustOption = None,
) -> None:
    """LibriSQA, Part I: questions find the speech that answers them, and speech its question."""
    from alm2vec_search.evaluation.datasets.librisqa import read

    how = How(
        search=search,
        model=model,
        plain=plain,
        max_audio_s=max_audio_s,
        output=output,
        as_json=as_json,
        quiet=quiet,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    _measure(lambda: read(source, audio=audio, split=split), how)


@app.command("mmau-mini")
def mmau_mini(
    source: SourceOption,
    audio: AudioOption = None,
    answers: AnswersOption = None,
    model: ModelOption = None,
    plain: PlainOption = False,
    max_audio_s: MaxAudioOption = 30.0,
    output: OutputOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = None,
    trust_remote_code: TrustOption = None,
) -> None:
    """MMAU-mini: a question about a sound, and the nearest of a few answers.

    Models that answer in words are asked for a letter. With -o their answers are kept beside the
    run as they come, and an interrupted run goes on from there.
    """
    from alm2vec_search.evaluation.datasets.mmau import read

    how = How(
        answers=answers,
        model=model,
        plain=plain,
        max_audio_s=max_audio_s,
        output=output,
        as_json=as_json,
        quiet=quiet,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    _measure(lambda: read(source, audio=audio), how)


@app.command()
def triplets(
    file: Annotated[
        Path, typer.Argument(metavar="FILE.jsonl", help="A query, target, hard_negative a line.")
    ],
    name: NameOption = None,
    model: ModelOption = None,
    max_audio_s: MaxAudioOption = 30.0,
    output: OutputOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = None,
    trust_remote_code: TrustOption = None,
) -> None:
    """Are instructions followed? Is the target nearer than what only looks right?

    {"query": {"audio": "a.wav", "instruction": "what animal is it?"},
     "target": {"audio": "b.wav"}, "hard_negative": {"audio": "c.wav"}}

    Sides are text, audio, or both, with or without an instruction. What the sounds and the words of
    the queries come to alone is measured beside it.
    """
    from alm2vec_search.evaluation.datasets.triplets import read

    how = How(
        model=model,
        max_audio_s=max_audio_s,
        output=output,
        as_json=as_json,
        quiet=quiet,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    _measure(lambda: read(file, name=name), how)


@app.command()
def labels(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.csv", help="Of path,text; a text may stand for many sounds."),
    ],
    audio: AudioOption = None,
    name: NameOption = None,
    search: SearchOption = False,
    model: ModelOption = None,
    max_audio_s: MaxAudioOption = 30.0,
    output: OutputOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    device: DeviceOption = None,
    trust_remote_code: TrustOption = None,
) -> None:
    """Your own sounds and what they are called: texts find sounds, sounds find texts.

    More columns may be there: start_s and end_s for a stretch of a file, and group for what a sound
    was cut from, by which intervals are made.
    """
    from alm2vec_search.evaluation.datasets.labels import read

    how = How(
        search=search,
        model=model,
        max_audio_s=max_audio_s,
        output=output,
        as_json=as_json,
        quiet=quiet,
        device=device,
        trust_remote_code=trust_remote_code,
    )
    _measure(lambda: read(file, audio=audio, name=name), how)


app.command()(mteb)
app.command()(report)


@dataclass(frozen=True)
class How:
    """What the options of a measurement say."""

    model: str | None
    device: str | None
    trust_remote_code: bool | None
    max_audio_s: float
    output: Path | None
    as_json: bool
    quiet: bool
    search: bool = False
    plain: bool = False
    answers: str | None = None


def _measure(read: Callable[[], EvaluationSet], how: How) -> None:
    from alm2vec_search.evaluation.running import Recording
    from alm2vec_search.evaluation.runs import require_writable, write_run
    from alm2vec_search.evaluation.talking import print_run, say_run
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import data_for_a_pipe, say, shown

    if how.output is not None:
        require_writable(how.output)
    settings = load_settings(
        model=how.model, device=how.device, trust_remote_code=how.trust_remote_code
    )
    measured = read()
    recording = Recording(how.output, shlex.join(["alm2vec", *sys.argv[1:]]))
    if how.answers is not None:
        run = _by_answers(measured, settings, recording, how, how.answers)
    elif how.search:
        run = _by_search(measured, settings, recording, quiet=how.quiet)
    else:
        run = _by_vectors(measured, settings, recording, how)
    if how.output is not None:  # first, since whoever reads what is printed may stop reading
        write_run(run, how.output)
    say_run(run)
    if how.output is not None:
        say(f"{shown(how.output)}: alm2vec eval report shows it")
    with data_for_a_pipe():
        if how.as_json:
            print(run.model_dump_json(exclude_defaults=True))
        else:
            print_run(run)
    if run.missing or run.unreadable or run.set_aside:
        raise typer.Exit(1)


def _by_vectors(measured: EvaluationSet, settings: Settings, recording: Recording, how: How) -> Run:
    from alm2vec_search.evaluation.running import by_vectors
    from alm2vec_search.evaluation.talking import MeasuringProgress
    from alm2vec_search.terminal import say
    from alm2vec_search.wiring import encoder_spec, fetch_model

    if settings.model is not None:
        fetch_model(settings.model, say)
    spec = encoder_spec(settings)
    spec.require_device()
    spec.say_where(say)
    started = time.perf_counter()
    encoder = spec.build()
    load_s = time.perf_counter() - started
    with MeasuringProgress(quiet=how.quiet) as progress:
        return by_vectors(
            measured,
            encoder,
            recording,
            max_audio_s=how.max_audio_s,
            plain=how.plain,
            load_s=load_s,
            progress=progress,
        )


def _by_answers(
    measured: EvaluationSet, settings: Settings, recording: Recording, how: How, where: str
) -> Run:
    from alm2vec_search.errors import EvaluationError
    from alm2vec_search.evaluation.answers.answering import build_answerer
    from alm2vec_search.evaluation.answers.kept import KeptAnswers
    from alm2vec_search.evaluation.answers.running import by_answers
    from alm2vec_search.evaluation.talking import MeasuringProgress
    from alm2vec_search.terminal import counted, say

    if settings.model is None:
        raise EvaluationError("--answers needs the name of a model", hint="give --model, too")
    started = time.perf_counter()
    answerer = build_answerer(
        where, settings.model, device=settings.device, dtype=str(settings.dtype), announce=say
    )
    load_s = time.perf_counter() - started
    kept = KeptAnswers(how.output and how.output.with_suffix(".answers.jsonl"), answerer)
    if len(kept):
        say(f"kept from before: {counted(len(kept), 'answer')}")
    with MeasuringProgress(quiet=how.quiet) as progress:
        return by_answers(
            measured,
            answerer,
            kept,
            recording,
            max_audio_s=how.max_audio_s,
            load_s=load_s,
            progress=progress,
        )


def _by_search(
    measured: EvaluationSet, settings: Settings, recording: Recording, *, quiet: bool
) -> Run:
    from alm2vec_search.evaluation.library import Making
    from alm2vec_search.evaluation.running import by_search
    from alm2vec_search.search import Searcher
    from alm2vec_search.terminal import say
    from alm2vec_search.wiring import build_judge, fetch_model
    from indexer.cli import made_by
    from indexer.progress import choose_progress

    if settings.model is not None:
        fetch_model(settings.model, say)
    made = made_by(settings, anew=True)
    made.spec.require_device()
    made.spec.say_where(say)
    made.spec.warn_if_ill()
    making = Making(
        factory=made.spec.for_workers,
        info=made.info,
        chunking=made.chunking,
        n_workers=settings.workers or made.spec.num_workers,
        one_model=made.spec.is_shared,
    )

    def searcher_of(collection: Collection) -> tuple[Encoder, Searcher]:
        encoder = made.spec.build()
        return encoder, Searcher(encoder, collection, judge=build_judge(settings, encoder))

    with choose_progress(quiet=quiet) as progress:
        return by_search(measured, making, recording, searcher_of=searcher_of, progress=progress)

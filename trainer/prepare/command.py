"""`alm2vec train prepare`: the files that data sets come in → pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from trainer.prepare.report import PrepareReport

app = typer.Typer(
    help="Make pairs of the files that data sets come in.\n\n"
    "Nothing is fetched: get the data set first. What has no audio file is counted and named, and "
    "the exit code is 1; where nothing can be made of a data set, nothing is written.",
    no_args_is_help=True,
)
SourceOption = Annotated[
    Path,
    typer.Option(
        "--source", metavar="PATH", help="The data set's folder, or a file that lists its clips."
    ),
]
OutputOption = Annotated[
    Path, typer.Option("-o", "--output", metavar="FILE.jsonl", help="Where the pairs go.")
]
AudioOption = Annotated[
    Path | None,
    typer.Option(
        "--audio", metavar="DIR", help="Where the audio is. [default: below the source's folder]"
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="The report, as JSON, with all that is missing.")
]


@app.command()
def audiocaps(
    source: SourceOption,
    output: OutputOption,
    audio: AudioOption = None,
    split: Annotated[
        Literal["train", "val", "test"], typer.Option(help="Which csv of a folder.")
    ] = "train",
    as_json: JsonOption = False,
) -> None:
    """AudioCaps: captions ↔ clips, from train.csv, val.csv or test.csv.

    A clip's file may be called by its YouTube id, with its start or without, with a Y in front, or
    by a caption's id, in any format and any folder.
    """
    from trainer.prepare.audiocaps import prepare

    _finish(prepare(source, output, audio=audio, split=split), as_json=as_json)


@app.command()
def clotho(
    source: SourceOption,
    output: OutputOption,
    audio: AudioOption = None,
    split: Annotated[
        Literal["development", "validation", "evaluation"],
        typer.Option(help="Which csv of a folder."),
    ] = "development",
    as_json: JsonOption = False,
) -> None:
    """Clotho: captions ↔ clips, from clotho_captions_development.csv and its like."""
    from trainer.prepare.clotho import prepare

    _finish(prepare(source, output, audio=audio, split=split), as_json=as_json)


@app.command()
def audioqa(
    source: SourceOption,
    output: OutputOption,
    audio: AudioOption = None,
    split: Annotated[
        Literal["train", "val", "test"],
        typer.Option(help="Of Audio Flamingo 2's manifests, which say theirs."),
    ] = "train",
    as_json: JsonOption = False,
) -> None:
    """Questions about sounds → answers, from the json of AudioSkills, LongAudio and their like.

    Where a question has options, the right one is the document, and the others are its negatives.
    """
    from trainer.prepare.audioqa import prepare

    _finish(prepare(source, output, audio=audio, split=split), as_json=as_json)


@app.command()
def librisqa(
    source: SourceOption,
    output: OutputOption,
    audio: AudioOption = None,
    split: Annotated[
        Literal["train", "test"], typer.Option(help="Which json files of a folder.")
    ] = "train",
    part: Annotated[
        Literal["I", "II"] | None, typer.Option(help="Only one of the parts. [default: both]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """LibriSQA: questions ↔ LibriSpeech's utterances (Part I), and with options → answers (II)."""
    from trainer.prepare.librisqa import prepare

    report = prepare(source, output, audio=audio, split=split, part=part)
    _finish(report, as_json=as_json)


@app.command()
def labels(
    source: SourceOption,
    output: OutputOption,
    audio: AudioOption = None,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What the data set is called in the pairs.")
    ] = "labels",
    as_json: JsonOption = False,
) -> None:
    """Sounds of your own: texts ↔ sounds, from a csv of path,text.

    Its first line is path,text; then come a path, from the csv's folder, and a text on each line. A
    sound may have several texts, each on a line of its own. Columns start_s and end_s mean a
    stretch of a file, in seconds.
    """
    from trainer.prepare.labels import prepare

    _finish(prepare(source, output, audio=audio, name=name), as_json=as_json)


def _finish(report: PrepareReport, *, as_json: bool) -> None:
    import json

    from alm2vec_search.terminal import say

    if as_json:
        print(json.dumps(report.record()))
    for line in report.lines():
        say(line)
    if not report.is_clean:
        raise typer.Exit(1)

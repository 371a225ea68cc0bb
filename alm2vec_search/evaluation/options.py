"""Options that several measurements take, in one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SourceOption = Annotated[
    Path,
    typer.Option(
        "--source", metavar="PATH", help="The data set's folder, or a file that lists its clips."
    ),
]
AudioOption = Annotated[
    Path | None,
    typer.Option(
        "--audio", metavar="DIR", help="Where the audio is. [default: below the source's folder]"
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="What is measured; see alm2vec model --help. [default: small]",
    ),
]
SearchOption = Annotated[
    bool,
    typer.Option(
        "--search",
        help="Index the sounds and search for them, as the commands do, and measure that.",
    ),
]
PlainOption = Annotated[
    bool,
    typer.Option(
        "--plain",
        help="Leave out the protocol's instructions; for models that weren't trained with them.",
    ),
]
MaxAudioOption = Annotated[
    float,
    typer.Option(
        "--max-audio",
        metavar="S",
        min=0.1,
        help="The most of a sound that is heard, from its start; a search hears all of it.",
    ),
]
AnswersOption = Annotated[
    str | None,
    typer.Option(
        "--answers",
        metavar="WHERE",
        help="Ask a model that answers in words, by the name --model: on this machine with "
        "`transformers`, or on an OpenAI-compatible server, https://HOST/v1; its key is in "
        "OPENAI_API_KEY.",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="RUN.json", help="Keep all that was found."),
]
NameOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What the set is called. [default: as the file]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="All that was found, as JSON.")]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]

"""Options that several commands take, in one wording."""

from __future__ import annotations

from typing import Annotated

import typer

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="DIR|URL",
        help="The index: a folder, or a Qdrant server. [default: in your data folder]",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="`small`, a model's folder, or owner/name of a hub; see alm2vec model --help. "
        "[default: as in the index]",
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="As torch names it. [default: a GPU for a large model, if there is one]",
    ),
]
TrustOption = Annotated[
    bool | None,
    typer.Option(
        "--trust-remote-code",
        help="Embed with the model's own encode(): runs the Python code that lies beside its "
        "weights, which can do whatever you can. Never needed for ALM2Vec.",
        show_default=False,
    ),
]

"""Options that several commands take, in one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StoreOption = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", help="The index. [default: in your data folder]"),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME", help="`small`, or a model's folder. [default: as in the index]"
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="NAME", help="As torch names it. [default: cpu]")
]

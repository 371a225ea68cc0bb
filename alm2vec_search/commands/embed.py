"""`alm2vec embed`: the raw vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alm2vec_search.commands.options import DeviceOption, ModelOption, TrustOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.domain import Embeddings, Encoder
    from alm2vec_search.queries import Input

INPUTS_AT_A_TIME = 64  # so that not all sounds are in memory at once


def embed(
    inputs: Annotated[
        str,
        typer.Argument(
            metavar="INPUTS.jsonl",
            help="JSON lines with text, audio (FILE or FILE@START-END), instruction, and role: "
            "query or document [default: document]; - is stdin.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.npy", help="Where the vectors go.")
    ],
    model: ModelOption = None,
    device: DeviceOption = None,
    trust_remote_code: TrustOption = None,
) -> None:
    """Write the vectors of texts and sounds, one row a line, float32 and of length 1.

    A sound is embedded whole, as far as the model hears it: the small one without end, the
    published ones for 30 s.
    """
    import numpy as np

    from alm2vec_search.errors import QueryError
    from alm2vec_search.queries import read_inputs
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import counted, say
    from alm2vec_search.wiring import encoder_spec, fetch_model

    settings = load_settings(model=model, device=device, trust_remote_code=trust_remote_code)
    items = read_inputs(inputs)
    if settings.model is not None:
        fetch_model(settings.model, say)
    spec = encoder_spec(settings)
    spec.say_where(say)
    encoder = spec.build()
    vectors = np.concatenate(
        [
            _embed(items[start : start + INPUTS_AT_A_TIME], encoder)
            for start in range(0, len(items), INPUTS_AT_A_TIME)
        ]
    )
    try:
        with output.open("wb") as file:
            np.save(file, vectors)
    except OSError as error:
        raise QueryError(f"{output} can't be written: {error.strerror}") from error
    say(f"{output}: {counted(len(vectors), 'vector')} of {vectors.shape[1]} numbers")


def _embed(items: Sequence[Input], encoder: Encoder) -> Embeddings:
    """Rows in the order of the items; those that share role and instruction go together."""
    import numpy as np

    from alm2vec_search.query_audio import load_like

    rows = np.empty((len(items), encoder.embedding_dim), dtype=np.float32)
    groups: dict[tuple[str, str | None], list[int]] = {}
    for row, item in enumerate(items):
        groups.setdefault((item.role, item.instruction), []).append(row)
    for (role, instruction), members in groups.items():
        encode = encoder.encode_query if role == "query" else encoder.encode_document
        sounds = [items[row].audio for row in members]
        rows[members] = encode(
            text=[items[row].text for row in members],
            audio=[load_like(s, encoder.sampling_rate) if s else None for s in sounds],
            instruction=instruction,
        )
    return rows

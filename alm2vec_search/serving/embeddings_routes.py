"""Route: raw vectors, in the shape that OpenAI's clients speak."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter

from alm2vec_search.errors import QueryError
from alm2vec_search.serving.answers import AsciiJSON
from alm2vec_search.serving.schemas import (
    EmbeddingInput,
    EmbeddingsAnswer,
    EmbeddingsBody,
    failures,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.domain import Embedding, Embeddings, Waveform
    from alm2vec_search.serving.batching import BatchingEncoder
    from alm2vec_search.serving.engine import Engine
    from alm2vec_search.serving.gate import Gate
    from alm2vec_search.serving.sounds import Sounds


def embeddings_routes(engine: Engine, gate: Gate, sounds: Sounds) -> APIRouter:
    """
    Args:
        gate: the model is asked in its threads.
        sounds: reads what is sent along.
    """
    routes = APIRouter(tags=["embeddings"])
    answers: dict[int | str, dict[str, Any]] = {
        200: {"model": EmbeddingsAnswer},
        **failures(413, 415),
    }

    @routes.post("/v1/embeddings", response_model=None, responses=answers)
    async def embeddings(body: EmbeddingsBody) -> AsciiJSON:
        """Vectors of texts and sounds, L2-normalised. Sounds come as data URIs of audio files;
        longer than the model hears, they are cut. Usage counts no tokens: nobody pays here."""
        inputs = [_input(item) for item in _listed(body)]

        def work() -> tuple[str, Embeddings]:
            with engine.encoder() as encoder:
                _require_its_own(body, encoder)
                heard = [
                    None if item.audio is None else sounds.decode(item.audio, encoder.sampling_rate)
                    for item in inputs
                ]
                return encoder.name, _encode(encoder, body, inputs, heard)

        model, vectors = await gate(work)
        data = [
            {"object": "embedding", "index": i, "embedding": _written(vector, body.encoding_format)}
            for i, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": 0, "total_tokens": 0}
        return AsciiJSON({"object": "list", "model": model, "data": data, "usage": usage})

    return routes


def _listed(body: EmbeddingsBody) -> Sequence[str | EmbeddingInput]:
    return body.input if isinstance(body.input, list) else [body.input]


def _input(item: str | EmbeddingInput) -> EmbeddingInput:
    """
    Raises:
        QueryError: there is nothing in it, or too much.
    """
    if isinstance(item, str):
        is_sound = item.startswith(("data:audio/", "data:video/", "data:application/octet-stream"))
        if not is_sound and len(item) > 2000:
            raise QueryError("an input has more than 2000 characters", hint="send it in parts")
        item = EmbeddingInput(audio=item) if is_sound else EmbeddingInput(text=item)
    if not (item.text and item.text.strip()) and item.audio is None:
        raise QueryError("an input is empty", hint="give text, audio, or both")
    return item


def _require_its_own(body: EmbeddingsBody, encoder: BatchingEncoder) -> None:
    """
    Raises:
        QueryError: another model is asked for, or another dimension than it has.
    """
    if body.model not in (None, encoder.name):
        raise QueryError(
            f"the model {body.model} isn't loaded", hint=f"here is {encoder.name}, and no other"
        )
    if body.dimensions not in (None, encoder.embedding_dim):
        raise QueryError(
            f"{encoder.name} makes vectors of {encoder.embedding_dim} numbers, and they aren't cut",
            hint="leave dimensions out",
        )


def _encode(
    encoder: BatchingEncoder,
    body: EmbeddingsBody,
    inputs: Sequence[EmbeddingInput],
    heard: Sequence[Waveform | None],
) -> Embeddings:
    encode = encoder.encode_query if body.prompt_name == "query" else encoder.encode_document
    texts = [item.text.strip() or None if item.text else None for item in inputs]
    return encode(text=texts, audio=list(heard), instruction=body.instruction)


def _written(vector: Embedding, form: str) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")
    return [float(number) for number in vector]

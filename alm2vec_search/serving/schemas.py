"""What is sent and what comes back, as the OpenAPI document shows it.

Answers go out as plain values (`records.py`, `AsciiJSON`), for paths that are no text; their
schemas here are documentation, and tests hold answers against them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from alm2vec_search.search_request import SearchChoices

if TYPE_CHECKING:
    from pydantic.types import JsonValue

Words = Annotated[str, StringConstraints(max_length=2000)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False, le=10_000_000)]
DataURI = Annotated[str, StringConstraints(pattern=r"^data:[^,]*,")]

_SEARCHES: list[JsonValue] = [
    {"text": "dog barking", "where": "duration<10", "limit": 5},
    {"like": {"sound": "<id of a hit>", "start_s": 2.5, "end_s": 4.0}},
    {"like": {"upload": "<id>"}, "instruction": "which instrument is played?"},
]


class Like(BaseModel):
    """A sound to look like: one of the index, an upload, or one that is sent along."""

    model_config = ConfigDict(extra="forbid")

    sound: Annotated[str | None, Field(description="The id of an indexed sound.")] = None
    upload: Annotated[str | None, Field(description="The id of an upload.")] = None
    data: Annotated[DataURI | None, Field(description="An audio file as a data URI.")] = None
    start_s: Annotated[Seconds | None, Field(description="Where its region starts.")] = None
    end_s: Annotated[Seconds | None, Field(description="Where its region ends.")] = None


class SearchBody(SearchChoices):
    """A question, and what narrows and shapes its answer. The words are those of `alm2vec search`,
    but no file of the server's can be named."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": _SEARCHES},
    )

    text: Annotated[Words | None, Field(description="What to look for, in words.")] = None
    like: Like | None = None
    instruction: Annotated[Words | None, Field(description="What of a sound counts.")] = None
    more: Annotated[
        tuple[Words, ...], Field(max_length=16, description="And this: words, as in `2:thunder`.")
    ] = ()
    less: Annotated[tuple[Words, ...], Field(max_length=16, description="And not this.")] = ()
    where: Annotated[str | None, Field(max_length=4000, description="A condition.")] = None
    words: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 0.3
    reembed: Annotated[int, Field(ge=0, le=100)] = 30
    per_folder: Annotated[int | None, Field(ge=1, le=1000)] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 10


class Clause(BaseModel):
    clause: str
    weight: float
    score: float


class Explanation(BaseModel):
    window: tuple[float, float]
    compared: str
    heard: dict[str, float]


class HitRecord(BaseModel):
    """One answer. What doesn't apply to it is left out. Times are in seconds."""

    rank: int
    sound: Annotated[str, Field(description="The id by which its audio can be had.")]
    path: str
    library: str
    start_s: float
    end_s: float
    score: Annotated[float, Field(description="A cosine.")]
    duration_s: float | None = None
    channels: int | None = None
    sampling_rate: int | None = None
    verdict: Literal["strong", "likely", "weak"] | None = None
    probability: float | None = None
    tags: list[str] | None = None
    copies: list[str] | None = None
    clauses: list[Clause] | None = None
    reembedded: bool | None = None
    words_score: float | None = None
    silent: bool | None = None
    explanation: Explanation | None = None


class SearchAnswer(BaseModel):
    hits: list[HitRecord]
    way: Annotated[str | None, Field(description="Which way an instruction went.")]
    nothing_matches: Annotated[bool, Field(description="All there is is weak.")]
    took_s: float


class Model(BaseModel):
    name: str
    fingerprint: str
    device: str
    sampling_rate: int


class AspectRecord(BaseModel):
    name: str
    instruction: str


class Index(BaseModel):
    store: str
    chunks: int
    chunking: str
    libraries: list[str]
    aspects: list[AspectRecord]


class LimitsRecord(BaseModel):
    upload_bytes: int
    upload_s: float
    clip_s: float


class StatusRecord(BaseModel):
    version: str
    model: Model
    index: Index
    limits: LimitsRecord


class Session(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(max_length=1000)]


class UploadRecord(BaseModel):
    upload: Annotated[str, Field(description="Its id, for `like`.")]
    duration_s: float
    expires_s: float


class Peaks(BaseModel):
    """The lowest and the highest sample of each column, mono."""

    start_s: float
    end_s: float
    min: list[float]
    max: list[float]


class EmbeddingInput(BaseModel):
    """Words, a sound as a data URI, or both as one input."""

    model_config = ConfigDict(extra="forbid")

    text: Words | None = None
    audio: DataURI | None = None


class EmbeddingsBody(BaseModel):
    """As OpenAI's `/v1/embeddings`; a string that is a data URI of audio is a sound."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"model": "small", "input": "dog barking"},
                {"input": [{"audio": "data:audio/wav;base64,..."}], "prompt_name": "document"},
            ]
        },
    )

    input: (
        str
        | EmbeddingInput
        | Annotated[list[str | EmbeddingInput], Field(min_length=1, max_length=64)]
    )
    model: Annotated[str | None, Field(description="That of the index; no other is loaded.")] = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[
        int | None, Field(description="That of the model; vectors aren't cut.")
    ] = None
    user: str | None = None
    prompt_name: Literal["query", "document"] = "query"
    instruction: Words | None = None


class EmbeddingRecord(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    object: Literal["list"]
    model: str
    data: list[EmbeddingRecord]
    usage: Usage


class Failure(BaseModel):
    type: str
    message: str
    hint: str | None


class FailureAnswer(BaseModel):
    error: Failure


class Health(BaseModel):
    status: Literal["ok"]


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What a route may answer beside what it is asked for."""
    common = {400, 401, 403, 422, 503, 504}
    return {status: {"model": FailureAnswer} for status in sorted(common | set(statuses))}

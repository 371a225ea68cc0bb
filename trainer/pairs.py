"""Pairs: what training learns from, as JSON lines. A query and the document that answers it.

    {"query": {"text": "what bird is this?", "audio": "clips/7.wav", "instruction": "..."},
     "document": {"text": "a blackbird"},
     "negatives": [{"text": "a robin"}],
     "source": "audioqa", "clip": "7"}

Each side is text, audio, or both, under an instruction; without one, the model's own for its role
is used. Paths are relative to the file of pairs. Audio may be a stretch of a file,
`{"path": "long.wav", "start_s": 12, "end_s": 20}`, or what the frozen audio encoder makes of a
sound, kept in a file of frames: `{"path": "frames.safetensors", "frames": "name of the tensor"}`.

Lines that follow each other with the same `one_of` are alternatives, the captions of one clip for
instance: one of them is taken each time round.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AllowInfNan,
    BaseModel,
    ConfigDict,
    NonNegativeFloat,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from alm2vec_search.domain import TimeSpan
from alm2vec_search.errors import PairError
from trainer.whole import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterable


class AudioRef(BaseModel):
    """Where a sound is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    start_s: Annotated[NonNegativeFloat, AllowInfNan(False)] | None = None
    end_s: NonNegativeFloat | None = None
    frames: str | None = None  # the name of a tensor [T, D] in a safetensors file

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, given: Any) -> Any:
        return {"path": given} if isinstance(given, str | Path) else given

    @model_validator(mode="after")
    def _makes_sense(self) -> AudioRef:
        if self.end_s is not None and self.end_s <= (self.start_s or 0.0):
            raise ValueError(f"ends at {self.end_s} s, and starts at {self.start_s or 0.0}")
        if self.frames is not None and (self.start_s, self.end_s) != (None, None):
            raise ValueError("frames are whole: no start_s or end_s")
        return self

    @model_serializer
    def _shortest(self) -> Any:
        fields = {
            "path": self.path.as_posix(),
            "start_s": self.start_s,
            "end_s": self.end_s,
            "frames": self.frames,
        }
        given = {key: value for key, value in fields.items() if value is not None}
        return given["path"] if len(given) == 1 else given

    @property
    def span(self) -> TimeSpan | None:
        """The stretch that is meant; None is all of it. Without an end, to the end of the file."""
        if self.start_s is None and self.end_s is None:
            return None
        return TimeSpan(self.start_s or 0.0, float("inf") if self.end_s is None else self.end_s)


class Side(BaseModel):
    """A query or a document."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str | None = None
    audio: AudioRef | None = None
    instruction: str | None = None

    @field_validator("text")
    @classmethod
    def _says_something(cls, text: str | None) -> str | None:
        if text is not None and not text.strip():
            raise ValueError("the text is blank")
        return text

    @model_validator(mode="after")
    def _is_something(self) -> Side:
        if self.text is None and self.audio is None:
            raise ValueError("neither text nor audio")
        return self


class Pair(BaseModel):
    """What belongs together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: Side
    document: Side
    negatives: tuple[Side, ...] = ()  # documents that look right, and aren't
    source: str | None = None  # the data set
    clip: str | None = None  # pairs of one clip are never each other's negatives
    one_of: str | None = None  # alternatives follow each other

    def to_json(self) -> str:
        """The line, without its line break."""
        return self.model_dump_json(exclude_defaults=True)

    def located(self, folder: Path) -> Pair:
        """With its paths taken from `folder`."""
        return self.model_copy(
            update={
                "query": _located(self.query, folder),
                "document": _located(self.document, folder),
                "negatives": tuple(_located(side, folder) for side in self.negatives),
            }
        )


def _located(side: Side, folder: Path) -> Side:
    if side.audio is None:
        return side
    audio = side.audio.model_copy(update={"path": folder / side.audio.path})
    return side.model_copy(update={"audio": audio})


def parse_pair(line: str | bytes, file: Path, number: int) -> Pair:
    """Read a line.

    Raises:
        PairError: it is no pair; names the file and the line.
    """
    try:
        return Pair.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        message = f"{field + ': ' if field else ''}{first['msg'].removeprefix('Value error, ')}"
        raise PairError(message, file=file, line=number) from error


def write_pairs(pairs: Iterable[Pair], path: Path) -> int:
    """Write a file of pairs, whole or not at all.

    Returns:
        how many.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for pair in pairs:
            file.write(pair.to_json() + "\n")
            count += 1
    return count

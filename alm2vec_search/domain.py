"""The values everyone shares, and the one protocol a model has to meet.

Words: a *library* is a root folder of the user's audio; a *chunk* is a time span of one file, the
unit that is embedded; a *content* is what a file's bytes are, shared by all its copies; a *place*
is one path where a content lies; a *hit* is one answer.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]  # [n], mono, nominally in [-1, 1]
    Embedding = NDArray[np.float32]  # [dim], L2-normalised
    Embeddings = NDArray[np.float32]  # [n, dim], each row L2-normalised


@dataclass(frozen=True, slots=True, order=True)
class TimeSpan:
    """A stretch of one file, in seconds from its start; `end_s` is not part of it."""

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        if not (0 <= self.start_s < self.end_s and math.isfinite(self.start_s)):
            raise ValueError(f"not a time span: {self.start_s}-{self.end_s}")

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s

    @classmethod
    def parse(cls, text: str) -> TimeSpan:
        """`"2.5-4"`, in seconds.

        Raises:
            ValueError: `text` is not two numbers with a hyphen between, the second the larger.

        >>> TimeSpan.parse("2.5-4")
        TimeSpan(start_s=2.5, end_s=4.0)
        """
        start, hyphen, end = text.partition("-")
        if not hyphen:
            raise ValueError(f"not a time span: {text}")
        return cls(float(start), float(end))


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """Mono sound in memory."""

    samples: Samples
    sampling_rate: int  # Hz

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sampling_rate


@dataclass(frozen=True, slots=True)
class Notes:
    """What is said of a sound beside the sound itself: tags, and notes that have a name."""

    tags: tuple[str, ...] = ()
    named: tuple[tuple[str, str], ...] = ()  # such as ("artist", "Ana"); a name may come twice

    def __bool__(self) -> bool:
        return bool(self.tags or self.named)


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A file as the walker saw it: where it is, and what `stat` said. Nothing was read yet."""

    path: Path  # absolute
    library: Path  # absolute; `path` is below it
    size: int  # bytes
    mtime_ns: int
    ctime_ns: int  # moves when permissions do
    notes: Notes | None = None  # what is said of it beside it; None: not known


@dataclass(frozen=True, slots=True)
class Place:
    """One path where a content lies."""

    path: Path  # absolute
    library: Path  # absolute
    mtime_ns: int
    notes: Notes = Notes()  # what the path and a list beside it say

    @property
    def relative_path(self) -> str:
        """Below its library, with slashes; the whole path where the library is this one file."""
        if self.path == self.library or not self.path.is_relative_to(self.library):
            return self.path.as_posix()
        return self.path.relative_to(self.library).as_posix()


@dataclass(frozen=True, slots=True)
class Content:
    """What a file's bytes are, wherever they lie. Its hash names it in the collection."""

    content_hash: str  # sha256 of the bytes, hex
    size: int  # bytes
    duration_s: float  # as decoded
    sampling_rate: int  # Hz, of the file itself
    channels: int  # of the file itself
    notes: Notes = Notes()  # what the file says of itself
    audio_hash: str = ""  # sha256 of the samples as they were embedded, hex; "" is not known


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedChunk:
    """One chunk with its vector."""

    span: TimeSpan
    embedding: Embedding
    silent: bool  # the loudest sample is below the threshold of silence


@dataclass(frozen=True, slots=True)
class Aspect:
    """What of a sound is to count, in a vector of its own beside the plain one."""

    name: str
    instruction: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", self.name):
            raise ValueError(f"not a name of an aspect: {self.name}")
        if not self.instruction.strip():
            raise ValueError(f"the aspect {self.name} has no instruction")

    @classmethod
    def parse(cls, text: str) -> Aspect:
        """`speaker=Who is speaking?`

        Raises:
            ValueError: it isn't a name, an equals sign, and an instruction.

        >>> Aspect.parse("speaker=Who is speaking?")
        Aspect(name='speaker', instruction='Who is speaking?')
        """
        name, _, instruction = text.partition("=")
        return cls(name.strip(), instruction.strip())


@dataclass(frozen=True, slots=True)
class Query:
    """What a listener asks: words, a sound, or both in one input, under an instruction."""

    text: str | None = None
    audio: Waveform | None = None
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of a question, with how much it counts: below 0, it is not wanted."""

    query: Query
    weight: float = 1.0
    label: str = ""  # as it was written


@dataclass(frozen=True, slots=True)
class Question:
    """All that a listener asks at once."""

    clauses: tuple[Clause, ...]
    words: str = ""  # to be looked for in names, tags and notes, too

    @property
    def instruction(self) -> str | None:
        return self.clauses[0].query.instruction

    @classmethod
    def of(cls, query: Query) -> Question:
        """A question of one part."""
        text = query.text or ""
        return cls((Clause(query, label=text),), words=text)


class Verdict(Enum):
    """Whether an answer is one."""

    STRONG = "strong"
    LIKELY = "likely"
    WEAK = "weak"

    def reaches(self, least: Verdict) -> bool:
        order = list(Verdict)
        return order.index(self) <= order.index(least)


@dataclass(frozen=True, slots=True)
class ClauseScore:
    """How near an answer is to one part of the question."""

    label: str
    weight: float
    score: float  # cosine


@dataclass(frozen=True, slots=True)
class Label:
    """The name of a sound, and how present it is in a stretch of audio."""

    name: str
    presence: float  # in [0, 1]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a hit is one."""

    window: TimeSpan  # embedded as a whole; the hit's span may be of several that overlap
    compared: str  # the vector that was: `plain`, `aspect NAME`, or `heard again`
    heard: tuple[Label, ...] = ()  # in the window; nothing, where the model names no sounds


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer: this stretch of this file, and how near it is to the question."""

    path: Path
    library: Path
    span: TimeSpan
    score: float  # cosine, in [-1, 1]
    silent: bool = False
    copies: tuple[Path, ...] = ()  # other paths with the same bytes, or the same sound
    content: Content | None = None
    place: Place | None = None
    verdict: Verdict | None = None
    probability: float | None = None  # that it is an answer, by which the verdict goes
    clauses: tuple[ClauseScore, ...] = ()  # where the question had several
    reembedded: bool = False  # under the question's instruction; its score is of that
    words_score: float | None = None  # BM25 of its names, tags and notes; None: not found by them
    explanation: Explanation | None = None  # where it is asked for


class Encoder(Protocol):
    """What turns words and sounds into vectors of one space.

    The two methods differ only in the instruction they use when none is given. `text` and `audio`
    are aligned: entry i of both makes one input, and `None` in one of them leaves that half out.
    The vectors don't depend on what else is in the call.
    """

    @property
    def fingerprint(self) -> str:
        """The identity of what makes the vectors: weights, prompt, numeric type."""
        ...

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    @property
    def device(self) -> str:
        """Where it runs, as torch names it: `cpu`, `cuda:0`."""
        ...

    @property
    def embedding_dim(self) -> int: ...

    @property
    def sampling_rate(self) -> int:
        """Of the waveforms it takes, in Hz."""
        ...

    @property
    def follows_instructions(self) -> bool:
        """Whether an instruction changes what a vector is about, of words and of sounds."""
        ...

    def encode_query(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings: ...

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings: ...


@runtime_checkable
class Labeller(Protocol):
    """An encoder that can name what it hears."""

    def labels(self, audio: Sequence[Waveform], most: int) -> list[tuple[Label, ...]]:
        """The most present sounds in each, most present first."""
        ...


@runtime_checkable
class BriefListener(Protocol):
    """An encoder that refuses longer sounds than so much."""

    @property
    def max_audio_s(self) -> float | None:
        """In seconds; None is no limit."""
        ...

"""The queries and documents of a set, as vectors: each once, in batches, and timed."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from alm2vec_search.domain import BriefListener
from alm2vec_search.errors import AudioError, EvaluationError
from trainer.hearing import hear

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from alm2vec_search.domain import Embeddings, Encoder, Waveform
    from trainer.pairs import AudioRef, Side

    Role = Literal["query", "document"]
    Progress = Callable[[int, int], None]  # how many inputs are done, and of how many

AT_A_TIME = 64  # inputs: so that not all sounds are in memory at once


@dataclass(slots=True)
class Clock:
    """Where the time went, in seconds, and how much sound there was."""

    audio_s: float = 0.0
    decode_s: float = 0.0
    encode_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Embedder:
    """Sides → vectors.

    Attributes:
        encoder: what is measured.
        max_audio_s: the most of a sound that is heard, from its start; the paper's own limit is
            30 s. None is all of it.
        plain: leave out the protocol's instructions, and let the model use its own. They are left
            out, too, where the encoder doesn't follow any.
        clock: is told where the time goes.
        unreadable: sounds that couldn't be decoded, and why.
        progress: is told how far it is.
    """

    encoder: Encoder
    max_audio_s: float | None = 30.0
    plain: bool = False
    clock: Clock = field(default_factory=Clock)
    unreadable: dict[AudioRef, str] = field(default_factory=dict)
    progress: Progress = lambda done, of: None

    def embed(self, sides: Sequence[Side], role: Role) -> tuple[Embeddings, NDArray[np.bool_]]:
        """Vectors of queries or of documents. Those that are equal are made once.

        Returns:
            unit vectors [n, dim], and which of them are there [n]: not those of sounds that can't
            be decoded, whose rows are zero.

        Raises:
            EvaluationError: a vector isn't finite.
        """
        sides = [self._asked(side) for side in sides]
        row_of: dict[Side, int] = {}
        for side in sides:
            row_of.setdefault(side, len(row_of))
        vectors = np.zeros((len(row_of), self.encoder.embedding_dim), dtype=np.float32)
        is_there = np.ones(len(row_of), dtype=bool)
        done = 0
        for instruction, members in _by_instruction(row_of).items():
            for start in range(0, len(members), AT_A_TIME):
                some = members[start : start + AT_A_TIME]
                heard = [self._hear(side.audio) for side, _ in some]
                there = [i for i, sound in enumerate(heard) if sound is not None]
                is_there[[row for _, row in some]] = False
                if there:
                    rows = [some[i][1] for i in there]
                    vectors[rows] = self._encode(
                        [some[i][0].text for i in there],
                        [heard[i] or None for i in there],
                        instruction,
                        role,
                    )
                    is_there[rows] = True
                done += len(some)
                self.progress(done, len(row_of))
        rows_of_all = [row_of[side] for side in sides]
        return vectors[rows_of_all], is_there[rows_of_all]

    @property
    def heard_s(self) -> float | None:
        """The most of a sound that is heard: no more than the encoder takes."""
        if not isinstance(self.encoder, BriefListener) or self.encoder.max_audio_s is None:
            return self.max_audio_s
        return min(self.encoder.max_audio_s, self.max_audio_s or self.encoder.max_audio_s)

    def _asked(self, side: Side) -> Side:
        if self.plain or not self.encoder.follows_instructions:
            return side.model_copy(update={"instruction": None})
        return side

    def _hear(self, ref: AudioRef | None) -> Waveform | Literal[False] | None:
        """False: there is no sound in this input. None: there is one, and it can't be decoded."""
        if ref is None:
            return False
        if ref in self.unreadable:
            return None
        started = time.perf_counter()
        try:
            sound = hear(ref, self.encoder.sampling_rate, self.heard_s, 0.0)
        except AudioError as error:
            self.unreadable[ref] = error.reason
            return None
        finally:
            self.clock.decode_s += time.perf_counter() - started
        self.clock.audio_s += sound.duration_s
        return sound

    def _encode(
        self,
        texts: list[str | None],
        sounds: list[Waveform | None],
        instruction: str | None,
        role: Role,
    ) -> Embeddings:
        encode = self.encoder.encode_query if role == "query" else self.encoder.encode_document
        started = time.perf_counter()
        vectors = encode(text=texts, audio=sounds, instruction=instruction)
        self.clock.encode_s += time.perf_counter() - started
        if not np.isfinite(vectors).all():
            raise EvaluationError(
                f"{self.encoder.name} gives vectors that aren't finite",
                hint="alm2vec model check says more of it; float32 may help: ALM2VEC_DTYPE=float32",
            )
        return vectors


def _by_instruction(row_of: Mapping[Side, int]) -> dict[str | None, list[tuple[Side, int]]]:
    """Those with a sound apart from those without, and by how long a text is: batches are even."""
    groups: dict[str | None, list[tuple[Side, int]]] = defaultdict(list)
    for side, row in sorted(row_of.items(), key=lambda item: _size(item[0])):
        groups[side.instruction].append((side, row))
    return groups


def _size(side: Side) -> tuple[bool, int]:
    return side.audio is not None, len(side.text or "")

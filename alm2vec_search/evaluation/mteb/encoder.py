"""Our encoders as mteb's: what is measured is the vectors alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.mteb.audio import our_decoders, waveform_of
from alm2vec_search.evaluation.mteb.tasks import Instructions, task_instruction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mteb import TaskMetadata
    from mteb.models import ModelMeta
    from mteb.types import Array, PromptType

    from alm2vec_search.domain import Embeddings, Encoder, Waveform

NOT_OURS = ("image", "video")


@dataclass(slots=True)
class Spent:
    """What measuring has taken until now."""

    audio_s: float = 0.0  # of sound that was embedded
    decode_s: float = 0.0
    encode_s: float = 0.0
    index_s: float = 0.0
    search_s: float = 0.0


class MtebEncoder:
    """Meets mteb's `EncoderProtocol` by one of our encoders.

    Queries are queries and documents are documents. Where mteb doesn't say which, as when it
    classifies, sounds are documents, and words by themselves are queries.

    Args:
        encoder: what makes the vectors.
        meta: how mteb is told of it.
        instructions: which instruction inputs are embedded under.
    """

    def __init__(
        self,
        encoder: Encoder,
        meta: ModelMeta,
        *,
        instructions: Instructions = Instructions.MODEL,
    ) -> None:
        self.encoder = encoder
        self.mteb_model_meta = meta
        if instructions is Instructions.TASK:
            self.mteb_model_meta = measured_as(meta, {"instructions": instructions.value})
        self.instructions = instructions
        self.spent = Spent()

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **_options: Any,
    ) -> Embeddings:
        """Batches of `text`, `audio` or both → float32 [n, dim].

        Raises:
            EvaluationError: an input is of another kind, or a sound can't be read.
            ModelError: the encoder can't take such an input.
        """
        name = task_metadata.name
        instruction = None
        if self.instructions is Instructions.TASK:
            instruction = task_instruction(task_metadata, prompt_type)
        role = None if prompt_type is None else str(prompt_type.value)
        with our_decoders():
            rows = [self._encode_batch(batch, name, instruction, role) for batch in inputs]
        if not rows:
            return np.empty((0, self.encoder.embedding_dim), dtype=np.float32)
        return np.concatenate(rows)  # [n, dim]

    def similarity(self, embeddings1: Array, embeddings2: Array) -> Array:
        """Cosines of all with all [n, m]."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Array, embeddings2: Array) -> Array:
        """Cosines of each with its own [n]."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)

    def _encode_batch(
        self, batch: Mapping[str, Any], task: str, instruction: str | None, role: str | None
    ) -> Embeddings:
        """[b, dim]"""
        if any(kind in batch for kind in NOT_OURS):
            raise EvaluationError(f"{task} has pictures in it: our models take words and sounds")
        sounds = self._waveforms(batch["audio"]) if "audio" in batch else None
        texts = list(batch["text"]) if "text" in batch else None
        if sounds is None and texts is None:
            raise EvaluationError(f"{task} has inputs that are neither words nor sounds")
        said = batch.get("instruction")
        if self.instructions is Instructions.MODEL or said is None or "query" not in batch:
            return self._vectors(texts, sounds, instruction, role)
        # Its queries bring instructions of their own; `text` is both in one.
        return self._under_their_own(list(batch["query"]), sounds, list(said), role)

    def _under_their_own(
        self,
        texts: Sequence[str],
        sounds: Sequence[Waveform | None] | None,
        said: Sequence[str],
        role: str | None,
    ) -> Embeddings:
        vectors = np.empty((len(texts), self.encoder.embedding_dim), dtype=np.float32)
        for instruction in dict.fromkeys(said):
            rows = [row for row, other in enumerate(said) if other == instruction]
            some = None if sounds is None else [sounds[row] for row in rows]
            vectors[rows] = self._vectors([texts[row] for row in rows], some, instruction, role)
        return vectors

    def _vectors(
        self,
        texts: Sequence[str | None] | None,
        sounds: Sequence[Waveform | None] | None,
        instruction: str | None,
        role: str | None,
    ) -> Embeddings:
        is_query = sounds is None if role is None else role == "query"
        encode = self.encoder.encode_query if is_query else self.encoder.encode_document
        started = time.perf_counter()
        vectors = encode(text=texts, audio=sounds, instruction=instruction)
        self.spent.encode_s += time.perf_counter() - started
        return vectors

    def _waveforms(self, sounds: Sequence[Mapping[str, Any] | None]) -> list[Waveform | None]:
        started = time.perf_counter()
        rate = self.encoder.sampling_rate
        waveforms = [None if sound is None else waveform_of(sound, rate) for sound in sounds]
        self.spent.decode_s += time.perf_counter() - started
        self.spent.audio_s += sum(sound.duration_s for sound in waveforms if sound is not None)
        return waveforms


def measured_as(meta: ModelMeta, way: Mapping[str, str]) -> ModelMeta:
    """The same model measured another way than by its vectors under its own instructions: mteb's
    cache keeps such results apart."""
    return meta.model_copy(update={"experiment_kwargs": dict(way)})

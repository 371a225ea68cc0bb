"""`ALM2VecEncoder`: words and sounds in, vectors out, as numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from alm2vec_search.errors import ModelError
from alm2vec_search.model.loading import explained, load_model
from alm2vec_search.model.processing_alm2vec import ALM2VecProcessor, ModelInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.domain import Embeddings, Waveform
    from alm2vec_search.model.hub import ModelFiles

DTYPES = ("float32", "bfloat16")


class ALM2VecEncoder:
    """Batched, without gradients, deterministic. Meets `alm2vec_search.domain.Encoder`.

    The audio encoder computes in `dtype`; everything after it in float32.

    Args:
        files: the model.
        dtype: `float32` or `bfloat16`.
        device: as torch names it.
        batch_size: inputs at a time. On a CPU more than about 8 is slower, not faster.

    Raises:
        ModelError: the model can't be loaded, or the device isn't there.
    """

    def __init__(
        self, files: ModelFiles, *, dtype: str, device: str = "cpu", batch_size: int = 8
    ) -> None:
        if dtype not in DTYPES:
            raise ModelError(
                f"{dtype} is no numeric type of ours", hint=f"use {' or '.join(DTYPES)}"
            )
        self.name = files.name
        self.fingerprint = files.fingerprint(dtype)
        self.embedding_dim = files.embedding_dim
        self.device = device
        self._batch_size = batch_size
        self._model = load_model(files, getattr(torch, dtype), device)
        self._config = self._model.config
        self.sampling_rate: int = self._model.audio_encoder.sampling_rate
        with explained(files):
            self._processor = ALM2VecProcessor.from_folder(
                files.folder, self._config, self._model.audio_projector.count_tokens
            )

    def encode_query(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        """Embed what is asked: text, audio or both, index-aligned → float32 [n, dim]."""
        return self._encode(text, audio, instruction, self._config.query_instruction)

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        """Embed what is searched: text, audio or both, index-aligned → float32 [n, dim]."""
        return self._encode(text, audio, instruction, self._config.document_instruction)

    def _encode(
        self,
        text: Sequence[str | None] | None,
        audio: Sequence[Waveform | None] | None,
        instruction: str | None,
        default_instruction: str,
    ) -> Embeddings:
        instruction = default_instruction if instruction is None else instruction
        inputs = [
            ModelInput(words, sound, instruction) for words, sound in self._align(text, audio)
        ]
        embeddings = np.empty((len(inputs), self.embedding_dim), dtype=np.float32)
        by_length = sorted(range(len(inputs)), key=lambda i: _length(inputs[i]))
        for start in range(0, len(inputs), self._batch_size):
            rows = by_length[start : start + self._batch_size]
            batch = self._processor([inputs[row] for row in rows])
            batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
            with torch.inference_mode():
                embeddings[rows] = self._model(**batch).cpu().numpy()
        return embeddings

    def _align(
        self, text: Sequence[str | None] | None, audio: Sequence[Waveform | None] | None
    ) -> list[tuple[str | None, Waveform | None]]:
        """Pair the two halves of each input.

        Raises:
            ValueError: there is neither, they differ in number, or a sound is empty or at another
                rate than the model's.
        """
        if text is None and audio is None:
            raise ValueError("give text, audio, or both")
        n = len(text if text is not None else audio if audio is not None else ())
        pairs = list(zip(text or [None] * n, audio or [None] * n, strict=True))
        for words, sound in pairs:
            if words is None and sound is None:
                raise ValueError("an input is text, audio, or both")
            if sound is not None and sound.sampling_rate != self.sampling_rate:
                raise ValueError(f"sound at {sound.sampling_rate} Hz, not {self.sampling_rate}")
            if sound is not None and not len(sound.samples):
                raise ValueError("a sound without samples")
        return pairs


def _length(item: ModelInput) -> tuple[int, int]:
    """What inputs are sorted by, so that a batch holds little padding."""
    return (len(item.audio.samples) if item.audio else 0, len(item.text or ""))

"""`ALM2VecEncoder`: words and sounds in, vectors out, as numpy."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

from alm2vec_search.domain import Label
from alm2vec_search.errors import ModelError
from alm2vec_search.model.batched import BatchedModel
from alm2vec_search.model.hardware import require_device
from alm2vec_search.model.loading import explained, load_model, room_on
from alm2vec_search.model.processing_alm2vec import ALM2VecProcessor, ModelInput
from alm2vec_search.model.projector import SoftWordProjector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.domain import Embeddings, Waveform
    from alm2vec_search.model.hub import ModelFiles

DTYPES = ("float32", "bfloat16")

log = logging.getLogger(__name__)


class ALM2VecEncoder:
    """Batched, without gradients, deterministic. Meets `alm2vec_search.domain.Encoder`.

    Args:
        files: the model.
        dtype: `float32` or `bfloat16`, of what the model's config lets compute in it (`reduced`).
        device: as torch names it.
        batch_size: inputs at a time, at most; None is what suits the device.

    Raises:
        ModelError: the model can't be loaded, or the device isn't there.
    """

    follows_instructions = True

    def __init__(
        self, files: ModelFiles, *, dtype: str, device: str = "cpu", batch_size: int | None = None
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
            processor = ALM2VecProcessor.from_folder(
                files.tokenizer_folder, self._config, self._model.count_audio_tokens
            )
        self._batched = BatchedModel(self._model, processor, batch_size)

    def encode_query(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        """Embed what is asked: text, audio or both, index-aligned → float32 [n, dim]."""
        if instruction is None:
            instruction = self.default_instruction("query")
        return normalised(self.project(text, audio, instruction))

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        """Embed what is searched: text, audio or both, index-aligned → float32 [n, dim]."""
        if instruction is None:
            instruction = self.default_instruction("document")
        return normalised(self.project(text, audio, instruction))

    def project(
        self,
        text: Sequence[str | None] | None,
        audio: Sequence[Waveform | None] | None,
        instruction: str,
    ) -> Embeddings:
        """As the two above, but the vectors as long as the model makes them: float32 [n, dim]."""
        pairs = aligned(text, audio, self.sampling_rate)
        self._say_what_is_not_heard([sound for _, sound in pairs if sound is not None])
        return self._batched.project(
            [ModelInput(words, sound, instruction) for words, sound in pairs]
        )

    @torch.inference_mode()
    def labels(self, audio: Sequence[Waveform], most: int) -> list[tuple[Label, ...]]:
        """The most present of the sounds that the model has names for, in each; none, where what it
        hears isn't named. Meets `alm2vec_search.domain.Labeller`."""
        if not isinstance(self._model.audio_projector, SoftWordProjector):
            return [()] * len(audio)
        names = self._config.id2label
        heard = self._batched.hear(audio)
        strongest = [heard[place].values[0].float().topk(most) for place in range(len(audio))]
        return [
            tuple(
                Label(names[number], presence)
                for presence, number in zip(values.tolist(), numbers.tolist(), strict=True)
            )
            for values, numbers in strongest
        ]

    def default_instruction(self, task: str) -> str:
        """What is used where none is given, for a `query` or a `document`."""
        return str(getattr(self._config, f"{task}_instruction"))

    def move(self, device: str) -> None:
        """Take the model to another device.

        Raises:
            ModelError: the device isn't there, or has no room.
        """
        require_device(device)
        with room_on(device):
            self._model.to(device)
        self._batched = BatchedModel(self._model, self._batched.processor, self._batch_size)
        self.device = device

    def _say_what_is_not_heard(self, sounds: Sequence[Waveform]) -> None:
        heard = self._batched.processor.num_samples
        cut = sum(len(sound.samples) > heard(sound) for sound in sounds)
        if cut:
            most = self._config.max_audio_s
            log.warning("%s hears %g s of a sound: %d were longer", self.name, most, cut)


def aligned(
    text: Sequence[str | None] | None, audio: Sequence[Waveform | None] | None, sampling_rate: int
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
        if sound is not None and sound.sampling_rate != sampling_rate:
            raise ValueError(f"sound at {sound.sampling_rate} Hz, not {sampling_rate}")
        if sound is not None and not len(sound.samples):
            raise ValueError("a sound without samples")
    return pairs


def normalised(vectors: Embeddings) -> Embeddings:
    """Rows [n, dim] of length 1."""
    unit: Embeddings = F.normalize(torch.from_numpy(vectors), dim=-1).numpy()
    return unit

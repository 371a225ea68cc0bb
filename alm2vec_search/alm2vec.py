"""The model by the signature that its authors publish, for those who know it from there.

from alm2vec_search.alm2vec import ALM2Vec

model = ALM2Vec.from_pretrained("cara-ai/ALM2Vec-FT", device="cuda")
queries = model.encode(text=["a dog barks"], task="query")
documents = model.encode(audio=["dog.wav", "rain.flac"], task="document")
queries @ documents.T
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from alm2vec_search.audio import decode
from alm2vec_search.domain import Waveform
from alm2vec_search.errors import ModelError
from alm2vec_search.settings import load_settings
from alm2vec_search.wiring import encoder_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from alm2vec_search.model.encoder import ALM2VecEncoder

    Audio = str | Path | Waveform

TASKS = ("query", "document")


class ALM2Vec:
    """An encoder with the published `encode`, of any ALM2Vec model that our commands take."""

    def __init__(self, encoder: ALM2VecEncoder) -> None:
        self.encoder = encoder

    @classmethod
    def from_pretrained(
        cls, name: str, *, device: str | None = None, dtype: str | None = None
    ) -> ALM2Vec:
        """Load a model that is on this machine; `alm2vec model pull` fetches one.

        Args:
            name: as `--model` takes it.
            device: as torch names it; by default a GPU for a large model, if there is one.
            dtype: `float32` or `bfloat16`; by default what is quickest there.

        Raises:
            ModelError: there is no such model, or it can't be loaded.
        """
        from alm2vec_search.model.encoder import ALM2VecEncoder

        encoder = encoder_spec(load_settings(model=name, device=device, dtype=dtype)).build()
        if not isinstance(encoder, ALM2VecEncoder):
            raise ModelError(f"{name} is not an ALM2Vec model")
        return cls(encoder)

    def encode(
        self,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Audio | None] | None = None,
        task: Literal["query", "document"] = "query",
        instruction: str | None = None,
        normalize: bool = True,
        device: str | None = None,
    ) -> Tensor:
        """Embed texts, sounds, or both in one input where both lists have something.

        Args:
            text: what is said, index-aligned with `audio`.
            audio: files of any format, or sounds in memory.
            task: chooses the instruction where none is given, and does nothing else.
            instruction: the task in words; an empty one is none at all.
            normalize: whether vectors have length 1.
            device: where to move the model first; None leaves it where it is.

        Returns:
            float32 [n, dim], on the CPU.

        Raises:
            AudioError: a file can't be read.
            ModelError: the device isn't there.
            ValueError: there is neither text nor audio, they differ in number, or there is no such
                task.
        """
        import torch

        if task not in TASKS:
            raise ValueError(f"task is one of {', '.join(TASKS)}, not {task!r}")
        if device is not None:
            self.encoder.move(device)
        if instruction is None:
            instruction = self.encoder.default_instruction(task)
        sounds = None if audio is None else [self._load(sound) for sound in audio]
        vectors = torch.from_numpy(self.encoder.project(text, sounds, instruction))
        return torch.nn.functional.normalize(vectors, dim=-1) if normalize else vectors

    def _load(self, sound: Audio | None) -> Waveform | None:
        if sound is None or isinstance(sound, Waveform):
            return sound
        return decode(Path(sound), self.encoder.sampling_rate)

"""A model run in batches: each half in as many inputs at a time as suit it and the device."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from alm2vec_search.errors import ModelError, one_line
from alm2vec_search.model.batching import Budget, batches
from alm2vec_search.model.modeling_alm2vec import HeardAudio
from alm2vec_search.model.processing_alm2vec import Frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alm2vec_search.domain import Embeddings, Waveform
    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
    from alm2vec_search.model.processing_alm2vec import ALM2VecProcessor, ModelInput

# Of the audio encoder, in samples, and of the language model, in tokens. On a CPU more than about 8
# inputs at a time are slower, not faster.
CPU_BUDGETS = (Budget(rows=8, tokens=1 << 40), Budget(rows=8, tokens=1 << 40))
GPU_BUDGETS = (
    Budget(rows=64, tokens=64 * 160_000, free=8 * 160_000),
    Budget(rows=512, tokens=16_384, free=1_024),
)

log = logging.getLogger(__name__)


class BatchedModel:
    """A model with its processor, without gradients: inputs → vectors.

    The audio encoder runs over all sounds first, and then the language model over all sequences. A
    device that runs out of memory is given half as much at once, and so on.

    Args:
        model: on its device, in eval mode.
        processor: of the same model.
        batch_size: inputs at a time, at most; None is what suits the device.
    """

    def __init__(
        self, model: ALM2VecModel, processor: ALM2VecProcessor, batch_size: int | None = None
    ) -> None:
        self.model = model
        self.processor = processor
        self.audio_budget, self.text_budget = budgets(model.device.type, batch_size)

    @torch.inference_mode()
    def project(self, inputs: Sequence[ModelInput]) -> Embeddings:
        """Embed: float32 [n, dim], as long as the model makes them."""
        return self.read(inputs, self.hear([item.audio for item in inputs]))

    @torch.inference_mode()
    def hear(self, sounds: Sequence[Waveform | Frames | None]) -> dict[int, HeardAudio]:
        """The audio encoder's half: what is heard in each sound, by its input's place."""
        heard: dict[int, HeardAudio] = {}
        clips: list[Waveform] = []
        places: list[int] = []
        for place, sound in enumerate(sounds):
            if isinstance(sound, Frames):
                heard[place] = self._heard_before(sound)
            elif sound is not None:
                clips.append(sound)
                places.append(place)

        def run(batch: list[int]) -> None:
            audio = self.processor.stack([clips[row] for row in batch])
            audio = {name: tensor.to(self.model.device) for name, tensor in audio.items()}
            new = self.model.embed_audio(audio["waveforms"], audio["waveform_lengths"])
            heard.update(zip([places[row] for row in batch], new.each(), strict=True))

        for batch in batches(list(map(self.processor.num_samples, clips)), self.audio_budget):
            self.audio_budget = in_room(batch, run, self.audio_budget)
        return {place: heard[place] for place in sorted(heard)}

    def _heard_before(self, sound: Frames) -> HeardAudio:
        frames = sound.values.to(self.model.device).float().unsqueeze(0)  # [1, T, D]
        return self.model.embed_frames(
            frames, torch.tensor([frames.shape[1]], device=frames.device)
        )

    @torch.inference_mode()
    def read(self, inputs: Sequence[ModelInput], heard: dict[int, HeardAudio]) -> Embeddings:
        """The language model's half: inputs with what was heard of them → float32 [n, dim]."""
        audio = HeardAudio.joined(list(heard.values()))
        counts = dict(zip(heard, audio.counts.tolist() if audio else (), strict=True))
        sequences = [
            self.processor.write(item, counts.get(row, 0)) for row, item in enumerate(inputs)
        ]
        vectors = np.empty((len(inputs), self.model.config.output_dim), dtype=np.float32)

        def run(batch: list[int]) -> None:
            tensors = self.processor.pad([sequences[row] for row in batch])
            tensors = {name: tensor.to(self.model.device) for name, tensor in tensors.items()}
            audio = HeardAudio.joined([heard[row] for row in batch if row in heard])
            vectors[batch] = self.model.embed_sequences(**tensors, audio=audio).cpu().numpy()

        for batch in batches([len(sequence) for sequence in sequences], self.text_budget):
            self.text_budget = in_room(batch, run, self.text_budget)
        return vectors


def budgets(device_type: str, batch_size: int | None) -> tuple[Budget, Budget]:
    """What is computed at once on a device, of sound (in samples) and of sequences (in tokens)."""
    audio, text = CPU_BUDGETS if device_type == "cpu" else GPU_BUDGETS
    if batch_size is None:
        return audio, text
    return replace(audio, rows=batch_size), replace(text, rows=batch_size)


def in_room(batch: list[int], run: Callable[[list[int]], None], budget: Budget) -> Budget:
    """Run a batch, in halves and halves of these where the device has no room for it.

    Returns:
        what the device has room for, as far as is known now.

    Raises:
        ModelError: it has no room for a single input.
    """
    waiting = [batch]
    while waiting:
        part = waiting.pop()
        if (error := _out_of_memory(run, part)) is None:
            continue
        if len(part) == 1:
            raise ModelError(
                f"the device has no room for one input: {one_line(error)}",
                hint="use shorter windows, --dtype bfloat16, or --device cpu",
            ) from error
        budget = replace(budget, rows=len(part)).halved()
        log.warning("out of memory: from now on %d inputs at a time, at most", budget.rows)
        waiting += [part[len(part) // 2 :], part[: len(part) // 2]]
    return budget


def _out_of_memory(run: Callable[[list[int]], None], part: list[int]) -> Exception | None:
    """Run it; what the device said, where it ran out of memory, with nothing held any more."""
    try:
        run(part)
    except torch.OutOfMemoryError as error:
        said = torch.OutOfMemoryError(str(error))  # without the frames that hold what was made
    else:
        return None
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return said

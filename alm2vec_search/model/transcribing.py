"""`Transcriber`: speech → words, by a model of the Whisper family. Greedy, so without chance."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from alm2vec_search.errors import ModelError
from alm2vec_search.model.hardware import require_device
from alm2vec_search.model.loading import explained, room_on, without_talk
from alm2vec_search.model.strict_loading import fitting_weights, refuse_pickles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from alm2vec_search.domain import Samples, Waveform

CUT_WITHIN = 1 / 6  # of a window, its last part: 5 of 30 s have a pause of speech, mostly
PAUSE_S = 0.1  # how long a moment is, of which the quietest is cut through
GPU_BATCH = 8


class Transcriber:
    """Greedy, without gradients. What longer sounds say is put together from windows.

    A word's score hangs on the shape of the batch by a rounding error, and one other word can
    change all that follow. So all batches have one shape: one that isn't full is filled up.

    Args:
        folder: the model, as transformers writes it.
        dtype: of the weights and of the arithmetic.
        device: as torch names it.
        batch_size: windows at a time; None is 1 on a CPU, and else 8.

    Raises:
        ModelError: the model can't be loaded, or the device isn't there.
    """

    def __init__(
        self, folder: Path, *, dtype: torch.dtype, device: str, batch_size: int | None = None
    ) -> None:
        from transformers import AutoModelForSpeechSeq2Seq, AutoProcessor

        require_device(device)
        refuse_pickles(folder)
        files: Any = SimpleNamespace(folder=folder)
        theirs: Any = {"local_files_only": True, "trust_remote_code": False}
        with explained(files), fitting_weights(folder):
            self._processor = AutoProcessor.from_pretrained(folder, **theirs)
            self._model = AutoModelForSpeechSeq2Seq.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, **theirs
            ).eval()
        extractor: Any = getattr(self._processor, "feature_extractor", None)
        if not getattr(extractor, "n_samples", None):
            raise ModelError(f"the model in {folder} doesn't say how much it hears at a time")
        self.sampling_rate = int(extractor.sampling_rate)
        self._longest = int(extractor.n_samples)
        self._dtype, self._device = dtype, device
        self._batch_size = batch_size or (1 if device == "cpu" else GPU_BATCH)
        with room_on(device):
            self._model.to(device)

    def transcribe(self, sounds: Sequence[Waveform]) -> list[str]:
        """What is said in each; an empty text where nothing is. At the model's sampling rate."""
        pieces = [
            (row, piece)
            for row, sound in enumerate(sounds)
            for piece in windows(sound.samples, self._longest, self.sampling_rate)
        ]
        said: list[list[str]] = [[] for _ in sounds]
        for start in range(0, len(pieces), self._batch_size):
            batch = pieces[start : start + self._batch_size]
            words = self._hear([piece for _, piece in batch])
            for (row, _), heard in zip(batch, words, strict=True):
                said[row].append(heard)
        return [" ".join(filter(None, parts)) for parts in said]

    @torch.inference_mode()
    def _hear(self, windows: list[Samples]) -> list[str]:
        filled = windows + windows[-1:] * (self._batch_size - len(windows))
        heard = self._processor.feature_extractor(
            filled,
            sampling_rate=self.sampling_rate,
            return_attention_mask=True,
            return_tensors="pt",
        ).to(self._device)
        settings = self._model.generation_config
        multilingual = getattr(settings, "is_multilingual", False)  # else there is but one task
        with without_talk():
            ids = self._model.generate(
                heard.input_features.to(self._dtype),  # [B, mel, T]
                attention_mask=heard.attention_mask,  # [B, T]
                do_sample=False,
                num_beams=1,
                return_timestamps=False,
                **({"task": "transcribe"} if multilingual else {}),
            )
        texts = self._processor.batch_decode(ids, skip_special_tokens=True)
        return [text.strip() for text in texts[: len(windows)]]


def windows(samples: Samples, longest: int, sampling_rate: int) -> Iterator[Samples]:
    """Cut a sound [n] into windows of `longest` samples at most, where it is quietest.

    A window ends in the middle of the quietest tenth of a second of its last sixth; of several, the
    last.
    """
    within = max(1, round(CUT_WITHIN * longest))
    moment = max(1, min(round(PAUSE_S * sampling_rate), within))
    n_moments = within // moment
    while len(samples) > longest:
        late = samples[longest - n_moments * moment : longest].reshape(n_moments, moment)
        power = np.square(late, dtype=np.float64).sum(axis=1)
        after = int(np.argmin(power[::-1]))  # moments between the quietest and the window's end
        cut = longest - after * moment - (moment + 1) // 2
        yield samples[:cut]
        samples = samples[cut:]
    yield samples

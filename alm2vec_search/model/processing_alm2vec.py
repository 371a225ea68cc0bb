"""How an input is written down for the model: instruction, audio and text as one sequence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from alm2vec_search.domain import Waveform
    from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig

SLOT = re.compile(r"(\{instruction\}|\{audio\}|\{text\})")


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One input: text, audio, or both, under an instruction (which may be empty)."""

    text: str | None
    audio: Waveform | None
    instruction: str


class ALM2VecProcessor:
    """Inputs → tensors of `ALM2VecModel.forward`. The prompt's layout comes from the config.

    What a user writes is never read as a special token: `"[SEP]"` in a query is five characters.
    Nor does it ever stand for audio, whatever the tokenizer makes of the audio token's name.

    Args:
        tokenizer: of the language model.
        config: of the model.
        count_audio_tokens: samples of each clip [A] → tokens that stand for it [A].
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: ALM2VecConfig,
        count_audio_tokens: Callable[[Tensor], Tensor],
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self.config = config
        self.count_audio_tokens = count_audio_tokens
        self.audio_id = self._special_id(config.audio_token)
        if config.audio_token_id not in (None, self.audio_id):
            raise ValueError(
                f"{config.audio_token!r} is token {self.audio_id} of the tokenizer, and "
                f"{config.audio_token_id} of the config"
            )
        self.pad_id = int(getattr(config.text_config, "pad_token_id", None) or 0)
        self.layout = [part for part in SLOT.split(config.prompt) if part]
        self.written = {
            part: self._spell(part)
            for part in (*self.layout, config.audio_begin, config.audio_end)
            if not SLOT.fullmatch(part)
        }

    @classmethod
    def from_folder(
        cls, folder: Path, config: ALM2VecConfig, count_audio_tokens: Callable[[Tensor], Tensor]
    ) -> ALM2VecProcessor:
        """With the tokenizer of a model's folder."""
        return cls(load_tokenizer(folder), config, count_audio_tokens)

    def __call__(self, inputs: Sequence[ModelInput]) -> dict[str, Tensor]:
        """One batch, padded on the right: the arguments of `ALM2VecModel.forward`."""
        clips = [i.audio for i in inputs if i.audio is not None]
        audio = self.stack(clips)
        counts = iter(self.count_audio_tokens(audio["waveform_lengths"]).tolist())
        sequences = [self.write(i, 0 if i.audio is None else next(counts)) for i in inputs]
        batch = self.pad(sequences)
        if not clips:
            del batch["audio_mask"]
            return batch
        return batch | audio

    def stack(self, clips: Sequence[Waveform]) -> dict[str, Tensor]:
        """Clips → `waveforms` float32 [A, N], padded on the right, and `waveform_lengths` [A]."""
        lengths = torch.tensor([self.num_samples(clip) for clip in clips], dtype=torch.int64)  # [A]
        longest = int(lengths.max()) if clips else 0
        waveforms = np.zeros((len(clips), longest), dtype=np.float32)  # [A, N]
        for row, (clip, n) in enumerate(zip(clips, lengths.tolist(), strict=True)):
            waveforms[row, :n] = clip.samples[:n]
        return {"waveforms": torch.from_numpy(waveforms), "waveform_lengths": lengths}

    def num_samples(self, clip: Waveform) -> int:
        """How much of a clip is heard: all of it, or as much as the config says at most."""
        n_samples = len(clip.samples)
        if self.config.max_audio_s is None:
            return n_samples
        return min(n_samples, round(self.config.max_audio_s * clip.sampling_rate))

    def pad(self, sequences: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Token ids of each input → `input_ids`, `attention_mask` and `audio_mask`, each [B, L]."""
        longest = max(map(len, sequences))
        input_ids = torch.full((len(sequences), longest), self.pad_id)
        attention_mask = torch.zeros_like(input_ids)
        for row, sequence in enumerate(sequences):
            input_ids[row, : len(sequence)] = torch.tensor(sequence)
            attention_mask[row, : len(sequence)] = 1
        audio_mask = (input_ids == self.audio_id) & attention_mask.bool()
        return {"input_ids": input_ids, "attention_mask": attention_mask, "audio_mask": audio_mask}

    def write(self, item: ModelInput, num_audio_tokens: int) -> list[int]:
        """The token ids of one input. Text that doesn't fit is cut; nothing else is."""
        audio: list[int] = []
        if num_audio_tokens:
            audio = [
                *self.written.get(self.config.audio_begin, []),
                *[self.audio_id] * num_audio_tokens,
                *self.written.get(self.config.audio_end, []),
            ]
        instruction = self._read(item.instruction)
        fixed = len(audio) + sum(len(self.written.get(part, [])) for part in self.layout)
        instruction = instruction[: max(0, self.config.max_tokens - fixed)]
        text = self._read(item.text or "")
        text = text[: max(0, self.config.max_tokens - fixed - len(instruction))]
        slots = {"{instruction}": instruction, "{audio}": audio, "{text}": text}
        return [
            token
            for part in self.layout
            for token in (slots[part] if part in slots else self.written[part])
        ]

    def _read(self, text: str) -> list[int]:
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [token for token in ids if token != self.audio_id]

    def _spell(self, part: str) -> list[int]:
        """A literal of the prompt, with its special tokens read as such."""
        self.tokenizer.encode_special_tokens = False
        try:
            return self._read(part)
        finally:
            self.tokenizer.encode_special_tokens = True

    def _special_id(self, token: str) -> int:
        token_id = self.tokenizer.token_to_id(token)
        if token_id is None:
            raise ValueError(f"the tokenizer has no token {token!r}")
        return int(token_id)


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model's folder: `tokenizer.json`, or what Qwen's was made from.

    Raises:
        Exception: whatever tokenizers or transformers say of damaged files.
    """
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    from transformers import Qwen2Tokenizer

    tokenizer: Tokenizer = Qwen2Tokenizer.from_pretrained(folder).backend_tokenizer
    return tokenizer

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
        """With the `tokenizer.json` of a model's folder."""
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return cls(tokenizer, config, count_audio_tokens)

    def __call__(self, inputs: Sequence[ModelInput]) -> dict[str, Tensor]:
        """One batch, padded on the right: the arguments of `ALM2VecModel.forward`."""
        clips = [i.audio for i in inputs if i.audio is not None]
        lengths = torch.tensor([len(clip.samples) for clip in clips], dtype=torch.int64)  # [A]
        counts = iter(self.count_audio_tokens(lengths).tolist())
        sequences = [self.write(i, 0 if i.audio is None else next(counts)) for i in inputs]
        longest = max(map(len, sequences))
        input_ids = torch.full((len(inputs), longest), self.pad_id)
        attention_mask = torch.zeros_like(input_ids)
        for row, sequence in enumerate(sequences):
            input_ids[row, : len(sequence)] = torch.tensor(sequence)
            attention_mask[row, : len(sequence)] = 1
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        if clips:
            waveforms = np.zeros((len(clips), int(lengths.max())), dtype=np.float32)  # [A, N]
            for row, clip in enumerate(clips):
                waveforms[row, : len(clip.samples)] = clip.samples
            batch |= {
                "audio_mask": (input_ids == self.audio_id) & attention_mask.bool(),
                "waveforms": torch.from_numpy(waveforms),
                "waveform_lengths": lengths,
            }
        return batch

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

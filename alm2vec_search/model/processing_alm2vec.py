"""How an input is written down for the model: instruction, audio and text as one sequence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from tokenizers import Tokenizer

from alm2vec_search.domain import Waveform

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig

SLOT = re.compile(r"(\{instruction\}|\{audio\}|\{text\})")


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """A sound as the audio encoder heard it before."""

    values: Tensor  # float32 [T, D]


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One input: text, audio, or both, under an instruction (which may be empty)."""

    text: str | None
    audio: Waveform | Frames | None
    instruction: str


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One input as token ids, and where in it the instruction is, and the text."""

    ids: list[int]
    instruction: range
    text: range

    def __len__(self) -> int:
        return len(self.ids)


class ALM2VecProcessor:
    """Inputs → tensors of `ALM2VecModel.forward`. The prompt's layout comes from the config.

    What a user writes is never read as a special token: `"[SEP]"` in a query is five characters.
    Nor does it ever stand for audio, whatever the tokenizer makes of the audio token's name.

    Args:
        tokenizer: of the language model.
        config: of the model.
        count_audio_tokens: samples of each clip [A] → tokens that stand for it [A].
        count_frame_tokens: frames of each clip [A] → the same; needed for `Frames` only.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: ALM2VecConfig,
        count_audio_tokens: Callable[[Tensor], Tensor],
        count_frame_tokens: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        self.tokenizer = tokenizer
        self.config = config
        self.count_audio_tokens = count_audio_tokens
        self.count_frame_tokens = count_frame_tokens
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
        """One batch, padded on the right: the arguments of `ALM2VecModel.forward`.

        Raises:
            ValueError: some sounds are waveforms and others frames, or frames can't be counted.
        """
        waveforms = [i.audio for i in inputs if isinstance(i.audio, Waveform)]
        frames = [i.audio for i in inputs if isinstance(i.audio, Frames)]
        if waveforms and frames:
            raise ValueError("the sounds of one batch are either waveforms or frames, not both")
        if frames:
            if self.count_frame_tokens is None:
                raise ValueError("frames, and nothing to count their tokens with")
            audio = self.stack_frames(frames)
            counts = iter(self.count_frame_tokens(audio["frame_lengths"]).tolist())
        else:
            audio = self.stack(waveforms)
            counts = iter(self.count_audio_tokens(audio["waveform_lengths"]).tolist())
        batch = self.pad([self.write(i, 0 if i.audio is None else next(counts)) for i in inputs])
        if not (waveforms or frames):
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

    @staticmethod
    def stack_frames(clips: Sequence[Frames]) -> dict[str, Tensor]:
        """Clips → `frames` float32 [A, T, D], padded on the right, and `frame_lengths` [A]."""
        lengths = torch.tensor([len(clip.values) for clip in clips], dtype=torch.int64)  # [A]
        padded = torch.nn.utils.rnn.pad_sequence([c.values for c in clips], batch_first=True)
        return {"frames": padded.float(), "frame_lengths": lengths}

    def num_samples(self, clip: Waveform) -> int:
        """How much of a clip is heard: all of it, or as much as the config says at most."""
        n_samples = len(clip.samples)
        if self.config.max_audio_s is None:
            return n_samples
        return min(n_samples, round(self.config.max_audio_s * clip.sampling_rate))

    def pad(self, sequences: Sequence[TokenSequence]) -> dict[str, Tensor]:
        """Inputs → `input_ids`, `attention_mask`, and the masks of their parts, each [B, L]."""
        longest = max(map(len, sequences))
        input_ids = torch.full((len(sequences), longest), self.pad_id)
        attention_mask = torch.zeros_like(input_ids)
        instruction_mask = torch.zeros_like(input_ids, dtype=torch.bool)
        text_mask = torch.zeros_like(instruction_mask)
        for row, sequence in enumerate(sequences):
            input_ids[row, : len(sequence)] = torch.tensor(sequence.ids)
            attention_mask[row, : len(sequence)] = 1
            instruction_mask[row, sequence.instruction] = True
            text_mask[row, sequence.text] = True
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "audio_mask": (input_ids == self.audio_id) & attention_mask.bool(),
            "instruction_mask": instruction_mask,
            "text_mask": text_mask,
        }

    def write(self, item: ModelInput, num_audio_tokens: int) -> TokenSequence:
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
        ids: list[int] = []
        places = dict.fromkeys(slots, range(0))
        for part in self.layout:
            tokens = slots[part] if part in slots else self.written[part]
            if part in slots:
                places[part] = range(len(ids), len(ids) + len(tokens))
            ids += tokens
        return TokenSequence(ids, places["{instruction}"], places["{text}"])

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

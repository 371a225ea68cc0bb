"""ALM2Vec: one model that turns text, audio, or both into one vector (arXiv 2606.30682).

frozen audio encoder → projector → language model → pooling → projection → L2 norm. The published
7 B model and the small one that ships here are this class with different configurations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)
from transformers import AutoModel, PreTrainedModel

from alm2vec_search.model import modeling_dasheng as dasheng
from alm2vec_search.model import modeling_yamnet as yamnet
from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.projector import Questions, build_projector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


FLOAT32_PARTS = ("audio_encoder.init_bn", "projection")  # whatever the rest computes in


class ALM2VecModel(PreTrainedModel):  # type: ignore[misc]
    """Inputs as `ALM2VecProcessor` writes them → embeddings float32 [B, dim], L2-normalised.

    `forward` is the whole of it. Its two halves, `embed_audio` and `embed_sequences`, can be called
    one after the other, each with as many inputs at a time as suit it.
    """

    config: ALM2VecConfig
    config_class = ALM2VecConfig
    base_model_prefix = "alm2vec"
    _supports_sdpa = True
    _keep_in_fp32_modules_strict = FLOAT32_PARTS

    def __init__(self, config: ALM2VecConfig) -> None:
        super().__init__(config)
        self.audio_encoder = build_audio_encoder(config.audio_config)
        self.audio_projector = build_projector(
            config.projector_config, self.audio_encoder.hidden_size, config.hidden_size
        )
        self.language_model: PreTrainedModel = build_language_model(config)
        self.projection: nn.Module = nn.Identity()
        if config.embedding_dim is not None:
            self.projection = nn.Linear(
                config.hidden_size, config.embedding_dim, bias=config.projection_bias
            )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, yamnet.LogMel | dasheng.LogMel):
            module.reset_buffers()
        elif not any(part is module for part in self.audio_encoder.modules()):
            super()._init_weights(module)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        audio_mask: Tensor | None = None,
        instruction_mask: Tensor | None = None,
        text_mask: Tensor | None = None,
        waveforms: Tensor | None = None,
        waveform_lengths: Tensor | None = None,
        frames: Tensor | None = None,
        frame_lengths: Tensor | None = None,
    ) -> Tensor:
        """Embed a batch. The sounds come as waveforms, or as what the encoder made of them before.

        Args:
            input_ids: int64 [B, L].
            attention_mask: int64 [B, L], 0 for padding, on either side.
            audio_mask: bool [B, L], where the tokens that stand for audio are.
            instruction_mask: bool [B, L], where the instruction is.
            text_mask: bool [B, L], where the text is.
            waveforms: float32 [A, N], the clips of those inputs that have one, in order.
            waveform_lengths: int64 [A], samples of each.
            frames: float32 [A, T, D], in place of waveforms.
            frame_lengths: int64 [A], frames of each.

        Returns:
            float32 [B, dim], each row of length 1.
        """
        audio: HeardAudio | None = None
        if waveforms is not None and waveform_lengths is not None:
            audio = self.embed_audio(waveforms, waveform_lengths)
        elif frames is not None and frame_lengths is not None:
            audio = self.embed_frames(frames, frame_lengths)
        vectors = self.embed_sequences(
            input_ids, attention_mask, audio_mask, instruction_mask, text_mask, audio
        )
        return F.normalize(vectors, dim=-1)

    def embed_audio(self, waveforms: Tensor, lengths: Tensor) -> HeardAudio:
        """Clips [A, N] of so many samples [A] → what is heard in them."""
        frames, mask = self.audio_encoder(waveforms, lengths)
        return self._hear(frames, mask, self.count_audio_tokens(lengths))

    def embed_frames(self, frames: Tensor, lengths: Tensor) -> HeardAudio:
        """Frames [A, T, D] of clips of so many frames [A] → what is heard in them."""
        mask = torch.arange(frames.shape[1], device=lengths.device) < lengths[:, None]  # [A, T]
        return self._hear(frames, mask, self.count_frame_tokens(lengths))

    def _hear(self, frames: Tensor, mask: Tensor, counts: Tensor) -> HeardAudio:
        projector_dtype = next(self.audio_projector.parameters()).dtype
        heard = self.audio_projector.hear(frames.to(projector_dtype), mask)  # [A, R, X]
        if self.audio_projector.reads_questions:
            return HeardAudio(heard.flatten(0, 1), torch.ones_like(counts), counts)
        written = torch.arange(heard.shape[1], device=counts.device) < counts[:, None]  # [A, R]
        return HeardAudio(heard[written], counts, counts)

    def embed_sequences(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        audio_mask: Tensor | None = None,
        instruction_mask: Tensor | None = None,
        text_mask: Tensor | None = None,
        audio: HeardAudio | None = None,
    ) -> Tensor:
        """Sequences [B, L], with the audio that they hold in order → float32 [B, dim], as long as
        the model makes them.

        An instruction is read, but in a mean over the tokens it doesn't count: what it asks for
        does (INSTRUCTOR, Su et al. 2023, section 2.1).
        """
        inputs_embeds = self.language_model.get_input_embeddings()(input_ids)  # [B, L, H]
        weights = attention_mask.to(torch.float32)  # [B, L]
        if instruction_mask is not None:
            weights = weights * ~instruction_mask
        if audio is not None and audio_mask is not None:
            questions: Questions | None = None
            if self.audio_projector.reads_questions:
                asked = _either(instruction_mask, text_mask)
                questions = self._read_questions(inputs_embeds, attention_mask, audio_mask, asked)
            embeddings, audio_weights = self.audio_projector.say(audio.values, questions)
            inputs_embeds = inputs_embeds.masked_scatter(
                audio_mask.unsqueeze(-1), embeddings.to(inputs_embeds.dtype)
            )
            weights = weights.masked_scatter(audio_mask, audio_weights.float())
            attention_mask = attention_mask * ((weights > 0) | ~audio_mask)
        pooled = self._pool(inputs_embeds, attention_mask, weights)  # [B, H]
        projected: Tensor = self.projection(pooled.float())
        return projected

    @torch.no_grad()
    def _read_questions(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor,
        audio_mask: Tensor,
        asked: Tensor | None,
    ) -> Questions | None:
        """What is asked about the sounds of sequences [B, L]: those sequences without their sound,
        as the language model reads them. None where nothing is."""
        rows = audio_mask.any(dim=1)  # [B]
        are_asked = asked.any(dim=1)[rows] if asked is not None else rows.new_zeros(int(rows.sum()))
        if not are_asked.any():
            return None
        read = (attention_mask * ~audio_mask)[rows]  # [A, L]
        first = read.argsort(dim=1, descending=True, stable=True)[:, : int(read.sum(1).max())]
        embeds = inputs_embeds[rows].gather(
            1, first.unsqueeze(-1).expand(-1, -1, inputs_embeds.shape[-1])
        )
        read = read.gather(1, first)
        vectors = self._pool(embeds, read, read.to(torch.float32))
        return Questions(vectors.float(), are_asked)

    def _pool(self, inputs_embeds: Tensor, attention_mask: Tensor, weights: Tensor) -> Tensor:
        hidden = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=(attention_mask.cumsum(dim=-1) - 1).clamp(min=0),
        ).last_hidden_state  # [B, L, H]
        return pool(hidden, attention_mask, weights, self.config.pooling)  # [B, H]

    def count_audio_tokens(self, lengths: Tensor) -> Tensor:
        """How many tokens stand for clips of so many samples: int64 [A] → int64 [A]."""
        return self.count_frame_tokens(self.audio_encoder.num_frames(lengths))

    def count_frame_tokens(self, n_frames: Tensor) -> Tensor:
        """How many tokens stand for clips of so many frames: int64 [A] → int64 [A]."""
        counts: Tensor = self.audio_projector.count_tokens(n_frames)
        return counts


@dataclass(frozen=True, slots=True, eq=False)
class HeardAudio:
    """What was heard in some clips, before anything is asked about it, one after the other."""

    values: Tensor  # [rows of all clips, X], as the projector's `say` takes them
    rows: Tensor  # int64 [A], rows of each clip
    counts: Tensor  # int64 [A], tokens that each clip is said in

    def each(self) -> list[HeardAudio]:
        """Every clip by itself."""
        ends = self.rows.cumsum(0).tolist()
        return [
            HeardAudio(self.values[end - n : end], rows[None], counts[None])
            for end, n, rows, counts in zip(
                ends, self.rows.tolist(), self.rows, self.counts, strict=True
            )
        ]

    @classmethod
    def joined(cls, clips: Sequence[HeardAudio]) -> HeardAudio | None:
        """Clips one after the other; None where there are none."""
        if not clips:
            return None
        return cls(
            torch.cat([clip.values for clip in clips]),
            torch.cat([clip.rows for clip in clips]),
            torch.cat([clip.counts for clip in clips]),
        )


def _either(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    if left is None or right is None:
        return left if right is None else right
    return left | right


def pool(hidden: Tensor, attention_mask: Tensor, weights: Tensor, pooling: str) -> Tensor:
    """Hidden states [B, L, H] → [B, H]: their weighted mean, or that of the last attended token."""
    if pooling == "mean":
        weights = (weights * attention_mask).unsqueeze(-1)  # [B, L, 1]
        return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1)
    positions = torch.arange(hidden.shape[1], device=hidden.device)
    last = (positions * attention_mask).argmax(dim=1)  # [B]
    return hidden[torch.arange(len(hidden), device=hidden.device), last]


AudioEncoder = yamnet.YamnetModel | dasheng.DashengModel
AUDIO_ENCODERS = {"yamnet": yamnet.YamnetModel, "dasheng": dasheng.DashengModel}


def build_audio_encoder(config: dict[str, Any]) -> AudioEncoder:
    """The audio encoder that `config["model_type"]` names.

    Raises:
        ValueError: there is none of that name.
    """
    fields = dict(config)
    model_type = fields.pop("model_type", None)
    if model_type not in AUDIO_ENCODERS:
        there_are = ", ".join(AUDIO_ENCODERS)
        raise ValueError(f"no audio encoder is called {model_type!r}; there are {there_are}")
    encoder: AudioEncoder = AUDIO_ENCODERS[model_type](**fields)
    return encoder


def build_language_model(config: ALM2VecConfig) -> PreTrainedModel:
    """Any text model of transformers, without the head it may carry for other uses."""
    model = AutoModel.from_config(config.text_config)
    model.config.use_cache = False  # of keys and values, for a next token that never comes
    if hasattr(model, "pooler"):
        model.pooler = None
    return model

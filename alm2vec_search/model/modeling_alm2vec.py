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
from alm2vec_search.model.projector import build_projector

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
        waveforms: Tensor | None = None,
        waveform_lengths: Tensor | None = None,
    ) -> Tensor:
        """Embed a batch.

        Args:
            input_ids: int64 [B, L].
            attention_mask: int64 [B, L], 0 for padding, on either side.
            audio_mask: bool [B, L], where the tokens that stand for audio are.
            waveforms: float32 [A, N], the clips of those inputs that have one, in order.
            waveform_lengths: int64 [A], samples of each.

        Returns:
            float32 [B, dim], each row of length 1.
        """
        audio: AudioTokens | None = None
        if waveforms is not None and waveform_lengths is not None:
            audio = self.embed_audio(waveforms, waveform_lengths)
        return F.normalize(
            self.embed_sequences(input_ids, attention_mask, audio_mask, audio), dim=-1
        )

    def embed_audio(self, waveforms: Tensor, lengths: Tensor) -> AudioTokens:
        """Clips [A, N] of so many samples [A] → the tokens that stand for them."""
        frames, mask = self.audio_encoder(waveforms, lengths)
        projector_dtype = next(self.audio_projector.parameters()).dtype
        embeddings, weights = self.audio_projector(frames.to(projector_dtype), mask)
        counts = self.count_audio_tokens(lengths)  # [A]
        written = torch.arange(embeddings.shape[1], device=counts.device) < counts[:, None]
        return AudioTokens(embeddings[written], weights[written].float(), counts)

    def embed_sequences(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        audio_mask: Tensor | None = None,
        audio: AudioTokens | None = None,
    ) -> Tensor:
        """Sequences [B, L], with the audio that they hold in order → float32 [B, dim], as long as
        the model makes them."""
        inputs_embeds = self.language_model.get_input_embeddings()(input_ids)  # [B, L, H]
        weights = attention_mask.to(torch.float32)  # [B, L]
        if audio is not None and audio_mask is not None:
            inputs_embeds = inputs_embeds.masked_scatter(
                audio_mask.unsqueeze(-1), audio.embeddings.to(inputs_embeds.dtype)
            )
            weights = weights.masked_scatter(audio_mask, audio.weights)
            attention_mask = attention_mask * (weights > 0)
        hidden = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=(attention_mask.cumsum(dim=-1) - 1).clamp(min=0),
        ).last_hidden_state  # [B, L, H]
        pooled = pool(hidden, attention_mask, weights, self.config.pooling)  # [B, H]
        projected: Tensor = self.projection(pooled.float())
        return projected

    def count_audio_tokens(self, lengths: Tensor) -> Tensor:
        """How many tokens stand for clips of so many samples: int64 [A] → int64 [A]."""
        counts: Tensor = self.audio_projector.count_tokens(self.audio_encoder.num_frames(lengths))
        return counts


@dataclass(frozen=True, slots=True, eq=False)
class AudioTokens:
    """Some clips as the language model reads them, one after the other."""

    embeddings: Tensor  # [tokens of all clips, H]
    weights: Tensor  # float32 [tokens of all clips], in the pooling; 0 is a slot that isn't used
    counts: Tensor  # int64 [A], tokens of each clip

    def each(self) -> list[AudioTokens]:
        """Every clip by itself."""
        ends = self.counts.cumsum(0).tolist()
        return [
            AudioTokens(self.embeddings[end - n : end], self.weights[end - n : end], count[None])
            for end, n, count in zip(ends, self.counts.tolist(), self.counts, strict=True)
        ]

    @classmethod
    def joined(cls, clips: Sequence[AudioTokens]) -> AudioTokens | None:
        """Clips one after the other; None where there are none."""
        if not clips:
            return None
        return cls(
            torch.cat([clip.embeddings for clip in clips]),
            torch.cat([clip.weights for clip in clips]),
            torch.cat([clip.counts for clip in clips]),
        )


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

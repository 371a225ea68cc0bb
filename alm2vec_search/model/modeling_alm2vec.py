"""ALM2Vec: one model that turns text, audio, or both into one vector (arXiv 2606.30682).

frozen audio encoder → projector → language model → pooling → projection → L2 norm. The published
7 B model and the small one that ships here are this class with different configurations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)
from transformers import AutoModel, PreTrainedModel

from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.modeling_yamnet import LogMel, YamnetModel
from alm2vec_search.model.projector import build_projector

if TYPE_CHECKING:
    from torch import Tensor


class ALM2VecModel(PreTrainedModel):  # type: ignore[misc]
    """Inputs as `ALM2VecProcessor` writes them → embeddings float32 [B, dim], L2-normalised."""

    config: ALM2VecConfig
    config_class = ALM2VecConfig
    base_model_prefix = "alm2vec"
    _supports_sdpa = True

    def __init__(self, config: ALM2VecConfig) -> None:
        super().__init__(config)
        self.audio_encoder = build_audio_encoder(config.audio_config)
        self.audio_projector = build_projector(
            config.projector_config, self.audio_encoder.hidden_size, config.hidden_size
        )
        self.language_model: PreTrainedModel = build_language_model(config)
        self.projection: nn.Module = nn.Identity()
        if config.embedding_dim is not None:
            self.projection = nn.Linear(config.hidden_size, config.embedding_dim, bias=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LogMel):
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
        inputs_embeds = self.language_model.get_input_embeddings()(input_ids)  # [B, L, H]
        weights = attention_mask.to(torch.float32)  # [B, L]
        if waveforms is not None and audio_mask is not None and waveform_lengths is not None:
            tokens, token_weights = self.embed_audio(waveforms, waveform_lengths)
            inputs_embeds = inputs_embeds.masked_scatter(
                audio_mask.unsqueeze(-1), tokens.to(inputs_embeds.dtype)
            )
            weights = weights.masked_scatter(audio_mask, token_weights.float())
            attention_mask = attention_mask * (weights > 0)
        hidden = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=(attention_mask.cumsum(dim=-1) - 1).clamp(min=0),
        ).last_hidden_state  # [B, L, H]
        pooled = pool(hidden, attention_mask, weights, self.config.pooling)  # [B, H]
        return F.normalize(self.projection(pooled).float(), dim=-1)

    def embed_audio(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Clips [A, N] of so many samples [A] → tokens [A, K, H] and their weights [A, K]."""
        frames, mask = self.audio_encoder(waveforms, lengths)
        tokens, weights = self.audio_projector(
            frames.to(self.audio_projector.detector.weight), mask
        )
        return tokens, weights


def pool(hidden: Tensor, attention_mask: Tensor, weights: Tensor, pooling: str) -> Tensor:
    """Hidden states [B, L, H] → [B, H]: their weighted mean, or that of the last attended token."""
    if pooling == "mean":
        weights = (weights * attention_mask).unsqueeze(-1).to(hidden.dtype)  # [B, L, 1]
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1)
    positions = torch.arange(hidden.shape[1], device=hidden.device)
    last = (positions * attention_mask).argmax(dim=1)  # [B]
    return hidden[torch.arange(len(hidden), device=hidden.device), last]


def build_audio_encoder(config: dict[str, Any]) -> YamnetModel:
    """The audio encoder that `config["model_type"]` names.

    Raises:
        ValueError: there is none of that name.
    """
    if config.get("model_type") == "yamnet":
        return YamnetModel()
    raise ValueError(f"no audio encoder is called {config.get('model_type')!r}; there is yamnet")


def build_language_model(config: ALM2VecConfig) -> PreTrainedModel:
    """Any text model of transformers, without the head it may carry for other uses."""
    model = AutoModel.from_config(config.text_config)
    if hasattr(model, "pooler"):
        model.pooler = None
    return model

"""What published checkpoints of MiDashengLM and ALM2Vec call things → what we call them.

MiDashengLM (arXiv 2508.03983; mispeech/midashenglm-7b-*, -0.6b-*) keeps its parts in
`audio_encoder.`, `audio_projector.` and `decoder.`; ALM2Vec (arXiv 2606.30682; cara-ai/ALM2Vec-*)
is the same with LoRA merged in, and perhaps a projection. Its prompt and its head aren't published:
what stands here for them is the most defensible reading (docs/published-models.md), and fields of
`config.json` by the names of `ALM2VecConfig` win over it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alm2vec_search.model.checkpoint import StoredTensor

PROMPT = (
    "<|im_start|>system\n{instruction}<|im_end|>\n"
    "<|im_start|>user\n{audio}{text}<|im_end|>\n"
    "<|im_start|>assistant\n<|endoftext|>"
)
OURS = {
    "pooling": "eos",
    "prompt": PROMPT,
    "query_instruction": "Retrieve an audio document that is relevant to the given query.",
    "document_instruction": "Represent the user's input.",
    "max_tokens": 4_096,
    "max_audio_s": 30.0,
    "reduced": "all",
}
AUDIO_TOKENS = {  # in tokenizer_config.json: what it is called there, and what it is by default
    "audio_token": ("audio_token", "<|AUDIO|>"),
    "audio_begin": ("audio_bos_token", "<|audio_bos|>"),
    "audio_end": ("audio_eos_token", "<|audio_eos|>"),
}
FRONT_END = {  # what `modeling_dasheng` does, by the names of `audio_encoder_config`
    "n_fft": 512,
    "win_size": 512,
    "hop_size": 160,
    "n_mels": 64,
    "f_min": 0,
    "f_max": 8000,
    "center": True,
}
NUM_HEADS = {768: 12, 1280: 16, 1536: 24}  # of the published sizes
ROPE_THETA = 1_000_000.0  # of every published decoder, and not what transformers assumes
THINKER = {  # Qwen2.5-Omni-7B's decoder, where its config leaves something open
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32_768,
    "rms_norm_eps": 1e-6,
}
DECODERS = {"qwen2_5_omni_text": ("qwen2", THINKER), "qwen2": ("qwen2", {}), "qwen3": ("qwen3", {})}
ROPE_KEYS = {"rope_theta", "rope_scaling", "rope_parameters"}
ANCHOR = "audio_encoder.patch_embed.proj.weight"
LM_HEAD = "decoder.lm_head.weight"
PREFIXES = (
    ("audio_encoder.front_end.", None),  # computed; `loading` holds it against ours
    ("audio_encoder.init_bn.1.", "audio_encoder.init_bn."),  # as the stand-alone package has it
    ("audio_encoder.", "audio_encoder."),
    ("audio_projector.", "audio_projector."),
    ("decoder.model.", "language_model."),
    (LM_HEAD, None),  # an embedding has no use for it
)
FRONT_END_BUFFERS = {"0.spectrogram.window": "window", "0.mel_scale.fb": "mel_weights"}


def is_published(config: Mapping[str, Any], names: Mapping[str, object]) -> bool:
    """Whether a checkpoint has this layout."""
    return "audio_config" not in config and any(name.endswith(ANCHOR) for name in names)


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A checkpoint in the published layout.

    Args:
        config: its config.json.
        tokenizer_config: its tokenizer_config.json; empty where it has none.
        tensors: by their stored names.
    """

    config: Mapping[str, Any]
    tokenizer_config: Mapping[str, Any]
    tensors: Mapping[str, StoredTensor]

    @cached_property
    def prefix(self) -> str:
        """What stands before all names: nothing, or what a wrapper put there."""
        return next(name for name in self.tensors if name.endswith(ANCHOR)).removesuffix(ANCHOR)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor by its published name.

        Raises:
            ValueError: there is no such tensor.
        """
        stored = self.tensors.get(self.prefix + name)
        if stored is None:
            raise ValueError(f"there is no tensor {name}")
        return stored.shape

    @cached_property
    def hidden_size(self) -> int:
        """Of the decoder."""
        return self.shape("decoder.model.embed_tokens.weight")[1]

    @cached_property
    def head(self) -> str | None:
        """The stored name of the projection after pooling, if there is one: the matrix that belongs
        to no part and takes what the decoder gives.

        Raises:
            ValueError: there are several.
        """
        heads = [
            name
            for name, tensor in self.tensors.items()
            if self._belongs_to_no_part(name)
            and len(tensor.shape) == 2
            and tensor.shape[1] == self.hidden_size
        ]
        if len(heads) > 1:
            raise ValueError(f"which of these is the projection? {', '.join(sorted(heads))}")
        return heads[0] if heads else None

    def rename(self, stored: str) -> str | None:
        """Our name of a stored tensor; None for those that we have no use for. What isn't known
        keeps its name, and is found to be too much later."""
        if stored == self.head:
            return "projection.weight"
        if self.head is not None and stored == self.head.removesuffix("weight") + "bias":
            return "projection.bias"
        if self._belongs_to_no_part(stored):
            is_number = self.tensors[stored].size == 1  # a temperature, of use in training only
            return None if is_number else stored
        return our_name(stored.removeprefix(self.prefix))

    def our_config(self) -> dict[str, Any]:
        """Fields of `ALM2VecConfig`.

        Raises:
            ValueError: the config speaks of what we don't have, or contradicts the tensors.
        """
        head = self.head
        return {
            "audio_config": self._audio_config(),
            "projector_config": {
                "kind": "subsample",
                "factor": int(self.config.get("subsample_factor", 5)),
            },
            "text_config": self._text_config(),
            "embedding_dim": None if head is None else self.tensors[head].shape[0],
            "projection_bias": head is not None
            and head.removesuffix("weight") + "bias" in self.tensors,
            **{name: self.config.get(name, default) for name, default in OURS.items()},
            **{name: self._token(name, *said) for name, said in AUDIO_TOKENS.items()},
            "audio_token_id": self.config.get("audio_token_id"),
        }

    def _belongs_to_no_part(self, stored: str) -> bool:
        name = stored.removeprefix(self.prefix)
        return not name.startswith(("audio_encoder.", "audio_projector.", "decoder."))

    def _audio_config(self) -> dict[str, Any]:
        said = self.config.get("audio_encoder_config") or {}
        for name, ours in FRONT_END.items():
            if said.get(name) not in (None, ours):
                raise ValueError(
                    f"{name} of the audio encoder is {said[name]}; only {ours} is known"
                )
        _, embed_dim, _, stretch = self.shape("audio_encoder.time_pos_embed")
        num_heads = said.get("num_heads") or NUM_HEADS.get(embed_dim)
        if num_heads is None:
            raise ValueError("the config doesn't say how many heads the audio encoder has")
        blocks = {
            found[1]
            for name in self.tensors
            if (found := re.search(r"audio_encoder\.blocks\.(\d+)\.", name))
        }
        return {
            "model_type": "dasheng",
            "embed_dim": embed_dim,
            "depth": len(blocks),
            "num_heads": int(num_heads),
            "target_length": 4 * stretch,
        }

    def _text_config(self) -> dict[str, Any]:
        said = dict(self.config.get("text_config") or {})
        model_type = said.pop("model_type", "qwen2_5_omni_text")
        if model_type not in DECODERS:
            known = ", ".join(DECODERS)
            raise ValueError(f"the decoder is a {model_type}; there are {known}")
        ours, defaults = DECODERS[model_type]
        return {
            "model_type": ours,
            **defaults,
            "vocab_size": self.shape("decoder.model.embed_tokens.weight")[0],
            "hidden_size": self.hidden_size,
            **{name: value for name, value in said.items() if name not in ROPE_KEYS},
            "rope_parameters": {"rope_type": "default", "rope_theta": _rope_theta(said)},
        }

    def _token(self, ours: str, theirs: str, default: str) -> str:
        """A special token by its string: ours in the config, theirs in the tokenizer's."""
        said = self.config.get(ours) or self.tokenizer_config.get(theirs) or default
        return str(said["content"] if isinstance(said, dict) else said)


def our_name(published: str) -> str | None:
    """
    >>> our_name("decoder.model.norm.weight"), our_name("audio_encoder.init_bn.1.bias")
    ('language_model.norm.weight', 'audio_encoder.init_bn.bias')
    """
    for theirs, ours in PREFIXES:
        if published.startswith(theirs):
            return None if ours is None else ours + published.removeprefix(theirs)
    return published


def published_name(ours: str) -> str:
    """
    >>> published_name("language_model.norm.weight")
    'decoder.model.norm.weight'
    """
    return re.sub(r"^language_model\.", "decoder.model.", ours)


def _rope_theta(said: Mapping[str, Any]) -> float:
    """The base of the rotary positions. MiDashengLM counts in one dimension: Omni's three (mrope)
    are the same as one where all are equal, and are dropped.

    Raises:
        ValueError: positions are stretched some other way.
    """
    scaling = said.get("rope_parameters") or said.get("rope_scaling") or {}
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind not in ("default", "mrope"):
        raise ValueError(f"the decoder's positions are scaled by {kind!r}, which isn't known here")
    return float(scaling.get("rope_theta") or said.get("rope_theta") or ROPE_THETA)

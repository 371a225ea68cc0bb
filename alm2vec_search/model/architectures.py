"""Models by the name of their size, with random weights: for measuring what a machine can do.

A model's speed doesn't depend on what its weights are, so the 7 B can be measured where the 7 B
isn't. Nothing that such a model says means anything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from torch import nn

from alm2vec_search.errors import ModelError
from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.hardware import device_memory, require_device
from alm2vec_search.model.hub import BUNDLED, find_model
from alm2vec_search.model.modeling_alm2vec import FLOAT32_PARTS, ALM2VecModel
from alm2vec_search.model.processing_alm2vec import ALM2VecProcessor
from alm2vec_search.model.published import AUDIO_TOKENS, OURS, ROPE_THETA, THINKER

if TYPE_CHECKING:
    from collections.abc import Callable

DASHENG_BASE = {"embed_dim": 768, "depth": 12, "num_heads": 12}
DASHENG_06B = {"embed_dim": 1_280, "depth": 32, "num_heads": 16}
LESS_MEMORY = "use --dtype bfloat16, a smaller architecture, or another --device"

SPECIAL_TOKEN = re.compile(r"<\|\w+\|>|\[\w+\]")
WORDS = Regex(r"\n| ?\w+| ?[^\w\s]+")
UNKNOWN = "[UNK]"


def alm2vec_7b() -> ALM2VecConfig:
    """ALM2Vec and MiDashengLM-7B: Dasheng 0.6B before the decoder of Qwen2.5-Omni-7B."""
    return _published(
        DASHENG_06B,
        {
            "model_type": "qwen2",
            **THINKER,
            "vocab_size": 152_064,
            "hidden_size": 3_584,
            "intermediate_size": 18_944,
            "num_hidden_layers": 28,
        },
    )


def midashenglm_06b() -> ALM2VecConfig:
    """MiDashengLM-0.6B: Dasheng before Qwen3-0.6B.

    Of which size its Dasheng is isn't published. This takes 0.6B, as the 7 B has it, so that the
    real one is as fast or faster; the other candidate is base.
    """
    return _published(
        DASHENG_06B,
        {
            "model_type": "qwen3",
            "vocab_size": 151_936,
            "hidden_size": 1_024,
            "intermediate_size": 3_072,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 40_960,
            "rms_norm_eps": 1e-6,
        },
    )


def base() -> ALM2VecConfig:
    """One that a laptop can carry: Dasheng base before a decoder as large as Qwen2.5-0.5B."""
    return _published(
        DASHENG_BASE,
        {
            "model_type": "qwen2",
            "vocab_size": 151_936,
            "hidden_size": 896,
            "intermediate_size": 4_864,
            "num_hidden_layers": 24,
            "num_attention_heads": 14,
            "num_key_value_heads": 2,
            "max_position_embeddings": 32_768,
            "rms_norm_eps": 1e-6,
        },
    )


def small() -> ALM2VecConfig:
    """The model that comes with the package."""
    config: ALM2VecConfig = ALM2VecConfig.from_dict(find_model(BUNDLED).description.fields)
    return config


def toy() -> ALM2VecConfig:
    """The 7 B's parts, as small as they go: for tests."""
    return _published(
        {"embed_dim": 32, "depth": 2, "num_heads": 4},
        {
            "model_type": "qwen2",
            "vocab_size": 64,
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4_096,
            "rms_norm_eps": 1e-6,
        },
    )


ARCHITECTURES: dict[str, Callable[[], ALM2VecConfig]] = {
    "7b": alm2vec_7b,
    "0.6b": midashenglm_06b,
    "base": base,
    "small": small,
    "toy": toy,
}


def find_architecture(name: str) -> ALM2VecConfig:
    """The configuration of that name.

    Raises:
        ModelError: there is none.
    """
    if name not in ARCHITECTURES:
        raise ModelError(
            f"no architecture is called {name}", hint=f"use one of {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[name]()


def random_model(config: ALM2VecConfig, dtype: torch.dtype, device: str) -> ALM2VecModel:
    """A model of random weights, ready to embed, in the numeric types that `load_model` leaves.

    It is made where it is going to run, and nowhere else before.

    Raises:
        ModelError: the device isn't there, or has no room for it.
    """
    require_device(device)
    with torch.device("meta"):
        model = ALM2VecModel(config)
    if config.reduced == "all":
        for name, parameter in model.named_parameters():
            if not name.startswith(FLOAT32_PARTS):
                parameter.data = parameter.data.to(dtype)
    _require_room(model, device)
    try:
        model.to_empty(device=device)
        for part in (model.audio_encoder, model.audio_projector):
            _draw(part)
        model.init_weights()  # the language model, the front end, the bases of the positions
    except torch.OutOfMemoryError as error:
        raise ModelError(f"the device {device} has no room for the model", hint=LESS_MEMORY) from (
            error
        )
    model.audio_encoder.compute_in(dtype)
    made: ALM2VecModel = model.eval().requires_grad_(False)
    return made


def processor_of(model: ALM2VecModel) -> ALM2VecProcessor:
    """A processor with a tokenizer made on the spot.

    Every word and every mark is a token, and all of them the same: as many as Qwen's tokenizer
    makes of everyday English, near enough.
    """
    config = model.config
    tokenizer = Tokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(WORDS, "isolated")
    written = (config.prompt, config.audio_begin, config.audio_token, config.audio_end)
    tokenizer.add_special_tokens(list(dict.fromkeys(SPECIAL_TOKEN.findall("".join(written)))))
    return ALM2VecProcessor(tokenizer, config, model.count_audio_tokens)


def count_parameters(model: ALM2VecModel) -> dict[str, int]:
    """Of each part."""
    return {
        name: sum(parameter.numel() for parameter in part.parameters())
        for name, part in model.named_children()
    }


def _published(audio: dict[str, int], text: dict[str, Any]) -> ALM2VecConfig:
    """As `published` reads a checkpoint whose own files leave all to it."""
    fields: dict[str, Any] = OURS | {name: default for name, (_, default) in AUDIO_TOKENS.items()}
    return ALM2VecConfig(
        audio_config={"model_type": "dasheng", **audio, "target_length": 1_008},
        projector_config={"kind": "subsample", "factor": 5},
        text_config={
            **text,
            "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
        },
        **fields,
    )


def _require_room(model: ALM2VecModel, device: str) -> None:
    """
    Raises:
        ModelError: the device isn't as large as the weights. Known before it is filled with them.
    """
    needed = sum(parameter.nbytes for parameter in model.parameters())
    there_is = device_memory(device)
    if needed > there_is:
        raise ModelError(
            f"the weights need {needed / 1e9:.1f} GB, and the device {device} has "
            f"{there_is / 1e9:.1f} GB in all",
            hint=LESS_MEMORY,
        )


def _draw(part: nn.Module) -> None:
    """Random weights, norms that change nothing, no biases."""
    for name, parameter in part.named_parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter)
        else:
            nn.init.constant_(parameter, float(name.endswith("weight")))
    for name, buffer in part.named_buffers():
        buffer.fill_(not name.endswith(("running_mean", "num_batches_tracked")))

"""A model of the real classes, as small as they allow, for tests of training.

Any text in ASCII has tokens: the tokenizer knows the letters, digits and signs one by one.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from torch import nn
from transformers import BertConfig

from alm2vec_search.domain import Waveform
from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
from alm2vec_search.model.processing_alm2vec import ALM2VecProcessor, ModelInput

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[unused0]")
SIGNS = (string.ascii_lowercase, string.digits, string.punctuation)
SAMPLING_RATE = 16_000  # Hz


def toy_tokenizer() -> Tokenizer:
    """One token for each letter, digit or sign."""
    signs = "".join(SIGNS)
    pieces = (*SPECIAL, *signs, *(f"##{sign}" for sign in signs))
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def toy_config(dropout: float = 0.1, **fields: Any) -> ALM2VecConfig:
    """Its configuration; `fields` are those of `ALM2VecConfig`."""
    text_config = BertConfig(
        vocab_size=toy_tokenizer().get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=128,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    small: dict[str, Any] = {
        "audio_config": {"model_type": "dasheng", "embed_dim": 16, "depth": 1, "num_heads": 2},
        "projector_config": {"kind": "subsample", "factor": 2},
        "text_config": text_config,
        "embedding_dim": 24,
        "max_tokens": 128,
    }
    return ALM2VecConfig(**(small | fields))


def toy_model(seed: int = 0, **fields: Any) -> ALM2VecModel:
    """With random weights, in eval mode; `fields` as in `toy_config`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: ALM2VecModel = ALM2VecModel(toy_config(**fields))
        # Far apart, as those of a trained model are: what starts at 0.02 says little.
        words: nn.Embedding = model.language_model.get_input_embeddings()
        nn.init.normal_(words.weight, std=0.5)
        if isinstance(model.projection, nn.Linear):
            nn.init.normal_(model.projection.weight, std=0.2)
    model.eval()
    return model


def toy_processor(model: ALM2VecModel) -> ALM2VecProcessor:
    """The processor that belongs to the model."""
    return ALM2VecProcessor(
        toy_tokenizer(), model.config, model.count_audio_tokens, model.count_frame_tokens
    )


def save_toy_model(folder: Path, model: ALM2VecModel | None = None) -> Path:
    """Write it as a folder of our own layout, which `find_model` finds; returns that folder."""
    model = toy_model() if model is None else model
    model.save_pretrained(folder)
    toy_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def inputs(model: ALM2VecModel, sides: Sequence[str | Waveform]) -> dict[str, Tensor]:
    """One mini-batch: texts, or sounds, under no instruction."""
    return toy_processor(model)(
        [
            ModelInput(side, None, "") if isinstance(side, str) else ModelInput(None, side, "")
            for side in sides
        ]
    )


def noise(seed: int, seconds: float = 0.4) -> Waveform:
    """Some sound."""
    generator = np.random.default_rng(seed)
    samples = generator.standard_normal(round(seconds * SAMPLING_RATE)).astype(np.float32)
    return Waveform(0.1 * samples, SAMPLING_RATE)

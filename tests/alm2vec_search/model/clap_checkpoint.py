"""A toy CLAP, as transformers and sentence-transformers write one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from sentence_transformers import SentenceTransformer
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    RobertaTokenizerFast,
)

if TYPE_CHECKING:
    from pathlib import Path

DIM = 12


def tokenizer() -> RobertaTokenizerFast:
    """A piece for each byte."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    return RobertaTokenizerFast(vocab=vocab, merges=[], model_max_length=64)


def write_clap(folder: Path, *, fused: bool) -> None:
    """As transformers lays it out, with random weights that tell sounds apart."""
    torch.manual_seed(0)
    text = {
        "vocab_size": len(tokenizer()),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 66,
    }
    audio = {
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "enable_fusion": fused,
    }
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=DIM)).eval()
    for weights in model.parameters():
        if weights.ndim > 1:
            torch.nn.init.normal_(weights, std=0.3)
    model.save_pretrained(folder)
    extractor = ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc")
    ClapProcessor(extractor, tokenizer()).save_pretrained(folder)


def as_sentence_transformers(plain: Path, folder: Path) -> Path:
    SentenceTransformer(str(plain), device="cpu", local_files_only=True).save_pretrained(
        str(folder), create_model_card=False
    )
    return folder

"""The two halves of a cascade, small, as transformers and sentence-transformers write them.

The Whisper is trained for some seconds, so that it hears something: it names tones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from tokenizers.pre_tokenizers import ByteLevel
from torch.nn import functional as F  # noqa: N812  (torch's own convention)
from transformers import (
    BertConfig,
    BertModel,
    GenerationConfig,
    RobertaTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizerFast,
)

from alm2vec_search.domain import Waveform
from alm2vec_search.testing import tone

if TYPE_CHECKING:
    from pathlib import Path

RATE = 16_000
WINDOW_S = 2  # of the toy; 30 of the real ones
TONES = {"low": 200.0, "middle": 1000.0, "high": 4000.0}
DIM = 16
SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|de|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|notimestamps|>",
]
BYTES = sorted(ByteLevel.alphabet())
VOCAB = {piece: number for number, piece in enumerate([*BYTES, *SPECIAL])}
END, START, ENGLISH, _, TRANSLATE, TRANSCRIBE, NO_TIMES = (VOCAB[piece] for piece in SPECIAL)


def note(name: str, duration_s: float = 1.0) -> Waveform:
    """A tone that the toy has a word for."""
    return Waveform(tone(TONES[name], duration_s, RATE), RATE)


def silence(duration_s: float = 1.0) -> Waveform:
    return Waveform(np.zeros(round(duration_s * RATE), np.float32), RATE)


def write_whisper(folder: Path, *, multilingual: bool) -> None:
    """One that writes the names of the tones it hears, and nothing where it hears none."""
    torch.manual_seed(0)
    tokenizer = WhisperTokenizerFast(vocab=VOCAB, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[1:]})
    extractor = WhisperFeatureExtractor(chunk_length=WINDOW_S)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(VOCAB),
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            max_source_positions=WINDOW_S * 50,
            max_target_positions=16,
            pad_token_id=END,
            bos_token_id=END,
            eos_token_id=END,
            decoder_start_token_id=START,
            begin_suppress_tokens=None,
        )
    )
    settings = {
        "max_length": 16,
        "decoder_start_token_id": START,
        "eos_token_id": END,
        "pad_token_id": END,
        "no_timestamps_token_id": NO_TIMES,
        "is_multilingual": multilingual,
    }
    if multilingual:
        settings |= {
            "lang_to_id": {"<|en|>": ENGLISH, "<|de|>": ENGLISH + 1},
            "task_to_id": {"translate": TRANSLATE, "transcribe": TRANSCRIBE},
        }
    model.generation_config = GenerationConfig(**settings)
    prompt = [START, ENGLISH, TRANSCRIBE, NO_TIMES] if multilingual else [START, NO_TIMES]
    train(model.train(), extractor, tokenizer, prompt)
    model.eval().save_pretrained(folder)
    WhisperProcessor(extractor, tokenizer).save_pretrained(folder)


def train(
    model: WhisperForConditionalGeneration,
    extractor: WhisperFeatureExtractor,
    tokenizer: WhisperTokenizerFast,
    prompt: list[int],
) -> None:
    sounds, words = [], []
    for duration_s in (0.4, 1.0, 1.5, 2.0):
        for name in TONES:
            sounds.append(note(name, duration_s).samples)
            words.append(name)
        sounds.append(silence(duration_s).samples)
        words.append("")
    features = extractor(sounds, sampling_rate=RATE, return_tensors="pt").input_features
    said = [
        tokenizer.encode(f" {word}" if word else "", add_special_tokens=False) for word in words
    ]
    rows = [[*prompt, *pieces, END] for pieces in said]
    longest = max(map(len, rows))
    filled = torch.tensor([row + [END] * (longest - len(row)) for row in rows])
    targets = filled[:, 1:].clone()
    for row, target in zip(rows, targets, strict=True):
        target[len(row) - 1 :] = -100
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        logits = model(input_features=features, decoder_input_ids=filled[:, :-1]).logits
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.05


def write_text_model(folder: Path, **prompts: str) -> Path:
    """A BERT with random weights that tell texts apart, a piece for each byte."""
    torch.manual_seed(0)
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *BYTES]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = RobertaTokenizerFast(vocab=vocab, merges=[], model_max_length=64)
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=DIM,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=66,
    )
    model = BertModel(config).eval()
    for weights in model.parameters():
        if weights.ndim > 1:
            torch.nn.init.normal_(weights, std=0.3)
    plain = folder / "plain"
    model.save_pretrained(plain)
    tokenizer.save_pretrained(plain)
    whole = SentenceTransformer(str(plain), device="cpu", local_files_only=True, prompts=prompts)
    whole.save_pretrained(str(folder / "text"), create_model_card=False)
    return folder / "text"

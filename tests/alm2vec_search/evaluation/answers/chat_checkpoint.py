"""Tiny models that answer, as transformers writes them.

The Qwen2-Audio is trained for some seconds, so that it hears something: it names tones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AudioFlamingo3Config,
    AudioFlamingo3ForConditionalGeneration,
    AudioFlamingo3Processor,
    GenerationConfig,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    Qwen2TokenizerFast,
    WhisperFeatureExtractor,
)

from alm2vec_search.domain import Waveform
from alm2vec_search.testing import tone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

RATE = 16_000
HEARS_S = 2  # 30 of the real one
TONES = {"low": 200.0, "middle": 1000.0, "high": 4000.0}
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|audio_bos|>",
    "<|AUDIO|>",
    "<|audio_eos|>",
]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'audio' %}"
    "<|audio_bos|><|AUDIO|><|audio_eos|>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def note(name: str, duration_s: float = 1.0) -> Waveform:
    """A tone that the toy has a word for."""
    return Waveform(tone(TONES[name], duration_s, RATE), RATE)


def write_qwen2_audio(folder: Path, prompts: Sequence[str]) -> None:
    """One that answers these prompts with the name of the tone that it hears.

    Its generation_config.json asks for chance, as that of the real one does.
    """
    torch.manual_seed(0)
    processor = small_processor()
    audio_token, end = processor.tokenizer.convert_tokens_to_ids(["<|AUDIO|>", "<|im_end|>"])
    audio_config = {
        "model_type": "qwen2_audio_encoder",
        "num_mel_bins": 80,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "d_model": 16,
        "max_source_positions": HEARS_S * 50,
    }
    text_config = small_text_config(processor.tokenizer)
    model = Qwen2AudioForConditionalGeneration(
        Qwen2AudioConfig(
            audio_config=audio_config, text_config=text_config, audio_token_index=audio_token
        )
    )
    model.generation_config = GenerationConfig(
        eos_token_id=end, pad_token_id=end, do_sample=True, temperature=9.0, top_p=0.9
    )
    lessons = [
        lesson(processor, prompt, name, duration_s)
        for prompt in prompts
        for name in TONES
        for duration_s in (0.5, 1.5)
    ]
    train(model.train(), lessons)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)


def write_audio_flamingo(folder: Path) -> None:
    """An Audio Flamingo 3 with random weights."""
    torch.manual_seed(0)
    tokenizer = small_tokenizer("<sound>")
    extractor = WhisperFeatureExtractor(feature_size=16, return_attention_mask=True)
    template = TEMPLATE.replace("<|audio_bos|><|AUDIO|><|audio_eos|>", "<sound>")
    audio_config = {
        "model_type": "audioflamingo3_encoder",
        "num_mel_bins": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "hidden_size": 16,
        "max_source_positions": 1500,
    }
    config = AudioFlamingo3Config(
        audio_config=audio_config,
        text_config=small_text_config(tokenizer),
        audio_token_id=tokenizer.convert_tokens_to_ids("<sound>"),
    )
    AudioFlamingo3ForConditionalGeneration(config).eval().save_pretrained(folder)
    AudioFlamingo3Processor(extractor, tokenizer, chat_template=template).save_pretrained(folder)


def small_processor() -> Qwen2AudioProcessor:
    extractor = WhisperFeatureExtractor(chunk_length=HEARS_S)
    return Qwen2AudioProcessor(extractor, small_tokenizer(), chat_template=TEMPLATE)


def small_tokenizer(*more: str) -> Qwen2TokenizerFast:
    """A piece for each byte."""
    vocab = {piece: number for number, piece in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Qwen2TokenizerFast(vocab=vocab, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": [*SPECIAL, *more]})
    return tokenizer


def small_text_config(tokenizer: Qwen2TokenizerFast) -> dict[str, Any]:
    return {
        "model_type": "qwen2",
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
    }


def lesson(
    processor: Qwen2AudioProcessor, prompt: str, name: str, duration_s: float
) -> dict[str, Tensor]:
    """A prompt, a tone and the answer to them, which has labels."""
    sound = {"type": "audio", "audio": note(name, duration_s).samples}
    content = [sound, {"type": "text", "text": prompt}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    answer = processor.tokenizer(f"It is {name}.<|im_end|>", return_tensors="pt").input_ids
    asked = torch.full_like(inputs["input_ids"], -100)
    whole = torch.cat([inputs["input_ids"], answer], dim=1)
    return {
        **inputs,
        "input_ids": whole,
        "attention_mask": torch.ones_like(whole),
        "labels": torch.cat([asked, answer], dim=1),
    }


def train(model: Qwen2AudioForConditionalGeneration, lessons: Sequence[dict[str, Tensor]]) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(300):
        losses = []
        optimizer.zero_grad()
        for inputs in lessons:
            loss = model(**inputs).loss
            loss.backward()
            losses.append(loss.item())
        optimizer.step()
        if max(losses) < 0.02:
            return
    raise AssertionError(f"the toy learned nothing: {losses}")

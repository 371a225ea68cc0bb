from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import BertConfig, Qwen2Config, Qwen3Config

from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.modeling_alm2vec import ALM2VecModel, build_audio_encoder, pool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    MakeModel = Callable[..., ALM2VecModel]

AUDIO_TOKENS = 6  # of the tiny model
QWEN = Qwen2Config(
    vocab_size=50,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=64,
)

QWEN3 = Qwen3Config(**{**QWEN.to_dict(), "model_type": "qwen3", "head_dim": 8})


def text_input(seed: int = 0, length: int = 9) -> Tensor:
    return torch.randint(5, 50, (length,), generator=torch.Generator().manual_seed(seed))


def audio_input(text: Tensor) -> dict[str, Tensor]:
    """One input of 0.3 s of noise, and text after it."""
    input_ids = torch.cat([torch.ones(AUDIO_TOKENS, dtype=torch.int64), text])[None]
    waveforms = torch.randn(1, 4_800, generator=torch.Generator().manual_seed(1)) * 0.1
    return {
        "input_ids": input_ids,
        "attention_mask": torch.ones_like(input_ids),
        "audio_mask": (torch.arange(input_ids.shape[1]) < AUDIO_TOKENS)[None],
        "waveforms": waveforms,
        "waveform_lengths": torch.tensor([4_800]),
    }


def padded(batch: dict[str, Tensor], n: int, *, left: bool) -> dict[str, Tensor]:
    """With n positions of padding."""
    sides = (n, 0) if left else (0, n)
    tokens = ("input_ids", "attention_mask", "audio_mask")
    return {
        name: torch.nn.functional.pad(tensor, sides) if name in tokens else tensor
        for name, tensor in batch.items()
    }


@torch.inference_mode()
def embed(model: ALM2VecModel, **batch: Tensor) -> Tensor:
    return model.forward(**batch)


HIDDEN = torch.tensor([[[1.0, 10.0], [2.0, 20.0], [4.0, 40.0], [8.0, 80.0]]])


def test_mean_pooling_weighs_what_is_attended() -> None:
    attention_mask = torch.tensor([[1, 1, 1, 0]])
    weights = torch.tensor([[1.0, 0.5, 0.5, 9.0]])

    pooled = pool(HIDDEN, attention_mask, weights, "mean")

    torch.testing.assert_close(pooled, torch.tensor([[2.0, 20.0]]))  # (1 + 0.5·2 + 0.5·4) / 2


@pytest.mark.parametrize(
    ("attention_mask", "expected"),
    [([1, 1, 1, 1], 8.0), ([1, 1, 0, 0], 2.0), ([0, 0, 1, 1], 8.0), ([1, 0, 1, 0], 4.0)],
)
def test_eos_pooling_takes_the_last_attended(attention_mask: list[int], expected: float) -> None:
    mask = torch.tensor([attention_mask])

    assert pool(HIDDEN, mask, mask.float(), "eos").tolist() == [[expected, 10 * expected]]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"text_config": QWEN, "pooling": "eos", "embedding_dim": 8}, id="qwen2-eos"),
        pytest.param({"text_config": QWEN, "pooling": "mean"}, id="qwen2-mean"),
        pytest.param({"text_config": QWEN3, "pooling": "eos"}, id="qwen3-eos"),
        pytest.param({"pooling": "mean"}, id="bert-mean"),
        pytest.param({"pooling": "eos", "embedding_dim": 8}, id="bert-eos"),
    ],
)
def test_padding_on_either_side_changes_nothing(
    tiny_model: MakeModel, fields: dict[str, Any]
) -> None:
    model = tiny_model(**fields)
    batch = audio_input(text_input())

    expected = embed(model, **batch)

    assert expected.shape == (1, fields.get("embedding_dim", 16))
    on_the_left, on_the_right = (padded(batch, 5, left=left) for left in (True, False))
    together = {key: torch.cat([on_the_left[key], on_the_right[key]]) for key in batch}
    torch.testing.assert_close(embed(model, **together), expected.expand(2, -1), atol=1e-6, rtol=0)


def test_text_sound_and_both_are_three_inputs(tiny_model: MakeModel) -> None:
    model = tiny_model()
    text = text_input()
    both = audio_input(text)
    sound = audio_input(text[:0])
    words = {"input_ids": text[None], "attention_mask": torch.ones(1, len(text), dtype=torch.int64)}

    embeddings = torch.cat([embed(model, **batch) for batch in (words, sound, both)])

    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))
    cosines = embeddings @ embeddings.T
    assert cosines[~torch.eye(3, dtype=torch.bool)].max() < 0.999


def test_sounds_go_to_their_own_inputs(tiny_model: MakeModel) -> None:
    """In a batch of text, sound, text, sound, each sound reaches the row that has its tokens."""
    model = tiny_model()
    loud, soft = audio_input(text_input(3)), audio_input(text_input(3))
    soft["waveforms"] = torch.sin(torch.arange(4_800) * 0.3)[None] * 0.01
    words = text_input(4, AUDIO_TOKENS + 9)[None]
    rows = [words, loud["input_ids"], words, soft["input_ids"]]
    is_audio = [False, True, False, True]
    batch = {
        "input_ids": torch.cat(rows),
        "attention_mask": torch.ones(4, AUDIO_TOKENS + 9, dtype=torch.int64),
        "audio_mask": loud["audio_mask"] & torch.tensor(is_audio)[:, None],
        "waveforms": torch.cat([loud["waveforms"], soft["waveforms"]]),
        "waveform_lengths": torch.tensor([4_800, 4_800]),
    }

    together = embed(model, **batch)

    torch.testing.assert_close(together[1:2], embed(model, **loud), atol=1e-5, rtol=0)
    torch.testing.assert_close(together[3:4], embed(model, **soft), atol=1e-5, rtol=0)
    torch.testing.assert_close(together[0], together[2], atol=1e-6, rtol=0)
    assert not torch.allclose(together[1], together[3], atol=1e-3)


def test_a_slot_that_is_not_used_is_as_if_it_were_not_there(tiny_model: MakeModel) -> None:
    model = tiny_model()
    model.audio_projector.words_used.zero_()
    model.audio_projector.words_used[:, 0] = 1
    batch = audio_input(text_input())

    expected = embed(model, **batch)
    model.audio_projector.words.data[:, 1] = 1e3

    assert torch.equal(embed(model, **batch), expected)


def test_a_sound_in_which_nothing_is_heard_says_nothing(tiny_model: MakeModel) -> None:
    model = tiny_model()
    model.audio_projector.detector.weight.data.zero_()
    model.audio_projector.detector.bias.data.fill_(-200)
    text = text_input()
    words = {"input_ids": text[None], "attention_mask": torch.ones(1, len(text), dtype=torch.int64)}

    torch.testing.assert_close(embed(model, **audio_input(text)), embed(model, **words))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"embedding_dim": 8, "query_instruction": "find"}, id="bert"),
        pytest.param({"text_config": QWEN, "pooling": "eos"}, id="qwen2"),
    ],
)
def test_a_model_comes_back_from_its_folder(
    tiny_model: MakeModel, tmp_path: Path, fields: dict[str, Any]
) -> None:
    model = tiny_model(fuse=False, **fields)
    batch = audio_input(text_input())
    model.save_pretrained(tmp_path)

    loaded, report = ALM2VecModel.from_pretrained(
        tmp_path, dtype=torch.float32, output_loading_info=True
    )

    assert not any(report.values())
    torch.testing.assert_close(embed(loaded.eval(), **batch), embed(model, **batch))
    for name, value in fields.items():
        if name != "text_config":
            assert getattr(loaded.config, name) == value
    assert loaded.config.text_config.model_type == model.config.text_config.model_type
    assert loaded.config.output_dim == fields.get("embedding_dim", 16)


def test_a_config_keeps_no_path_of_the_machine_it_was_made_on() -> None:
    text_config = BertConfig(hidden_size=12, name_or_path="/home/somebody/minilm")

    config = ALM2VecConfig(text_config=text_config)

    assert config.hidden_size == config.output_dim == 12
    assert "somebody" not in config.to_json_string()


def test_a_language_model_has_no_head_of_its_own(tiny_model: MakeModel) -> None:
    keys = tiny_model().state_dict()

    assert not [key for key in keys if "pooler" in key or "lm_head" in key]


def test_unknown_parts_are_named() -> None:
    with pytest.raises(ValueError, match="pooling is one of mean, eos, not 'max'"):
        ALM2VecConfig(pooling="max")
    with pytest.raises(ValueError, match="'whisper'; there are yamnet, dasheng"):
        build_audio_encoder({"model_type": "whisper"})

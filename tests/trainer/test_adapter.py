"""What is trained of a model, and whether what is kept of it is the model that was trained."""

from __future__ import annotations

import copy
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from toy_model import inputs, noise, save_toy_model, toy_model
from transformers import AutoConfig, Qwen2Config

from alm2vec_search.errors import TrainingError
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import Layout, find_model
from trainer import adapter
from trainer.adapter import add_lora, save_adapter, trainable_parameters

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel

TEXTS = ["rain on a roof", "a dog"]
SOUND = noise(1)


def small_decoder(**fields: Any) -> ALM2VecModel:
    """A toy with a decoder, as the published models have one."""
    text_config = Qwen2Config(
        vocab_size=200,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
    )
    return toy_model(text_config=text_config, pooling="eos", **fields)


def shaken(model: ALM2VecModel) -> ALM2VecModel:
    """As after some training: everything that is trained has moved."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def vectors(model: ALM2VecModel) -> Tensor:
    """Of two texts and a sound."""
    with torch.no_grad():
        embedded: Tensor = model.eval()(**inputs(model, [*TEXTS, SOUND]))
    return embedded


def encoded(folder: Path) -> Tensor:
    """The same by the encoder of a folder."""
    encoder = ALM2VecEncoder(find_model(str(folder)), dtype="float32")
    texts = encoder.encode_query(text=TEXTS, instruction="")
    sounds = encoder.encode_document(audio=[SOUND], instruction="")
    return torch.from_numpy(np.concatenate([texts, sounds]))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """What LoRA starts with is drawn."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_toy_model(tmp_path_factory.mktemp("adapter") / "base")


@pytest.mark.parametrize("make", [toy_model, small_decoder])
def test_lora_and_head_are_trained_and_nothing_else(make: Any) -> None:
    model = make()
    before = vectors(model)

    add_lora(model, r=3)

    trained = {name for name, weights in model.named_parameters() if weights.requires_grad}
    lora = {name for name in trained if ".lora_" in name}
    assert trained - lora == {"projection.weight"}
    assert len(lora) == 2 * 3 * 2  # layers; queries, keys, values; A and B
    assert all(name.startswith("language_model.") for name in lora)
    torch.testing.assert_close(vectors(model), before, rtol=0, atol=0)


def test_the_projector_is_trained_where_it_is_wanted() -> None:
    model = toy_model()
    add_lora(model, r=2, train_projector=True)

    report = trainable_parameters(model)

    projector = sum(weights.numel() for weights in model.audio_projector.parameters())
    lora = 2 * 3 * (2 * 32 + 32 * 2)
    assert report.parts == {"audio_projector": projector, "language_model": lora, "projection": 768}
    assert list(report.parts) == ["audio_projector", "language_model", "projection"]
    assert report.trained == projector + lora + 768
    assert str(report) == (
        "3,648 of 41,072 parameters (8.9 %): 2,112 of audio_projector, 768 of language_model, "
        "768 of projection"
    )


@pytest.mark.parametrize("make", [toy_model, small_decoder])
def test_the_scale_is_alpha_over_r(make: Any) -> None:
    model = make()
    add_lora(model, r=2, alpha=6, dropout=0.0)
    shaken(model)
    name = next(name for name, _ in model.named_modules() if name.endswith("lora_A"))
    layer = model.get_submodule(name.removesuffix(".lora_A"))
    change = 3 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    x = torch.randn(4, change.shape[1], generator=torch.Generator().manual_seed(0))

    torch.testing.assert_close(layer(x), layer.base_layer(x) + x @ change.T)


@pytest.mark.parametrize("audio", ["dasheng", "yamnet"])
def test_the_frozen_audio_encoder_never_trains(audio: str) -> None:
    """Batch norms in training mode would go by the batch, and learn from it without a gradient."""
    fields: dict[str, Any] = {} if audio == "dasheng" else {"audio_config": {"model_type": audio}}
    model = toy_model(dropout=0.0, **fields)
    add_lora(model, dropout=0.0)
    before = copy.deepcopy(model.audio_encoder.state_dict())
    expected = vectors(model)

    model.train()
    assert model.training
    assert model.language_model.training
    assert not any(part.training for part in model.audio_encoder.modules())
    torch.testing.assert_close(model(**inputs(model, [*TEXTS, SOUND])), expected)

    for name, tensor in model.audio_encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_what_is_trained_of_a_model_in_bfloat16_is_in_float32() -> None:
    model = small_decoder()
    model.language_model.bfloat16()
    model.audio_projector.bfloat16()
    add_lora(model, train_projector=True)
    model.train()

    model(**inputs(model, [*TEXTS, SOUND])).sum().backward()

    for name, weights in model.named_parameters():
        if weights.requires_grad:
            assert weights.dtype == torch.float32, name
            assert weights.grad is not None, name
        elif name.startswith("language_model."):
            assert weights.dtype == torch.bfloat16, name


def test_a_language_model_of_another_make_is_refused_by_its_layers() -> None:
    text_config = AutoConfig.for_model(
        "gpt_neox", vocab_size=200, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip

    with pytest.raises(TrainingError) as caught:
        add_lora(toy_model(text_config=text_config))

    assert str(caught.value) == (
        "the language model has no q_proj, k_proj, v_proj or query, key, value: its linear layers "
        "are dense, dense_4h_to_h, dense_h_to_4h, query_key_value"
    )


def test_an_adapter_is_added_once() -> None:
    model = toy_model()
    add_lora(model)
    with pytest.raises(TrainingError, match="an adapter already"):
        add_lora(model)


@pytest.mark.parametrize("train_projector", [False, True])
@pytest.mark.parametrize("make", [toy_model, small_decoder])
def test_what_was_saved_is_the_model_that_was_trained(
    tmp_path: Path, make: Any, train_projector: bool
) -> None:
    save_toy_model(tmp_path / "base", make())
    model = make()
    add_lora(model, r=4, train_projector=train_projector)
    untrained = vectors(model)

    save_adapter(shaken(model), tmp_path / "adapter", base=str(tmp_path / "base"))

    found = encoded(tmp_path / "adapter")
    torch.testing.assert_close(found, vectors(model), rtol=0, atol=1e-5)
    assert (found - untrained).abs().max() > 0.05
    files = find_model(str(tmp_path / "adapter"))
    assert files.layout is Layout.ADAPTER
    assert files.embedding_dim == 24
    assert all(path.stat().st_mode & 0o044 for path in (tmp_path / "adapter").iterdir())
    kept = {tensor.name for tensor in files.tensors.values()}
    assert any("audio_projector" in name for name in kept) == train_projector


def test_a_model_without_a_head_has_lora_alone(tmp_path: Path) -> None:
    save_toy_model(tmp_path / "base", toy_model(embedding_dim=None))
    model = toy_model(embedding_dim=None)
    add_lora(model)

    save_adapter(shaken(model), tmp_path / "adapter", base="../base")  # seen from the adapter

    torch.testing.assert_close(encoded(tmp_path / "adapter"), vectors(model), rtol=0, atol=1e-5)
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "config.json",
    ]


def test_what_shapes_its_inputs_comes_along(base: Path, tmp_path: Path) -> None:
    model = toy_model(query_instruction="find it", max_audio_s=7.5)
    add_lora(model)

    save_adapter(model, tmp_path / "adapter", base=str(base), revision="abc")

    files = find_model(str(tmp_path / "adapter"))
    assert files.description.fields["query_instruction"] == "find it"
    assert files.max_audio_s == 7.5
    said = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (said["revision"], said["r"], said["lora_alpha"]) == ("abc", 16, 32)
    assert said["inference_mode"]
    assert not model.peft_config["default"].inference_mode


def test_an_earlier_adapter_makes_room_and_other_files_stay(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    model = toy_model()
    add_lora(model)
    save_adapter(model, folder, base=str(base))
    (folder / "README.md").write_text("mine")
    before = encoded(folder)

    save_adapter(shaken(model), folder, base=str(base))

    assert (encoded(folder) - before).abs().max() > 0.05
    assert (folder / "README.md").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_an_adapter_that_can_not_be_written_leaves_the_earlier_one(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "adapter"
    model = toy_model()
    add_lora(model)
    save_adapter(model, folder, base=str(base))
    before = encoded(folder)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(adapter, "save_file", full)
    with pytest.raises(TrainingError, match=r"adapter can't be written: No space left on device"):
        save_adapter(shaken(model), folder, base=str(base))

    assert torch.equal(encoded(folder), before)
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_folder_of_something_else_is_left_alone(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    (folder / "song.wav").write_bytes(b"la")
    model = toy_model()
    add_lora(model)

    for place in (folder, folder / "song.wav"):
        with pytest.raises(TrainingError, match="is there already, and holds no adapter"):
            save_adapter(model, place, base=str(base))

    assert [path.name for path in folder.iterdir()] == ["song.wav"]
    assert (folder / "song.wav").read_bytes() == b"la"


def test_a_model_without_an_adapter_has_none_to_save(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no adapter to save"):
        save_adapter(toy_model(), tmp_path / "adapter", base=str(base))
    assert not (tmp_path / "adapter").exists()

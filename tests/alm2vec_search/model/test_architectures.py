from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from alm2vec_search.domain import Waveform
from alm2vec_search.errors import ModelError
from alm2vec_search.model import architectures
from alm2vec_search.model.architectures import (
    ARCHITECTURES,
    count_parameters,
    find_architecture,
    processor_of,
    random_model,
)
from alm2vec_search.model.hub import find_model
from alm2vec_search.model.loading import load_model
from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
from alm2vec_search.model.processing_alm2vec import ModelInput

if TYPE_CHECKING:
    from pathlib import Path

SMALL_ENOUGH = ("toy", "small")


def shaped(name: str) -> ALM2VecModel:
    """The architecture without weights."""
    with torch.device("meta"):
        return ALM2VecModel(find_architecture(name))


def dtypes(model: ALM2VecModel) -> dict[str, torch.dtype]:
    """Of all tensors, but for a count that only training reads."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.dtype for name, tensor in tensors if "num_batches" not in name}


# What there is.


def test_7b_has_as_many_parameters_as_were_published() -> None:
    model = shaped("7b")

    assert count_parameters(model) == {
        "audio_encoder": 630_333_568,
        "audio_projector": 35_789_824,
        "language_model": 7_070_619_136,
        "projection": 0,
    }
    assert len(model.audio_encoder.state_dict()) == 397 - 2  # the front end's are computed
    assert len(model.language_model.state_dict()) == 339 - 1  # without its head for words
    assert not [name for name in model.state_dict() if "lora" in name]


def test_06b_has_as_many_parameters_as_its_decoder_was_published_with() -> None:
    parameters = count_parameters(shaped("0.6b"))

    assert parameters["language_model"] == 596_049_920
    assert parameters["audio_encoder"] == 630_333_568


def test_base_fits_a_laptop() -> None:
    model = shaped("base")

    assert count_parameters(model)["audio_encoder"] == 85_447_808
    assert sum(count_parameters(model).values()) < 0.6e9


@pytest.mark.parametrize("name", ["7b", "0.6b", "base", "toy"])
def test_positions_and_prompt_are_the_published_ones(name: str) -> None:
    config = find_architecture(name)

    assert config.text_config.rope_parameters["rope_theta"] == 1e6
    assert (config.pooling, config.reduced, config.max_audio_s) == ("eos", "all", 30.0)
    assert config.audio_config["target_length"] == 1_008


def test_small_is_the_bundled_one() -> None:
    made, loaded = find_architecture("small"), load_small(torch.float32).config

    for part in ("audio_config", "projector_config", "prompt", "pooling", "max_tokens", "reduced"):
        assert getattr(made, part) == getattr(loaded, part)
    assert made.text_config.num_hidden_layers == loaded.text_config.num_hidden_layers


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match="no architecture is called 70b") as caught:
        find_architecture("70b")
    assert all(name in str(caught.value.hint) for name in ARCHITECTURES)


# Models of random weights.


def load_small(dtype: torch.dtype) -> ALM2VecModel:
    return load_model(find_model("small"), dtype, "cpu")


@pytest.mark.parametrize("name", SMALL_ENOUGH)
def test_buffers_are_those_of_a_model_that_is_made_the_usual_way(name: str) -> None:
    """The window and the filterbank, the bases of the positions, the norms' statistics."""
    usual = ALM2VecModel(find_architecture(name))
    usual.audio_encoder.compute_in(torch.bfloat16)
    expected = dict(usual.named_buffers())

    model = random_model(find_architecture(name), torch.bfloat16, "cpu")

    buffers = dict(model.named_buffers())
    assert set(buffers) == set(expected)
    for buffer in expected:
        assert torch.equal(buffers[buffer], expected[buffer]), buffer
    assert any("inv_freq" in buffer or "words_used" in buffer for buffer in buffers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_numeric_types_are_those_of_a_loaded_model(tmp_path: Path, dtype: torch.dtype) -> None:
    made = random_model(find_architecture("toy"), torch.float32, "cpu")
    made.save_pretrained(tmp_path)
    processor_of(made).tokenizer.save(str(tmp_path / "tokenizer.json"))

    loaded = load_model(find_model(str(tmp_path)), dtype, "cpu")

    assert dtypes(random_model(find_architecture("toy"), dtype, "cpu")) == dtypes(loaded)
    small = random_model(find_architecture("small"), dtype, "cpu")
    assert dtypes(small) == dtypes(load_small(dtype))


@pytest.mark.parametrize("name", SMALL_ENOUGH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_embeds_to_unit_vectors(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = random_model(find_architecture(name), dtype, "cpu")
    sound = Waveform(torch.randn(20_000).numpy(), 16_000)
    inputs = [
        ModelInput("a dog", None, "Find it."),
        ModelInput(None, sound, ""),
        ModelInput("a dog", sound, "Find it."),
    ]

    with torch.inference_mode():
        vectors = model(**processor_of(model)(inputs))

    assert vectors.shape == (3, model.config.output_dim)
    assert torch.isfinite(vectors).all()
    assert torch.linalg.vector_norm(vectors, dim=1) == pytest.approx(1, abs=1e-5)
    assert (vectors @ vectors.T)[0, 1] < 0.999
    assert not model.training


def test_nothing_is_made_elsewhere_before() -> None:
    """On the device that holds nothing, a model that would fill a laptop takes no memory."""
    model = random_model(find_architecture("base"), torch.bfloat16, "meta")

    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}
    assert dtypes(model)["language_model.norm.weight"] == torch.bfloat16
    assert dtypes(model)["audio_encoder.init_bn.weight"] == torch.float32


def test_what_does_not_fit_is_said_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures, "device_memory", lambda _: 24_000_000_000)

    with pytest.raises(ModelError, match=r"need 30\.9 GB.* cpu has 24\.0 GB") as caught:
        random_model(find_architecture("7b"), torch.float32, "cpu")
    assert "--dtype bfloat16" in str(caught.value.hint)


def test_a_device_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ModelError, match="the device cuda:7 can't be used"):
        random_model(find_architecture("toy"), torch.float32, "cuda:7")


# Their tokenizer.


def test_a_prompt_has_as_many_tokens_as_qwen_makes_of_it() -> None:
    processor = processor_of(shaped("7b"))
    instruction = processor.config.document_instruction  # six: Represent the user 's input .
    turns = 3 + 2 + 3 + 2 + 3 + 1  # headers, their ends, <|endoftext|>

    document = processor.write(ModelInput(None, None, instruction), 50).ids

    assert len(document) == pytest.approx(turns + 6 + 50 + 2, abs=2)
    assert document.count(processor.audio_id) == 50
    assert document[-1] == processor.tokenizer.token_to_id("<|endoftext|>")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_tokens_are_in_the_vocabulary(name: str) -> None:
    processor = processor_of(shaped(name))
    config = processor.config

    for role in (config.query_instruction, config.document_instruction):
        written = processor.write(ModelInput("a dog barks", None, role), 9).ids
        assert max(written) < config.text_config.vocab_size
        assert processor.tokenizer.token_to_id("[UNK]") in written

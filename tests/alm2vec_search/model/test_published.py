"""Checkpoints of exactly the published format, at toy size, against parts that aren't ours."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch
from published_checkpoint import HIDDEN, Original, save_shards

from alm2vec_search.domain import Waveform
from alm2vec_search.errors import ModelError
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import Layout, find_model
from alm2vec_search.model.published import PROMPT
from alm2vec_search.testing import tone

if TYPE_CHECKING:
    from command_line import CommandLine

    from alm2vec_search.domain import Embeddings

SAME = 1e-4
DOCUMENT = "Represent the user's input."
SOUND = "<|audio_bos|><|AUDIO|><|audio_eos|>"


def noise(n_samples: int, seed: int = 0) -> Waveform:
    samples = np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)
    return Waveform(0.1 * samples, 16_000)


def chat(instruction: str, content: str) -> str:
    """The whole prompt, as a chat template would write it."""
    return (
        f"<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n{content}<|im_end|>\n"
        "<|im_start|>assistant\n<|endoftext|>"
    )


@pytest.fixture(scope="module")
def original() -> Original:
    return Original.make()


@pytest.fixture(scope="module")
def checkpoint(original: Original, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return original.save(tmp_path_factory.mktemp("published") / "midashenglm-toy")


def load(folder: Path, dtype: str = "float32") -> ALM2VecEncoder:
    return ALM2VecEncoder(find_model(str(folder)), dtype=dtype)


def assert_same(ours: Embeddings, theirs: list[torch.Tensor]) -> None:
    np.testing.assert_allclose(ours, torch.stack(theirs).numpy(), atol=SAME, rtol=0)


def change(folder: Path, **fields: Any) -> None:
    """Fields of its config.json; None takes one out."""
    config = json.loads((folder / "config.json").read_text()) | fields
    kept = {name: value for name, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


# The whole of it.


@pytest.mark.parametrize("decoder_type", ["qwen2_5_omni_text", "qwen3"])
@pytest.mark.parametrize("lm_head", [True, False])
@pytest.mark.parametrize("front_end", [True, False])
def test_a_checkpoint_answers_as_its_makers_parts_do(
    tmp_path: Path, decoder_type: str, lm_head: bool, front_end: bool
) -> None:
    original = Original.make(decoder_type=decoder_type)
    tensors = original.tensors(lm_head=lm_head, front_end=front_end)
    encoder = load(original.save(tmp_path / "model", tensors=tensors))
    short, long = noise(16_000), noise(200_123, seed=1)

    ours = encoder.encode_document(
        text=["a dog barks", None, None, "What is it?"], audio=[None, short, long, short]
    )

    theirs = [
        original.embed(chat(DOCUMENT, "a dog barks")),
        original.embed(chat(DOCUMENT, SOUND), short),
        original.embed(chat(DOCUMENT, SOUND), long),
        original.embed(chat(DOCUMENT, f"{SOUND}What is it?"), short),
    ]
    assert_same(ours, theirs)
    assert abs(float(theirs[1] @ theirs[2])) < 0.999  # they do differ


@pytest.mark.parametrize("n_samples", [1, 3_199, 3_200, 40_641, 161_280, 323_100, 323_200])
def test_odd_lengths_are_heard_alike(original: Original, checkpoint: Path, n_samples: int) -> None:
    sound = noise(n_samples)

    ours = load(checkpoint).encode_document(audio=[sound])

    assert_same(ours, [original.embed(chat(DOCUMENT, SOUND), sound)])


def test_queries_have_an_instruction_of_their_own(original: Original, checkpoint: Path) -> None:
    encoder = load(checkpoint)
    said = "Retrieve an audio document that is relevant to the given query."

    assert_same(encoder.encode_query(text=["dogs"]), [original.embed(chat(said, "dogs"))])
    assert_same(
        encoder.encode_query(text=["dogs"], instruction="Same speaker?"),
        [original.embed(chat("Same speaker?", "dogs"))],
    )


def test_layout_and_pooled_token_are_the_configs(original: Original, checkpoint: Path) -> None:
    """Text before the audio, no assistant's turn, and the end of the user's turn is pooled."""
    prompt = "<|im_start|>user\n{instruction}{text}{audio}<|im_end|>"
    folder = checkpoint.parent / "other-layout"
    original.save(folder, prompt=prompt, document_instruction="Hm.")
    sound = noise(20_000)

    ours = load(folder).encode_document(text=["dogs"], audio=[sound])

    theirs = original.embed(f"<|im_start|>user\nHm.dogs{SOUND}<|im_end|>", sound)
    assert_same(ours, [theirs])


def test_a_prompt_in_pieces_is_the_prompt_in_one(original: Original, checkpoint: Path) -> None:
    """Pieces are tokenized one by one; a chat template's output is tokenized whole."""
    encoder = load(checkpoint)
    processor = encoder._batched.processor
    from alm2vec_search.model.processing_alm2vec import ModelInput

    for text in ("dog", "dogs. Dogs!", "123", "d", "it's the dog.", "ein Hund bellt — ça va?"):
        written = processor.write(ModelInput(text, None, DOCUMENT), 0).ids
        whole = PROMPT.format(instruction=DOCUMENT, audio="", text=text)
        assert written == original.tokenizer.encode(whole, add_special_tokens=False).ids


def test_sounds_are_heard_for_thirty_seconds(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = load(checkpoint)
    sound = noise(31 * 16_000)

    whole, start = encoder.encode_document(
        audio=[sound, Waveform(sound.samples[: 30 * 16_000], 16_000)]
    )

    assert np.abs(whole - start).max() < 1e-6
    assert "hears 30 s of a sound: 1 were longer" in caplog.text


def test_how_long_it_hears_is_the_configs(original: Original, checkpoint: Path) -> None:
    folder = original.save(checkpoint.parent / "hears-all", max_audio_s=None)
    sound = noise(31 * 16_000)

    assert_same(
        load(folder).encode_document(audio=[sound]),
        [original.embed(chat(DOCUMENT, SOUND), sound)],
    )


def test_company_and_batches_change_nothing(checkpoint: Path) -> None:
    encoder = load(checkpoint)
    sounds = [noise(n, seed=n) for n in (8_000, 16_000, 100_000, 170_000, 8_000)]
    texts = [None, "what is it?", None, "a dog", None]
    alone = np.concatenate(
        [encoder.encode_document(text=[t], audio=[s]) for t, s in zip(texts, sounds, strict=True)]
    )

    together = encoder.encode_document(text=[*texts, "only words"], audio=[*sounds, None])

    assert np.abs(together[:5] - alone).max() < 1e-5


def test_bfloat16_is_near_and_all_but_the_front_end(checkpoint: Path) -> None:
    sounds = [noise(16_000), noise(40_000, seed=1)]
    in32, in16 = load(checkpoint), load(checkpoint, "bfloat16")

    one, other = in32.encode_document(audio=sounds), in16.encode_document(audio=sounds)

    assert ((one * other).sum(axis=1) > 0.99).all()
    model = in16._model
    assert model.audio_encoder.init_bn.weight.dtype == torch.float32
    assert model.audio_encoder.front_end.mel_weights.dtype == torch.float32
    for part in (model.audio_encoder.blocks, model.audio_projector, model.language_model):
        assert {weights.dtype for weights in part.parameters()} == {torch.bfloat16}
    assert model.audio_encoder.time_pos_embed.dtype == torch.bfloat16
    assert {weights.dtype for weights in in32._model.parameters()} == {torch.float32}


# The projection.


@pytest.mark.parametrize("name", ["embedding_head.weight", "projection.weight", "head.0.weight"])
@pytest.mark.parametrize("with_bias", [True, False])
def test_any_matrix_after_the_decoder_is_the_projection(
    tmp_path: Path, name: str, with_bias: bool
) -> None:
    original = Original.make(head_dim=10)
    assert original.head is not None
    tensors = original.tensors()
    tensors[name] = tensors.pop("embedding_head.weight")
    if with_bias:
        bias = torch.randn(10)
        tensors[name.replace("weight", "bias")] = bias
        biased = torch.nn.Linear(HIDDEN, 10)
        biased.load_state_dict({"weight": original.head.weight, "bias": bias})
        original = replace(original, head=biased)
    tensors["logit_scale"] = torch.tensor(2.6)
    folder = original.save(tmp_path / "model", tensors=tensors)
    sound = noise(16_000)

    encoder = load(folder)

    assert encoder.embedding_dim == find_model(str(folder)).embedding_dim == 10
    assert encoder._model.projection.weight.dtype == torch.float32
    assert_same(
        encoder.encode_document(audio=[sound]), [original.embed(chat(DOCUMENT, SOUND), sound)]
    )


def test_two_projections_are_one_too_many(original: Original, tmp_path: Path) -> None:
    tensors = original.tensors() | {"a.weight": torch.ones(4, HIDDEN), "b": torch.ones(5, HIDDEN)}
    folder = original.save(tmp_path / "model", tensors=tensors)

    with pytest.raises(ModelError, match="which of these is the projection"):
        load(folder)


def test_without_a_projection_vectors_are_as_wide_as_the_decoder(checkpoint: Path) -> None:
    assert find_model(str(checkpoint)).embedding_dim == HIDDEN


# Names, tokens, numbers.


def test_names_behind_a_prefix_are_found(original: Original, tmp_path: Path) -> None:
    tensors = {f"model.base.{name}": tensor for name, tensor in original.tensors().items()}
    folder = original.save(tmp_path / "model", tensors=tensors)

    assert_same(
        load(folder).encode_document(text=["dogs"]), [original.embed(chat(DOCUMENT, "dogs"))]
    )


def test_the_stand_alone_packages_names_load(original: Original, tmp_path: Path) -> None:
    tensors = {
        name.replace("audio_encoder.init_bn.", "audio_encoder.init_bn.1."): tensor
        for name, tensor in original.tensors().items()
    }
    folder = original.save(tmp_path / "model", tensors=tensors)
    sound = noise(16_000)

    assert_same(
        load(folder).encode_document(audio=[sound]),
        [original.embed(chat(DOCUMENT, SOUND), sound)],
    )


@pytest.mark.parametrize(
    "rope",
    [
        {},
        {"rope_theta": 1e6},
        {"rope_theta": 1e6, "rope_scaling": {"type": "mrope", "mrope_section": [2, 2, 2]}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
        {"rope_parameters": None, "rope_scaling": None},
    ],
)
def test_positions_are_the_published_ones_however_the_config_says_it(
    original: Original, tmp_path: Path, rope: dict[str, Any]
) -> None:
    """transformers takes 10,000 as the base where a config says nothing."""
    text_config = original.config()["text_config"] | rope
    folder = original.save(tmp_path / "model", text_config=text_config)

    assert_same(
        load(folder).encode_document(text=["a dog barks at a dog"]),
        [original.embed(chat(DOCUMENT, "a dog barks at a dog"))],
    )


def test_special_tokens_are_looked_up_by_their_strings(tmp_path: Path) -> None:
    """As in the 0.6 B, whose vocabulary has other things at the 7 B's ids."""
    original = Original.make(decoder_type="qwen3")
    original.tokenizer.add_special_tokens(["<|other|>", "<|hear|>", "<|ear|>", "<|/ear|>"])
    folder = original.save(
        tmp_path / "model", audio_token_id=original.tokenizer.token_to_id("<|hear|>")
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "audio_token": "<|hear|>",
                "audio_bos_token": {"content": "<|ear|>", "lstrip": False},
                "audio_eos_token": "<|/ear|>",
            }
        )
    )
    processor = load(folder)._batched.processor
    from alm2vec_search.model.processing_alm2vec import ModelInput

    written = processor.write(ModelInput(None, noise(16_000), ""), 2).ids

    said = original.tokenizer.decode(written, skip_special_tokens=False)
    assert "user\n<|ear|><|hear|><|hear|><|/ear|><|im_end|>" in said


def test_an_audio_token_that_config_and_tokenizer_dispute_is_an_error(
    original: Original, tmp_path: Path
) -> None:
    folder = original.save(tmp_path / "model", audio_token_id=7)

    with pytest.raises(ModelError, match=r"'<\|AUDIO\|>' is token \d+ of the tokenizer, and 7 of"):
        load(folder)


def test_a_tokenizer_in_qwens_own_files_loads(original: Original, tmp_path: Path) -> None:
    folder = original.save(tmp_path / "model")
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("\n".join(" ".join(pair) for pair in model["merges"]))
    special = "<|endoftext|> <|im_start|> <|im_end|> <|AUDIO|> <|audio_bos|> <|audio_eos|>".split()
    added = {
        str(original.tokenizer.token_to_id(token)): {"content": token, "special": True}
        for token in special
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": added})
    )

    assert_same(
        load(folder).encode_document(text=["a dog"]), [original.embed(chat(DOCUMENT, "a dog"))]
    )


# What doesn't fit is named.


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("decoder.model.norm.weight", None, "missing: decoder.model.norm.weight"),
        ("audio_projector.net.0.bias", None, "missing: audio_projector.net.0.bias"),
        ("audio_encoder.blocks.1.attn.qkv.bias", None, "missing: audio_encoder.blocks.1.attn"),
        ("decoder.model.surprise.weight", torch.ones(2), "unknown: "),
        ("nobody.knows", torch.ones(2, 3), "unknown: nobody.knows"),
        (
            "decoder.model.layers.0.mlp.up_proj.weight",
            torch.ones(3, HIDDEN),
            "of another shape: decoder.model.layers.0.mlp.up_proj.weight ([3, 48], not [96, 48])",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    original: Original, tmp_path: Path, name: str, tensor: torch.Tensor | None, message: str
) -> None:
    tensors = original.tensors()
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    folder = original.save(tmp_path / "model", tensors=tensors)

    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mel_scale.fb", "spectrogram.window"])
def test_another_front_end_is_refused(original: Original, tmp_path: Path, name: str) -> None:
    tensors = original.tensors()
    tensors[f"audio_encoder.front_end.0.{name}"] += 0.001
    folder = original.save(tmp_path / "model", tensors=tensors)

    with pytest.raises(ModelError, match="was made for another audio front end"):
        load(folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"audio_encoder_config": {"n_mels": 128}}, "n_mels of the audio encoder is 128"),
        ({"audio_encoder_config": {}}, "doesn't say how many heads the audio encoder has"),
        ({"text_config": {"model_type": "llama"}}, "the decoder is a llama; there are qwen2_5"),
        (
            {"text_config": {"model_type": "qwen2", "rope_scaling": {"rope_type": "yarn"}}},
            "positions are scaled by 'yarn'",
        ),
        ({"pooling": "max"}, "pooling is one of mean, eos"),
    ],
)
def test_a_config_that_says_something_else_is_explained(
    original: Original, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    folder = original.save(tmp_path / "model", **fields)

    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_shard_that_is_missing_is_named(original: Original, tmp_path: Path) -> None:
    folder = original.save(tmp_path / "model")
    (folder / "model-00003-of-00007.safetensors").unlink()

    with pytest.raises(ModelError, match=r"model-00003-of-00007\.safetensors is missing") as caught:
        load(folder)
    assert "pull" in str(caught.value.hint)


def test_an_index_cannot_lead_out_of_its_folder(original: Original, tmp_path: Path) -> None:
    folder = original.save(tmp_path / "model")
    save_shards(original.tensors(), tmp_path, 1)
    index = {"weight_map": {"x": "../model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(ModelError, match="leads out of its folder"):
        load(folder)


def test_pickles_are_never_loaded(original: Original, tmp_path: Path) -> None:
    folder = original.save(tmp_path / "model")
    for shard in [*folder.glob("*.safetensors"), folder / "model.safetensors.index.json"]:
        shard.unlink()
    torch.save(original.tensors(), folder / "pytorch_model.bin")

    with pytest.raises(ModelError, match=r"it has no \*\.safetensors") as caught:
        load(folder)
    assert "pytorch_model.bin is a pickle, which can run code" in str(caught.value.hint)


# Its identity.


def test_fingerprints_tell_prompts_and_tokenizers_apart(original: Original, tmp_path: Path) -> None:
    folder = original.save(tmp_path / "model")
    files = find_model(str(folder))
    assert files.layout is Layout.PUBLISHED
    found = {files.fingerprint("float32")}

    change(folder, document_instruction="Hm.")
    found.add(find_model(str(folder)).fingerprint("float32"))
    (folder / "tokenizer_config.json").write_text("{}")
    found.add(find_model(str(folder)).fingerprint("float32"))

    assert len(found) == 3
    (folder / "README.md").write_text("about")
    assert find_model(str(folder)).fingerprint("float32") in found


def test_windows_longer_than_it_hears_are_refused(
    checkpoint: Path, library: Path, alm2vec: CommandLine
) -> None:
    answer = alm2vec("index", library, "--model", checkpoint, "--window", "31")

    assert answer.exit_code == 2
    assert "hears 30 s at a time, and chunks would have 31 s" in answer.err
    assert "use --window 30" in answer.err


def test_a_library_is_indexed_and_searched_with_it(
    checkpoint: Path, library: Path, alm2vec: CommandLine
) -> None:
    for name, hz in (("low", 200), ("high", 4_000)):
        soundfile.write(library / f"{name}.wav", tone(hz, 2.0, 16_000), 16_000)

    indexed = alm2vec("index", library, "--model", checkpoint, "--workers", "1")
    found = alm2vec("search", "--like", library / "low.wav", "--json", "--instruction", DOCUMENT)

    assert indexed.exit_code == 0, indexed.err
    assert f"model {checkpoint} (" in indexed.err
    assert [Path(hit["path"]).name for hit in found.records] == ["low.wav", "high.wav"]
    assert found.records[0]["score"] == pytest.approx(1, abs=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_says_the_same(checkpoint: Path) -> None:
    sounds = [noise(16_000), noise(200_123, seed=1)]
    on_cpu = load(checkpoint).encode_document(audio=sounds)

    for dtype, at_least in (("float32", 0.99999), ("bfloat16", 0.99)):
        on_gpu = ALM2VecEncoder(find_model(str(checkpoint)), dtype=dtype, device="cuda")
        assert ((on_gpu.encode_document(audio=sounds) * on_cpu).sum(axis=1) > at_least).all()

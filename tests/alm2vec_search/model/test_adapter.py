"""A base, LoRA weights over it as peft writes them, and a head: as one model."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from published_checkpoint import HIDDEN, Original
from safetensors.torch import load_file, save_file
from test_published import DOCUMENT, SOUND, assert_same, chat, load, noise

from alm2vec_search.errors import ModelError, ModelNotHere
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import Layout, find_model

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = ["q_proj", "k_proj", "v_proj"]
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def original() -> Original:
    return Original.make()


@pytest.fixture(scope="module")
def base(original: Original, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return original.save(tmp_path_factory.mktemp("adapter") / "base")


def tune(original: Original, base: str, folder: Path, **options: Any) -> Original:
    """Write an adapter with random changes; what it should make of the original."""
    torch.manual_seed(1)
    tuned = get_peft_model(
        copy.deepcopy(original.decoder),
        LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, **options),
    )
    with torch.no_grad():
        for name, weights in tuned.named_parameters():
            if "lora_" in name:
                weights.normal_(std=0.1)
    tuned.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = base
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return replace(original, decoder=tuned.merge_and_unload().eval())


def rename(folder: Path, old: str, new: str) -> None:
    weights = load_file(folder / WEIGHTS)
    save_file({name.replace(old, new): w for name, w in weights.items()}, folder / WEIGHTS)


@pytest.mark.parametrize(
    "trained_as",
    ["model.layers.", "decoder.model.layers.", "language_model.layers.", "layers."],
    ids=["the decoder", "the published model", "our model", "the decoder's body"],
)
def test_an_adapter_is_merged_whatever_it_was_trained_as(
    original: Original, base: Path, tmp_path: Path, trained_as: str
) -> None:
    tuned = tune(original, str(base), tmp_path)
    rename(tmp_path, "base_model.model.model.layers.", f"base_model.model.{trained_as}")
    sound = noise(16_000)

    ours = load(tmp_path).encode_document(text=[None, "dogs"], audio=[sound, None])

    theirs = [tuned.embed(chat(DOCUMENT, SOUND), sound), tuned.embed(chat(DOCUMENT, "dogs"))]
    assert_same(ours, theirs)
    assert not torch.allclose(theirs[1], original.embed(chat(DOCUMENT, "dogs")), atol=0.01)


@pytest.mark.parametrize("options", [{"use_rslora": True}, {"use_dora": True}, {"bias": "none"}])
def test_variants_of_lora_are_pefts_business(
    original: Original, base: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    tuned = tune(original, str(base), tmp_path, **options)

    assert_same(
        load(tmp_path).encode_document(text=["dogs"]), [tuned.embed(chat(DOCUMENT, "dogs"))]
    )


@pytest.mark.parametrize("own_file", [True, False])
def test_a_head_and_a_trained_projector_come_along(
    original: Original, base: Path, tmp_path: Path, own_file: bool
) -> None:
    tuned = tune(original, str(base), tmp_path)
    head = torch.nn.Linear(HIDDEN, 7, bias=False)
    projector = copy.deepcopy(original.audio_projector)
    torch.nn.init.normal_(projector[2].bias)
    more = {
        "base_model.model.head.weight": head.weight.data,
        "base_model.model.audio_projector.net.2.bias": projector[2].bias.data,
        "logit_scale": torch.tensor(2.0),
    }
    if own_file:
        save_file(more, tmp_path / "head.safetensors")
    else:
        save_file(load_file(tmp_path / WEIGHTS) | more, tmp_path / WEIGHTS)
    tuned = replace(tuned, head=head, audio_projector=projector)
    sound = noise(16_000)

    encoder = load(tmp_path)

    assert encoder.embedding_dim == 7
    assert_same(encoder.encode_document(audio=[sound]), [tuned.embed(chat(DOCUMENT, SOUND), sound)])


def test_an_adapter_can_have_a_prompt_of_its_own(
    original: Original, base: Path, tmp_path: Path
) -> None:
    tuned = tune(original, str(base), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"document_instruction": "Listen."}))

    assert_same(
        load(tmp_path).encode_document(text=["dogs"]), [tuned.embed(chat("Listen.", "dogs"))]
    )


def test_an_adapter_over_the_bundled_model(tmp_path: Path) -> None:
    """With our own names, over our own layout."""
    name = "language_model.encoder.layer.0.attention.self.query"
    torch.manual_seed(0)
    down, up = torch.randn(2, 384) * 0.3, torch.randn(384, 2) * 0.3
    save_file(
        {
            f"base_model.model.{name}.lora_A.weight": down,
            f"base_model.model.{name}.lora_B.weight": up,
        },
        tmp_path / WEIGHTS,
    )
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "base_model_name_or_path": "small"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    before = ALM2VecEncoder(find_model("small"), dtype="float32")

    after = load(tmp_path)

    weights = [dict(e._model.named_parameters())[f"{name}.weight"] for e in (before, after)]
    torch.testing.assert_close(weights[1] - weights[0], 3 * up @ down, atol=1e-5, rtol=1e-4)
    assert np.abs(after.encode_query(text=["rain"]) - before.encode_query(text=["rain"])).max() > 0


def test_an_adapters_identity_is_its_own_and_its_bases(
    original: Original, base: Path, tmp_path: Path
) -> None:
    tune(original, str(base), tmp_path / "one")
    files = find_model(str(tmp_path / "one"))
    assert files.layout is Layout.ADAPTER
    assert files.num_bytes > find_model(str(base)).num_bytes
    found = {find_model(str(base)).weights_hash, files.weights_hash}

    other = original.save(tmp_path / "other-base", document_instruction="Hm.")
    tune(original, str(other), tmp_path / "two")
    found.add(find_model(str(tmp_path / "two")).weights_hash)
    rename(tmp_path / "one", "layers.0", "layers.1")
    found.add(find_model(str(tmp_path / "one")).weights_hash)

    assert len(found) == 4


def test_a_base_is_found_beside_its_adapter(
    original: Original, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original.save(tmp_path / "model" / "base")
    tuned = tune(original, "base", tmp_path / "model")
    monkeypatch.chdir(tmp_path)

    assert_same(
        load(tmp_path / "model").encode_document(text=["dogs"]),
        [tuned.embed(chat(DOCUMENT, "dogs"))],
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_model_name_or_path": None}, "doesn't say what it was trained on"),
        ({"base_model_name_or_path": "nowhere"}, "no model is called nowhere"),
        ({"r": 5}, "size mismatch"),
    ],
)
def test_an_adapter_that_makes_no_sense_is_explained(
    original: Original, base: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    tune(original, str(base), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | changes))

    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_another_kind_of_adapter_is_refused(original: Original, base: Path, tmp_path: Path) -> None:
    tune(original, str(base), tmp_path)
    config = {"peft_type": "IA3", "base_model_name_or_path": str(base)}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))

    with pytest.raises(ModelError, match=r"the adapter is .*IA3; only LoRA is known"):
        load(tmp_path)


def test_weights_without_a_place_are_named(original: Original, base: Path, tmp_path: Path) -> None:
    tune(original, str(base), tmp_path)
    rename(tmp_path, "layers.1", "layers.9")

    with pytest.raises(ModelError, match=r"changes model\.layers\.9\.self_attn\.[qkv]_proj"):
        load(tmp_path)


def test_a_base_of_a_hub_that_is_not_here_is_named(
    original: Original, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    tune(original, "mispeech/midashenglm-7b", tmp_path / "model")

    with pytest.raises(ModelNotHere, match="mispeech/midashenglm-7b isn't on this machine"):
        find_model(str(tmp_path / "model"))


def test_an_adapter_over_an_adapter_is_refused(
    original: Original, base: Path, tmp_path: Path
) -> None:
    tune(original, str(base), tmp_path / "one")
    tune(original, str(tmp_path / "one"), tmp_path / "two")

    with pytest.raises(ModelError, match="lies over another adapter"):
        find_model(str(tmp_path / "two"))

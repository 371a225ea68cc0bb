"""How the small model starts, and whether what ships is what that makes."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel

from alm2vec_search.domain import Waveform
from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import BUNDLED_FOLDER, find_model
from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
from alm2vec_search.model.modeling_yamnet import YamnetModel
from alm2vec_search.model.start import SHARDS, save_shards, soft_word, start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

WORDS = "[PAD] [UNK] [CLS] [SEP] [unused0] dog bow wow rain on a tin roof".split()


@pytest.fixture
def tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(WORDS[:5])
    return tokenizer


EMBEDDINGS = torch.arange(len(WORDS)).float()[:, None].expand(-1, 2)  # word i is (i, i)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Dog", [5.0]),
        ("Bow-wow", [6.0, 7.0]),
        ("Rain, rain (on) a", [8.0, 9.0, 10.0]),
        ("Rain on a tin roof", [8.5, 10.5, 12.0]),  # neighbours share a slot
    ],
)
def test_a_soft_word_is_a_name_in_pieces(
    tokenizer: Tokenizer, name: str, expected: list[float]
) -> None:
    pieces = soft_word(name, tokenizer, EMBEDDINGS, most=3)

    assert pieces.tolist() == [[value, value] for value in expected]


def test_shards_hold_every_tensor_once_and_in_half_precision(
    tiny_model: Callable[..., ALM2VecModel], tmp_path: Path
) -> None:
    model = tiny_model(fuse=False, embedding_dim=8)
    save_shards(model.state_dict(), tmp_path)
    model.config.save_pretrained(tmp_path)

    stored = {name: load_file(tmp_path / name) for name in SHARDS.values()}
    assert sorted(key for tensors in stored.values() for key in tensors) == sorted(
        model.state_dict()
    )
    assert {t.dtype for tensors in stored.values() for t in tensors.values()} == {torch.float16}
    assert set(stored["adapter.safetensors"]) == {
        "audio_projector.detector.bias",
        "audio_projector.detector.weight",
        "audio_projector.relevance.names",
        "audio_projector.relevance.sharpness",
        "audio_projector.relevance.strength.bias",
        "audio_projector.relevance.strength.weight",
        "audio_projector.relevance.threshold",
        "audio_projector.relevance.turn.weight",
        "audio_projector.shade.0.bias",
        "audio_projector.shade.0.weight",
        "audio_projector.shade.2.bias",
        "audio_projector.shade.2.weight",
        "audio_projector.words",
        "audio_projector.words_used",
        "projection.weight",
    } | {
        f"language_model.encoder.layer.{layer}.attention.self.{part}.weight"
        for layer in range(model.config.text_config.num_hidden_layers)
        for part in ("query", "key", "value")
    }
    loaded, report = ALM2VecModel.from_pretrained(
        tmp_path, dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values())
    for key, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[key].half().float())


@pytest.fixture
def bases(tokenizer: Tokenizer, tmp_path: Path) -> tuple[Path, Path, Path]:
    """YAMNet and MiniLM in small: random tensors under the names of the real ones."""
    torch.manual_seed(0)
    yamnet: dict[str, Tensor] = YamnetModel().state_dict()
    yamnet |= {"classifier.weight": torch.randn(521, 1024), "classifier.bias": torch.randn(521)}
    save_file(yamnet, tmp_path / "yamnet.safetensors")
    with (tmp_path / "classes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "mid", "display_name"])
        for i in range(521):
            writer.writerow([i, f"/m/{i}", ("Dog", "Bow-wow", "Rain on a tin roof")[i % 3]])
    text_config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    minilm = tmp_path / "minilm"
    BertModel(text_config).save_pretrained(minilm)  # with a pooler
    tokenizer.save(str(minilm / "tokenizer.json"))
    return tmp_path / "yamnet.safetensors", tmp_path / "classes.csv", minilm


def test_start_puts_the_bases_together(bases: tuple[Path, Path, Path], tmp_path: Path) -> None:
    yamnet, classes, minilm = bases
    out = tmp_path / "out"

    start(yamnet, classes, minilm, out)

    adapter = load_file(out / "adapter.safetensors")
    expected = load_file(yamnet)["classifier.weight"].half()
    assert torch.equal(adapter["audio_projector.detector.weight"], expected)
    embeddings = load_file(minilm / "model.safetensors")["embeddings.word_embeddings.weight"]
    words = adapter["audio_projector.words"]
    assert torch.equal(words[1, :2], embeddings[[6, 7]].half())
    assert not words[1, 2].any()
    assert adapter["audio_projector.words_used"][:3].tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    config = ALM2VecConfig.from_pretrained(out)
    assert config.id2label[1] == "Bow-wow"
    assert str(tmp_path) not in (out / "config.json").read_text()


def test_what_start_wrote_can_be_used(bases: tuple[Path, Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    start(*bases, out)

    encoder = ALM2VecEncoder(find_model(str(out)), dtype="float32")
    sound = Waveform(np.sin(np.arange(8000, dtype=np.float32)), 16_000)
    embeddings = encoder.encode_document(text=["dog", None], audio=[None, sound])

    assert embeddings.shape == (2, 8)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_the_bundled_index_names_every_tensor() -> None:
    index = json.loads((BUNDLED_FOLDER / "model.safetensors.index.json").read_text())
    stored = {name: load_file(BUNDLED_FOLDER / name) for name in SHARDS.values()}

    assert sorted(path.name for path in BUNDLED_FOLDER.glob("*.safetensors")) == sorted(stored)
    assert index["weight_map"] == {key: name for name in stored for key in stored[name]}
    size = sum(tensor.nbytes for tensors in stored.values() for tensor in tensors.values())
    assert index["metadata"]["total_size"] == size
    assert {t.dtype for tensors in stored.values() for t in tensors.values()} == {torch.float16}
    assert all(t.isfinite().all() for tensors in stored.values() for t in tensors.values())


def test_what_training_changes_is_bundled_apart() -> None:
    keys = {name: set(load_file(BUNDLED_FOLDER / name)) for name in SHARDS.values()}

    assert {key.partition(".")[0] for key in keys["base-audio-encoder.safetensors"]} == {
        "audio_encoder"
    }
    assert {key.partition(".")[0] for key in keys["base-language-model.safetensors"]} == {
        "language_model"
    }
    trained = keys["adapter.safetensors"]
    assert {key.partition(".")[0] for key in trained} == {"audio_projector", "language_model"}
    of_language_model = [key for key in trained if key.startswith("language_model.")]
    assert {key.split(".")[-2] for key in of_language_model} == {"query", "key", "value"}


def test_the_bundled_model_is_small_and_can_be_read_by_all() -> None:
    files = [path for path in BUNDLED_FOLDER.iterdir() if path.is_file()]

    assert sum(path.stat().st_size for path in files) < 60e6
    assert (BUNDLED_FOLDER / "adapter.safetensors").stat().st_size < 9e6
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in files)


def test_the_bundled_projector_has_a_name_and_a_word_for_each_class() -> None:
    config = ALM2VecConfig.from_pretrained(BUNDLED_FOLDER)
    adapter = load_file(BUNDLED_FOLDER / "adapter.safetensors")
    words, used = adapter["audio_projector.words"], adapter["audio_projector.words_used"]

    assert list(config.id2label) == list(range(523))  # YAMNet's, and two of voices
    assert words.shape == (523, 3, 384)
    assert ((used == 0) | (used == 1)).all()
    assert (used[:, 0] == 1).all()
    assert torch.equal(words.float().norm(dim=-1) > 0, used == 1)


def test_the_bundled_config_names_no_folder_of_the_machine_it_was_made_on() -> None:
    config = json.loads((BUNDLED_FOLDER / "config.json").read_text())

    assert not config["text_config"].get("_name_or_path")


def test_notices_ship_with_the_bundled_model() -> None:
    notice = BUNDLED_FOLDER / "NOTICE"
    licences = sorted(BUNDLED_FOLDER.glob("LICENSE*"))

    assert notice.is_file()
    assert "YAMNet" in notice.read_text(encoding="utf-8")
    assert "MiniLM" in notice.read_text(encoding="utf-8")
    assert licences
    assert "Apache License" in licences[0].read_text(encoding="utf-8")

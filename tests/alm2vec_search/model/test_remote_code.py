"""A toy repository that brings its own code, trusted and not."""

from __future__ import annotations

import json
import wave
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from alm2vec_search.domain import Waveform
from alm2vec_search.errors import ModelError
from alm2vec_search.model.remote_code import write_wav
from alm2vec_search.settings import load_settings
from alm2vec_search.wiring import encoder_spec

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine

CODE = """
import wave
import torch
from pathlib import Path
from transformers import PretrainedConfig, PreTrainedModel

Path("{ran}").touch()

class ToyConfig(PretrainedConfig):
    model_type = "alm2vec"

class Toy(PreTrainedModel):
    config_class = ToyConfig

    def __init__(self, config):
        super().__init__(config)
        self.scale = torch.nn.Parameter(torch.ones(3))
        self.post_init()

    def encode(self, text=None, audio=None, task="query", instruction=None, normalize=True,
               device=None):
        seconds = 0.0
        if audio is not None:
            with wave.open(audio[0]) as file:
                seconds = file.getnframes() / file.getframerate()
        words = len(text[0].split()) if text is not None else 0
        said = {{"query": 100, "document": 200}}[task] if instruction is None else len(instruction)
        row = torch.tensor([[seconds, float(words), float(said)]], device=device) * self.scale
        return torch.nn.functional.normalize(row, dim=-1) if normalize else row
"""


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Exists if the repository's code ran."""
    return tmp_path / "it-ran"


@pytest.fixture
def folder(tmp_path: Path, ran: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    folder = tmp_path / "toy_model"
    folder.mkdir()
    (folder / "modeling_toy.py").write_text(CODE.format(ran=ran))
    config = {
        "model_type": "alm2vec",
        "auto_map": {"AutoConfig": "modeling_toy.ToyConfig", "AutoModel": "modeling_toy.Toy"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    save_file({"scale": torch.ones(3)}, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def expected(*rows: list[float]) -> np.ndarray:
    vectors = np.array(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_its_own_encode_is_asked(folder: Path, ran: Path) -> None:
    settings = load_settings(model=str(folder), trust_remote_code=True, dtype="float32")
    spec = encoder_spec(settings)
    encoder = spec.build()
    sounds = [Waveform(np.zeros(n, np.float32), 16_000) for n in (32_000, 80_000)]

    documents = encoder.encode_document(text=["a dog", None, "x"], audio=[None, *sounds])
    queries = encoder.encode_query(text=["a dog"])
    told = encoder.encode_query(text=["a dog"], instruction="seven")

    assert ran.exists()
    np.testing.assert_allclose(
        documents, expected([0, 2, 200], [2, 0, 200], [5, 1, 200]), atol=1e-5
    )
    np.testing.assert_allclose(queries, expected([0, 2, 100]), atol=1e-5)
    np.testing.assert_allclose(told, expected([0, 2, 5]), atol=1e-5)
    assert spec.embedding_dim == encoder.embedding_dim == 3
    assert encoder.follows_instructions
    assert encoder.encode_query(text=[]).shape == (0, 3)


def test_nothing_of_it_runs_unasked(folder: Path, ran: Path, alm2vec: CommandLine) -> None:
    with pytest.raises(ModelError):
        encoder_spec(load_settings(model=str(folder), dtype="float32")).build()
    answer = alm2vec("index", folder, "--model", str(folder))

    assert answer.exit_code == 3
    assert not ran.exists()


def test_trusted_vectors_do_not_mix_with_others(folder: Path) -> None:
    def fingerprint(*, trusted: bool) -> str:
        settings = load_settings(model=str(folder), trust_remote_code=trusted, dtype="float32")
        return encoder_spec(settings).fingerprint

    found = {fingerprint(trusted=True), fingerprint(trusted=False)}
    code = folder / "modeling_toy.py"
    code.write_text(code.read_text() + "\n# changed\n")
    found.add(fingerprint(trusted=True))

    assert len(found) == 3


def test_a_model_without_code_needs_no_trust(folder: Path) -> None:
    settings = load_settings(model="small", trust_remote_code=True)

    with pytest.raises(ModelError, match="brings no code of its own") as caught:
        encoder_spec(settings).build()
    assert "leave out --trust-remote-code" in str(caught.value.hint)


def test_code_without_encode_is_refused(folder: Path) -> None:
    code = folder / "modeling_toy.py"
    code.write_text(code.read_text().replace("def encode(", "def embed("))
    settings = load_settings(model=str(folder), trust_remote_code=True)

    with pytest.raises(ModelError, match=r"has no encode\(\)"):
        encoder_spec(settings).build()


def test_code_that_breaks_is_one_line(folder: Path) -> None:
    (folder / "modeling_toy.py").write_text("raise RuntimeError('many\\nlines')")
    settings = load_settings(model=str(folder), trust_remote_code=True)

    with pytest.raises(ModelError, match="can't be loaded: many lines"):
        encoder_spec(settings).build()


def test_sounds_go_over_as_they_are(tmp_path: Path) -> None:
    samples = np.array([0.0, 0.5, -0.5, 1.0, -1.0, 1.5], dtype=np.float32)

    path = write_wav(tmp_path / "sound.wav", Waveform(samples, 16_000))

    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (16_000, 1, 6)
        written = np.frombuffer(file.readframes(6), dtype="<i2") / 32_767
    np.testing.assert_allclose(written, samples.clip(-1, 1), atol=1e-4)

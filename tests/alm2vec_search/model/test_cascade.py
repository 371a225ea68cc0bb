"""A toy Whisper that names tones, and a toy BERT that tells texts apart, run as one encoder."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from cascade_checkpoints import DIM, RATE, note, silence, write_text_model
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from alm2vec_search.domain import Waveform
from alm2vec_search.errors import ModelError
from alm2vec_search.model.cascade import CascadeEncoder
from alm2vec_search.model.hub import find_model
from alm2vec_search.settings import load_settings
from alm2vec_search.wiring import encoder_spec

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from alm2vec_search.domain import Encoder

SAME = 1e-5  # measured: 3e-7
INSTRUCTED = "takes no instruction with a sound"


def load(whisper: Path, text_model: Path, **options: Any) -> CascadeEncoder:
    files = find_model(f"asr:{whisper}+{text_model}")
    return CascadeEncoder(files, **{"dtype": "float32", "device": "cpu", **options})


@pytest.fixture(scope="module")
def encoder(whisper: Path, text_model: Path) -> CascadeEncoder:
    return load(whisper, text_model)


@pytest.fixture(scope="module")
def theirs(text_model: Path) -> SentenceTransformer:
    return SentenceTransformer(str(text_model), device="cpu", local_files_only=True)


def texts(model: SentenceTransformer, *words: str) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = model.encode(list(words), normalize_embeddings=True)
    return vectors


def assert_same(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() <= SAME


def test_an_encoder_says_what_it_is(
    encoder: CascadeEncoder, whisper: Path, text_model: Path
) -> None:
    found: Encoder = encoder

    assert found.name == f"asr:{whisper}+{text_model}"
    assert found.fingerprint == find_model(found.name).fingerprint("float32")
    assert (found.device, found.embedding_dim, found.sampling_rate) == ("cpu", DIM, RATE)
    assert not found.follows_instructions


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_sound_has_the_vector_of_what_is_said_in_it(
    whisper: Path, text_model: Path, dtype: str
) -> None:
    encoder = load(whisper, text_model, dtype=dtype, batch_size=2)
    sounds = [note("low"), note("high"), note("middle"), silence()]
    words = ["low", "high", "middle", ""]

    assert encoder.transcribe(sounds) == words
    for encode in (encoder.encode_query, encoder.encode_document):
        assert_same(encode(audio=sounds), encode(text=words))
    weights = next(encoder._text_model.parameters())
    assert weights.dtype == getattr(torch, dtype)


def test_vectors_of_words_are_those_of_sentence_transformers(
    encoder: CascadeEncoder, theirs: SentenceTransformer
) -> None:
    words = ["rain", "a dog barks in the distance", "", "rain " * 40]

    assert_same(encoder.encode_query(text=words), texts(theirs, *words))
    assert_same(encoder.encode_document(text=words), texts(theirs, *words))


def test_words_and_a_sound_are_joined(encoder: CascadeEncoder, theirs: SentenceTransformer) -> None:
    found = encoder.encode_query(
        text=["what is it?", "what is it?", None, ""],
        audio=[note("low"), silence(), note("high"), note("high")],
    )

    assert_same(found, texts(theirs, "what is it?\nlow", "what is it?", "high", "high"))


def test_a_sound_without_words_is_an_empty_text(
    encoder: CascadeEncoder, theirs: SentenceTransformer
) -> None:
    found = encoder.encode_document(audio=[silence(), silence(7)])

    assert_same(found, texts(theirs, "", ""))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_vectors_are_the_same_in_any_company_and_order(encoder: CascadeEncoder) -> None:
    text = [None, "rain", "hear", None, None, "rain on a tin roof"]
    audio = [note("low", 5), None, note("high", 0.2), note("middle"), silence(), None]
    alone = np.concatenate(
        [encoder.encode_query(text=[t], audio=[a]) for t, a in zip(text, audio, strict=True)]
    )

    assert_same(encoder.encode_query(text=text, audio=audio), alone)
    assert_same(encoder.encode_query(text=text[::-1], audio=audio[::-1]), alone[::-1])


def test_no_inputs_make_no_vectors(encoder: CascadeEncoder) -> None:
    assert encoder.encode_query(text=[]).shape == (0, DIM)
    assert encoder.encode_document(audio=[]).shape == (0, DIM)


def test_the_text_model_s_own_prompts_are_used(
    whisper: Path, tmp_path: Path, encoder: CascadeEncoder
) -> None:
    prompted = load(whisper, write_text_model(tmp_path, query="find ", document="this is "))

    assert_same(prompted.encode_query(text=["rain"]), encoder.encode_query(text=["find rain"]))
    assert_same(
        prompted.encode_document(audio=[note("low")]), encoder.encode_query(text=["this is low"])
    )
    assert_same(
        prompted.encode_query(text=["rain"], instruction=""), encoder.encode_query(text=["rain"])
    )


def test_an_instruction_goes_in_front_of_words_and_not_with_a_sound(
    encoder: CascadeEncoder, theirs: SentenceTransformer
) -> None:
    for encode in (encoder.encode_query, encoder.encode_document):
        assert_same(encode(text=["rain"], instruction="find"), texts(theirs, "find rain"))
        with pytest.raises(ModelError, match=INSTRUCTED) as caught:
            encode(text=["rain", None], audio=[None, note("low")], instruction="find")
        assert caught.value.hint == "leave the instruction out, or use an ALM2Vec model"
    assert encoder.encode_query(audio=[note("low")], instruction="").shape == (1, DIM)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "give text, audio, or both"),
        ({"text": ["a", None]}, "an input is text, audio, or both"),
        ({"audio": [Waveform(np.zeros(9, np.float32), 8_000)]}, "sound at 8000 Hz, not 16000"),
    ],
)
def test_inputs_that_make_no_sense_are_refused(
    encoder: CascadeEncoder, inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encoder.encode_query(**inputs)


def test_words_that_name_a_file_are_words(
    encoder: CascadeEncoder, theirs: SentenceTransformer, whisper: Path
) -> None:
    path = str(whisper / "config.json")
    expected = theirs.encode([{"text": path}], normalize_embeddings=True)

    assert_same(encoder.encode_query(text=[path]), expected)


# Loading.


def test_it_is_built_as_any_encoder_is(
    encoder: CascadeEncoder, whisper: Path, text_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(whisper.parent)
    name = f"asr:{whisper.name}+{text_model}"  # found from any folder afterwards
    spec = encoder_spec(load_settings(model=name, device="cpu", dtype="float32"))

    monkeypatch.chdir("/")
    built = spec.build()

    assert (built.name, built.fingerprint) == (encoder.name, spec.fingerprint)
    assert spec.embedding_dim == DIM
    assert_same(built.encode_query(text=["low"]), encoder.encode_document(audio=[note("low")]))


def test_a_text_model_without_a_vector_for_no_words_is_refused(
    whisper: Path, text_model: Path, tmp_path: Path
) -> None:
    dumb = shutil.copytree(text_model, tmp_path / "dumb")
    weights = load_file(dumb / "model.safetensors")
    zeros = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    save_file(zeros, dumb / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match="has no vector for a sound without words"):
        load(whisper, dumb)


def test_a_text_model_that_takes_no_inputs_of_ours_is_refused(
    whisper: Path, theirs: SentenceTransformer, tmp_path: Path
) -> None:
    static = StaticEmbedding(theirs.tokenizer, embedding_weights=np.ones((300, 4), np.float32))
    model = SentenceTransformer(modules=[static], device="cpu")
    model.save_pretrained(str(tmp_path), create_model_card=False)

    with pytest.raises(ModelError, match="can't be loaded: "):
        load(whisper, tmp_path)


def test_pickled_weights_of_either_half_are_never_loaded(
    whisper: Path, text_model: Path, tmp_path: Path
) -> None:
    for place in ("speech", "text"):
        halves = {"speech": whisper, "text": text_model}
        halves[place] = shutil.copytree(halves[place], tmp_path / place)
        weights = halves[place] / "model.safetensors"
        weights.rename(weights.with_name("pytorch_model.bin"))

        with pytest.raises(ModelError, match="pickled weights are never loaded"):
            load(halves["speech"], halves["text"])


def test_what_cannot_be_computed_in_is_named(whisper: Path, text_model: Path) -> None:
    with pytest.raises(ModelError, match="float16 is no numeric type of ours"):
        load(whisper, text_model, dtype="float16")
    with pytest.raises(ModelError, match="the device cuda:77 can't be used"):
        load(whisper, text_model, device="cuda:77")

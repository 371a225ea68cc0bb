"""The published `encode()`, on the bundled model and on a toy of the published format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from published_checkpoint import Original
from test_published import chat

from alm2vec_search.alm2vec import ALM2Vec
from alm2vec_search.audio import decode
from alm2vec_search.domain import Waveform
from alm2vec_search.errors import DecodeError, ModelError

SAMPLES = Path(__file__).parents[2] / "samples"
DOG = SAMPLES / "animals/REC_0042.wav"
CREEK = SAMPLES / "water/creek.ogg"


@pytest.fixture(scope="module")
def model() -> ALM2Vec:
    return ALM2Vec.from_pretrained("small", dtype="float32")


def test_words_and_files_make_a_matrix_of_similarities(model: ALM2Vec) -> None:
    queries = model.encode(text=["a dog barks", "a stream"], task="query")
    documents = model.encode(audio=[str(DOG), CREEK], task="document")

    assert queries.shape == documents.shape == (2, 384)
    assert queries.dtype == torch.float32
    similarities = queries @ documents.T
    assert (similarities.argmax(dim=1) == torch.arange(2)).all()


def test_it_is_what_the_encoder_says(model: ALM2Vec) -> None:
    sound = decode(DOG, 16_000)

    ours = model.encode(text=["what?", None], audio=[sound, DOG], instruction="Listen.")

    theirs = model.encoder.encode_query(
        text=["what?", None], audio=[sound, sound], instruction="Listen."
    )
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-6)


def test_a_task_chooses_the_instruction_and_nothing_else(tmp_path: Path) -> None:
    original = Original.make()
    model = ALM2Vec.from_pretrained(str(original.save(tmp_path / "toy")), dtype="float32")
    said = {
        "query": "Retrieve an audio document that is relevant to the given query.",
        "document": "Represent the user's input.",
    }

    for task, instruction in said.items():
        expected = original.embed(chat(instruction, "dogs"))[None]
        torch.testing.assert_close(model.encode(["dogs"], task=task), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(
            model.encode(["dogs"], task=task, instruction="Hm."),
            original.embed(chat("Hm.", "dogs"))[None],
            atol=1e-4,
            rtol=0,
        )


def test_vectors_can_stay_as_long_as_the_model_makes_them(model: ALM2Vec) -> None:
    unit = model.encode(text=["rain"])
    raw = model.encode(text=["rain"], normalize=False)

    assert unit.norm().item() == pytest.approx(1)
    assert raw.norm().item() != pytest.approx(1, abs=0.01)
    torch.testing.assert_close(raw / raw.norm(), unit)


def test_a_model_moves_where_it_is_told(model: ALM2Vec) -> None:
    assert model.encode(text=["rain"], device="cpu").shape == (1, 384)
    with pytest.raises(ModelError, match="the device abacus can't be used"):
        model.encode(text=["rain"], device="abacus")
    assert model.encoder.device == "cpu"


def test_wrong_input_is_explained(model: ALM2Vec, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task is one of query, document, not 'dokument'"):
        model.encode(text=["rain"], task="dokument")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give text, audio, or both"):
        model.encode()
    with pytest.raises(ValueError, match="16000"):
        model.encode(audio=[Waveform(np.zeros(100, np.float32), 44_100)])
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    with pytest.raises(DecodeError):
        model.encode(audio=[tmp_path / "noise.wav"])
    with pytest.raises(ModelError, match="no model is called nonesuch"):
        ALM2Vec.from_pretrained("nonesuch")

"""Sides → vectors: each once, in their order, and what can't be heard is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tones import write_tone

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation import embedding
from alm2vec_search.evaluation.embedding import Embedder
from alm2vec_search.testing import FakeEncoder
from trainer.pairs import AudioRef, Side

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.domain import Embeddings


class Listening:
    """Remembers what it was asked to encode."""

    def __init__(self) -> None:
        self.encoder = FakeEncoder()
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def encode_query(self, **given: Any) -> Embeddings:
        self.calls.append(("query", given))
        return self.encoder.encode_query(**given)

    def encode_document(self, **given: Any) -> Embeddings:
        self.calls.append(("document", given))
        return self.encoder.encode_document(**given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)


def test_rows_are_in_the_order_of_the_sides_and_each_is_made_once(tmp_path: Path) -> None:
    sound = AudioRef(path=write_tone(tmp_path / "low.wav", "low"))
    encoder = Listening()
    sides = [
        Side(text="high"),
        Side(audio=sound),
        Side(text="low", instruction="name it"),
        Side(text="high"),
        Side(text="middle"),
    ]
    vectors, is_there = Embedder(encoder).embed(sides, "query")
    fake = FakeEncoder()
    assert is_there.all()
    np.testing.assert_allclose(vectors[0], fake.encode_query(text=["high"])[0], rtol=1e-5)
    np.testing.assert_array_equal(vectors[0], vectors[3])
    np.testing.assert_allclose(vectors[4], fake.encode_query(text=["middle"])[0], rtol=1e-5)
    assert vectors[1] @ vectors[2] > vectors[1] @ vectors[0]  # the low tone is "low"
    assert [role for role, _ in encoder.calls] == ["query", "query"]  # one for each instruction
    assert sum(len(given["text"]) for _, given in encoder.calls) == 4


def test_plain_leaves_the_instructions_out() -> None:
    encoder = Listening()
    Embedder(encoder, plain=True).embed([Side(text="low", instruction="name it")], "document")
    ((role, given),) = encoder.calls
    assert role == "document"
    assert given["instruction"] is None


def test_a_model_that_follows_no_instructions_is_given_none() -> None:
    encoder = Listening()
    encoder.encoder = FakeEncoder(follows_instructions=False)
    Embedder(encoder).embed([Side(text="low", instruction="name it")], "query")
    assert encoder.calls[0][1]["instruction"] is None


def test_only_the_start_of_a_long_sound_is_heard(tmp_path: Path) -> None:
    sound = AudioRef(path=write_tone(tmp_path / "low.wav", "low", 5.0))
    encoder = Listening()
    embedder = Embedder(encoder, max_audio_s=2.0)
    embedder.embed([Side(audio=sound)], "document")
    assert encoder.calls[0][1]["audio"][0].duration_s == 2.0
    assert embedder.clock.audio_s == 2.0


def test_no_more_is_heard_than_the_model_takes(tmp_path: Path) -> None:
    class Brief(Listening):
        max_audio_s = 1.5

    sound = AudioRef(path=write_tone(tmp_path / "low.wav", "low", 5.0))
    for asked_s, heard_s in ((30.0, 1.5), (None, 1.5), (1.0, 1.0)):
        encoder = Brief()
        embedder = Embedder(encoder, max_audio_s=asked_s)
        embedder.embed([Side(audio=sound)], "document")
        assert encoder.calls[0][1]["audio"][0].duration_s == embedder.heard_s == heard_s


def test_a_sound_that_cannot_be_read_has_no_vector_and_is_tried_once(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    broken = AudioRef(path=tmp_path / "broken.wav")
    good = AudioRef(path=write_tone(tmp_path / "low.wav", "low"))
    embedder = Embedder(FakeEncoder())
    vectors, is_there = embedder.embed([Side(audio=broken), Side(audio=good)], "document")
    assert is_there.tolist() == [False, True]
    assert not vectors[0].any()
    assert list(embedder.unreadable) == [broken]
    broken.path.unlink()
    embedder.embed([Side(audio=broken)], "query")  # not looked at again
    assert len(embedder.unreadable) == 1


def test_more_inputs_than_go_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "AT_A_TIME", 3)
    told: list[tuple[int, int]] = []
    sides = [Side(text=f"sound {number}") for number in range(8)]
    embedder = Embedder(FakeEncoder(), progress=lambda done, of: told.append((done, of)))
    vectors, _ = embedder.embed(sides, "query")
    np.testing.assert_allclose(
        vectors, FakeEncoder().encode_query(text=[side.text for side in sides]), rtol=1e-5
    )
    assert told == [(3, 8), (6, 8), (8, 8)]


def test_vectors_that_are_no_numbers_are_an_error() -> None:
    class Broken(Listening):
        def encode_query(self, **given: Any) -> Embeddings:
            return super().encode_query(**given) * np.float32("nan")

    with pytest.raises(EvaluationError, match="aren't finite"):
        Embedder(Broken()).embed([Side(text="low")], "query")

"""Our encoder under mteb's own evaluation: its figures follow from places that are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mteb.models import EncoderProtocol, SearchProtocol
from mteb.types import PromptType
from toy_mteb import (
    CLIPS,
    ToneNaming,
    graded,
    metadata,
    scores_of,
    tone_retrieval,
    write,
    write_tones,
)

from alm2vec_search.audio import decode
from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.mteb.encoder import MtebEncoder
from alm2vec_search.evaluation.mteb.meta import model_meta
from alm2vec_search.evaluation.mteb.tasks import Instructions
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import find_model
from alm2vec_search.testing import NOTES_HZ, FakeEncoder, tone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.domain import Embeddings, Waveform


@dataclass
class Listening:
    """Remembers how it was asked."""

    encoder: FakeEncoder = field(default_factory=FakeEncoder)
    asked: list[tuple[str, str | None, list[str | None]]] = field(default_factory=list)

    def encode_query(self, **inputs: Any) -> Embeddings:
        return self._encode("query", **inputs)

    def encode_document(self, **inputs: Any) -> Embeddings:
        return self._encode("document", **inputs)

    def _encode(
        self,
        role: str,
        *,
        text: Sequence[str | None] | None,
        audio: Sequence[Waveform | None] | None,
        instruction: str | None,
    ) -> Embeddings:
        self.asked.append((role, instruction, list(text or ())))
        return self.encoder.encode_query(text=text, audio=audio, instruction=instruction)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)


def adapted(encoder: Any = None, **options: Any) -> MtebEncoder:
    encoder = encoder or FakeEncoder()
    return MtebEncoder(encoder, model_meta(encoder), **options)


def encode(model: MtebEncoder, batch: dict[str, Any], role: PromptType | None) -> Embeddings:
    told = metadata("Toy", prompt={"query": "Find it."})
    return model.encode(
        [batch], task_metadata=told, hf_split="test", hf_subset="default", prompt_type=role
    )


def test_it_is_an_encoder_and_no_search() -> None:
    assert isinstance(adapted(), EncoderProtocol)
    assert not isinstance(adapted(), SearchProtocol)


def test_figures_follow_from_the_places(tmp_path: Path) -> None:
    scores = scores_of(adapted(), graded(tmp_path))

    reciprocal = (1 + 1 / 2 + 1 / 3) / 3  # of the first, second and third place
    assert scores["main_score"] == pytest.approx((1 + 1 / log2(3) + 1 / 2) / 3, abs=1e-5)
    assert scores["mrr_at_10"] == pytest.approx(reciprocal, abs=1e-5)
    assert scores["map_at_10"] == pytest.approx(reciprocal, abs=1e-5)
    assert scores["recall_at_1"] == pytest.approx(1 / 3, abs=1e-5)
    assert scores["hit_rate_at_3"] == 1


def test_sounds_find_words(tmp_path: Path) -> None:
    queries = [{"id": n, "audio": write_tones(tmp_path / f"{n}.wav", n)} for n in NOTES_HZ]
    corpus = [{"id": f"the {n}", "text": f"a {n} one", "title": ""} for n in NOTES_HZ]
    task = tone_retrieval(queries, corpus, {n: [f"the {n}"] for n in NOTES_HZ}, category="a2t")

    assert scores_of(adapted(), task)["recall_at_1"] == 1


def test_words_and_a_sound_find_sounds(tmp_path: Path) -> None:
    both = write_tones(tmp_path / "both.wav", "low", "high")
    low = write_tones(tmp_path / "low.wav", "low")
    high = write_tones(tmp_path / "high.wav", "high")
    corpus = [{"id": "low", "audio": low}, {"id": "both", "audio": both}]
    corpus.append({"id": "high", "audio": high})
    queries = [{"id": "q", "text": "with something high", "audio": low}]
    task = tone_retrieval(queries, corpus, {"q": ["both"]}, category="at2a")

    assert scores_of(adapted(), task)["recall_at_1"] == 1


def test_sounds_are_named_without_being_taught(tmp_path: Path) -> None:
    sounds = [(Path(write_tones(tmp_path / f"{n}.wav", n)), n) for n in NOTES_HZ]
    wrong = (Path(write_tones(tmp_path / "wrong.wav", "low")), "high")
    encoder = Listening()

    scores = scores_of(adapted(encoder), ToneNaming([*sounds, wrong]))

    assert scores["accuracy"] == 3 / 4
    assert {role for role, _, text in encoder.asked if text} == {"query"}
    assert {role for role, _, text in encoder.asked if not text} == {"document"}


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        (PromptType.query, ("query", "Find it.")),
        (PromptType.document, ("document", None)),
        (None, ("query", None)),
    ],
)
def test_a_task_instructs_only_whom_it_means(
    role: PromptType | None, expected: tuple[str, str | None]
) -> None:
    encoder = Listening()

    encode(adapted(encoder, instructions=Instructions.TASK), {"text": ["low"]}, role)
    encode(adapted(encoder), {"text": ["low"]}, role)

    of_task, of_model = encoder.asked
    assert of_task[:2] == expected
    assert of_model[:2] == (expected[0], None)


def test_queries_may_bring_instructions_of_their_own() -> None:
    batch = {
        "text": ["low loudly", "high softly", "middle loudly"],
        "query": ["low", "high", "middle"],
        "instruction": ["loudly", "softly", "loudly"],
    }
    encoder = Listening()

    vectors = encode(adapted(encoder, instructions=Instructions.TASK), batch, PromptType.query)
    encode(adapted(encoder), batch, PromptType.query)

    assert encoder.asked[0] == ("query", "loudly", ["low", "middle"])
    assert encoder.asked[1] == ("query", "softly", ["high"])
    assert encoder.asked[2] == ("query", None, batch["text"])
    expected = FakeEncoder().encode_query(text=batch["query"])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_ways_do_not_mix_in_the_cache() -> None:
    plain = adapted().mteb_model_meta
    under_task = adapted(instructions=Instructions.TASK).mteb_model_meta

    assert plain.experiment_name is None
    assert under_task.experiment_name == "instructions_task"


def test_sounds_come_at_the_rate_of_the_model(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(1000, 1.0, 16_000))
    at_8_kHz = FakeEncoder(sampling_rate=8000)  # noqa: N806
    batch = {"audio": [{"array": decode(path, 16_000).samples, "sampling_rate": 16_000}]}

    vectors = encode(adapted(at_8_kHz), batch, PromptType.document)

    np.testing.assert_allclose(
        vectors, at_8_kHz.encode_document(audio=[decode(path, 8000)]), atol=1e-4
    )


def test_what_it_took_is_counted(tmp_path: Path) -> None:
    model = adapted()

    scores_of(model, graded(tmp_path))

    assert model.spent.audio_s == pytest.approx(3.0)
    assert model.spent.decode_s > 0
    assert model.spent.encode_s > 0


def test_pictures_are_refused() -> None:
    with pytest.raises(EvaluationError, match="Toy has pictures"):
        encode(adapted(), {"text": ["low"], "image": [None]}, PromptType.query)


def test_nothing_gives_no_vectors() -> None:
    model = adapted()

    vectors = model.encode([], task_metadata=metadata("Toy"), hf_split="test", hf_subset="default")

    assert vectors.shape == (0, 32)


def test_the_bundled_model_ranks_by_its_cosines() -> None:
    encoder = ALM2VecEncoder(find_model("small"), dtype="float32")
    corpus = [{"id": text, "audio": str(path)} for text, path in CLIPS.items()]
    queries = [{"id": text, "text": text} for text in CLIPS]
    task = tone_retrieval(queries, corpus, {text: [text] for text in CLIPS})

    scores = scores_of(MtebEncoder(encoder, model_meta(encoder, find_model("small"))), task)

    sounds = [decode(path, encoder.sampling_rate) for path in CLIPS.values()]
    cosines = encoder.encode_query(text=list(CLIPS)) @ encoder.encode_document(audio=sounds).T
    places = (cosines > np.diag(cosines)[:, None]).sum(axis=1)  # [3], of each right one
    assert scores["ndcg_at_10"] == pytest.approx(np.mean(1 / np.log2(places + 2)), abs=1e-5)
    assert scores["recall_at_1"] == pytest.approx(np.mean(places == 0), abs=1e-5)

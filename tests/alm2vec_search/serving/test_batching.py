"""Many threads, one model: together where they can, each with its own answer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest

from alm2vec_search.domain import Label, Labeller, Waveform
from alm2vec_search.errors import ModelError
from alm2vec_search.serving.batching import MOST_INPUTS, batching
from alm2vec_search.testing import FakeEncoder, tone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.domain import Embeddings

SOUND = Waveform(tone(200, 1, 16_000), 16_000)


@dataclass(frozen=True, slots=True)
class Watched(FakeEncoder):
    """Waits before each call until it may go on, and remembers what it was asked."""

    calls: list[tuple[str, list[str | None], str | None]] = field(default_factory=list)
    may_go_on: threading.Event = field(default_factory=threading.Event)
    began: threading.Event = field(default_factory=threading.Event)

    def encode_query(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        return self._watched("query", text, audio, instruction)

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        return self._watched("document", text, audio, instruction)

    def _watched(
        self,
        role: str,
        text: Sequence[str | None] | None,
        audio: Sequence[Waveform | None] | None,
        instruction: str | None,
    ) -> Embeddings:
        self.began.set()
        assert self.may_go_on.wait(10)
        words = list(text or [None] * len(audio or ()))
        self.calls.append((role, words, instruction))
        if "unspeakable" in words:
            raise ValueError("can't say that")
        return self._encode(text, audio, instruction or "")


def test_the_same_as_the_encoder_by_itself() -> None:
    plain = FakeEncoder()
    with batching(plain) as encoder:
        both = {"text": ["low", None, "x"], "audio": [None, SOUND, SOUND], "instruction": "what?"}
        np.testing.assert_allclose(encoder.encode_query(**both), plain.encode_query(**both))
        np.testing.assert_allclose(encoder.encode_document(**both), plain.encode_document(**both))
        assert encoder.encode_query(text=[]).shape == (0, plain.embedding_dim)
        assert encoder.fingerprint == plain.fingerprint


@pytest.mark.parametrize("follows", [True, False])
def test_instructions_are_followed_where_the_encoder_does(*, follows: bool) -> None:
    with batching(FakeEncoder(follows_instructions=follows)) as encoder:
        assert encoder.follows_instructions == follows


def test_what_comes_meanwhile_goes_together_and_each_gets_its_own() -> None:
    watched, seen = Watched(), []
    with batching(watched, observe=seen.append) as encoder, ThreadPoolExecutor(20) as threads:
        first = threads.submit(encoder.encode_query, text=["first"])
        assert watched.began.wait(10)
        words = [f"word {i}" for i in range(12)]
        rest = [threads.submit(encoder.encode_query, text=[word]) for word in words]
        wait_until(lambda: len(encoder._waiting["query"]) == 12)
        watched.may_go_on.set()
        expected = FakeEncoder().encode_query(text=words)
        np.testing.assert_allclose([future.result(10)[0] for future in rest], expected)
        first.result(10)
    assert [len(words) for _, words, _ in watched.calls] == [1, 12] == seen


def test_no_more_at_once_than_fit_and_questions_before_sounds() -> None:
    watched = Watched()
    with batching(watched) as encoder, ThreadPoolExecutor(4) as threads:
        threads.submit(encoder.encode_query, text=["first"])
        assert watched.began.wait(10)
        many = threads.submit(encoder.encode_document, audio=[SOUND] * (MOST_INPUTS + 3))
        wait_until(lambda: len(encoder._waiting["document"]) == MOST_INPUTS + 3)
        late = threads.submit(encoder.encode_query, text=["late"])
        wait_until(lambda: len(encoder._waiting["query"]) == 1)
        watched.may_go_on.set()
        assert many.result(10).shape == (MOST_INPUTS + 3, 32)
        late.result(10)
    assert [(role, len(words)) for role, words, _ in watched.calls] == [
        ("query", 1),
        ("query", 1),
        ("document", MOST_INPUTS),
        ("document", 3),
    ]


def test_instructions_are_not_mixed() -> None:
    watched = Watched()
    with batching(watched) as encoder, ThreadPoolExecutor(4) as threads:
        threads.submit(encoder.encode_query, text=["first"])
        assert watched.began.wait(10)
        futures = [
            threads.submit(encoder.encode_query, text=[f"{asked}"], instruction=asked)
            for asked in ("who?", "what?", "who?")
        ]
        wait_until(lambda: len(encoder._waiting["query"]) == 3)
        watched.may_go_on.set()
        for future in futures:
            future.result(10)
    told = sorted((instruction or "", len(words)) for _, words, instruction in watched.calls)
    assert told == [("", 1), ("what?", 1), ("who?", 2)]


def test_what_cannot_be_embedded_is_nobody_elses_fault() -> None:
    watched = Watched()
    with batching(watched) as encoder, ThreadPoolExecutor(4) as threads:
        threads.submit(encoder.encode_query, text=["first"])
        assert watched.began.wait(10)
        bad = threads.submit(encoder.encode_query, text=["unspeakable"])
        good = threads.submit(encoder.encode_query, text=["low"])
        wait_until(lambda: len(encoder._waiting["query"]) == 2)
        watched.may_go_on.set()
        with pytest.raises(ValueError, match="can't say that"):
            bad.result(10)
        np.testing.assert_allclose(good.result(10), FakeEncoder().encode_query(text=["low"]))


def test_closing_lets_nobody_wait() -> None:
    watched = Watched()
    encoder = batching(watched)
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(encoder.encode_query, text=["first"])
        assert watched.began.wait(10)
        waiting = threads.submit(encoder.encode_query, text=["second"])
        wait_until(lambda: len(encoder._waiting["query"]) == 1)
        closing = threading.Thread(target=encoder.close)
        closing.start()
        wait_until(lambda: encoder._is_closed)
        watched.may_go_on.set()
        closing.join(10)
        assert running.result(10).shape == (1, 32)
        with pytest.raises(ModelError, match="put away"):
            waiting.result(10)
    with pytest.raises(ModelError, match="put away"):
        encoder.encode_query(text=["third"])
    encoder.close()


@dataclass(frozen=True, slots=True)
class Naming(FakeEncoder):
    def labels(self, audio: Sequence[Waveform], most: int) -> list[tuple[Label, ...]]:
        return [(Label("a tone", 1.0),) for _ in audio]


def test_it_names_sounds_only_if_the_encoder_does() -> None:
    with batching(FakeEncoder()) as encoder:
        assert not isinstance(encoder, Labeller)
    with batching(Naming()) as encoder:
        assert isinstance(encoder, Labeller)
        assert encoder.labels([SOUND], 3) == [(Label("a tone", 1.0),)]


def wait_until(is_so: object) -> None:
    assert callable(is_so)
    pause = threading.Event()
    for _ in range(1000):
        if is_so():
            return
        pause.wait(0.01)
    raise AssertionError("it never came to be")

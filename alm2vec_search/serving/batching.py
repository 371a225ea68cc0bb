"""One model for many who ask at once: what they ask meanwhile goes through it together.

While the model is at work, what comes in waits; then as much of it as fits goes next, questions
before sounds, so that nobody's words wait for another's thirty clips. Nothing is held back for the
sake of a fuller batch. An encoder's vectors don't depend on what else is in a call, so nobody can
tell.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from alm2vec_search.domain import Labeller
from alm2vec_search.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alm2vec_search.domain import Embedding, Embeddings, Encoder, Label, Waveform

    Role = Literal["query", "document"]

MOST_INPUTS = 16  # in one go: what another one asks meanwhile waits for no more


@dataclass(frozen=True, slots=True, eq=False)
class _Input:
    role: Role
    instruction: str | None
    text: str | None
    audio: Waveform | None
    embedding: Future[Embedding] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[object, ...]:
        """What goes through the model together."""
        return self.role, self.instruction, self.audio is None


class BatchingEncoder:
    """An `Encoder` for many threads, that asks another one from a thread of its own.

    Args:
        encoder: is used by one thread at a time.
        observe: is told how many inputs went through together, each time.
    """

    def __init__(
        self, encoder: Encoder, *, observe: Callable[[int], None] = lambda n: None
    ) -> None:
        self._encoder = encoder
        self._observe = observe
        self._waiting: dict[Role, deque[_Input]] = {"query": deque(), "document": deque()}
        self._changed = threading.Condition()
        self._in_use = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def fingerprint(self) -> str:
        return self._encoder.fingerprint

    @property
    def name(self) -> str:
        return self._encoder.name

    @property
    def device(self) -> str:
        return self._encoder.device

    @property
    def embedding_dim(self) -> int:
        return self._encoder.embedding_dim

    @property
    def sampling_rate(self) -> int:
        return self._encoder.sampling_rate

    @property
    def follows_instructions(self) -> bool:
        return self._encoder.follows_instructions

    def encode_query(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        return self._encode("query", text, audio, instruction)

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        return self._encode("document", text, audio, instruction)

    def close(self) -> None:
        """Whoever waits gets a `ModelError`. Closing twice is fine."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Those who ask

    def _encode(
        self,
        role: Role,
        text: Sequence[str | None] | None,
        audio: Sequence[Waveform | None] | None,
        instruction: str | None,
    ) -> Embeddings:
        """[n, dim]"""
        n = len(text or audio or ())
        if not n:
            return np.zeros((0, self.embedding_dim), dtype=np.float32)
        inputs = [
            _Input(role, instruction, words, sound)
            for words, sound in zip(text or [None] * n, audio or [None] * n, strict=True)
        ]
        with self._changed:
            if self._is_closed:
                raise ModelError("the model was put away")
            self._waiting[role].extend(inputs)
            self._changed.notify_all()
        return np.stack([item.embedding.result() for item in inputs])

    # The model's thread

    def _work(self) -> None:
        while batch := self._next():
            self._observe(len(batch))
            self._answer(batch)

    def _answer(self, batch: Sequence[_Input]) -> None:
        try:
            embeddings = self._embed(batch)
        except Exception as error:
            if len(batch) > 1:  # one that can't be embedded isn't the others' fault
                for item in batch:
                    self._answer([item])
            else:
                batch[0].embedding.set_exception(error)
        else:
            for item, embedding in zip(batch, embeddings, strict=True):
                item.embedding.set_result(embedding)

    def _next(self) -> list[_Input]:
        """Inputs that go together; waits for one. None are left when it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or any(self._waiting.values()))
            queue = self._waiting["query"] or self._waiting["document"]
            if self._is_closed:
                for role in self._waiting.values():
                    while role:
                        role.popleft().embedding.set_exception(ModelError("the model was put away"))
                return []
            kind = queue[0].kind
            batch = [item for item in queue if item.kind == kind][:MOST_INPUTS]
            for item in batch:
                queue.remove(item)
            return batch

    def _embed(self, batch: Sequence[_Input]) -> Embeddings:
        first = batch[0]
        encode = (
            self._encoder.encode_query if first.role == "query" else self._encoder.encode_document
        )
        sounds = [item.audio for item in batch]
        with self._in_use:
            return encode(
                text=[item.text for item in batch],
                audio=None if first.audio is None else sounds,
                instruction=first.instruction,
            )


class BatchingLabeller(BatchingEncoder):
    """The same over an encoder that can name what it hears."""

    def labels(self, audio: Sequence[Waveform], most: int) -> list[tuple[Label, ...]]:
        assert isinstance(self._encoder, Labeller)
        with self._in_use:
            return self._encoder.labels(audio, most)


def batching(
    encoder: Encoder, *, observe: Callable[[int], None] = lambda n: None
) -> BatchingEncoder:
    """The encoder for many threads, with all that it can do."""
    kind = BatchingLabeller if isinstance(encoder, Labeller) else BatchingEncoder
    return kind(encoder, observe=observe)

"""One process that holds the model, for many that decode: what a GPU wants.

A GPU embeds faster than one core decodes, and has room for one large model, not for one a worker.
So the workers stay as they are, the whole chain each, but their encoder is a stand-in that asks the
process with the model. While one of them waits for its vectors, the others decode.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from dataclasses import dataclass
from itertools import chain
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import TYPE_CHECKING, Any

from alm2vec_search.errors import ModelError
from indexer.workers import embed_in_processes, process_context, sendable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from alm2vec_search.domain import Embeddings, Encoder, Waveform
    from indexer.chunker import Chunking
    from indexer.embedding import Advance, Job, Outcome
    from indexer.workers import EncoderFactory

DIED = "the process that holds the model died"
HINT = "if memory is short, alm2vec model info says what the model needs"


def embed_with_one_model(
    units: Iterable[list[Job]], factory: EncoderFactory, chunking: Chunking, n_workers: int
) -> Generator[Outcome | Advance]:
    """As `embed_in_processes`, but the model is loaded once, in a process beside the workers.

    Raises:
        ModelError: the model can't be loaded, or the process that holds it died.
        Exception: what the encoder raised. The workers are stopped.
    """
    remaining = iter(units)
    first = next(remaining, None)
    if first is None:
        return  # and no model was loaded for nothing
    with SharedModel(factory) as shared:
        yield from embed_in_processes(chain([first], remaining), shared.client, chunking, n_workers)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What an encoder says of itself."""

    fingerprint: str
    name: str
    device: str
    embedding_dim: int
    sampling_rate: int  # Hz
    follows_instructions: bool

    @classmethod
    def of(cls, encoder: Encoder) -> ModelFacts:
        return cls(
            encoder.fingerprint,
            encoder.name,
            encoder.device,
            encoder.embedding_dim,
            encoder.sampling_rate,
            encoder.follows_instructions,
        )


@dataclass(frozen=True, slots=True)
class ClientFactory:
    """Makes stand-ins for the encoder, wherever it was sent to."""

    address: Any  # as multiprocessing has it
    key: bytes
    facts: ModelFacts

    def build(self) -> EncoderClient:
        try:
            return EncoderClient(Client(self.address, authkey=self.key), self.facts)
        except (EOFError, OSError) as error:
            raise ModelError(DIED, hint=HINT) from error


class EncoderClient:
    """An encoder that asks the process with the model. Meets `alm2vec_search.domain.Encoder`."""

    def __init__(self, connection: Connection, facts: ModelFacts) -> None:
        self._connection = connection
        self.fingerprint = facts.fingerprint
        self.name = facts.name
        self.device = facts.device
        self.embedding_dim = facts.embedding_dim
        self.sampling_rate = facts.sampling_rate
        self.follows_instructions = facts.follows_instructions

    def encode_query(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        return self._ask("encode_query", text=text, audio=audio, instruction=instruction)

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        return self._ask("encode_document", text=text, audio=audio, instruction=instruction)

    def _ask(self, method: str, **inputs: Any) -> Embeddings:
        """
        Raises:
            ModelError: the process with the model died.
            Exception: what its encoder raised.
        """
        try:
            self._connection.send((method, inputs))
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise ModelError(DIED, hint=HINT) from error
        if isinstance(answer, Exception):
            raise answer
        embeddings: Embeddings = answer
        return embeddings


class SharedModel:
    """The process with the model, for as long as this is open; `client` makes stand-ins for it.

    Raises:
        ModelError: the model can't be loaded, or the process died of it.
    """

    def __init__(self, factory: EncoderFactory) -> None:
        self._factory = factory

    def __enter__(self) -> SharedModel:
        context = process_context()
        key = os.urandom(32)
        self._line, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._factory, key), name="alm2vec model", daemon=True
        )
        self._process.start()
        theirs.close()  # so that we see the end of the pipe when the process dies
        try:
            answer = self._line.recv()
        except (EOFError, OSError):
            self.__exit__()
            raise ModelError(f"{DIED} while it loaded it", hint=HINT) from None
        if isinstance(answer, Exception):
            self.__exit__()
            raise answer
        address, facts = answer
        self.client = ClientFactory(address, key, facts)
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _serve(line: Connection, factory: EncoderFactory, key: bytes) -> None:
    """The life of the process with the model: until whoever started it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that owns the index
    try:
        encoder = factory.build()
        listener = Listener(authkey=key)
        line.send((listener.address, ModelFacts.of(encoder)))
    except Exception as error:
        with contextlib.suppress(OSError):
            line.send(sendable(error))
        return
    threading.Thread(target=_admit, args=(listener, encoder), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        line.recv()  # nothing ever comes, until the end


def _admit(listener: Listener, encoder: Encoder) -> None:
    """A thread for each worker; they take turns with the model."""
    turn = threading.Lock()
    while True:
        with contextlib.suppress(EOFError, OSError, AuthenticationError):
            connection = listener.accept()
            threading.Thread(target=_attend, args=(connection, encoder, turn), daemon=True).start()


def _attend(connection: Connection, encoder: Encoder, turn: threading.Lock) -> None:
    """Answer one worker, until it is gone."""
    with contextlib.suppress(EOFError, OSError), connection:
        while True:
            method, inputs = connection.recv()
            try:
                with turn:
                    answer = getattr(encoder, method)(**inputs)
            except Exception as error:
                answer = sendable(error)
            connection.send(answer)

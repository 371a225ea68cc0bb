"""What every way in asks: one model in memory and one index, for many at once."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alm2vec_search.errors import SoundNotFound
from alm2vec_search.likeness import KnownCopies
from alm2vec_search.search import Searcher
from alm2vec_search.serving.batching import BatchingEncoder, batching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from alm2vec_search.collection.base import Collection, CollectionInfo, StoredContent
    from alm2vec_search.domain import Encoder, Question
    from alm2vec_search.search_request import Answer, SearchChoices
    from alm2vec_search.verdicts import Judge

LIBRARIES_S = 60.0  # how long it is believed which libraries there are


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model with what judges by it."""

    encoder: BatchingEncoder
    judge: Judge


@dataclass(frozen=True, slots=True)
class Status:
    """What is there to be asked."""

    info: CollectionInfo
    n_chunks: int
    libraries: tuple[Path, ...]
    loaded: Loaded


class Engine:
    """Answers many threads from one model and one index.

    The model is loaded when it is first needed, and anew where the index was made by another since.

    Args:
        lend: gives the open collection.
        load: the encoder for a collection; may raise a `ModelError` or an `IncompatibleCollection`.
        judge: what judges by an encoder.
        observe: is told how many inputs went through the model together, each time.
    """

    def __init__(
        self,
        lend: Callable[[], AbstractContextManager[Collection]],
        load: Callable[[CollectionInfo], Encoder],
        judge: Callable[[Encoder], Judge],
        *,
        observe: Callable[[int], None] = lambda n: None,
    ) -> None:
        self._lend = lend
        self._load = load
        self._make_judge = judge
        self._observe = observe
        self._loading = threading.Lock()
        self._loaded: Loaded | None = None
        self._copies = KnownCopies()
        self._libraries: tuple[float, int, tuple[Path, ...]] | None = None

    def warm_up(self) -> None:
        """Load the model now.

        Raises:
            CollectionError: the index can't be opened.
            ModelError: the model can't be loaded.
        """
        with self._lend() as collection:
            self._model_of(collection.info).judge.everyday()

    def search(self, choices: SearchChoices, ask: Callable[[int], Question]) -> Answer:
        """
        Args:
            choices: what narrows and shapes the answer.
            ask: the question, for a model that hears at this sampling rate, in Hz.

        Raises:
            QueryError: the question can't be asked.
            CollectionError, ModelError: nothing can be asked now.
        """
        with self._lend() as collection:
            loaded = self._model_of(collection.info)
            searcher = Searcher(loaded.encoder, collection, judge=loaded.judge, copies=self._copies)
            return choices.ask(searcher, collection.info, ask(searcher.sampling_rate))

    def encoder(self) -> BatchingEncoder:
        """
        Raises:
            CollectionError, ModelError: there is none now.
        """
        with self._lend() as collection:
            return self._model_of(collection.info).encoder

    def content(self, content_hash: str) -> StoredContent:
        """
        Raises:
            SoundNotFound: it isn't in the index.
        """
        with self._lend() as collection:
            found = collection.content(content_hash)
        if found is None:
            raise SoundNotFound("no such sound in the index", hint="search again: it was removed")
        return found

    def libraries(self) -> tuple[Path, ...]:
        """The roots of all that is indexed, by name. Believed for a minute, if nothing changed."""
        with self._lend() as collection:
            return self._libraries_of(collection)

    def status(self) -> Status:
        """
        Raises:
            CollectionError, ModelError: nothing can be asked now.
        """
        with self._lend() as collection:
            return Status(
                collection.info,
                collection.count(),
                self._libraries_of(collection),
                self._model_of(collection.info),
            )

    def close(self) -> None:
        """Put the model away."""
        with self._loading:
            loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.encoder.close()

    def _model_of(self, info: CollectionInfo) -> Loaded:
        with self._loading:
            outdated = self._loaded
            if outdated is not None and outdated.encoder.fingerprint == info.fingerprint:
                return outdated
            encoder = batching(self._load(info), observe=self._observe)
            self._loaded = Loaded(encoder, self._make_judge(encoder))
            if outdated is not None:
                outdated.encoder.close()
            return self._loaded

    def _libraries_of(self, collection: Collection) -> tuple[Path, ...]:
        now, n_chunks = time.monotonic(), collection.count()
        known = self._libraries
        if known is None or known[1] != n_chunks or now - known[0] > LIBRARIES_S:
            known = now, n_chunks, tuple(sorted(set(_roots(collection))))
            self._libraries = known
        return known[2]


def _roots(collection: Collection) -> Iterator[Path]:
    for stored in collection.contents():
        for place in stored.places:
            yield place.library

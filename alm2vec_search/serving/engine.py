"""What every way in asks: one model in memory and one index, for many at once."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
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


@dataclass(slots=True, eq=False)
class Loaded:
    """A model with what judges by it."""

    encoder: BatchingEncoder
    judge: Judge
    n_users: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """What is there to be asked."""

    info: CollectionInfo
    n_chunks: int
    libraries: tuple[Path, ...]
    encoder: BatchingEncoder  # for what it says of itself


class Engine:
    """Answers many threads from one model and one index.

    The model is loaded when it is first needed. Where the index was made by another since, that is
    loaded beside it, and the old one is put away when nobody who asked before uses it any more.

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
        self._lock = threading.Lock()
        self._models: dict[str, Loaded] = {}  # by fingerprint
        self._loading: dict[str, threading.Lock] = {}
        self._latest: str | None = None  # it stays, used or not
        self._copies = KnownCopies()
        self._libraries: tuple[float, int, tuple[Path, ...]] | None = None

    def warm_up(self) -> None:
        """Load the model now.

        Raises:
            CollectionError: the index can't be opened.
            ModelError: the model can't be loaded.
        """
        with self._lend() as collection, self._model(collection.info) as loaded:
            loaded.judge.everyday()

    def search(self, choices: SearchChoices, ask: Callable[[int], Question]) -> Answer:
        """
        Args:
            choices: what narrows and shapes the answer.
            ask: the question, for a model that hears at this sampling rate, in Hz.

        Raises:
            QueryError: the question can't be asked.
            CollectionError, ModelError: nothing can be asked now.
        """
        with self._lend() as collection, self._model(collection.info) as loaded:
            searcher = Searcher(loaded.encoder, collection, judge=loaded.judge, copies=self._copies)
            return choices.ask(searcher, collection.info, ask(searcher.sampling_rate))

    @contextmanager
    def encoder(self) -> Iterator[BatchingEncoder]:
        """The model of the index, until the end of the block.

        Raises:
            CollectionError, ModelError: there is none now.
        """
        with self._lend() as collection:
            info = collection.info
        with self._model(info) as loaded:
            yield loaded.encoder

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
        with self._lend() as collection, self._model(collection.info) as loaded:
            return Status(
                collection.info,
                collection.count(),
                self._libraries_of(collection),
                loaded.encoder,
            )

    def close(self) -> None:
        """Put the models away."""
        with self._lock:
            models = list(self._models.values())
            self._models.clear()
        for loaded in models:
            loaded.encoder.close()

    @contextmanager
    def _model(self, info: CollectionInfo) -> Iterator[Loaded]:
        """The model that made a collection, which nobody puts away until the end of the block."""
        loaded = self._taken(info.fingerprint) or self._load_for(info)
        try:
            yield loaded
        finally:
            with self._lock:
                loaded.n_users -= 1
                unused = self._take_out_unused()
            for old in unused:
                old.encoder.close()

    def _load_for(self, info: CollectionInfo) -> Loaded:
        """One loads it, and who wants it, too, waits; who uses another goes on meanwhile."""
        with self._lock:
            loading = self._loading.setdefault(info.fingerprint, threading.Lock())
        with loading:
            if (loaded := self._taken(info.fingerprint)) is not None:
                return loaded
            encoder = batching(self._load(info), observe=self._observe)
            loaded = Loaded(encoder, self._make_judge(encoder), n_users=1)
            with self._lock:
                self._models[info.fingerprint] = loaded
                self._latest = info.fingerprint
            return loaded

    def _taken(self, fingerprint: str) -> Loaded | None:
        with self._lock:
            loaded = self._models.get(fingerprint)
            if loaded is not None:
                loaded.n_users += 1
                self._latest = fingerprint
            return loaded

    def _take_out_unused(self) -> list[Loaded]:
        old = [f for f, one in self._models.items() if not one.n_users and f != self._latest]
        return [self._models.pop(fingerprint) for fingerprint in old]

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

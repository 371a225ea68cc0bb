"""Real servers for the page: store, pipeline and decoders are real, the model is not."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from index_driver import Index
from served_index import Server
from sounds import NamingEncoder

from alm2vec_search.domain import Aspect
from indexer.aspects import fill_aspect
from indexer.chunker import Chunking
from indexer.embedding import embed_files
from indexer.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from alm2vec_search.domain import Embeddings, Encoder
    from indexer.embedding import Advance, Job, Outcome

TOKEN = "open sesame"
ASPECT = Aspect("animal", "what animal is it?")


def index_of(library: Path, folder: Path) -> Index:
    """An index as `alm2vec index --aspect` makes it by default."""
    index = Index(folder, NamingEncoder(), chunking=Chunking())
    index.run(library)

    def embed(units: Iterable[list[Job]], factory: Any) -> Generator[Outcome | Advance]:
        for unit in units:
            yield from embed_files(unit, factory.build(), index.chunking)

    with index.open() as (collection, _):
        collection.add_aspect(ASPECT)
        fill_aspect(collection, ASPECT, factory=NamingEncoder(), embed=embed, progress=NoProgress())
    return index


def server_over(library: Path, index: Index, home: Path, encoder: Encoder | None = None) -> Server:
    """With a copy of the index, as only one server at a time can have one."""
    shutil.copytree(index.folder, home / "index")
    copied = Index(home / "index", chunking=index.chunking)
    return Server(library, copied, home, encoder or NamingEncoder())


@dataclass
class HeldEncoder:
    """Questions wait at its door while it is shut."""

    encoder: NamingEncoder = field(default_factory=NamingEncoder)
    door: threading.Event = field(default_factory=threading.Event)
    somebody_waits: threading.Event = field(default_factory=threading.Event)

    def encode_query(self, **asked: Any) -> Embeddings:
        self.somebody_waits.set()
        assert self.door.wait(20)
        return self.encoder.encode_query(**asked)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.encoder, name)

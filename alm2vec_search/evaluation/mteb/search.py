"""The whole application under mteb: files are indexed in chunks, and searched as a user does it."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from alm2vec_search.errors import EvaluationError, QueryError
from alm2vec_search.evaluation.mteb.audio import our_decoders, stored_sound, waveform_of
from alm2vec_search.evaluation.mteb.encoder import Spent, measured_as
from alm2vec_search.evaluation.mteb.tasks import Instructions, task_instruction

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from types import TracebackType

    from datasets import Dataset
    from mteb import TaskMetadata
    from mteb.models import ModelMeta

    from alm2vec_search.collection.edge import EdgeCollection
    from alm2vec_search.domain import Encoder, Hit, Query
    from alm2vec_search.search import Searcher
    from indexer.chunker import Chunking
    from indexer.embedding import Advance, Job, Outcome

STEP = 1e-6  # between scores of hits whose order is another than that of their cosines


class MtebSearch:
    """Meets mteb's `SearchProtocol` by an index of our own and our `Searcher`.

    Documents are files, called by numbers, so that names tell nothing. Queries are asked with the
    options that `alm2vec search` has when none is given. Use it with `with`: its index is in a
    folder that goes at the end.

    Args:
        encoder: what makes the vectors.
        meta: how mteb is told of it.
        chunking: how files are cut.
        instructions: which instruction queries are asked under. Under one, the best hits are heard
            again with it, as in any search.

    Attributes:
        unreadable: of all that was indexed, the ids of documents that can't be read, and why.
    """

    def __init__(
        self,
        encoder: Encoder,
        meta: ModelMeta,
        *,
        chunking: Chunking,
        instructions: Instructions = Instructions.MODEL,
    ) -> None:
        self.encoder = encoder
        way = {
            "search": version("alm2vec-search"),
            "chunks": chunking.name,
            "instructions": instructions.value,
        }
        self.mteb_model_meta = measured_as(meta, way)
        self.instructions = instructions
        self.spent = Spent()
        self.unreadable: list[tuple[str, str]] = []
        self.chunking = chunking
        self._open = ExitStack()
        self._collection: EdgeCollection | None = None
        self._ids: dict[Path, str] = {}

    def __enter__(self) -> MtebSearch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget what was indexed."""
        self._collection = None
        self._ids = {}
        self._open.close()

    def index(
        self,
        corpus: Dataset,
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        **_options: Any,
    ) -> None:
        """Index a corpus of sounds, instead of what was indexed before.

        Raises:
            EvaluationError: its documents are not just sounds, or none of them can be read.
        """
        from alm2vec_search.collection.base import CollectionInfo
        from alm2vec_search.collection.edge import EdgeCollection

        require_sounds(task_metadata)
        self.close()
        started = time.perf_counter()
        folder = Path(self._open.enter_context(TemporaryDirectory(prefix="alm2vec-mteb-")))
        library = (folder / "library").resolve()
        library.mkdir()
        with our_decoders():
            self._ids = _write_files(corpus, library)
        info = CollectionInfo(
            fingerprint=self.encoder.fingerprint,
            chunking=self.chunking.name,
            embedding_dim=self.encoder.embedding_dim,
            model=self.encoder.name,
        )
        collection = EdgeCollection.open_or_create(folder / "index", info)
        self._collection = self._open.enter_context(collection)
        self._run(library, folder / "manifest.sqlite", task_metadata.name)
        self.spent.index_s += time.perf_counter() - started

    def search(
        self,
        queries: Dataset,
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **_options: Any,
    ) -> dict[str, dict[str, float]]:
        """For each query's id, the ids of what was found, with scores in the order of the hits.

        Args:
            top_ranked: for each query, which documents are to be ranked; of all others none is
                told.

        Raises:
            EvaluationError: nothing was indexed, or a query can't be put to a search.
        """
        from alm2vec_search.search import Searcher

        if self._collection is None:
            raise EvaluationError(f"{task_metadata.name}: nothing was indexed to be searched")
        searcher = Searcher(self.encoder, self._collection, window_s=self.chunking.window_s)
        found: dict[str, dict[str, float]] = {}
        with our_decoders():
            for row in queries:
                wanted = None if top_ranked is None else top_ranked.get(row["id"], ())
                query = self._query(row, task_metadata)
                started = time.perf_counter()
                limit = top_k if wanted is None else len(self._ids)
                ranked = self._scores(_ask(searcher, query, limit))
                self.spent.search_s += time.perf_counter() - started
                if wanted is not None:
                    ranked = {name: ranked[name] for name in wanted if name in ranked}
                best = sorted(ranked.items(), key=lambda item: -item[1])[:top_k]
                found[row["id"]] = dict(best)
        return found

    def _run(self, library: Path, manifest_path: Path, task: str) -> None:
        from alm2vec_search.audio import AUDIO_SUFFIXES
        from indexer.manifest import Manifest
        from indexer.notes import with_notes
        from indexer.pipeline import IndexPipeline
        from indexer.progress import NoProgress
        from indexer.walker import walk

        assert self._collection is not None
        with Manifest.open(manifest_path) as manifest:
            pipeline = IndexPipeline(
                self._collection,
                manifest,
                walk=with_notes(partial(walk, suffixes=AUDIO_SUFFIXES)),
                embed=self._embed,
                progress=NoProgress(),
            )
            report = pipeline.run([library])
        self.spent.audio_s += report.audio_s
        skipped = [(self._ids[path], reason) for path, reason in report.skipped]
        self.unreadable += skipped
        if len(skipped) == len(self._ids):
            reason = skipped[0][1] if skipped else "there is none"
            raise EvaluationError(f"{task}: not one document can be read: {reason}")

    def _embed(self, units: Iterable[list[Job]]) -> Generator[Outcome | Advance]:
        from indexer.embedding import embed_files

        for unit in units:
            yield from embed_files(unit, self.encoder, self.chunking)

    def _query(self, row: Mapping[str, Any], task: TaskMetadata) -> Query:
        from mteb.types import PromptType

        from alm2vec_search.domain import Query

        kinds = task.get_modalities(PromptType.query)
        text = row.get("text") if "text" in kinds else None
        sound = row.get("audio") if "audio" in kinds else None
        if text is not None and not isinstance(text, str):
            raise EvaluationError(f"{task.name}: a query is a conversation, not words to search")
        instruction = None
        if self.instructions is Instructions.TASK:
            instruction = row.get("instruction") or task_instruction(task, PromptType.query)
        elif row.get("instruction"):
            text = f"{text or ''} {row['instruction']}".strip()  # as mteb puts it
        started = time.perf_counter()
        heard = None if sound is None else waveform_of(sound, self.encoder.sampling_rate)
        self.spent.decode_s += time.perf_counter() - started
        return Query(text, heard, instruction)

    def _scores(self, hits: Sequence[Hit]) -> dict[str, float]:
        """Cosines by document; lowered where the order of the hits is another than theirs.

        Copies of a hit stand right behind it.
        """
        scores: dict[str, float] = {}
        last = float("inf")
        for hit in hits:
            for path in (hit.path, *hit.copies):
                name = self._ids[path]
                if name not in scores:
                    last = scores[name] = min(hit.score, last - STEP)
        return scores


def require_sounds(task: TaskMetadata) -> None:
    """
    Raises:
        EvaluationError: there is more to its documents, or to its queries, than can be indexed, or
            asked for.
    """
    from mteb.types import PromptType

    if "Retrieval" not in task.type and "Reranking" not in task.type:
        raise EvaluationError(
            f"{task.name} is no retrieval: a search has nothing to find in it",
            hint="leave --search out, to measure the vectors",
        )
    documents = task.get_modalities(PromptType.document)
    if documents != ["audio"]:
        raise EvaluationError(
            f"{task.name}: its documents are {' and '.join(documents)}; only sounds can be indexed",
            hint="leave --search out, to measure the vectors",
        )
    if set(queries := task.get_modalities(PromptType.query)) - {"audio", "text"}:
        raise EvaluationError(
            f"{task.name}: its queries are {' and '.join(queries)}; "
            "only words and sounds can be searched for"
        )


def _write_files(corpus: Dataset, library: Path) -> dict[Path, str]:
    """Each document as a file of its own; their ids."""
    ids: dict[Path, str] = {}
    for number, row in enumerate(corpus.select_columns(["id", "audio"])):
        sound = stored_sound(row["audio"])
        path = library / f"{number:06d}{sound.suffix}"
        path.write_bytes(sound.read())
        ids[path] = row["id"]
    return ids


def _ask(searcher: Searcher, query: Query, limit: int) -> list[Hit]:
    """As `alm2vec search` does, but for the verdicts: they would leave the hits as they are."""
    from alm2vec_search.domain import Question
    from alm2vec_search.search_request import SearchChoices

    options = replace(SearchChoices(limit=max(1, limit)).options(), least=None)
    try:
        return searcher.search(Question.of(query), options)
    except QueryError:  # it is empty
        return []

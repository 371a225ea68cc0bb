"""How well a model finds what belongs together, on pairs that it doesn't learn from.

Recall at K is the share of queries that find a document of theirs among the first K; MRR is the
mean of 1 / the place of the first. What is compared with what follows the published protocol for
captions (WavCaps, whose numbers the paper of ALM2Vec compares itself with):

- each content counts once: a clip with five captions is one document for five queries, and one
  query with five right documents, of which the best counts;
- each data set is searched by itself, and so is each direction: captions find sounds among the
  sounds, sounds find captions among the captions, and questions find answers among the answers.

A tie counts against the model: one that gives everything the same score finds nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from alm2vec_search.errors import AudioError, TrainingError
from alm2vec_search.model.processing_alm2vec import Frames, ModelInput
from trainer.collator import document_id, query_id
from trainer.config import RECALLS
from trainer.grouping import Size, grouped, rows_of
from trainer.hearing import hear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor

    from alm2vec_search.domain import Waveform
    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
    from trainer.data import Line
    from trainer.frame_cache import FrameCache
    from trainer.pairs import Pair, Side

    Processor = Callable[[Sequence[ModelInput]], dict[str, Tensor]]
    Progress = Callable[[int, int], None]

QUERIES_AT_A_TIME = 1024  # so that scores of many against many fit into memory
KINDS = {(True, False): "text", (False, True): "audio", (True, True): "both"}


# ---- measures ----


def first_places(scores: Tensor, relevant: Tensor) -> Tensor:
    """Where each query finds the best of its own documents, counted from 0.

    Args:
        scores: float [Q, D].
        relevant: bool [Q, D], one at least in each row.

    Returns:
        int64 [Q], how many documents that aren't its own score as high or higher.

    Raises:
        TrainingError: a score is no number.
    """
    if not scores.isfinite().all():
        raise TrainingError(
            "scores of held-out pairs aren't finite",
            hint="a lower learning rate may help, or resuming from an earlier checkpoint",
        )
    best = scores.masked_fill(~relevant, -math.inf).amax(dim=1, keepdim=True)  # [Q, 1]
    return ((scores >= best) & ~relevant).sum(dim=1)


def measures(places: Tensor) -> dict[str, float]:
    """Recalls and MRR of queries whose own were found at such places, from 0: int64 [Q].

    >>> measures(torch.tensor([0, 4, 1, 20]))
    {'r@1': 0.25, 'r@5': 0.75, 'r@10': 0.75, 'mrr': 0.4369047619047619}
    """
    found = {f"r@{k}": (places < k).double().mean().item() for k in RECALLS}
    return found | {"mrr": (1 / (places + 1).double()).mean().item()}


def retrieval(queries: Tensor, documents: Tensor, relevant: Tensor) -> dict[str, float]:
    """Measures of a search both ways, by cosine: `r@1_q2d`, ..., `mrr_d2q`.

    Args:
        queries: unit vectors [Q, dim].
        documents: unit vectors [D, dim].
        relevant: bool [Q, D], one at least in each row and in each column.
    """
    ways = {"q2d": (queries, documents, relevant), "d2q": (documents, queries, relevant.T)}
    found: dict[str, float] = {}
    for way, (asking, asked, own) in ways.items():
        places = [
            first_places(asking[rows] @ asked.T, own[rows])
            for rows in torch.split(torch.arange(len(asking)), QUERIES_AT_A_TIME)
        ]
        found |= {f"{name}_{way}": value for name, value in measures(torch.cat(places)).items()}
    return found


# ---- what is searched ----


@dataclass(slots=True)
class Pool:
    """What is searched in one go: the contents of one data set, in one direction."""

    name: str  # "clotho_text_to_audio"
    queries: dict[int, int] = field(default_factory=dict)  # id → its row among all inputs
    documents: dict[int, int] = field(default_factory=dict)
    belongs: set[tuple[int, int]] = field(default_factory=set)  # ids of a query and a document

    def relevant(self) -> Tensor:
        """What belongs together: bool [Q, D]."""
        rows = {number: row for row, number in enumerate(self.queries)}
        columns = {number: column for column, number in enumerate(self.documents)}
        found = torch.zeros(len(rows), len(columns), dtype=torch.bool)
        places = [(rows[query], columns[document]) for query, document in self.belongs]
        found[tuple(torch.tensor(places).T)] = True
        return found


@dataclass(frozen=True, slots=True)
class Asked:
    """One input to embed, and where it is written."""

    side: Side
    instruction: str
    line: Line


class HeldOut:
    """Pairs to measure by.

    Args:
        pairs: with the line each is from, as `PairFile.pairs` gives them.
        query_instruction: of queries that have none of their own.
        document_instruction: of documents that have none of their own.
    """

    def __init__(
        self,
        pairs: Iterable[tuple[Pair, Line]],
        *,
        query_instruction: str,
        document_instruction: str,
    ) -> None:
        self.inputs: list[Asked] = []
        self.pools: list[Pool] = []
        pools: dict[str, Pool] = {}
        rows: dict[tuple[str, int, str], int] = {}

        def row_of(role: str, number: int, asked: Asked) -> int:
            key = (role, number, asked.instruction)
            if key not in rows:
                rows[key] = len(self.inputs)
                self.inputs.append(asked)
            return rows[key]

        for pair, line in pairs:
            name = pool_name(pair)
            pool = pools.setdefault(name, Pool(name))
            query = Asked(pair.query, _or(pair.query.instruction, query_instruction), line)
            document = Asked(
                pair.document, _or(pair.document.instruction, document_instruction), line
            )
            asking, answer = query_id(pair.query, query.instruction), document_id(pair.document)
            pool.queries.setdefault(asking, row_of("query", asking, query))
            pool.documents.setdefault(answer, row_of("document", answer, document))
            pool.belongs.add((asking, answer))
        self.pools = list(pools.values())

    def measure(self, embeddings: Tensor) -> dict[str, float]:
        """Embeddings of all inputs, unit vectors [n, dim] → measures.

        Those without a pool's name are means over the pools, each of which counts the same. With
        several pools, those of each follow by its name, of its queries only.
        """
        each = {
            pool.name: retrieval(
                embeddings[list(pool.queries.values())],
                embeddings[list(pool.documents.values())],
                pool.relevant(),
            )
            for pool in self.pools
        }
        names = next(iter(each.values()))
        found = {n: math.fsum(pool[n] for pool in each.values()) / len(each) for n in names}
        if len(each) > 1:
            for pool, of_pool in each.items():
                found |= {
                    f"{name.removesuffix('_q2d')}_{pool}": value
                    for name, value in of_pool.items()
                    if name.endswith("_q2d")
                }
        return found


def pool_name(pair: Pair) -> str:
    """The data set and the direction: `clotho_text_to_audio`."""
    way = f"{_kind(pair.query)}_to_{_kind(pair.document)}"
    return way if pair.source is None else f"{pair.source}_{way}"


def _kind(side: Side) -> str:
    return KINDS[side.text is not None, side.audio is not None]


def _or(instruction: str | None, default: str) -> str:
    return default if instruction is None else instruction


# ---- embedding ----


@dataclass(frozen=True)
class Evaluator:
    """Embeds held-out pairs with a model that is being trained, and measures.

    Args:
        held_out: the pairs.
        processor: of the model.
        batch_size: inputs at a time.
        sampling_rate: of the model, in Hz.
        max_audio_s: the most of a sound that is heard, from its start; None is all.
        frame_cache: where sounds come from as frames; without one, they are decoded.
        progress: is told how many inputs are done, and of how many.
    """

    held_out: HeldOut
    processor: Processor
    batch_size: int
    sampling_rate: int
    max_audio_s: float | None = None
    frame_cache: FrameCache | None = None
    progress: Progress = lambda done, of: None

    def __call__(self, model: ALM2VecModel) -> dict[str, float]:
        """Measures, by their names: see `HeldOut.measure`. The model stays in the mode it is in.

        Raises:
            PairError: a sound can't be had.
            TrainingError: what the model makes isn't finite.
        """
        was_training = model.training
        model.eval()
        try:
            return self.held_out.measure(self.embed(model))
        finally:
            model.train(was_training)

    def embed(self, model: ALM2VecModel) -> Tensor:
        """Unit vectors of all inputs, [n, dim], by the model in the mode it is in."""
        groups = grouped(list(map(_size_of, self.held_out.inputs)), self.batch_size)
        with torch.no_grad():
            embeddings = torch.cat(list(self._embedded(model, groups)))
        return embeddings[rows_of(groups)]

    def _embedded(self, model: ALM2VecModel, groups: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        inputs, done = self.held_out.inputs, 0
        for group in groups:
            self.progress(done, len(inputs))
            batch = self.processor([self._input(inputs[number]) for number in group])
            embeddings = model(**{name: t.to(model.device) for name, t in batch.items()})
            yield torch.nn.functional.normalize(embeddings.float().cpu(), dim=-1)
            done += len(group)
        self.progress(done, len(inputs))

    def _input(self, asked: Asked) -> ModelInput:
        audio: Waveform | Frames | None = None
        ref = asked.side.audio
        if ref is not None:
            try:
                if self.frame_cache is not None:
                    audio = Frames(self.frame_cache.get(ref))
                else:
                    audio = hear(ref, self.sampling_rate, self.max_audio_s, 0.0)
            except (AudioError, TrainingError) as error:
                raise asked.line.error(str(error), error.hint) from error
        return ModelInput(asked.side.text, audio, asked.instruction)


def _size_of(asked: Asked) -> Size:
    """Before its sound is read: sounds count as equally long."""
    words = len(asked.side.text or "") + len(asked.instruction)
    return Size(int(asked.side.audio is not None), words)

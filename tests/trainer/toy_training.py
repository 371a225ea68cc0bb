"""A whole training of the toy model: pairs, batches, a collator, and a trainer of them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset
from toy_model import inputs, noise, toy_model
from transformers import TrainingArguments

from trainer.adapter import add_lora
from trainer.contrastive_trainer import ContrastiveTrainer
from trainer.losses import ContrastiveLoss

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from alm2vec_search.domain import Waveform
    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel

ADJECTIVES = ("red", "quiet", "old", "wet", "tall", "sharp", "round", "cold")
NOUNS = ("dog", "rain", "bell", "river", "train", "crowd", "violin", "wind")


@dataclass(frozen=True)
class ToyPair:
    """A query and a document, each text or sound, and documents that aren't it."""

    query: str | Waveform
    document: str | Waveform
    negatives: tuple[str, ...] = ()


class ToyPairs(Dataset[ToyPair]):
    """Pairs by their index."""

    def __init__(self, pairs: Sequence[ToyPair]) -> None:
        self.pairs = pairs

    def __getitem__(self, index: int) -> ToyPair:
        return self.pairs[index]

    def __len__(self) -> int:
        return len(self.pairs)


def text_pairs(n_pairs: int) -> ToyPairs:
    """What is said forwards, and the same backwards; up to 64 of them."""
    words = [f"{adjective} {noun}" for adjective in ADJECTIVES for noun in NOUNS]
    return ToyPairs([ToyPair(word, word[::-1]) for word in words[:n_pairs]])


def mixed_pairs(n_pairs: int) -> ToyPairs:
    """Sounds for texts, but for the second half of each four, which is texts for texts."""
    words = text_pairs(n_pairs).pairs
    return ToyPairs(
        [
            ToyPair(noise(number), pair.document, ("nothing",) if number % 3 == 0 else ())
            if number % 4 < 2
            else pair
            for number, pair in enumerate(words)
        ]
    )


@dataclass
class ToyBatches:
    """The pairs in an order of each epoch's own."""

    n_pairs: int
    batch_size: int
    epoch: int = 0

    def __len__(self) -> int:
        return self.n_pairs // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.epoch)
        order = torch.randperm(self.n_pairs, generator=generator).tolist()
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield order[start : start + self.batch_size]

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


@dataclass
class ToyCollator:
    """Pairs → a batch, in mini-batches."""

    model: ALM2VecModel
    mini_batch_size: int

    def __call__(self, pairs: list[ToyPair]) -> dict[str, Any]:
        negatives = [(row, text) for row, pair in enumerate(pairs) for text in pair.negatives]
        documents = [*(pair.document for pair in pairs), *(text for _, text in negatives)]
        rows = torch.arange(len(pairs))
        return {
            "mini_batches": self._mini_batches([*(pair.query for pair in pairs), *documents]),
            "rows": torch.arange(len(pairs) + len(documents)),
            "query_ids": torch.tensor([_number(pair.query) for pair in pairs]),
            "document_ids": torch.tensor([_number(document) for document in documents]),
            "clip_ids": -1 - rows,
            "negative_owners": torch.tensor([row for row, _ in negatives], dtype=torch.int64),
        }

    def _mini_batches(self, sides: Sequence[str | Waveform]) -> list[dict[str, torch.Tensor]]:
        starts = range(0, len(sides), self.mini_batch_size)
        return [inputs(self.model, sides[start : start + self.mini_batch_size]) for start in starts]


def _number(side: str | Waveform) -> int:
    content = side.encode() if isinstance(side, str) else side.samples.tobytes()
    return int.from_bytes(blake2b(content, digest_size=7).digest(), "big")


def toy_trainer(
    folder: Path,
    pairs: ToyPairs,
    *,
    batch_size: int = 8,
    mini_batch_size: int = 64,
    dropout: float = 0.1,
    train_projector: bool = False,
    loss: ContrastiveLoss | None = None,
    model: ALM2VecModel | None = None,
    min_learning_rate: float = 0.0,
    projector_learning_rate: float | None = None,
    keep_graphs: bool = False,
    evaluator: Any = None,
    callbacks: Any = None,
    **arguments: Any,
) -> ContrastiveTrainer:
    """A trainer, and a new model under it."""
    if model is None:
        torch.manual_seed(0)
        model = toy_model(dropout=dropout)
        add_lora(model, dropout=dropout, train_projector=train_projector)
    args = TrainingArguments(
        str(folder),
        **{
            "use_cpu": True,
            "report_to": "none",
            "disable_tqdm": True,
            "learning_rate": 1e-3,
            "logging_steps": 1,
            "save_strategy": "no",
            "dataloader_pin_memory": False,
            **arguments,
        },
    )
    return ContrastiveTrainer(
        model=model,
        args=args,
        loss=ContrastiveLoss() if loss is None else loss,
        train_dataset=pairs,
        train_batches=ToyBatches(len(pairs), batch_size),
        data_collator=ToyCollator(model, mini_batch_size),
        min_learning_rate=min_learning_rate,
        projector_learning_rate=projector_learning_rate,
        keep_graphs=keep_graphs,
        evaluator=evaluator,
        callbacks=callbacks,
    )

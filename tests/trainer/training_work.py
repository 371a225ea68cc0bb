"""What the tests of the trainer run on each of two devices, and on one for comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from toy_model import toy_model
from toy_training import ToyBatches, ToyPair, ToyPairs, mixed_pairs, text_pairs, toy_trainer
from transformers import TrainerCallback

from alm2vec_search.domain import Waveform
from alm2vec_search.errors import TrainingError
from trainer.adapter import add_lora
from trainer.gathering import world_size
from trainer.losses import AbsoluteMask, ContrastiveLoss

if TYPE_CHECKING:
    from torch import Tensor

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel


@dataclass
class Watching(TrainerCallback):  # type: ignore[misc]
    """Keeps the gradients of the first step, as the optimiser gets them."""

    gradients: dict[str, Tensor] = field(default_factory=dict)

    def on_pre_optimizer_step(self, *_: Any, model: ALM2VecModel, **__: Any) -> None:
        if not self.gradients:
            self.gradients = {
                name: weights.grad.clone()
                for name, weights in model.named_parameters()
                if weights.grad is not None
            }


def two_steps(
    pairs: ToyPairs,
    folder: Path,
    batch_size: int,
    mini_batch_size: int,
    *,
    train_projector: bool,
    keep_graphs: bool = False,
) -> dict[str, Any]:
    """Train two steps without dropout; what happened."""
    watching = Watching()
    torch.manual_seed(0)
    model = toy_model(dropout=0.0)
    add_lora(model, dropout=0.0, train_projector=train_projector)
    trainer = toy_trainer(
        folder,
        pairs,
        batch_size=batch_size,
        mini_batch_size=mini_batch_size,
        keep_graphs=keep_graphs,
        model=model,
        loss=ContrastiveLoss(0.3, mask=AbsoluteMask(0.98)),
        callbacks=[watching],
        max_steps=2,
        save_strategy="steps",
        save_steps=2,
        ddp_backend="gloo" if world_size() > 1 else None,
        max_grad_norm=0.5,
    )
    trainer.train()
    logs = [entry for entry in trainer.state.log_history if "loss" in entry]
    return {
        "losses": [entry["loss"] for entry in logs],
        "masked": [entry["masked_by_similarity"] for entry in logs],
        "norms": [entry["grad_norm"] for entry in logs],
        "gradients": watching.gradients,
        "weights": {
            name: weights.detach()
            for name, weights in model.named_parameters()
            if weights.requires_grad
        },
        "log_scale": trainer.loss.log_scale.detach(),
        "of_log_scale": trainer.loss.log_scale.grad,  # in the last step
        "wrapped": type(trainer.model_wrapped).__name__,
    }


def on_half_the_batch(folder: str) -> dict[str, Any]:
    """On one of two devices: with mini-batches, without, and stopped by what is no number."""
    place = Path(folder)
    mixed, texts = mixed_pairs(16), text_pairs(16)
    return {
        # the last mini-batch is of texts alone, and has no gradient for the projector
        "mixed": two_steps(mixed, place / "mixed", 4, 2, train_projector=True),
        "mixed at once": two_steps(
            mixed, place / "at-once", 4, 2, train_projector=True, keep_graphs=True
        ),
        "texts": two_steps(texts, place / "texts", 4, 2, train_projector=False, keep_graphs=True),
        "nan": stopped_by_nan(place / "nan"),
    }


def stopped_by_nan(folder: Path) -> str:
    """What is said on each device of a sound on the second that is no number."""
    pairs = text_pairs(16)
    broken = list(ToyBatches(16, batch_size=4))[1][2]
    pairs.pairs = [
        ToyPair(Waveform(np.full(8_000, np.nan, np.float32), 16_000), pair.document)
        if number == broken
        else pair
        for number, pair in enumerate(pairs.pairs)
    ]
    try:
        toy_trainer(folder, pairs, batch_size=4, max_steps=2).train()
    except TrainingError as error:
        return str(error)
    return "nothing"

"""Where a run computes, and in what: device and numeric type, and the Trainer's own settings."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainingArguments
from transformers.utils import logging as transformers_logging

from alm2vec_search.model.hardware import preferred_device, preferred_dtype, require_device
from alm2vec_search.settings import usable_cores
from trainer.run import num_processes

if TYPE_CHECKING:
    from trainer.config import TrainConfig

MOST_WORKERS = 8


@dataclass(frozen=True)
class Machine:
    """Where a process of the run computes, and in what."""

    args: TrainingArguments
    device: str
    dtype: torch.dtype

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @classmethod
    def of(cls, config: TrainConfig, *, is_new: bool) -> Machine:
        """Of this process.

        Args:
            is_new: it starts at the beginning, and measures before it trains.

        Raises:
            ModelError: the device isn't there.
        """
        kind = preferred_device() if config.run.device == "auto" else config.run.device
        require_device(kind)
        precision: str = config.run.precision
        if precision == "auto":
            precision = "float32" if kind == "cpu" else preferred_dtype(kind)
        if kind == "cpu" and num_processes() > 1:
            # Accelerate would call them cpu:0, cpu:1, and so on; what torch saves of these it
            # can't load.
            os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
        args = _arguments(
            config, on_cpu=kind == "cpu", bfloat16=precision == "bfloat16", is_new=is_new
        )
        return cls(args, str(args.device), getattr(torch, precision))


def _arguments(
    config: TrainConfig, *, on_cpu: bool, bfloat16: bool, is_new: bool
) -> TrainingArguments:
    """The Trainer's own settings."""
    optimiser, run = config.optimiser, config.run
    held_out: dict[str, Any] = {}
    if config.held_out is not None:
        held_out = {
            "eval_strategy": "steps",
            "eval_steps": config.held_out.every,
            "eval_on_start": is_new,
            "metric_for_best_model": config.held_out.metric,
            "greater_is_better": True,
        }
    return TrainingArguments(
        output_dir=str(run.out),
        max_steps=optimiser.steps,
        per_device_train_batch_size=optimiser.batch_size // num_processes(),
        learning_rate=optimiser.learning_rate,
        warmup_steps=optimiser.warmup_steps,
        weight_decay=optimiser.weight_decay,
        max_grad_norm=optimiser.max_grad_norm,
        seed=run.seed,
        bf16=bfloat16,
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and num_processes() > 1 else None,
        logging_steps=run.log_every,
        save_strategy="steps",
        save_steps=run.save_every,
        save_total_limit=max(2, run.keep),  # the best, and the last
        dataloader_num_workers=num_workers(config, on_cpu=on_cpu),
        dataloader_pin_memory=not on_cpu,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        log_level_replica="error",
        **held_out,
    )


def num_workers(config: TrainConfig, *, on_cpu: bool) -> int:
    """Processes that prepare batches beside each that trains. None on a CPU, where the model needs
    all cores itself, and none where there is nothing to decode."""
    if config.run.workers is not None:
        return config.run.workers
    if on_cpu or config.audio.cache_frames is not None:
        return 0
    return max(1, min(MOST_WORKERS, usable_cores() // num_processes()))


def hush_transformers() -> None:
    """What it has to say is said here, or is an error."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)

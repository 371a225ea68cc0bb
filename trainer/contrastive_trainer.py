"""Training: `transformers.Trainer` with a contrastive step.

The loop, mixed precision, devices, checkpoints and resuming are the Trainer's. Ours is the step:
the loss over the batch of all devices, through the gradient cache. And the order of the batches,
which comes from outside; the schedule of the rate; a loss that has a parameter of its own;
checkpoints of no more than what is trained; and stopping where numbers stop being numbers.

A checkpoint goes on where it was made, on a CPU bit for bit: the batches that were seen are
skipped, and the generators of random numbers, dropout's among them, are put back.
"""

from __future__ import annotations

import math
import re
import time
from functools import partial
from json import JSONDecodeError, loads
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import distributed
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainingArguments

from alm2vec_search.errors import TrainingError, one_line
from trainer.collator import raise_error
from trainer.gathering import gather_batch, world_size
from trainer.gradient_cache import GradientCache
from trainer.losses import ContrastiveLoss, ContrastiveOutcome, PairIds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor, nn
    from torch.optim import Optimizer
    from torch.utils.data import Dataset
    from transformers import TrainerCallback

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel

    Evaluator = Callable[[ALM2VecModel], dict[str, float]]

TRAINED = "trained.safetensors"  # of a checkpoint: what is trained of the model
LOSS = "loss.pt"  # and of the loss, with the state of its optimiser
STATE = "trainer_state.json"  # is written last


class Batches(Protocol):
    """The order in which pairs are seen, in lists of what the dataset takes for an index. The same
    each time it is asked, or each time after `set_epoch`, if it has one."""

    def __iter__(self) -> Iterator[Sequence[Any]]: ...

    def __len__(self) -> int: ...


class ContrastiveTrainer(Trainer):  # type: ignore[misc]
    """Trains what of a model asks for gradients, by a contrastive loss.

    Args:
        model: on any device, its parts frozen or not (`trainer.adapter`).
        args: the Trainer's. Sizes of batches in them aren't used.
        loss: with its temperature and masks.
        train_dataset: pairs, by index.
        train_batches: which pairs are a batch. Of W devices, device r takes every W-th, from the
            r-th; what is left over at the end is dropped.
        data_collator: pairs → `mini_batches`, each the arguments of the model; `rows`, where the
            queries and the documents are among theirs; and `query_ids`, `document_ids`,
            `clip_ids`, `negative_owners`, which are `PairIds`.
        min_learning_rate: the rate of the last step.
        projector_learning_rate: the projector's, where it has its own; it goes up and down as the
            other does.
        keep_graphs: a batch goes through the model once, and all of it must fit into memory. Not
            done where several devices train a projector.
        evaluator: the model in eval mode → measures. It is called on every device, and has to be
            where `args.eval_strategy` asks for evaluation.
        callbacks: beside the Trainer's own.

    Raises:
        TrainingError: the arguments ask for something that isn't possible with this loss.
    """

    optimizer: Any
    lr_scheduler: Any
    control: Any

    def __init__(
        self,
        *,
        model: ALM2VecModel,
        args: TrainingArguments,
        loss: ContrastiveLoss,
        train_dataset: Dataset[Any],
        train_batches: Batches,
        data_collator: Callable[[list[Any]], dict[str, Any]],
        min_learning_rate: float = 0.0,
        projector_learning_rate: float | None = None,
        keep_graphs: bool = False,
        evaluator: Evaluator | None = None,
        callbacks: list[TrainerCallback] | None = None,
    ) -> None:
        check_arguments(args, min_learning_rate, evaluator is not None)
        check_batches(train_batches, args.world_size)
        if args.n_gpu > 1:
            args._n_gpu = 1  # several are for several processes: torchrun
        if args.ddp_find_unused_parameters is None:
            # Only the projector can be trained and not be used: by inputs without sound.
            args.ddp_find_unused_parameters = any(
                parameter.requires_grad for parameter in model.audio_projector.parameters()
            )
        self.loss = loss.to(args.device)
        self.loss_optimizer = torch.optim.AdamW(
            self.loss.parameters(),
            lr=args.learning_rate,
            betas=(args.adam_beta1, args.adam_beta2),
            eps=args.adam_epsilon,
            weight_decay=0.0,
        )
        self.train_batches = train_batches
        self.min_learning_rate = min_learning_rate
        self.projector_learning_rate = projector_learning_rate or args.learning_rate
        self.keep_graphs = keep_graphs
        self.evaluator = evaluator
        self.steps = StepMeasures()
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=None if evaluator is None else [],  # the evaluator has its own
            callbacks=callbacks,
        )
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:  # by `accelerate launch`
            raise sharded()

    # ---- the step ----

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Add up the gradients of a batch; the loss of it, float32 [].

        Raises:
            TrainingError: the loss isn't finite, or the batch can't be learnt from: names the step.
                Or the batch couldn't be made.
        """
        self.steps.begin()
        model.train()
        inputs = self._prepare_inputs(raise_error(inputs))
        ids = PairIds(
            inputs["query_ids"],
            inputs["document_ids"],
            inputs["clip_ids"],
            inputs["negative_owners"],
        )
        cache = GradientCache(
            model,
            backward=self.accelerator.backward,
            no_sync=partial(self.accelerator.no_sync, model=model),
            keep_graphs=self.keep_graphs
            and (world_size() == 1 or not self.args.ddp_find_unused_parameters),
        )
        self.loss.zero_grad()
        try:
            outcome = cache.step(
                inputs["mini_batches"], partial(self._compare, rows=inputs["rows"], ids=ids)
            )
        except TrainingError as error:
            raise self._stopped(str(error), error.hint) from error
        self._agree_on_gradient_of_loss()
        self.steps.end(outcome, ids.n_pairs * world_size())
        return outcome.loss.detach()

    def _compare(self, embeddings: Tensor, rows: Tensor, ids: PairIds) -> ContrastiveOutcome:
        queries = embeddings[rows[: ids.n_pairs]]  # [B, dim]
        documents = embeddings[rows[ids.n_pairs :]]  # [B+H, dim]
        outcome: ContrastiveOutcome = self.loss(*gather_batch(queries, documents, ids))
        return outcome

    def _agree_on_gradient_of_loss(self) -> None:
        """All devices computed the same; make it so to the last bit, or they drift apart."""
        for parameter in self.loss.parameters():
            if parameter.grad is not None:
                if self.accelerator.scaler is not None:
                    parameter.grad /= self.accelerator.scaler.get_scale()
                if world_size() > 1:
                    distributed.all_reduce(parameter.grad)
                    parameter.grad /= world_size()

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """
        Raises:
            TrainingError: it isn't finite; nothing has been changed by it.
        """
        norm = super()._get_grad_norm(model, grad_norm)
        if self.accelerator.scaler is None and not math.isfinite(float(norm)):
            raise self._stopped(
                "the loss is finite, its gradients aren't",
                "a lower learning rate, a longer warm-up or bfloat16 may help",
            )
        return norm

    def _stopped(self, why: str, hint: str | None) -> TrainingError:
        return TrainingError(f"stopped at step {self.state.global_step + 1}: {why}", hint=hint)

    # ---- batches, optimiser, schedule ----

    def get_train_dataloader(self) -> DataLoader[Any]:
        """This device's batches, in the order that `train_batches` gives."""
        args = self.args
        return DataLoader(
            self.train_dataset,
            batch_sampler=DeviceBatches(self.train_batches, args.process_index, args.world_size),
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory and args.device.type == "cuda",
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            multiprocessing_context=args.dataloader_multiprocessing_context,
            generator=torch.Generator(),  # its own, so that reading leaves dropout's alone
        )

    def create_optimizer(self, model: nn.Module | None = None) -> Optimizer:
        """The one that `args` ask for, without weight decay on norms and biases, the projector at a
        rate of its own, and the loss's at its heels."""
        if self.optimizer is None:
            model = self.model if model is None else model
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            self.optimizer = kind(self._parameter_groups(model), **options)
            self.optimizer.register_step_post_hook(self._step_loss)
        optimizer: Optimizer = self.optimizer
        return optimizer

    def _parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """What is trained, by its rate and its decay; first what goes by the rate of `args`."""
        decaying = set(self.get_decay_parameter_names(model))
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, weights in model.named_parameters():
            if weights.requires_grad:
                key = ("audio_projector." in name, name not in decaying)
                groups.setdefault(key, []).append(weights)
        return [
            {
                "params": groups[of_projector, without_decay],
                "lr": self.projector_learning_rate if of_projector else self.args.learning_rate,
                "weight_decay": 0.0 if without_decay else self.args.weight_decay,
            }
            for of_projector, without_decay in sorted(groups)
        ]

    def _step_loss(self, optimizer: Optimizer, *_: object) -> None:
        for group in self.loss_optimizer.param_groups:
            group["lr"] = optimizer.param_groups[0]["lr"]
        self.loss_optimizer.step()
        self.loss.clamp_scale_()

    def create_scheduler(self, num_training_steps: int, optimizer: Optimizer | None = None) -> Any:
        """Of the rate: up in a line, and down in a cosine."""
        if self.lr_scheduler is None:
            factor = partial(
                warmup_then_cosine,
                warmup_steps=self.args.get_warmup_steps(num_training_steps),
                total_steps=num_training_steps,
                lowest=self.min_learning_rate / self.args.learning_rate,
            )
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: the Trainer's estimate knows neither sounds nor what is frozen."""
        return 0

    # ---- checkpoints ----

    def train(self, resume_from_checkpoint: str | Path | bool | None = None, **given: Any) -> Any:
        """Train to the end.

        Args:
            resume_from_checkpoint: a checkpoint's folder; or True, for the newest of the run that
                was written to its end.

        Raises:
            TrainingError: there is no such checkpoint, it doesn't fit, or the numbers have stopped
                being numbers.
        """
        if not resume_from_checkpoint:
            return super().train(None, **given)
        if resume_from_checkpoint is True:
            checkpoint = last_checkpoint(Path(self.args.output_dir))
            if checkpoint is None:
                raise TrainingError(f"{self.args.output_dir} has no checkpoint to resume from")
        else:
            checkpoint = Path(resume_from_checkpoint)
        if not is_complete(checkpoint):
            raise TrainingError(
                f"{checkpoint} is no checkpoint, or was not written to its end",
                hint="resume from an earlier one",
            )
        return super().train(str(checkpoint), **given)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """
        Raises:
            TrainingError: it can't be written; earlier ones are as they were.
        """
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch has the second for a disk
            raise TrainingError(
                f"the checkpoint of step {self.state.global_step} can't be written: "
                f"{one_line(error)}",
                hint="is there room on the disk? Then resume, from the checkpoint before it",
            ) from error
        self.steps.paused()

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write what is trained, and the loss."""
        trained = self._trained_parameters()
        tensors = {name: weights.detach().cpu().contiguous() for name, weights in trained.items()}
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, folder / TRAINED, metadata={"format": "pt"})
            (folder / TRAINED).chmod(0o644)
            states = {
                "loss": self.loss.state_dict(),
                "optimizer": self.loss_optimizer.state_dict(),
            }
            torch.save(states, folder / LOSS)

    def _trained_parameters(self) -> dict[str, Tensor]:
        model = self.accelerator.unwrap_model(self.model)
        return {
            name: weights for name, weights in model.named_parameters() if weights.requires_grad
        }

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        """
        Raises:
            TrainingError: other things were trained than are now, or it can't be read.
        """
        folder = Path(resume_from_checkpoint)
        try:
            stored = load_file(folder / TRAINED)
            states = torch.load(folder / LOSS, weights_only=True, map_location=self.args.device)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise TrainingError(
                f"{folder} can't be read: {one_line(error)}", hint="resume from an earlier one"
            ) from error
        trained = self._trained_parameters()
        shapes = {name: weights.shape for name, weights in trained.items()}
        if {name: weights.shape for name, weights in stored.items()} != shapes:
            raise TrainingError(
                f"{folder} is of a run that trained something else",
                hint="resume with the settings that it was started with",
            )
        with torch.no_grad():
            for name, weights in trained.items():
                weights.copy_(stored[name])
        self.loss.load_state_dict(states["loss"])
        self.loss_optimizer.load_state_dict(states["optimizer"])

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(self.state.best_model_checkpoint)

    # ---- measures ----

    def evaluate(
        self,
        eval_dataset: object = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """What the evaluator measures, by its names after a prefix. It doesn't disturb training:
        what it draws of random numbers is put back."""
        if self.evaluator is None:
            raise TrainingError("there is nothing to evaluate with", hint="give an evaluator")
        self.model.eval()
        cuda = [self.args.device] if self.args.device.type == "cuda" else []
        with torch.random.fork_rng(cuda), torch.no_grad(), self.accelerator.autocast():
            measured = self.evaluator(self.model)
        metrics = {f"{metric_key_prefix}_{name}": float(n) for name, n in measured.items()}
        if world_size() > 1:  # what is best, all have to agree on
            said = [metrics]
            distributed.broadcast_object_list(said)
            metrics = said[0]
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        self.steps.paused()
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add what the steps since the last time measured."""
        if "loss" in logs:
            logs |= self.steps.since_last_log()
        super().log(logs, start_time)


class DeviceBatches(Sampler[list[Any]]):
    """Of all batches, those of one device."""

    def __init__(self, batches: Batches, device: int, n_devices: int) -> None:
        self.batch_sampler = batches  # by this name the Trainer looks for a `set_epoch`
        self.device = device
        self.n_devices = n_devices

    def __len__(self) -> int:
        return len(self.batch_sampler) // self.n_devices

    def __iter__(self) -> Iterator[list[Any]]:
        whole = len(self) * self.n_devices
        for number, batch in enumerate(self.batch_sampler):
            if number < whole and number % self.n_devices == self.device:
                yield list(batch)

    def set_epoch(self, epoch: int) -> None:
        """Tell the batches, if they want to know."""
        if hasattr(self.batch_sampler, "set_epoch"):
            self.batch_sampler.set_epoch(epoch)


class StepMeasures:
    """What the steps since the last log measured, and how fast they went."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._latest: dict[str, Tensor] = {}
        self._n_steps = 0
        self._n_pairs = 0
        self._seconds = 0.0
        self._since: float | None = None  # the end of the last step, if nothing came between

    def begin(self) -> None:
        if self._since is None:
            self._since = time.perf_counter()

    def end(self, outcome: ContrastiveOutcome, n_pairs: int) -> None:
        """One more step. Waiting for its batch was part of it."""
        measured = outcome.measured()
        self._latest = {"temperature": measured.pop("temperature")}
        for name, value in measured.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
        now = time.perf_counter()
        self._seconds += now - (self._since or now)
        self._since = now
        self._n_steps += 1
        self._n_pairs += n_pairs

    def paused(self) -> None:
        """Something else than training took the time since the last step."""
        self._since = None

    def since_last_log(self) -> dict[str, float]:
        """Means over the steps, and the latest temperature. Starts anew."""
        found = {name: float(total) / self._n_steps for name, total in self._sums.items()}
        found |= {name: float(value) for name, value in self._latest.items()}
        if self._seconds > 0:
            found["pairs_per_s"] = self._n_pairs / self._seconds
        self._sums, self._latest = {}, {}
        self._n_steps = self._n_pairs = 0
        self._seconds = 0.0
        return found


def warmup_then_cosine(step: int, *, warmup_steps: int, total_steps: int, lowest: float) -> float:
    """What of the full rate a step goes by: in a line up to 1, in a cosine down to `lowest`.

    The first step, step 0, learns already; the last goes by `lowest`.

    >>> rate = partial(warmup_then_cosine, warmup_steps=2, total_steps=6, lowest=0.1)
    >>> [round(rate(step), 3) for step in range(6)]
    [0.5, 1.0, 0.868, 0.55, 0.232, 0.1]
    """
    number = step + 1
    if number <= warmup_steps:
        return number / warmup_steps
    way = min(1.0, (number - warmup_steps) / max(1, total_steps - warmup_steps))
    return lowest + (1 - lowest) * (1 + math.cos(math.pi * way)) / 2


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run that was written to its end; None where there is none."""
    steps: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        if found := re.fullmatch(r"checkpoint-(\d+)", path.name):
            steps[int(found[1])] = path
    return next((steps[n] for n in sorted(steps, reverse=True) if is_complete(steps[n])), None)


def is_complete(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: the Trainer's state comes last."""
    try:
        loads((checkpoint / STATE).read_bytes())
    except (OSError, JSONDecodeError, UnicodeDecodeError):
        return False
    return (checkpoint / TRAINED).is_file() and (checkpoint / LOSS).is_file()


def check_arguments(args: TrainingArguments, min_learning_rate: float, has_evaluator: bool) -> None:
    """
    Raises:
        TrainingError: they ask for something that isn't possible with a contrastive loss.
    """
    if args.gradient_accumulation_steps > 1:
        raise TrainingError(
            "gradients of several batches can't be accumulated: each pair would see the negatives "
            "of its own batch only",
            hint="set mini_batch_size: batches of any size then fit into memory, exactly",
        )
    if args.fsdp or args.deepspeed:
        raise sharded()
    if not 0 <= min_learning_rate <= args.learning_rate:
        raise TrainingError(
            f"the rate can't go from {args.learning_rate:g} down to {min_learning_rate:g}",
            hint="min_learning_rate is at most learning_rate",
        )
    if str(args.eval_strategy.value) != "no" and not has_evaluator:
        raise TrainingError("there is nothing to evaluate with", hint="give an evaluator")


def sharded() -> TrainingError:
    """What is said of a model that would be cut up over the devices."""
    return TrainingError(
        "FSDP and DeepSpeed aren't supported: each device holds the whole model",
        hint="start with torchrun alone; what is frozen can be in bfloat16",
    )


def check_batches(batches: Batches, n_devices: int) -> None:
    """
    Raises:
        TrainingError: there isn't one for each device.
    """
    if len(batches) < n_devices:
        raise TrainingError(
            f"{len(batches)} batches aren't enough for {n_devices} devices",
            hint="use more pairs, or smaller batches",
        )

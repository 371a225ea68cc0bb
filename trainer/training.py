"""A training run, from its plan to its end: load → learn → leave an adapter."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers import PrinterCallback, set_seed

from alm2vec_search.model.hardware import device_name
from alm2vec_search.terminal import counted, length, shown
from trainer.base import load_base
from trainer.contrastive_trainer import ContrastiveTrainer
from trainer.data import PairDataset
from trainer.export import write_adapter
from trainer.flow import Flow
from trainer.losses import AbsoluteMask, ContrastiveLoss, NoMask, RelativeMask
from trainer.machine import Machine, hush_transformers
from trainer.material import Material
from trainer.plan import plan
from trainer.progress import NoProgress
from trainer.recording import Recording
from trainer.run import (
    BEST,
    HELD_OUT,
    LAST,
    best_of,
    is_main_process,
    made_with,
    now,
    num_processes,
    read_metrics,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
    from trainer.config import LossSection, TrainConfig
    from trainer.data import Checked, PairFile
    from trainer.losses import SimilarityMask
    from trainer.plan import Plan
    from trainer.progress import Progress


def train(
    config: TrainConfig, *, resume: bool = False, progress: Progress | None = None
) -> RunReport:
    """Train, from the beginning or from a run's last checkpoint, to the end.

    Raises:
        Alm2VecError: it can't start, or can't go on; see `plan` and `carry_out`.
    """
    with progress or NoProgress() as shown_in:
        return carry_out(plan(config, resume=resume), shown_in)


@dataclass(frozen=True, slots=True)
class RunReport:
    """What came of a run."""

    folder: Path
    first: int  # the step it went on from
    step: int  # the last that was done
    steps: int
    loss: float | None  # of the last log
    metric: str | None
    best: tuple[int, float] | None  # the step, and what was measured
    before: float | None  # what was measured before training
    seconds: float

    @property
    def is_finished(self) -> bool:
        """Or else it was asked to stop."""
        return self.step >= self.steps

    def lines(self) -> Iterator[str]:
        """For people."""
        done = "done" if self.is_finished else f"stopped after step {self.step:,}"
        loss = "" if self.loss is None else f", loss {self.loss:.3f}"
        yield f"{done}: {counted(self.step - self.first, 'step')} in {length(self.seconds)}{loss}"
        if self.best is not None:
            before = "" if self.before is None else f" (before training {self.before:.3f})"
            yield f"best: {self.metric} {self.best[1]:.3f} at step {self.best[0]:,}{before}"
        if not self.is_finished:
            yield "go on with --resume"
        name = LAST if self.best is None else BEST
        yield f"try it: alm2vec index FOLDER --model {shown(self.folder / name)}"


def carry_out(plan: Plan, progress: Progress) -> RunReport:
    """Train as planned, into the run's folder. Ctrl-C ends it after a step, with a checkpoint.

    Raises:
        Alm2VecError: a model, a pair, or the disk is in the way; what was done until the last
            checkpoint is kept.
    """
    if not is_main_process():
        return _carry_out(plan, progress)
    with plan.run.held():
        return _carry_out(plan, progress)


def _carry_out(plan: Plan, progress: Progress) -> RunReport:
    began_at = time.monotonic()
    config, run = plan.config, plan.run
    hush_transformers()
    machine = Machine.of(config, is_new=run.checkpoint is None)
    set_seed(config.run.seed)
    progress.preparing("loading the model", 0, 0)
    model = load_base(plan.base, config, machine.dtype, machine.device)
    material = Material.prepare(plan, model, progress)
    flow = Flow(None if config.held_out is None else config.held_out.metric)
    trainer = _build_trainer(plan, model, material, machine, flow, progress)
    if is_main_process():
        run.begin(config, _record(plan, material, machine), plan.changed)
        if run.checkpoint is not None:
            _renew_adapters(plan)
    try:
        with flow.stopping_on_signals(progress.note):
            trainer.train(resume_from_checkpoint=run.checkpoint)
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, Recording):
                callback.close()
    report = _report(plan, int(trainer.state.global_step), time.monotonic() - began_at)
    if is_main_process():
        best = None
        if report.best is not None:
            best = {"step": report.best[0], "metric": report.metric, "value": report.best[1]}
        run.note({"ended": now(), "steps_done": report.step, "loss": report.loss, "best": best})
    if flow.asked_to_stop is not None and not report.is_finished:
        progress.note(f"stopped by {flow.asked_to_stop.name}")
    return report


def _build_trainer(
    plan: Plan,
    model: ALM2VecModel,
    material: Material,
    machine: Machine,
    flow: Flow,
    progress: Progress,
) -> ContrastiveTrainer:
    config = plan.config
    callbacks: list[Any] = [flow]
    dataset: Any = PairDataset(material.files, config.run.seed)
    if is_main_process():
        callbacks.append(Recording(plan.run, plan.base, progress, flow.metric))
    trainer = ContrastiveTrainer(
        model=model,
        args=machine.args,
        loss=ContrastiveLoss(
            config.loss.temperature,
            learn_temperature=config.loss.learn_temperature,
            max_scale=config.loss.max_scale,
            mask=similarity_mask(config.loss),
        ),
        train_dataset=dataset,
        train_batches=material.mixture,
        data_collator=material.collator(config),
        min_learning_rate=config.optimiser.min_learning_rate,
        projector_learning_rate=config.optimiser.projector_learning_rate,
        keep_graphs=not config.optimiser.gradient_cache,
        evaluator=material.evaluator(config, progress),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def similarity_mask(loss: LossSection) -> SimilarityMask:
    """Which negatives are too similar to be negatives."""
    if loss.mask == "absolute":
        assert loss.threshold is not None  # or the settings wouldn't have been read
        return AbsoluteMask(loss.threshold)
    return RelativeMask(loss.margin) if loss.mask == "relative" else NoMask()


# ---- what is written down ----


def _record(plan: Plan, material: Material, machine: Machine) -> dict[str, Any]:
    held_out = None
    if plan.held_out is not None and material.held_out is not None:
        held_out = _recorded(plan.held_out, material.held_out)
    return {
        **made_with(),
        "seed": plan.config.run.seed,
        "base": {
            "name": plan.base.files.name,
            "weights_hash": plan.base.files.weights_hash,
            "under": plan.base.under.name,
        },
        "trained": plan.parameters.parts,
        "parameters": plan.parameters.total,
        "data": [
            {**_recorded(checked, file), "share": share}
            for checked, file, share in zip(
                plan.sources, material.files, material.mixture.proportions, strict=True
            )
        ],
        "held_out": held_out,
        "device": machine.device,
        "device_name": device_name(machine.device),
        "precision": machine.dtype_name,
        "processes": num_processes(),
    }


def _recorded(checked: Checked, used: PairFile) -> dict[str, Any]:
    return {
        "pairs": str(checked.file.path),
        "sha256": checked.sha256,
        "lines": checked.pairs,
        "groups": len(used),
        "sounds": checked.sounds,
        "left_out": checked.left_out,
    }


def _renew_adapters(plan: Plan) -> None:
    """A run that was killed may have left adapters of other steps than its checkpoints'."""
    assert plan.run.checkpoint is not None
    write_adapter(plan.run.checkpoint, plan.base, plan.config, plan.run.folder / LAST)
    best = state_of(plan.run.checkpoint).get("best_global_step")
    if best is not None and (chosen := plan.run.folder / f"checkpoint-{best}").is_dir():
        write_adapter(chosen, plan.base, plan.config, plan.run.folder / BEST)


def _report(plan: Plan, step: int, seconds: float) -> RunReport:
    metrics = read_metrics(plan.run.folder)
    held_out = plan.config.held_out
    metric = None if held_out is None else held_out.metric
    losses = [line["loss"] for line in metrics if "loss" in line]
    before = [line for line in metrics if line["step"] == 0 and HELD_OUT + str(metric) in line]
    return RunReport(
        folder=plan.run.folder,
        first=plan.run.step,
        step=step,
        steps=plan.config.optimiser.steps,
        loss=losses[-1] if losses else None,
        metric=metric,
        best=None if metric is None else best_of(metrics, metric),
        before=before[0][HELD_OUT + str(metric)] if before else None,
        seconds=seconds,
    )

"""What a run leaves behind while it goes on: metrics, curves, adapters; and what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from trainer.base import save_over
from trainer.curves import draw
from trainer.progress import describe_recall
from trainer.run import (
    BEST,
    CURVES,
    HELD_OUT,
    LAST,
    TENSORBOARD,
    best_of,
    read_metrics,
)
from trainer.whole import written_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import TrainerControl, TrainerState, TrainingArguments

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
    from trainer.base import Base
    from trainer.progress import Progress
    from trainer.run import Run

NOT_KEPT = ("epoch", "total_flos")  # of what the Trainer logs: it knows no epochs of a mixture


class Recording(TrainerCallback):  # type: ignore[misc]
    """Writes into a run's folder, and tells the progress. Of several processes, in one only.

    Args:
        run: has begun.
        base: what the adapters lie over.
        progress: is told what happens.
        metric: by which the best is chosen; None where nothing is held out.
    """

    def __init__(self, run: Run, base: Base, progress: Progress, metric: str | None) -> None:
        self.run = run
        self.base = base
        self.progress = progress
        self.metric = metric
        self._events: Any = None
        self._drawn: int | None = None  # the step that was drawn last

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        from torch.utils.tensorboard import SummaryWriter

        with written_in(self.run.folder):
            self._events = SummaryWriter(
                self.run.folder / TENSORBOARD, purge_step=state.global_step + 1
            )
        self.progress.started(state.global_step, state.max_steps)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.progress.stepped(state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float],
        **_: Any,
    ) -> None:
        if "loss" in logs:  # and not what was measured on held-out pairs, or sums at the end
            values = {name: value for name, value in logs.items() if name not in NOT_KEPT}
            self._write(state.global_step, values, "train/")
            self.progress.logged(values)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float],
        **_: Any,
    ) -> None:
        values = {name.removeprefix("eval_"): value for name, value in metrics.items()}
        values = {name: value for name, value in values.items() if name not in NOT_KEPT}
        held_out = {HELD_OUT + name: value for name, value in values.items()}
        self._write(state.global_step, held_out, "")
        self.progress.measured(state.global_step, describe_recall(values))
        self._draw(state)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: ALM2VecModel,
        **_: Any,
    ) -> None:
        save_over(self.base, model, self.run.folder / LAST)
        if state.best_global_step == state.global_step:
            save_over(self.base, model, self.run.folder / BEST)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._draw(state)
        self.close()

    def close(self) -> None:
        """Let go of what is open, however the run ended."""
        if self._events is not None:
            self._events.close()
            self._events = None

    def _write(self, step: int, values: Mapping[str, float], prefix: str) -> None:
        self.run.log(step, values)
        with written_in(self.run.folder):
            for name, value in values.items():
                self._events.add_scalar(prefix + name, value, step)
            self._events.flush()

    def _draw(self, state: TrainerState) -> None:
        if state.global_step in (0, self._drawn):
            return
        self._drawn = state.global_step
        folder = self.run.folder
        metrics = read_metrics(folder)
        best = None if self.metric is None else best_of(metrics, self.metric)
        title = f"{folder.name}: step {state.global_step:,} of {state.max_steps:,}"
        draw(metrics, folder / CURVES, title=title, best=None if best is None else best[0])

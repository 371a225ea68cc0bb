"""When a run logs, measures, saves and stops, beside what its settings say."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from trainer.run import num_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from transformers import TrainerControl, TrainerState, TrainingArguments

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Flow(TrainerCallback):  # type: ignore[misc]
    """Beside what the settings say: logs whenever something is saved, so that a resumed run logs
    the same as one that was never stopped; saves what is the best so far; measures and saves at the
    end; and stops when asked to, with a checkpoint.

    It runs on every device, and decides the same on each.

    Args:
        metric: by which the best is chosen; None where nothing is held out.
    """

    def __init__(self, metric: str | None) -> None:
        self.metric = metric
        self.asked_to_stop: signal.Signals | None = None

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.asked_to_stop is not None:
            control.should_save = control.should_training_stop = True
        if state.global_step >= state.max_steps:
            control.should_save = control.should_training_stop = True
            control.should_evaluate = self.metric is not None
        if control.should_save or control.should_evaluate:
            control.should_log = True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        if state.global_step and self.metric is not None:
            best = state.best_metric
            if best is None or metrics[f"eval_{self.metric}"] > best:
                control.should_save = True

    @contextmanager
    def stopping_on_signals(self, announce: Callable[[str], None]) -> Iterator[None]:
        """Ctrl-C, or a SIGTERM, ends the run after its step; a second one ends it at once.

        Only of a run of one process: several would stop at different steps, and wait for each
        other forever.
        """
        if num_processes() > 1 or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}

        def put_back() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def ask(number: int, _: FrameType | None) -> None:
            put_back()
            self.asked_to_stop = signal.Signals(number)
            announce("stopping after this step, with a checkpoint; once more stops at once")

        for number in SIGNALS:
            signal.signal(number, ask)
        try:
            yield
        finally:
            put_back()

"""How a run shows itself: a moving line on a terminal, now and then a plain one elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, Self

from alm2vec_search.terminal import length, say, talk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

PLAIN_EVERY_S = 10.0


class Progress(Protocol):
    """What is told of a run. Steps are counted from 1."""

    def preparing(self, what: str, done: int, of: int) -> None:
        """Something that comes before training, or between its steps; `of` is 0 where that isn't
        known."""

    def started(self, step: int, steps: int) -> None:
        """Training begins, after so many steps of a run that is resumed."""

    def stepped(self, step: int) -> None:
        """One more step is done."""

    def logged(self, values: Mapping[str, float]) -> None:
        """What the latest steps measured."""

    def measured(self, step: int, line: str) -> None:
        """What held-out pairs say, in a line."""

    def note(self, line: str) -> None:
        """Something else to know."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


class _Pace:
    """Where a run is, and how long the rest will take."""

    def __init__(self) -> None:
        self.step = self.steps = self.first = 0
        self.values: dict[str, float] = {}
        self._began_at = time.monotonic()

    def started(self, step: int, steps: int) -> None:
        self.step = self.first = step
        self.steps = steps
        self._began_at = time.monotonic()

    @property
    def left(self) -> str:
        """Time left, by the pace of this run so far."""
        done = self.step - self.first
        if not done:
            return ""
        elapsed_s = time.monotonic() - self._began_at
        return f"{length(elapsed_s / done * (self.steps - self.step))} left"

    @property
    def place(self) -> str:
        return f"step {self.step:,} of {self.steps:,}"


class _NowAndThen:
    """When the next line is due."""

    def __init__(self, *, at_once: bool) -> None:
        self._said_at = float("-inf") if at_once else time.monotonic()

    def is_time(self) -> bool:
        now = time.monotonic()
        if now - self._said_at < PLAIN_EVERY_S:
            return False
        self._said_at = now
        return True


class PlainProgress:
    """Lines on stderr, one every few seconds, for logs."""

    def __init__(self) -> None:
        self._pace = _Pace()
        self._logged = _NowAndThen(at_once=True)
        self._prepared = _NowAndThen(at_once=False)

    def preparing(self, what: str, done: int, of: int) -> None:
        if done in (0, of):
            self._prepared = _NowAndThen(at_once=False)  # what is quickly done isn't worth a line
        elif self._prepared.is_time():
            say(f"  {what}: {done:,} of {of:,}")

    def started(self, step: int, steps: int) -> None:
        self._pace.started(step, steps)

    def stepped(self, step: int) -> None:
        self._pace.step = step

    def logged(self, values: Mapping[str, float]) -> None:
        pace = self._pace
        if self._logged.is_time() or pace.step == pace.steps:
            parts = [describe_step(values), pace.left if pace.step < pace.steps else ""]
            say(f"  {pace.place}: {', '.join(filter(None, parts))}")

    def measured(self, step: int, line: str) -> None:
        say(f"  step {step:,}, held out: {line}")

    def note(self, line: str) -> None:
        say(f"  {line}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None: ...


class BarProgress:
    """A moving line on a terminal, with what is worth keeping above it."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._pace = _Pace()
        self._bars: Bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[measured]}"),
            console=talk(),
            transient=True,
        )
        self._task: TaskID = self._bars.add_task("getting ready", total=None, measured="")

    def preparing(self, what: str, done: int, of: int) -> None:
        self._show(f"{what}: {done:,} of {of:,}" if of else what, done, of, "")
        if done == of and self._pace.steps:
            self._show_step()

    def started(self, step: int, steps: int) -> None:
        self._pace.started(step, steps)
        self._show_step()

    def stepped(self, step: int) -> None:
        self._pace.step = step
        self._show_step()

    def logged(self, values: Mapping[str, float]) -> None:
        self._pace.values = dict(values)
        self._show_step()

    def measured(self, step: int, line: str) -> None:
        self.note(f"step {step:,}, held out: {line}")

    def note(self, line: str) -> None:
        self._bars.console.print(f"  {line}", markup=False, soft_wrap=True)

    def _show_step(self) -> None:
        pace = self._pace
        parts = filter(None, [describe_step(pace.values), pace.left])
        self._show(pace.place, pace.step, pace.steps, ", ".join(parts))

    def _show(self, description: str, done: int, of: int, measured: str) -> None:
        total = of or None
        self._bars.update(
            self._task, description=description, completed=done, total=total, measured=measured
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bars.stop()


class NoProgress:
    """Nobody wants to know, as where another process tells already."""

    def preparing(self, what: str, done: int, of: int) -> None: ...

    def started(self, step: int, steps: int) -> None: ...

    def stepped(self, step: int) -> None: ...

    def logged(self, values: Mapping[str, float]) -> None: ...

    def measured(self, step: int, line: str) -> None: ...

    def note(self, line: str) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None: ...


def choose_progress(*, quiet: bool) -> Progress:
    """What fits where stderr goes."""
    if quiet:
        return NoProgress()
    return BarProgress() if talk().is_terminal else PlainProgress()


def describe_step(values: Mapping[str, float]) -> str:
    """What steps measured, as people read it.

    >>> describe_step({"loss": 1.23456, "learning_rate": 1e-4, "temperature": 0.07,
    ...                "masked_by_similarity": 0.012, "pairs_per_s": 83.2})
    'loss 1.235, rate 1.0e-04, temperature 0.070, 1.2 % masked, 83.2 pairs/s'
    """
    said = []
    if "loss" in values:
        said.append(f"loss {values['loss']:.3f}")
    if "learning_rate" in values:
        said.append(f"rate {values['learning_rate']:.1e}")
    if "temperature" in values:
        said.append(f"temperature {values['temperature']:.3f}")
    if "masked_by_similarity" in values:
        said.append(f"{100 * values['masked_by_similarity']:.1f} % masked")
    if "pairs_per_s" in values:
        said.append(f"{values['pairs_per_s']:.3g} pairs/s")
    return ", ".join(said)


def describe_recall(values: Mapping[str, float]) -> str:
    """What held-out pairs say, both ways.

    >>> describe_recall({"r@1_q2d": 0.25, "r@5_q2d": 0.5, "r@10_q2d": 1, "mrr_q2d": 0.4,
    ...                  "r@1_d2q": 0, "r@5_d2q": 0, "r@10_d2q": 1, "mrr_d2q": 0.1})
    'R@1/5/10 25.0/50.0/100.0 %, MRR 0.400; back 0.0/0.0/100.0 %, 0.100'
    """

    def way(name: str) -> tuple[str, float]:
        recalls = [f"{100 * values[f'r@{k}_{name}']:.1f}" for k in (1, 5, 10)]
        return "/".join(recalls), values[f"mrr_{name}"]

    there, mrr = way("q2d")
    back, mrr_back = way("d2q")
    return f"R@1/5/10 {there} %, MRR {mrr:.3f}; back {back} %, {mrr_back:.3f}"

"""When a run logs, measures, saves and stops."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from transformers import TrainerControl, TrainerState

from trainer.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Iterator


def after_step(flow: Flow, step: int, **asked: bool) -> TrainerControl:
    control = TrainerControl(**asked)
    args: Any = None
    flow.on_step_end(args, TrainerState(global_step=step, max_steps=10), control)
    return control


def asked_for(control: TrainerControl) -> set[str]:
    names = ("should_log", "should_evaluate", "should_save", "should_training_stop")
    return {name.removeprefix("should_") for name in names if getattr(control, name)}


def test_what_is_saved_or_measured_is_logged() -> None:
    flow = Flow("mrr_q2d")
    assert asked_for(after_step(flow, 3)) == set()
    assert asked_for(after_step(flow, 3, should_save=True)) == {"save", "log"}
    assert asked_for(after_step(flow, 3, should_evaluate=True)) == {"evaluate", "log"}


def test_the_end_is_measured_and_saved() -> None:
    end = {"save", "log", "training_stop"}
    assert asked_for(after_step(Flow("mrr_q2d"), 10)) == end | {"evaluate"}
    assert asked_for(after_step(Flow(None), 10)) == end


@pytest.mark.parametrize(
    ("step", "best", "value", "saved"),
    [(5, None, 0.1, True), (5, 0.2, 0.3, True), (5, 0.3, 0.3, False), (0, None, 0.9, False)],
)
def test_the_best_so_far_is_saved(step: int, best: float | None, value: float, saved: bool) -> None:
    control, args = TrainerControl(), None
    state = TrainerState(global_step=step, best_metric=best)
    Flow("r@1_q2d").on_evaluate(args, state, control, {"eval_r@1_q2d": value})
    assert control.should_save is saved


@pytest.fixture
def handlers() -> Iterator[list[Any]]:
    """Puts back what was there, whatever a test does."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield before
    for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_does_not(
    number: signal.Signals, handlers: list[Any]
) -> None:
    flow, said = Flow(None), list[str]()
    with flow.stopping_on_signals(said.append):
        assert asked_for(after_step(flow, 3)) == set()
        signal.raise_signal(number)
        assert asked_for(after_step(flow, 3)) == {"save", "log", "training_stop"}
        found = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
        assert found == handlers, "so that the next one ends it at once"
    assert len(said) == 1
    assert flow.asked_to_stop is number


def test_several_processes_leave_signals_alone(
    monkeypatch: pytest.MonkeyPatch, handlers: list[Any]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with Flow(None).stopping_on_signals(lambda _: None):
        assert signal.getsignal(signal.SIGINT) is handlers[0]

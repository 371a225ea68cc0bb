"""What a run shows on a terminal, and in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from trainer import progress
from trainer.progress import BarProgress, NoProgress, PlainProgress, choose_progress

VALUES = {"loss": 0.5, "learning_rate": 1e-4, "temperature": 0.07, "pairs_per_s": 100.0}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still."""
    now = [100.0]
    monkeypatch.setattr("trainer.progress.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(progress, "say", found.append)
    return found


def test_a_log_has_a_line_now_and_then(clock: list[float], said: list[str]) -> None:
    with PlainProgress() as plain:
        plain.started(10, 30)
        for step in range(11, 31):
            clock[0] += 3
            plain.stepped(step)
            plain.logged(VALUES)

    loss = "loss 0.500, rate 1.0e-04, temperature 0.070, 100 pairs/s"
    assert said[0] == f"  step 11 of 30: {loss}, 57.0 s left"
    assert said[1] == f"  step 15 of 30: {loss}, 45.0 s left"
    assert said[-1] == f"  step 30 of 30: {loss}"
    assert len(said) == 6


def test_what_is_measured_is_always_said(clock: list[float], said: list[str]) -> None:
    plain = PlainProgress()
    for step in (500, 1000):
        plain.measured(step, "R@1 5 %")
    plain.note("left out: x")
    assert said == [
        "  step 500, held out: R@1 5 %",
        "  step 1,000, held out: R@1 5 %",
        "  left out: x",
    ]


def test_what_takes_its_time_is_said_and_what_is_quickly_done_is_not(
    clock: list[float], said: list[str]
) -> None:
    plain = PlainProgress()
    for round_ in (1, 2):
        for done in range(5):
            clock[0] += round_ * 4
            plain.preparing("encoding sounds", done, 4)
    assert said == ["  encoding sounds: 3 of 4", "  encoding sounds: 2 of 4"]


def test_a_terminal_has_a_line_that_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=120, highlight=False)
    monkeypatch.setattr(progress, "talk", lambda: screen)
    with BarProgress() as bar:
        bar.preparing("loading the model", 0, 0)
        bar._bars.refresh()
        bar.preparing("encoding sounds", 3, 4)
        bar._bars.refresh()
        bar.started(0, 1000)
        bar.stepped(5)
        bar.logged(VALUES)
        bar._bars.refresh()
        bar.preparing("held out", 4, 4)
        bar.measured(5, "R@1 [5] %")
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    for part in (
        "loading the model",
        "encoding sounds: 3 of 4",
        "step 5 of 1,000",
        "loss 0.500, rate 1.0e-04",
        "step 5, held out: R@1 [5] %",
    ):
        assert part in shown


def test_what_fits_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal, kind in ((True, BarProgress), (False, PlainProgress)):
        screen = Console(file=io.StringIO(), force_terminal=is_terminal)
        monkeypatch.setattr(progress, "talk", lambda screen=screen: screen)
        assert isinstance(choose_progress(quiet=False), kind)
        assert isinstance(choose_progress(quiet=True), NoProgress)

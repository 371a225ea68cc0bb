"""`alm2vec train` as a user meets it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import typer

from trainer import cli
from trainer.training import RunReport

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine
    from toy_run import ToyRun

Trained = tuple["ToyRun", RunReport]


def test_help_shows_a_newcomer_the_way(alm2vec: CommandLine) -> None:
    for words in (["train", "--help"], ["train"]):
        answer = alm2vec(*words)
        for part in ("alm2vec train prepare", "[model]", "--config", "--resume", "accelerate"):
            assert part in answer.out + answer.err
    assert "Train a model on pairs" in alm2vec("--help").out
    assert "audiocaps" in alm2vec("train", "prepare", "--help").out
    assert "--merged" in alm2vec("train", "export", "--help").out


def test_a_run_needs_its_file(alm2vec: CommandLine, tmp_path: Path) -> None:
    answer = alm2vec("train", "--resume")
    assert answer.exit_code == 2
    assert "name the file of the run" in answer.err
    answer = alm2vec("train", "--config", tmp_path / "nix.toml")
    assert answer.exit_code == 2
    assert answer.err.splitlines() == [
        f"error: {tmp_path / 'nix.toml'} can't be read: No such file or directory",
        "hint: --config names the file of a run",
    ]


def test_it_trains_and_says_how_it_went(alm2vec: CommandLine, toy: ToyRun, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere"
    answer = alm2vec("train", "--config", toy.file, "--out", out, "--set", "optimiser.steps=2")

    assert answer.exit_code == 0
    assert answer.out == ""
    lines = answer.err.splitlines()
    assert "9,024 of 46,448 parameters" in lines[0]
    assert any("step 2 of 2: loss " in line for line in lines)
    assert any("step 2, held out: R@1/5/10 " in line for line in lines)
    assert lines[-3].startswith("done: 2 steps in ")
    assert lines[-1].startswith("try it: alm2vec index FOLDER --model ")
    assert (out / "best" / "adapter_config.json").is_file()
    assert alm2vec("train", "--config", toy.file, "--out", out).exit_code == 2


def test_a_dry_run_writes_nothing(alm2vec: CommandLine, toy: ToyRun) -> None:
    answer = alm2vec("train", "--config", toy.file, "--dry-run")
    assert answer.exit_code == 0
    assert "12 steps of 8 pairs" in answer.err
    assert not (toy.folder / "run").exists()
    (toy.folder / "red-rain.wav").unlink()
    answer = alm2vec("train", "--config", toy.file, "--dry-run")
    assert answer.exit_code == 2
    assert "red-rain.wav" in answer.err


def test_quiet_says_warnings_and_errors_only(alm2vec: CommandLine, toy: ToyRun) -> None:
    (toy.folder / "red-rain.wav").unlink()
    skip = ["--set", "data.0.missing=skip", "--set", "data.1.missing=skip"]
    answer = alm2vec("train", "--config", toy.file, "-q", "--dry-run", *skip)
    assert [line[:9] for line in answer.err.splitlines()] == ["warning: "] * 2


def test_only_the_first_process_talks(
    alm2vec: CommandLine, toy: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    answer = alm2vec("train", "--config", toy.file, "--dry-run")
    assert (answer.exit_code, answer.out, answer.err) == (0, "", "")
    answer = alm2vec("train", "--config", toy.file, "--set", "model.base=nowhere")
    assert (answer.exit_code, answer.out, answer.err) == (2, "", "")


def test_a_run_that_was_interrupted_says_so(
    alm2vec: CommandLine, toy: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = RunReport(toy.folder / "run", 0, 5, 12, 1.0, None, None, None, 3.0)
    monkeypatch.setattr("trainer.training.carry_out", lambda *_: report)
    answer = alm2vec("train", "--config", toy.file)
    assert answer.exit_code == 130
    assert "stopped after step 5: 5 steps in 3.0 s, loss 1.000" in answer.err
    assert "go on with --resume" in answer.err


def test_which_checkpoint() -> None:
    assert [cli._choice(text) for text in (None, "best", "last", "40")] == [
        None,
        "best",
        "last",
        40,
    ]
    with pytest.raises(typer.BadParameter, match="best, last, or a step, not x"):
        cli._choice("x")


def test_export_says_what_it_wrote(alm2vec: CommandLine, trained: Trained, tmp_path: Path) -> None:
    run = trained[0].folder / "run"
    answer = alm2vec("train", "export", run, "-o", tmp_path / "out", "--checkpoint", "last")
    assert answer.exit_code == 0
    assert "adapter of step 12, " in answer.err
    answer = alm2vec("train", "export", run, "-o", tmp_path / "out")
    assert answer.exit_code == 2
    assert "is there already" in answer.err


def test_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "--config", "/nix.toml"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: /nix.toml can't be read")

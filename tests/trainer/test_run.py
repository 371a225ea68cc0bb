"""A run's folder: who may write into it, and what it remembers."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from toy_run import SETTINGS

from alm2vec_search.errors import TrainingError
from trainer.config import read_config
from trainer.run import (
    Run,
    best_of,
    git_state,
    is_main_process,
    made_with,
    num_processes,
    open_run,
    read_metrics,
    read_record,
)

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.config import TrainConfig


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    file = tmp_path / "run.toml"
    file.write_text(SETTINGS)
    return read_config(file)


def checkpoint(folder: Path, step: int) -> Path:
    """One that was written to its end."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in ("trained.safetensors", "loss.pt"):
        (path / name).touch()
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def test_a_new_run_takes_a_folder_that_is_empty_or_not_there(config: TrainConfig) -> None:
    folder = config.run.out
    assert open_run(config, resume=False) == Run(folder)
    assert not folder.exists()
    folder.mkdir()
    assert open_run(config, resume=False) == Run(folder)


def test_it_takes_no_other(config: TrainConfig) -> None:
    folder = config.run.out
    folder.mkdir()
    (folder / "thesis.doc").touch()
    with pytest.raises(TrainingError, match="isn't empty"):
        open_run(config, resume=False)
    with pytest.raises(TrainingError, match="holds no run to resume"):
        open_run(config, resume=True)

    (folder / "thesis.doc").unlink()
    Run(folder).begin(config, {})
    with pytest.raises(TrainingError, match="holds a run already") as caught:
        open_run(config, resume=False)
    assert caught.value.hint == "--resume goes on with it, --out names another folder"


def test_a_file_in_its_place(config: TrainConfig) -> None:
    config.run.out.touch()
    with pytest.raises(TrainingError, match="is a file"):
        open_run(config, resume=False)
    with pytest.raises(TrainingError, match="can't be written"), Run(config.run.out).held():
        pass


def test_it_goes_on_from_the_newest_whole_checkpoint(config: TrainConfig) -> None:
    folder = config.run.out
    Run(folder).begin(config, {})
    assert open_run(config, resume=True) == Run(folder)
    checkpoint(folder, 3)
    newest = checkpoint(folder, 12)
    (checkpoint(folder, 15) / "trainer_state.json").unlink()

    assert open_run(config, resume=True) == Run(folder, newest, 12)


def test_it_goes_on_with_the_same_settings_only(config: TrainConfig) -> None:
    Run(config.run.out).begin(config, {})
    checkpoint(config.run.out, 3)
    other = config.model_copy(
        update={
            "optimiser": config.optimiser.model_copy(update={"steps": 99}),
            "run": config.run.model_copy(update={"seed": 5, "workers": 2}),
        }
    )
    with pytest.raises(TrainingError, match=r"other settings: optimiser\.steps, run\.seed$"):
        open_run(other, resume=True)


def test_where_nothing_was_learnt_yet_the_settings_are_free(config: TrainConfig) -> None:
    Run(config.run.out).begin(config, {"seed": 0})
    Run(config.run.out).log(0, {"held_out/mrr_q2d": 0.5})
    other = config.model_copy(update={"run": config.run.model_copy(update={"seed": 5})})

    run = open_run(other, resume=True)
    run.begin(other, {"seed": 5})

    assert read_config(config.run.out / "config.toml").run.seed == 5
    assert read_metrics(config.run.out) == []
    assert (run.record["seed"], run.record["resumed"]) == (5, [])


def test_what_was_measured_after_the_checkpoint_is_forgotten(config: TrainConfig) -> None:
    folder = config.run.out
    Run(folder).begin(config, {"seed": 0})
    for step in (2, 3, 4):
        Run(folder).log(step, {"loss": 1.0 / step})
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # a killed process left this
    assert [line["step"] for line in read_metrics(folder)] == [2, 3, 4]
    checkpoint(folder, 3)
    started = read_record(folder)["started"]

    run = open_run(config, resume=True)
    run.begin(config, {"seed": 0}, {"train.jsonl": "abc"})
    run.log(4, {"loss": 9.0})
    run.note({"ended": "now"})

    assert read_metrics(folder) == [
        {"step": 2, "loss": 1 / 2},
        {"step": 3, "loss": 1 / 3},
        {"step": 4, "loss": 9.0},
    ]
    record = run.record
    assert (record["started"], record["ended"], record["seed"]) == (started, "now", 0)
    (resumed,) = record["resumed"]
    assert (resumed["step"], resumed["changed"]) == (3, {"train.jsonl": "abc"})


def test_lines_that_are_no_metrics_are_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\nhello\n{"step": 2}\n')
    with pytest.raises(TrainingError, match=r"metrics\.jsonl:2: no JSON"):
        read_metrics(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(TrainingError, match=r"run\.json can't be read"):
        read_record(tmp_path)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with Run(tmp_path).held():
        with pytest.raises(TrainingError, match="another process is training"):
            with Run(tmp_path).held():
                pass
    with Run(tmp_path).held():
        pass


def test_the_first_of_equals_is_the_best() -> None:
    lines = [
        {"step": step, "held_out/x": value} for step, value in ((0, 9), (2, 1), (4, 3), (6, 3))
    ]
    assert best_of(lines, "x") == (4, 3)
    assert best_of(lines[:1], "x") is None
    assert best_of(lines, "y") is None


def git(folder: Path, *words: str) -> None:
    names = ["-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run(["git", "-C", str(folder), *names, *words], check=True, capture_output=True)


def test_code_knows_its_commit_and_whether_it_was_changed(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    assert git_state(package) is None
    git(tmp_path, "init")
    assert git_state(package) is None, "as a package that is installed below a repository"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")

    clean: Any = git_state(package)
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (package / "__init__.py").write_text("changed")
    assert git_state(package) == {**clean, "dirty": True}


def test_versions_are_written_down() -> None:
    versions = made_with()["versions"]
    assert {"alm2vec-search", "torch", "transformers", "peft"} <= versions.keys()
    assert all(versions.values())


def test_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert (is_main_process(), num_processes()) == (True, 1)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert (is_main_process(), num_processes()) == (False, 2)

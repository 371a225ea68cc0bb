"""A run's folder: what was asked for, what it was made from, and all that it measured.

    config.toml             the settings, with all that was left open filled in
    run.json                where the code, the model and the data are from; when, on what, how far
    metrics.jsonl           a line for each log and each measurement
    tensorboard/            the same, for `tensorboard --logdir`
    curves.png              the same, drawn
    checkpoint-N/           what the run goes on from
    best/, last/            the adapters of these steps: `--model RUN/best`

A folder without `config.toml` is no run, and is left alone unless it is empty.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from alm2vec_search.errors import TrainingError
from trainer.config import read_config
from trainer.whole import whole_file, written_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trainer.config import TrainConfig

CONFIG = "config.toml"
RECORD = "run.json"
METRICS = "metrics.jsonl"
CURVES = "curves.png"
TENSORBOARD = "tensorboard"
BEST, LAST = "best", "last"
LOCK = ".lock"
HELD_OUT = "held_out/"  # before the names of what held-out pairs measure
STATE = "trainer_state.json"  # of a checkpoint
EMPTY: Mapping[str, str] = MappingProxyType({})
VERSIONS = ("torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers", "numpy")


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder, checked: it is new, or the run can go on."""

    folder: Path
    checkpoint: Path | None = None  # to go on from
    step: int = 0  # of it

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says; nothing where there is none.

        Raises:
            TrainingError: it can't be read.
        """
        return read_record(self.folder)

    def begin(
        self, config: TrainConfig, record: Mapping[str, Any], changed: Mapping[str, str] = EMPTY
    ) -> None:
        """Write down what is about to be done; forget what was measured after the checkpoint.

        Args:
            record: for `run.json`.
            changed: files of pairs that were others before, and their sha256 then.

        Raises:
            TrainingError: the folder can't be written.
        """
        before = self.record if self.checkpoint else {}
        with written_in(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder / CONFIG, config.to_toml())
            measured = read_metrics(self.folder) if self.checkpoint else []
            kept = [line for line in measured if line["step"] <= self.step]
            _write(self.folder / METRICS, "".join(json.dumps(line) + "\n" for line in kept))
        resumed = before.get("resumed", [])
        if before:
            note = {"changed": dict(changed)} if changed else {}
            resumed = [*resumed, {"step": self.step, "at": now(), **note}]
        started = before.get("started", now())
        self.note({**record, "started": started, "resumed": resumed, "ended": None})

    def note(self, fields: Mapping[str, Any]) -> None:
        """Put fields into `run.json`.

        Raises:
            TrainingError: it can't be written.
        """
        with written_in(self.folder):
            record = {**self.record, **fields}
            _write(self.folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line to `metrics.jsonl`.

        Raises:
            TrainingError: it can't be written.
        """
        line = json.dumps({"step": step, **values}) + "\n"
        with written_in(self.folder), (self.folder / METRICS).open("a") as file:
            file.write(line)

    @contextmanager
    def held(self) -> Iterator[None]:
        """While no other process trains in this folder.

        Raises:
            TrainingError: one does, or the folder can't be written.
        """
        with written_in(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / LOCK)
            try:
                lock.acquire(blocking=False)
            except Timeout as error:
                raise TrainingError(
                    f"another process is training in {self.folder}",
                    hint="wait until it is done, or choose another folder with --out",
                ) from error
        try:
            yield
        finally:
            lock.release()


def open_run(config: TrainConfig, *, resume: bool) -> Run:
    """The folder of a run, which isn't changed yet.

    Raises:
        TrainingError: it holds something already and isn't to be resumed; or there is nothing to
            resume, or what there is was started with other settings.
    """
    folder = config.run.out
    if folder.exists() and not folder.is_dir():
        raise TrainingError(f"{folder} is a file", hint="--out names a folder")
    if not resume:
        _require_empty(folder)
        return Run(folder)
    if not (folder / CONFIG).is_file():
        raise TrainingError(
            f"{folder} holds no run to resume", hint="leave out --resume to start one"
        )
    from trainer.contrastive_trainer import last_checkpoint

    checkpoint = last_checkpoint(folder)
    if checkpoint is None:
        return Run(folder)  # nothing was learnt yet: it begins anew
    started_with = read_config(folder / CONFIG)
    if differing := started_with.differences(config):
        raise TrainingError(
            f"the run in {folder} was started with other settings: {', '.join(differing)}",
            hint=f"resume with --config {folder / CONFIG}, or start another run with --out",
        )
    return Run(folder, checkpoint, int(state_of(checkpoint)["global_step"]))


def _require_empty(folder: Path) -> None:
    """
    Raises:
        TrainingError: it holds something.
    """
    if not folder.exists() or set(os.listdir(folder)) <= {LOCK}:
        return
    if (folder / CONFIG).is_file():
        raise TrainingError(
            f"{folder} holds a run already",
            hint="--resume goes on with it, --out names another folder",
        )
    raise TrainingError(f"{folder} isn't empty", hint="--out names another folder")


def read_record(folder: Path) -> dict[str, Any]:
    """What the `run.json` of a folder says; nothing where there is none.

    Raises:
        TrainingError: it can't be read.
    """
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder / RECORD} can't be read: {error}") from error
    return record


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of a run's `metrics.jsonl`; not the last one, where a killed run left half of it.

    Raises:
        TrainingError: it can't be read.
    """
    try:
        lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder / METRICS} can't be read: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise TrainingError(f"{folder / METRICS}:{number}: no JSON") from error
    return found


def best_of(metrics: Sequence[Mapping[str, float]], metric: str) -> tuple[int, float] | None:
    """The step that was measured to be the best, the first of equals, and what was measured. What
    was measured before training doesn't count.

    >>> best_of([{"step": 0, "held_out/mrr_q2d": 0.9}, {"step": 5, "held_out/mrr_q2d": 0.4},
    ...          {"step": 5, "loss": 1.0}, {"step": 9, "held_out/mrr_q2d": 0.4}], "mrr_q2d")
    (5, 0.4)
    """
    name = HELD_OUT + metric
    found = [(line["step"], line[name]) for line in metrics if name in line and line["step"] > 0]
    if not found:
        return None
    step, value = max(found, key=lambda measured: measured[1])
    return int(step), value


def state_of(checkpoint: Path) -> dict[str, Any]:
    """What the Trainer knew at a checkpoint: `global_step`, `best_global_step`, `best_metric`.

    Raises:
        TrainingError: it can't be read.
    """
    try:
        state: dict[str, Any] = json.loads((checkpoint / STATE).read_bytes())
    except (OSError, ValueError) as error:
        raise TrainingError(f"{checkpoint / STATE} can't be read: {error}") from error
    return state


# ---- where things are from ----


def is_main_process() -> bool:
    """Whether this process is the one that talks and writes, of those that accelerate started."""
    return os.environ.get("RANK", "0") == "0"


def num_processes() -> int:
    """How many train together: one, if accelerate or torchrun didn't start more."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def made_with() -> dict[str, Any]:
    """The code: a commit, if it is in a checkout, else the package's version; and libraries."""
    versions = {"alm2vec-search": _version("alm2vec-search")}
    versions |= {name: _version(name) for name in VERSIONS}
    state = git_state(Path(__file__).parent)
    return {**({"git": state} if state else {}), "versions": versions}


def git_state(folder: Path) -> dict[str, Any] | None:
    """The commit that the code in a folder is at, and whether it was changed since. None where git
    doesn't have it: a package that is installed may well lie below somebody's repository."""
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", ":/")
    return None if commit is None else {"commit": commit, "dirty": bool(changes)}


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def now() -> str:
    """The time, as run.json has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(path: Path, text: str) -> None:
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")

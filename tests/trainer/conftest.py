"""What the tests of training share: one thread, and a run that was trained once."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from torch_threads import one_thread  # noqa: F401  (of this package, by being here)
from toy_run import ToyRun, Watched

from trainer.training import RunReport, train

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def watched() -> Watched:
    """What the run was seen to do."""
    return Watched()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, watched: Watched) -> tuple[ToyRun, RunReport]:
    """A run of 12 steps, never stopped. Nobody may change it."""
    toy = ToyRun.make(tmp_path_factory.mktemp("toy"))
    return toy, train(toy.config(), progress=watched)


@pytest.fixture
def toy(trained: tuple[ToyRun, RunReport], tmp_path: Path) -> ToyRun:
    """The same material, without the run, for a test to do with as it likes."""
    folder = tmp_path / "toy"
    shutil.copytree(trained[0].folder, folder, ignore=shutil.ignore_patterns("run"))
    return ToyRun(folder)

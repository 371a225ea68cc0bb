"""Files and folders that are there whole or not at all, however their writing ends."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from alm2vec_search.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNFINISHED = ".unfinished"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """What to write instead of the file; it takes the file's place once all is written.

    Raises:
        OSError: it can't be written.
    """
    unfinished = path.with_name(path.name + UNFINISHED)
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """What to write into instead of the folder; it takes the folder's place once all is written.

    It holds what the folder held, to be kept or removed.

    Raises:
        TrainingError: it can't be written.
    """
    unfinished = folder.with_name(folder.name + UNFINISHED)
    replaced = folder.with_name(folder.name + ".replaced")
    try:
        with written_in(folder):
            shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was stopped
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.exists():
                shutil.copytree(folder, unfinished)
            else:
                unfinished.mkdir()
            yield unfinished
            if folder.exists():
                shutil.rmtree(replaced, ignore_errors=True)
                folder.rename(replaced)
            unfinished.rename(folder)
            shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def written_in(folder: Path) -> Iterator[None]:
    """
    Raises:
        TrainingError: what is written within can't be.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{folder} can't be written: {error.strerror or error}",
            hint="is there room on the disk, and is the folder yours to write?",
        ) from error

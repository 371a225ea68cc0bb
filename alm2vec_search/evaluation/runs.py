"""What a measurement found, as a file: `alm2vec eval -o run.json` writes it, `report` reads it.

Paths of sounds are relative to the file, so that a folder of runs and sounds can be moved as one.
Shares are in [0, 1], places count from 0, times are in seconds.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from alm2vec_search.audio import reason_of
from alm2vec_search.errors import EvaluationError
from trainer.whole import whole_file

FORMAT: Literal[1] = 1  # of the file; another one is another program's


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(_Value):
    """A mean over queries, and its 95 % interval."""

    metric: str  # "r@1", "mrr", "ndcg@10", "map@10", "p@10", "accuracy"
    value: float
    low: float | None = None
    high: float | None = None
    n: int  # how many it is a mean over
    of: str = "queries"
    domain: str | None = None  # the part of the set it is over; None is all of it


class SoundRef(_Value):
    """A sound, or a stretch of one, that a report can play."""

    path: str  # relative to the run's file, with slashes
    start_s: float = 0.0
    end_s: float | None = None


class Content(_Value):
    """A query, or something that was found."""

    text: str | None = None
    sound: SoundRef | None = None
    instruction: str | None = None


class Worst(_Value):
    """A query whose answer was found late, or not."""

    query: Content
    wanted: tuple[Content, ...]  # the right ones, or the first few of them
    found: tuple[Content, ...]  # what came first instead, best first
    place: int | None = None  # of the best right one; None: it wasn't found, or there are no places


class Confusion(_Value):
    """How often one label came first where another was right."""

    wanted: str
    found: str
    count: int
    of: int  # queries where `wanted` was right


class TaskResult(_Value):
    """What came of one task."""

    name: str  # "text to audio"
    queries: int
    pool: int | None = None  # documents that each query ranks; None where each has its own choices
    figures: tuple[Figure, ...]
    # For each query, the place of its best right document (for a choice: how many candidates come
    # before the right one). None: it isn't in the list that a search returned.
    places: tuple[int | None, ...] = ()
    # For each query, the number of its group: those of one aren't independent of each other.
    groups: tuple[int, ...] = ()
    worst: tuple[Worst, ...] = ()
    confusions: tuple[Confusion, ...] = ()


class System(_Value):
    """What was measured."""

    kind: Literal["vectors", "search", "answers", "mteb"]
    name: str  # what people call it: the model
    detail: str = ""  # "through the index, names and tags counted"
    fingerprint: str | None = None
    embedding_dim: int | None = None
    dtype: str | None = None
    device: str | None = None


class Cost(_Value):
    """What it took."""

    audio_s: float = 0.0  # of sound that was embedded
    load_s: float = 0.0
    decode_s: float = 0.0
    encode_s: float = 0.0
    index_s: float = 0.0  # of a search: the whole indexing run
    search_s: float = 0.0
    total_s: float = 0.0
    cores: int = 1


class Run(_Value):
    """One system on one set."""

    format: Literal[1]
    key: str  # the protocol: audiocaps, clotho, librisqa, mmau-mini, triplets, labels, mteb
    set_name: str
    system: System
    pool: str  # in words
    missing: tuple[str, ...] = ()  # clips that are listed, and have no file
    unreadable: tuple[str, ...] = ()  # files that could not be decoded, and are in no pool
    set_aside: tuple[str, ...] = ()  # "where: why"
    notes: tuple[str, ...] = ()  # what a reader has to know
    tasks: tuple[TaskResult, ...]
    cost: Cost = Cost()
    made: datetime
    version: str  # of this program
    command: str = ""


def read_run(path: Path) -> Run:
    """
    Raises:
        EvaluationError: it isn't there, can't be read, or is no run of this format.
    """
    try:
        return Run.model_validate_json(path.read_bytes())
    except OSError as error:
        raise EvaluationError(f"{path} can't be read: {reason_of(error)}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise EvaluationError(
            f"{path} is no run: {where + ': ' if where else ''}{first['msg']}",
            hint="alm2vec eval ... -o FILE.json writes one",
        ) from error


def write_run(run: Run, path: Path) -> None:
    """
    Raises:
        EvaluationError: it can't be written.
    """
    write_text(run.model_dump_json(indent=1, exclude_defaults=True) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Write a file, whole or not at all; its folder is made.

    Raises:
        EvaluationError: it can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{path} can't be written: {reason_of(error)}") from error


def require_writable(path: Path) -> None:
    """What can be known of it before hours of work.

    Raises:
        EvaluationError: it is a folder, or lies in one that can't be written to.
    """
    if path.is_dir():
        raise EvaluationError(f"{path} is a folder", hint=f"name a file: {path / 'run.json'}")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise EvaluationError(f"{path} can't be written: {folder} isn't a folder of yours")


def relative_sound(path: Path, run: Path | None) -> str:
    """The path of a sound as a run's file has it; absolute where no file is written."""
    if run is None:
        return path.as_posix()
    return Path(os.path.relpath(path, run.absolute().parent)).as_posix()

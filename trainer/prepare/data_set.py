"""A data set as it lies on the disk: the files that list what is in it, and the audio."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alm2vec_search.audio import reason_of
from alm2vec_search.errors import TrainingError
from trainer.prepare.audio_files import AudioFiles, index_by_name, is_audio
from trainer.prepare.report import SetAside
from trainer.prepare.tables import has_columns, require_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trainer.prepare.tables import Columns

_LISTS = frozenset({".csv", ".json", ".jsonl", ".ndjson"})
_PAIR = b'{"query":'
_SPLITS = (
    {"train", "training"},
    {"val", "valid", "validation"},
    {"test"},
    {"development", "dev"},
    {"evaluation", "eval"},
)


@dataclass(frozen=True)
class DataSet:
    """What is there."""

    source: Path  # what was named: a folder, or one file
    lists: tuple[Path, ...]  # .csv, .json, .jsonl; if one file was named, that one
    audio: AudioFiles
    problems: tuple[SetAside, ...]  # what couldn't be looked into

    @classmethod
    def open(cls, source: Path, audio: Path | None = None) -> DataSet:
        """Look through a data set's folder.

        Args:
            source: the folder, or a file that lists what is in it.
            audio: the folder of the audio, if it is another.

        Raises:
            TrainingError: there is no such folder, or it can't be looked into.
        """
        if source.is_file():
            found = _Walk(audio or source.parent)
            return cls(source, (source,), found.audio, tuple(found.problems))
        listed = _Walk(source)
        found = listed if audio is None else _Walk(audio)
        problems = {*listed.problems, *found.problems}
        return cls(source, tuple(listed.lists), found.audio, tuple(sorted(problems)))

    def table(self, columns: Columns, *, split: str | None = None) -> Path:
        """The one .csv that has `columns`.

        Args:
            columns: that it has to have.
            split: what its name has to say: `train` is also in `train_captions.csv`.

        Raises:
            TrainingError: there is none, or more than one.
            PairError: the only ones of that name have other columns.
        """
        if self.source.is_file():
            return self.source
        named = [path for path in self._of((".csv",)) if split is None or is_of(path, split)]
        fitting = [path for path in named if has_columns(path, columns)]
        if len(fitting) == 1:
            return fitting[0]
        what = f"csv of the split {split}" if split else "csv"
        if fitting:
            raise TrainingError(
                f"{self.source}: more than one {what}: {_listed(fitting)}",
                hint="name the one that is meant by --source",
            )
        if named:
            require_columns(named[0], columns)
        there = f"; there are {_listed(self.lists)}" if self.lists else ""
        raise TrainingError(
            f"{self.source}: no {what} below it{there}", hint="--source takes a file, too"
        )

    def records(self, out: Path, *, split: str | None = None) -> list[Path]:
        """The .json and .jsonl files, but for `out` and what are pairs already.

        Raises:
            TrainingError: there are none.
        """
        if self.source.is_file():
            return [self.source]
        named = [
            path
            for path in self._of((".json", ".jsonl", ".ndjson"))
            if (split is None or is_of(path, split))
            and not is_same(path, out)
            and not _has_pairs(path)
        ]
        if not named:
            what = f"json of the split {split}" if split else "json"
            there = f"; there are {_listed(self.lists)}" if self.lists else ""
            raise TrainingError(
                f"{self.source}: no {what} below it{there}", hint="--source takes a file, too"
            )
        return named

    def _of(self, suffixes: Sequence[str]) -> Iterator[Path]:
        return (path for path in self.lists if path.suffix.lower() in suffixes)


def is_of(path: Path, split: str) -> bool:
    """
    >>> is_of(Path("clotho_captions_development.csv"), "development")
    True
    >>> is_of(Path("LibriSQA-PartI-training.json"), "train"), is_of(Path("trains.csv"), "train")
    (True, False)
    """
    meant = next((words for words in _SPLITS if split in words), {split})
    return not meant.isdisjoint(re.split(r"[^a-z0-9]+", path.stem.lower()))


def is_same(path: Path, other: Path) -> bool:
    """Whether two paths lead to one file, which needn't be there."""
    return os.path.realpath(path) == os.path.realpath(other)


def relative_to(out: Path) -> Callable[[Path], Path]:
    """How a path is written into `out`: from its folder, so that all can be moved together."""
    folder = os.path.realpath(out.parent)  # .. leads up from where links lead to

    def relative(path: Path) -> Path:
        try:
            return Path(os.path.relpath(path, folder))
        except ValueError:  # another drive
            return path

    return relative


class _Walk:
    """One look through a folder. Links are followed; hidden names are passed over."""

    def __init__(self, root: Path) -> None:
        self.lists: list[Path] = []
        self.problems: list[SetAside] = []
        real = os.path.realpath(root)
        try:
            with os.scandir(real):
                pass
        except OSError as error:
            raise TrainingError(
                f"{root}: {reason_of(error)}",
                hint="--source and --audio name the data set's folders; check the spelling",
            ) from error
        self.audio = index_by_name(real, list(self._sounds(real)))

    def _sounds(self, root: str) -> Iterator[str]:
        """Paths of audio files; lists of other kinds are noted on the way."""
        seen: set[tuple[int, int]] = set()
        for folder, below, names in os.walk(root, followlinks=True, onerror=self._note):
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:  # a second way to it, or a loop
                below.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            below[:] = sorted(name for name in below if self._is_open(folder, name))
            for name in sorted(names):
                if is_audio(name) and self._is_open(folder, name):
                    yield os.path.join(folder, name)
                elif os.path.splitext(name)[1].lower() in _LISTS and not name.startswith("."):
                    self.lists.append(Path(folder, name))

    def _is_open(self, folder: str, name: str) -> bool:
        if name.startswith("."):
            return False
        try:
            name.encode()
        except UnicodeEncodeError:  # JSON couldn't hold it
            path = os.fsencode(os.path.join(folder, name)).decode("utf-8", "backslashreplace")
            self.problems.append(SetAside(path, "the name isn't UTF-8"))
            return False
        return True

    def _note(self, error: OSError) -> None:
        self.problems.append(SetAside(str(error.filename), reason_of(error)))


def _has_pairs(path: Path) -> bool:
    """Whether it was written by a preparation."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(_PAIR)) == _PAIR
    except OSError:  # whoever reads it says so
        return False


def _listed(paths: Sequence[Path]) -> str:
    names = ", ".join(str(path) for path in paths[:5])
    return f"{names}, …" if len(paths) > 5 else names

"""Files of pairs as data sets: any group of a file that needn't fit in memory, by its number.

A group is what is drawn at once: a line, or a run of lines with the same `one_of`, of which one is
taken. Only where the groups begin is kept, 8 bytes each, and it is found anew whenever a file is
opened: nothing is written beside the user's data.
"""

from __future__ import annotations

import json
import os
import stat
from array import array
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from alm2vec_search.audio import reason_of
from alm2vec_search.errors import PairError, TrainingError
from alm2vec_search.model.file_hashes import sha256_of
from trainer.pairs import AudioRef, Pair, parse_pair
from trainer.seeds import number_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

    from trainer.mixture import Draw

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
BLOCK = 1 << 20  # bytes
WHOLE = (None, None, None)  # neither start nor end, nor the name of a tensor
NAMED = 3  # of missing files, before the rest is only counted

Missing = Literal["error", "skip"]


@dataclass(frozen=True, slots=True)
class Line:
    """Where a pair is written."""

    file: Path
    offset: int  # bytes before it

    @property
    def number(self) -> int:
        """From 1, counted when somebody asks: lines are found by their offset."""
        number, left = 1, self.offset
        with self.file.open("rb") as file:
            while block := file.read(min(BLOCK, left)):
                number += block.count(b"\n")
                left -= len(block)
        return number

    def error(self, message: str, hint: str | None = None) -> PairError:
        return PairError(message, file=self.file, line=self.number, hint=hint)


@dataclass(frozen=True, slots=True)
class LocatedPair:
    """A pair, where it is written, and what drew it."""

    pair: Pair
    line: Line
    draw: Draw


class PairFile:
    """A file of pairs.

    It may go to other processes: no handle stays open, each read opens the file.

    Args:
        path: of JSON lines, as in `trainer.pairs`.

    Raises:
        TrainingError: the file can't be read, or there is nothing in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state: tuple[int, int] | None = None  # size and time of change, once they are known
        with self._opened() as file:
            opened = os.fstat(file.fileno())
            self._starts = _group_starts(file)  # int64 [groups + 1], the last is the end
        self._state = (opened.st_size, opened.st_mtime_ns)
        self._groups: Sequence[int] | NDArray[np.int64] = range(len(self._starts) - 1)
        self._left_out: NDArray[np.int64] = np.arange(0)  # offsets of lines, sorted
        if len(self._starts) < 2:
            raise TrainingError(f"{path}: there are no pairs in it")

    def __len__(self) -> int:
        """How many groups."""
        return len(self._groups)

    def pair(self, group: int, seed: int, epoch: int = 0) -> Pair:
        """A pair of a group, its paths taken from the file's folder: see `read`."""
        return self.read(group, seed, epoch)[0]

    def read(self, group: int, seed: int, epoch: int = 0) -> tuple[Pair, Line]:
        """A pair of a group, and where it is written.

        Of n alternatives, n epochs take each once, in an order that the seed shuffles; then they
        are shuffled anew.

        Raises:
            PairError: the line is no pair.
            TrainingError: the file can't be read, or isn't what it was.
        """
        with self._opened() as file:
            lines = self._lines(file, int(self._groups[group]))
        turns, turn = divmod(epoch, len(lines))
        order = sorted(
            range(len(lines)), key=lambda i: number_of("alternative", seed, group, turns, i)
        )
        line, text = lines[order[turn]]
        return self._parsed(line, text).located(self.path.parent), line

    def pairs(self) -> Iterator[tuple[Pair, Line]]:
        """All of them, alternatives too, in the file's order.

        Raises:
            PairError: a line is no pair.
            TrainingError: the file can't be read, or isn't what it was.
        """
        return ((pair.located(self.path.parent), line) for pair, line in self._as_written())

    def where(self, wanted: Callable[[Pair], bool]) -> PairFile:
        """The file without those pairs that aren't wanted.

        Raises:
            PairError: a line is no pair.
            TrainingError: no pair is left; or as `pairs`.
        """
        return self._where(lambda pair: wanted(pair.located(self.path.parent)))

    def _where(self, wanted: Callable[[Pair], bool]) -> PairFile:
        written = self._as_written()
        left_out = array("q", (line.offset for pair, line in written if not wanted(pair)))
        rest = PairFile.__new__(PairFile)
        rest.__dict__.update(self.__dict__)
        rest._left_out = np.union1d(self._left_out, np.array(left_out, np.int64))
        with self._opened() as file:
            left = array("q", (group for group in self._groups if rest._lines(file, group)))
        rest._groups = np.array(left, np.int64)
        if not left:
            raise TrainingError(f"{self.path}: no pair of it can be used")
        return rest

    def _as_written(self) -> Iterator[tuple[Pair, Line]]:
        """All of them, their paths not taken from anywhere."""
        with self._opened() as file:
            for group in self._groups:
                for line, text in self._lines(file, group):
                    yield self._parsed(line, text), line

    def _lines(self, file: BinaryIO, group: int) -> list[tuple[Line, bytes]]:
        """Of a group, by its number in the file, without those left out."""
        start, end = self._starts[group : group + 2].tolist()
        file.seek(start)
        block = file.read(end - start)
        if len(block) < end - start:
            raise self._changed()
        left_out: set[int] = set()
        if len(self._left_out):
            first, last = np.searchsorted(self._left_out, [start, end])
            left_out.update(self._left_out[first:last].tolist())
        lines = []
        for text in block.split(b"\n"):
            if text.strip() and start not in left_out:
                lines.append((Line(self.path, start), text))
            start += len(text) + 1
        return lines

    def _parsed(self, line: Line, text: bytes) -> Pair:
        try:
            return parse_pair(text, self.path, 0)
        except PairError:
            return parse_pair(text, self.path, line.number)  # fails again, and knows its line

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        try:
            with self.path.open("rb") as file:
                now = os.fstat(file.fileno())
                if self._state not in (None, (now.st_size, now.st_mtime_ns)):
                    raise self._changed()
                yield file
        except OSError as error:
            raise TrainingError(f"{self.path}: {reason_of(error)}") from error

    def _changed(self) -> TrainingError:
        return TrainingError(
            f"{self.path} was changed while it was in use",
            hint="start again, and leave the file as it is meanwhile",
        )


def _group_starts(file: BinaryIO) -> NDArray[np.int64]:
    """Where each group begins, and at last where the file ends."""
    offset = len(BYTE_ORDER_MARK) if file.read(len(BYTE_ORDER_MARK)) == BYTE_ORDER_MARK else 0
    file.seek(offset)
    starts, before = array("q"), None
    for line in file:
        if not line.isspace():
            one_of = _one_of(line) if b'"one_of"' in line else None
            if one_of is None or one_of != before:
                starts.append(offset)
            before = one_of
        offset += len(line)
    if starts:
        starts.append(offset)
    return np.array(starts, np.int64)


def _one_of(line: bytes) -> str | None:
    try:
        one_of = json.loads(line)["one_of"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None  # it is no pair, or speaks of `one_of`; whoever reads it finds out
    return one_of if isinstance(one_of, str) else None


class PairDataset:
    """What torch's `DataLoader` asks for the pairs that were drawn.

    Args:
        files: the sources, in the mixture's order.
        seed: of the run.
    """

    def __init__(self, files: Sequence[PairFile], seed: int) -> None:
        self.files = files
        self._seeds = [number_of("source", seed, source) for source in range(len(files))]

    def __len__(self) -> int:
        return sum(map(len, self.files))

    def __getitem__(self, draw: Draw) -> LocatedPair:
        """
        Raises:
            PairError: the line is no pair.
            TrainingError: the file can't be read, or isn't what it was.
        """
        file = self.files[draw.source]
        return LocatedPair(*file.read(draw.group, self._seeds[draw.source], draw.epoch), draw)

    def __getitems__(self, draws: Iterable[Draw]) -> Iterator[LocatedPair]:
        """A batch, read while the collator goes through it: what goes wrong goes wrong there."""
        return map(self.__getitem__, draws)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a file of pairs was found to hold."""

    file: PairFile  # what can be used of it
    pairs: int  # alternatives too
    sounds: int  # that differ
    audio_files: int
    missing: int  # of the audio files
    first_missing: tuple[Path, ...]
    left_out: int  # pairs
    sha256: str  # of the file as it is


@dataclass(slots=True)
class _Sounds:
    """What was seen of the audio that pairs name, as numbers: a path would be ten times as long."""

    folder: Path
    all: set[int] = field(default_factory=set)
    files: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)
    first_missing: list[Path] = field(default_factory=list)

    def see_all(self, pair: Pair) -> bool:
        """Whether all the files are there that a pair, as it is written, names."""
        there = [self._see(sound) for sound in sounds_of(pair)]  # none is passed over
        return all(there)

    def _see(self, sound: AudioRef) -> bool:
        name = str(sound.path)
        number = number_of(name)
        if number not in self.files:
            self.files.add(number)
            if not _is_file(self.folder / name):
                self.missing.add(number)
                self.first_missing += [self.folder / name][: NAMED - len(self.first_missing)]
        part = (sound.start_s, sound.end_s, sound.frames)
        self.all.add(number if part == WHOLE else number_of(name, *part))
        return number not in self.missing


def check(file: PairFile, missing: Missing = "error") -> Checked:
    """Read every line, and look whether the audio files are there, before a run begins.

    Args:
        missing: what to do about audio files that aren't: `skip` leaves out the pairs that name
            them.

    Raises:
        PairError: a line is no pair.
        TrainingError: audio files are missing, and aren't to be skipped; or no pair is left.
    """
    seen = _Sounds(file.path.parent)
    n_pairs = n_left_out = 0
    for pair, _ in file._as_written():
        n_pairs += 1
        n_left_out += not seen.see_all(pair)
    if seen.missing and missing == "error":
        more = len(seen.missing) - len(seen.first_missing)
        raise TrainingError(
            f"{file.path}: {len(seen.missing):,} of {len(seen.files):,} audio files aren't there: "
            + ", ".join(map(str, seen.first_missing))
            + (f" and {more:,} more" if more else ""),
            hint="paths are relative to the file of pairs; `missing = skip` leaves out "
            "the pairs that name these",
        )
    if seen.missing:
        file = file._where(seen.see_all)
    return Checked(
        file=file,
        pairs=n_pairs,
        sounds=len(seen.all),
        audio_files=len(seen.files),
        missing=len(seen.missing),
        first_missing=tuple(seen.first_missing),
        left_out=n_left_out,
        sha256=fingerprint(file.path),
    )


def sounds_of(pair: Pair) -> Iterator[AudioRef]:
    """Of the query, the document, and the negatives."""
    for side in (pair.query, pair.document, *pair.negatives):
        if side.audio is not None:
            yield side.audio


def fingerprint(path: Path) -> str:
    """sha256 of a file's bytes, in hex, for the record of a run.

    Raises:
        TrainingError: it can't be read.
    """
    try:
        return sha256_of(path).hex()
    except OSError as error:
        raise TrainingError(f"{path}: {reason_of(error)}") from error


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False

"""What audio lies in a library: names and `stat` only, no audio file is opened.

A walk yields an `AudioFile` for every audio file, and a `WalkProblem` for every place it couldn't
look into. What is missing from a walk is gone only if no problem covers it: skipped is not deleted.

Passed over without a word: hidden files and folders, the litter of operating systems
(`SYSTEM_FOLDERS`), what isn't a regular file, broken links, folders that contain themselves
through a link, and what the user excluded. Exclusion speaks gitignore, in a file `.alm2vecignore`
in any folder and on the command line; the command line has the last word.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alm2vec_search.audio import reason_of
from alm2vec_search.domain import AudioFile
from alm2vec_search.errors import ConfigError, LibraryError
from indexer.ignore import IGNORE_FILE, Rules, RulesError, parse_patterns, read_rules

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from indexer.ignore import Pattern

SYSTEM_FOLDERS = frozenset({"system volume information", "$recycle.bin", "@eadir", "lost+found"})
_FIRST_NS, _LAST_NS = -(2**63), 2**63 - 1  # what databases can hold: the years 1677 to 2262


@dataclass(frozen=True, slots=True)
class WalkProblem:
    """A place the walk couldn't look into: nothing is known about what lies there now."""

    path: Path  # absolute; a file, or a folder with everything below it
    reason: str

    def covers(self, path: Path) -> bool:
        """Whether the walk can't tell if `path` is still there."""
        return path == self.path or self.path in path.parents


def library_root(path: Path) -> Path:
    """Where a walk starts: a folder with its links resolved, or one file in such a folder.

    The name of a single file is kept even if it is a link, so that it has the same path as in a
    walk over its folder.

    Raises:
        LibraryError: nothing is there, it is neither a folder nor a file, or it can't be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return Path(os.path.realpath(path.parent), path.name)
        if stat.S_ISDIR(mode):
            root = os.path.realpath(path)
            with os.scandir(root):  # may its names be read,
                os.stat(os.path.join(root, os.curdir))  # and what they stand for
            return Path(root)
    except FileNotFoundError as error:
        hint = "check the spelling, and that the disk is connected"
        raise LibraryError(path, "there is no such folder", hint=hint) from error
    except OSError as error:
        hint = "check that you may read it, and that the disk is connected"
        raise LibraryError(path, reason_of(error), hint=hint) from error
    raise LibraryError(path, "neither a folder nor a file", hint="name a folder of audio")


def walk(
    root: Path, *, suffixes: Collection[str], exclude: Sequence[str] = ()
) -> Iterator[AudioFile | WalkProblem]:
    """All audio below `root`, each folder in the order of its names, links followed.

    If `root` is a file, that file alone is the walk, and its folder is the library: whoever names
    a file means it, so that no exclusion applies.

    Args:
        root: from `library_root`.
        suffixes: of audio files, in lower case and with the dot.
        exclude: gitignore patterns relative to `root`.

    Raises:
        ConfigError: one of `exclude` is not a pattern.
        LibraryError: `root` is a file, and its name isn't that of an audio file.
    """
    try:
        patterns = parse_patterns(exclude)
    except ValueError as error:
        hint = "patterns are written as in a .gitignore"
        raise ConfigError(f"can't exclude by {error}", hint=hint) from error
    if os.path.isfile(root):
        if _suffix(root.name) not in suffixes:
            hint = f"audio files end in {' '.join(sorted(suffixes))}"
            raise LibraryError(root, "not an audio file, by its name", hint=hint)
        return iter((_look_at(root, library=root.parent),))
    return _walk_folder(root, suffixes=suffixes, patterns=patterns)


def _look_at(path: Path, *, library: Path) -> AudioFile | WalkProblem:
    try:
        return to_audio_file(path, library, path.stat())
    except OSError as error:
        return WalkProblem(path, reason_of(error))


def _walk_folder(
    library: Path, *, suffixes: Collection[str], patterns: tuple[Pattern, ...]
) -> Iterator[AudioFile | WalkProblem]:
    prefix_length = len(os.path.join(library, ""))
    command_line = Rules(prefix_length, patterns)
    start = _Folder(os.fspath(library), above=None, rules=(command_line,))
    pending: list[tuple[_Folder, os.DirEntry[str] | None]] = [(start, None)]
    while pending:
        folder, entry = pending.pop()
        path = folder.path if entry is None else entry.path
        try:
            if entry is None:
                listing = folder.open()
                pending.extend((folder, below) for below in reversed(listing))
            elif entry.is_dir():
                if not folder.excludes(entry, is_folder=True):
                    pending.append((_Folder(path, above=folder, rules=folder.rules), None))
            elif _suffix(entry.name) in suffixes and not folder.excludes(entry, is_folder=False):
                status = entry.stat()
                if stat.S_ISREG(status.st_mode):
                    yield to_audio_file(Path(path), library, status)
        except RulesError as error:
            yield WalkProblem(Path(path), str(error))
        except OSError as error:
            if entry is None or not _is_broken_link(entry, error):
                yield WalkProblem(Path(path), reason_of(error))


class _Folder:
    """A folder on the way, with what holds for everything in it."""

    def __init__(self, path: str, *, above: _Folder | None, rules: tuple[Rules, ...]) -> None:
        self.path = path
        self.rules = rules  # the first that has an opinion decides
        self._above = above
        self._identity: tuple[int, int] | None = None

    def open(self) -> list[os.DirEntry[str]]:
        """What the walk has to look at in here, by name. Nothing, if the folder is a loop.

        Raises:
            OSError: it can't be listed.
            RulesError: what to exclude in it can't be read.
        """
        status = os.stat(self.path)
        self._identity = (status.st_dev, status.st_ino)
        if self._is_loop():
            return []
        with os.scandir(self.path) as entries:
            listing = sorted(entries, key=lambda entry: entry.name)
        for entry in listing:
            if entry.name == IGNORE_FILE and entry.is_file():
                command_line, *above = self.rules
                self.rules = (command_line, read_rules(entry.path, self.path), *above)
        return [entry for entry in listing if not _is_litter(entry.name)]

    def excludes(self, entry: os.DirEntry[str], *, is_folder: bool) -> bool:
        for rules in self.rules:
            excluded = rules.decide(entry.path, entry.name, is_folder=is_folder)
            if excluded is not None:
                return excluded
        return False

    def _is_loop(self) -> bool:
        folder = self._above
        while folder is not None:
            if folder._identity == self._identity:
                return True
            folder = folder._above
        return False


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def _is_broken_link(entry: os.DirEntry[str], error: OSError) -> bool:
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP) and entry.is_symlink()


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def to_audio_file(path: Path, library: Path, status: os.stat_result) -> AudioFile:
    """What is remembered of a file's status."""
    return AudioFile(
        path=path,
        library=library,
        size=status.st_size,
        mtime_ns=_storable(status.st_mtime_ns),
        ctime_ns=_storable(status.st_ctime_ns),
    )


def _storable(time_ns: int) -> int:
    """Some file systems know times that no database holds; which one it is doesn't matter."""
    return min(max(time_ns, _FIRST_NS), _LAST_NS)

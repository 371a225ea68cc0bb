"""The audio files below a folder, by name: found by one walk, then looked up without the disk."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alm2vec_search.audio import AUDIO_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOSSLESS = frozenset({".wav", ".flac", ".aiff", ".aif"})


@dataclass(frozen=True)
class AudioFiles:
    """What is there, each file by its name without suffix."""

    root: str  # absolute, links resolved
    by_name: Mapping[str, Sequence[str]]  # absolute paths

    def find(self, *names: str) -> list[Path]:
        """The files that one of `names` may mean, in whatever folder they lie.

        The first name that leads anywhere counts. Suffixes needn't agree: data sets are kept in
        other formats than they list. Of files of one name, those win whose folders are as in the
        name; several that are left are equally likely, and nobody can tell which is meant.
        """
        for name in names:
            parts = _parts(name)
            if os.path.isabs(name) and os.path.isfile(name):
                return [Path(name)]
            if paths := self.by_name.get(_normal(without_suffix(parts[-1]))):
                return [Path(path) for path in _nearest(paths, parts)]
        return []

    def at(self, path: str) -> list[Path]:
        """The file at a path below the root, or at an absolute one. Its suffix may be another."""
        wanted = os.path.normpath(os.path.join(self.root, *_parts(path)))
        stem = _normal(without_suffix(wanted))
        paths = self.by_name.get(_normal(without_suffix(os.path.basename(wanted))), ())
        there = [path for path in paths if _normal(without_suffix(path)) == stem]
        if there:
            return [Path(min(there, key=lambda path: _rank(path, wanted)))]
        return [Path(wanted)] if os.path.isfile(wanted) else []  # outside of the root


def index_by_name(root: str, paths: Sequence[str]) -> AudioFiles:
    """
    Args:
        root: absolute, links resolved.
        paths: of audio files, absolute.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_name[_normal(without_suffix(os.path.basename(path)))].append(path)
    return AudioFiles(root, dict(by_name))


def is_audio(name: str) -> bool:
    return _suffix(name) in AUDIO_SUFFIXES


def without_suffix(name: str) -> str:
    """
    >>> without_suffix("a/b.WAV"), without_suffix("en.2008.16_0.0_6.74")
    ('a/b', 'en.2008.16_0.0_6.74')
    """
    return name[: -len(_suffix(name))] if is_audio(name) else name


def stem_of(path: str) -> str:
    """The name alone.

    >>> stem_of("test-clean/1089/134686/1089-134686-0000.flac")
    '1089-134686-0000'
    """
    return without_suffix(_parts(path)[-1])


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _parts(name: str) -> list[str]:
    r"""Folders and name, whichever way the slashes lean. An absolute path keeps its root.

    >>> _parts("./drums\\kick.wav"), _parts("/a/b.wav")
    (['drums', 'kick.wav'], ['/', 'a', 'b.wav'])
    """
    parts = [part for part in re.split(r"[/\\]+", name) if part not in ("", ".")]
    return ["/", *parts] if name.startswith("/") else parts or [""]


def _normal(name: str) -> str:
    """File systems differ in how they write an accent."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _nearest(paths: Sequence[str], parts: Sequence[str]) -> list[str]:
    if len(paths) == 1:
        return list(paths)
    agreement = {path: _agreement(_parts(path)[:-1], parts[:-1]) for path in paths}
    most = max(agreement.values())
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        if agreement[path] == most:
            by_folder[os.path.dirname(path)].append(path)
    return [min(same, key=lambda path: _rank(path, parts[-1])) for same in by_folder.values()]


def _agreement(folders: Sequence[str], wanted: Sequence[str]) -> int:
    """How many folders above a file are as wanted."""
    count = 0
    for one, other in zip(reversed(folders), reversed(wanted), strict=False):
        if _normal(one) != _normal(other):
            break
        count += 1
    return count


def _rank(path: str, wanted: str) -> tuple[bool, bool, str]:
    """Of one sound in several formats: the one that was asked for, then what lost nothing."""
    suffix = _suffix(path)
    return suffix != _suffix(wanted), suffix not in _LOSSLESS, suffix

"""What the user excluded, in gitignore's language: in `.alm2vecignore`, or on a command line.

Our own, because a walk asks about one name at a time and never enters what is excluded, as git
does; the package pathspec holds patterns against whole paths, and then keeps files of excluded
folders (`docs/decisions/0003-gitignore.md`). A test compares the answers with git's.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alm2vec_search.audio import reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable

IGNORE_FILE = ".alm2vecignore"


class RulesError(Exception):
    """What to leave out of a folder isn't known, so that it can't be walked."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The exclusions written in one place. They speak about paths below one folder."""

    prefix_length: int  # of that folder's path, with the separator
    patterns: tuple[Pattern, ...]

    def decide(self, path: str, name: str, *, is_folder: bool) -> bool | None:
        """Whether it is excluded; `None` if no pattern is about it. The last one decides."""
        if not self.patterns:
            return None
        below = path[self.prefix_length :].replace(os.sep, "/")
        for pattern in reversed(self.patterns):
            if is_folder or not pattern.folders_only:
                subject = below if pattern.anchored else name
                if pattern.regex.fullmatch(subject):
                    return not pattern.negated
        return None


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of gitignore.

    A pattern is held against a file or folder itself and never against its parents: the walk
    doesn't enter what is excluded. This is what git does, and what makes `*`, `!*/`, `!*.wav` work.
    """

    regex: re.Pattern[str]
    negated: bool  # it takes back an exclusion
    folders_only: bool
    anchored: bool  # it speaks about the path, not only about the name

    @classmethod
    def parse(cls, line: str) -> Pattern | None:
        """A line of an ignore file; `None` if it is empty or a comment.

        Raises:
            ValueError: the line is not a pattern.
        """
        stripped = re.fullmatch(r"((?:\\.|[^\\])*?) *", line, re.DOTALL)
        glob = stripped[1] if stripped else line
        if glob.startswith("#"):
            return None
        negated = glob.startswith("!")
        glob = glob[1:] if negated else glob
        folders_only = glob.endswith("/")
        glob = glob.removesuffix("/")
        if not glob:
            return None
        anchored = "/" in glob
        try:
            glob_regex = _path_regex(glob.removeprefix("/")) if anchored else _segment_regex(glob)
            regex = re.compile(glob_regex, re.DOTALL)
        except (ValueError, re.error) as error:
            raise ValueError(f"{line!r}: {error}") from error
        return cls(regex, negated, folders_only, anchored)


def parse_patterns(lines: Iterable[str]) -> tuple[Pattern, ...]:
    """Lines of gitignore.

    Raises:
        ValueError: one of them is no pattern; says which.
    """
    parsed = (Pattern.parse(line) for line in lines)
    return tuple(pattern for pattern in parsed if pattern is not None)


def read_rules(ignore_file: str, folder: str) -> Rules:
    """The rules of an ignore file, for what lies below its folder.

    Raises:
        RulesError: it can't be read, or a line is no pattern.
    """
    try:
        with open(ignore_file, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            text = file.read()
        if "\0" in text:
            raise ValueError("it isn't UTF-8 text")
        patterns = parse_patterns(line.removesuffix("\r") for line in text.split("\n"))
    except OSError as error:
        raise RulesError(f"can't read its {IGNORE_FILE}: {reason_of(error)}") from error
    except ValueError as error:
        raise RulesError(f"can't use its {IGNORE_FILE}: {error}") from error
    return Rules(len(os.path.join(folder, "")), patterns)


def _path_regex(glob: str) -> str:
    """A glob over a path, as a regular expression: `**` for a whole segment spans folders."""
    *folders, last = glob.split("/")
    regex = "".join(
        "(?:.*/)?" if segment == "**" else _segment_regex(segment) + "/" for segment in folders
    )
    return regex + (".+" if last == "**" else _segment_regex(last))


def _segment_regex(glob: str) -> str:
    """A glob over one name.

    Raises:
        ValueError: a bracket isn't closed, or nothing follows a backslash.
    """
    regex, rest = "", glob
    while rest:
        if rest[0] == "[":
            bracket = re.match(r"\[([!^]?)(\]?(?:\\.|[^\\\]])*)\]", rest, re.DOTALL)
            if bracket is None:
                raise ValueError("a bracket isn't closed")
            regex += _bracket_regex(members=bracket[2], negated=bracket[1] != "")
            rest = rest[bracket.end() :]
        elif rest[0] == "\\":
            if len(rest) == 1:
                raise ValueError("nothing follows the backslash")
            regex, rest = regex + re.escape(rest[1]), rest[2:]
        else:
            regex += {"*": "[^/]*", "?": "[^/]"}.get(rest[0], re.escape(rest[0]))
            rest = rest[1:]
    return regex


def _bracket_regex(members: str, *, negated: bool) -> str:
    """One character out of a bracket. A backslash in it takes what follows as it is."""
    if "[:" in members:
        raise ValueError("named classes such as [:alpha:] aren't known here")
    items = re.findall(r"(\\?.)(?:(-)(\\?.))?", members, re.DOTALL)
    inside = "".join(
        re.escape(first[-1]) + hyphen + re.escape(last[-1:]) for first, hyphen, last in items
    )
    return f"(?!/)[{'^' if negated else ''}{inside}]"

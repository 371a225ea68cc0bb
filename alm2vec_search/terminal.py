"""What people see: stdout is data, stderr is talk."""

from __future__ import annotations

import math
import os
import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from alm2vec_search.errors import Alm2VecError

INTERRUPTED = 130  # the exit code


@cache
def talk() -> Console:
    """The console on stderr. Colour and motion only on a terminal; `NO_COLOR` is heeded."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


@cache
def data() -> Console:
    """The console on stdout."""
    from rich.console import Console

    return Console(highlight=False)


@contextmanager
def data_for_a_pipe() -> Iterator[None]:
    """Whoever reads what is written in here may stop reading: that is no error, and ends it."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def say(message: str) -> None:
    """One line on stderr, as it is: no markup, no wrapping."""
    talk().print(message, markup=False, soft_wrap=True)


def say_error(error: Alm2VecError) -> None:
    for line in f"error: {error}".split("\n"):  # a condition that is wrong has a line of its own
        say(printable(line))
    if error.hint:
        say(f"hint: {printable(error.hint)}")


def print_path(path: Path, *, end: bytes) -> None:
    """The bytes of a path on stdout, whatever they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(os.fsencode(path) + end)


def printable(text: str) -> str:
    r"""Control characters, and bytes that are no text, written out.

    >>> printable("a\nb")
    'a\\nb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(path: Path) -> str:
    """A path for people: from where they stand, where that is shorter."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # no such place to stand in, or another drive
        return printable(str(path))
    return printable(min(relative, str(path), key=len))


def clock(seconds: float) -> str:
    """A point in a file.

    >>> clock(3723.24), clock(61), clock(59.99)
    ('1:02:03.2', '1:01.0', '1:00.0')
    """
    minutes, tenths = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    rest = f"{tenths / 10:04.1f}"
    return f"{hours}:{minutes:02d}:{rest}" if hours else f"{minutes}:{rest}"


def length(seconds: float) -> str:
    """How much sound, or time.

    >>> length(7325), length(125), length(3.21)
    ('2 h 02 min', '2 min 05 s', '3.2 s')
    """
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{seconds:.1f} s"


def size(n_bytes: float) -> str:
    """
    >>> size(52_345_678)
    '52.3 MB'
    """
    if n_bytes < 1000:
        return f"{n_bytes:.0f} B"
    units = ("kB", "MB", "GB", "TB")
    power = min(int(math.log10(n_bytes) // 3), len(units))
    return f"{n_bytes / 1000**power:.1f} {units[power - 1]}"


def counted(n: int, noun: str) -> str:
    """
    >>> counted(1, "file"), counted(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"

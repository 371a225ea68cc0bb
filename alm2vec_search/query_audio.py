"""The sound of a query: a file, or a region of one, written `ref.wav@2.5-4.0`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from alm2vec_search.audio import decode
from alm2vec_search.domain import TimeSpan
from alm2vec_search.errors import AudioError, QueryError

if TYPE_CHECKING:
    from alm2vec_search.domain import Waveform

REGION = re.compile(r"(?P<path>.+)@(?P<start>\d+(\.\d*)?|\.\d+)-(?P<end>\d+(\.\d*)?|\.\d+)", re.S)


def parse_like(text: str) -> tuple[Path, TimeSpan | None]:
    """The file, and the region of it if one is named. A file called just so wins.

    Raises:
        QueryError: the region is empty or backwards.

    >>> parse_like("rain.wav@2.5-4")
    (PosixPath('rain.wav'), TimeSpan(start_s=2.5, end_s=4.0))
    """
    match = REGION.fullmatch(text)
    if match is None or _exists(Path(text)):
        return Path(text).expanduser(), None
    try:
        span = TimeSpan(float(match["start"]), float(match["end"]))
    except ValueError as error:
        raise QueryError(
            f"{text}: the region ends before it begins",
            hint="a region is FILE@START-END, in seconds",
        ) from error
    return Path(match["path"]).expanduser(), span


def names_a_file(text: str) -> bool:
    """Whether it is a file, or a region of one, rather than words."""
    match = REGION.fullmatch(text)
    paths = [text] if match is None else [text, match["path"]]
    return any(_exists(Path(path).expanduser()) for path in paths)


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError, RuntimeError):  # longer than a name may be, or none at all
        return False


def load_like(text: str, sampling_rate: int) -> Waveform:
    """The sound that `FILE` or `FILE@START-END` names, at a sampling rate in Hz.

    Raises:
        QueryError: it can't be read.
    """
    path, span = parse_like(text)
    try:
        return decode(path, sampling_rate, span)
    except AudioError as error:
        raise QueryError(
            str(error), hint="name a file with sound in it, or a region: FILE@START-END, in seconds"
        ) from error

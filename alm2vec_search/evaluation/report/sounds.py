"""Sounds of a run as a page can play them: where they lie from the report's file."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from alm2vec_search.audio.source import open_source
from alm2vec_search.errors import AudioError
from alm2vec_search.terminal import clock

if TYPE_CHECKING:
    from alm2vec_search.evaluation.runs import SoundRef


@dataclass(frozen=True, slots=True)
class PageSound:
    """
    Attributes:
        name: of its file.
        stretch: which part of it, in words; nothing where it is the whole.
        address: relative to the report, with the stretch; None where the file isn't there.
        is_played: whether browsers play such a file as it is.
    """

    name: str
    stretch: str
    address: str | None
    is_played: bool


def page_sound(sound: SoundRef, run: Path, report: Path) -> PageSound:
    """
    Args:
        run: the run's file, from which the sound's path leads.
        report: the file of the page, from which its address has to lead.
    """
    path = Path(os.path.normpath(run.absolute().parent / sound.path))
    if not os.path.isfile(path):  # False, too, of a name that no file can have
        return PageSound(path.name, _stretch(sound), None, is_played=False)
    address = quote(os.fsencode(os.path.relpath(path, report.absolute().parent)))
    return PageSound(path.name, _stretch(sound), address + _fragment(sound), _is_played(path))


def _is_played(path: Path) -> bool:
    from alm2vec_search.audio.playing import played_as_it_is

    try:
        with closing(open_source(path)) as source:
            return played_as_it_is(source) is not None
    except AudioError:
        return False


def _fragment(sound: SoundRef) -> str:
    """As media fragments are written: `#t=1.5,3`."""
    if not sound.start_s and sound.end_s is None:
        return ""
    end = "" if sound.end_s is None else f",{_seconds(sound.end_s)}"
    return f"#t={_seconds(sound.start_s)}{end}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _stretch(sound: SoundRef) -> str:
    if not sound.start_s and sound.end_s is None:
        return ""
    if sound.end_s is None:
        return f"from {clock(sound.start_s)}"
    return f"{clock(sound.start_s)}–{clock(sound.end_s)}"

"""Hits as sound: played one after the other, or cut out as files of their own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from alm2vec_search.audio import cut_clip
from alm2vec_search.errors import AudioError, QueryError
from alm2vec_search.terminal import clock, say, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alm2vec_search.domain import Hit

# What plays a stretch of a file and ends, with its arguments: start, end and length in seconds.
PLAYERS: dict[str, Callable[[float, float], list[str]]] = {
    "mpv": lambda start, end: ["--no-video", "--really-quiet", f"--start={start}", f"--end={end}"],
    "ffplay": lambda start, end: [
        *("-nodisp", "-autoexit", "-loglevel", "error"),
        *("-ss", f"{start}", "-t", f"{end - start}"),
    ],
    "cvlc": lambda start, end: [
        *("--play-and-exit", "--quiet"),
        *(f"--start-time={start}", f"--stop-time={end}"),
    ],
}


def play(hits: Sequence[Hit]) -> None:
    """Play each hit's stretch, best first, until the last or Ctrl-C.

    Raises:
        QueryError: there is no player on this machine.
    """
    player = next((name for name in PLAYERS if shutil.which(name)), None)
    if player is None:
        raise QueryError("no player is here", hint=f"install one of {', '.join(PLAYERS)}")
    for hit in hits:
        say(f"{clock(hit.span.start_s)}–{clock(hit.span.end_s)}  {shown(hit.path)}")
        options = PLAYERS[player](round(hit.span.start_s, 3), round(hit.span.end_s, 3))
        subprocess.run([player, *options, str(hit.path)], check=False, stdin=subprocess.DEVNULL)


def cut_clips(hits: Sequence[Hit], folder: Path) -> None:
    """Write each hit's stretch to a WAV file in a folder, made if it isn't there. Nothing that is
    there already is overwritten.

    Raises:
        QueryError: the folder can't be written to, or holds such a file already.
    """
    names = [_clip_name(rank, hit) for rank, hit in enumerate(hits, start=1)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if there := next((name for name in names if (folder / name).exists()), None):
            raise QueryError(f"{folder / there} is there already", hint="name a new folder")
        for name, hit in zip(names, hits, strict=True):
            try:
                cut_clip(hit.path, hit.span, folder / name)
            except AudioError as error:
                say(f"not cut: {error}")
    except OSError as error:
        reason = error.strerror or str(error)
        raise QueryError(f"{folder}: {reason}", hint="name a folder to write to") from error
    say(f"cut into {shown(folder)}")


def _clip_name(rank: int, hit: Hit) -> str:
    printable = "".join(c if c.isprintable() else "_" for c in hit.path.stem)
    stem = printable.encode()[:80].decode(errors="ignore")  # names are limited in bytes
    return f"{rank:03d} {stem} {hit.span.start_s:.2f}-{hit.span.end_s:.2f}.wav"

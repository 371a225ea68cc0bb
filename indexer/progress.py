"""How a run shows itself: a moving line on a terminal, now and then a plain one elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from alm2vec_search.terminal import counted, length, say, shown, talk

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

PLAIN_EVERY_S = 10.0


class _Counts:
    """What has been done so far, and how fast."""

    def __init__(self) -> None:
        self.n_files = self.n_done = self.n_chunks = 0
        self.audio_s = 0.0
        self.began_at = time.monotonic()

    def started(self, n_files: int) -> None:
        self.n_files = n_files
        self.began_at = time.monotonic()

    def advanced(self, n_chunks: int, audio_s: float) -> None:
        self.n_chunks += n_chunks
        self.audio_s += audio_s

    @property
    def pace(self) -> str:
        elapsed_s = max(time.monotonic() - self.began_at, 1e-3)
        return (
            f"{counted(self.n_chunks, 'chunk')}, {self.n_chunks / elapsed_s:.1f}/s, "
            f"{self.audio_s / elapsed_s:.0f} × real time"
        )


class PlainProgress:
    """Lines on stderr, one every few seconds, for logs."""

    def __init__(self) -> None:
        self._counts = _Counts()
        self._said_at = time.monotonic()

    def walked(self, n_files: int) -> None: ...

    def started(self, n_files: int) -> None:
        self._counts.started(n_files)

    def advanced(self, n_chunks: int, audio_s: float) -> None:
        self._counts.advanced(n_chunks, audio_s)
        self._say_now_and_then()

    def finished(self, path: Path, note: str | None) -> None:
        self._counts.n_done += 1
        if note:
            say(f"  {shown(path)}: {note}")
        self._say_now_and_then()

    def _say_now_and_then(self) -> None:
        if time.monotonic() - self._said_at >= PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            counts = self._counts
            say(f"  {counts.n_done:,} of {counts.n_files:,} files, {counts.pace}")

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *exc_info: object) -> None: ...


class BarProgress:
    """A moving line on a terminal, with the troubles above it."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        self._counts = _Counts()
        self._bars: Bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[pace]}"),
            TimeRemainingColumn(),
            console=talk(),
            transient=True,
        )
        self._task: TaskID = self._bars.add_task("looking for audio", total=None, pace="")

    def walked(self, n_files: int) -> None:
        self._bars.update(self._task, pace=counted(n_files, "file"))

    def started(self, n_files: int) -> None:
        self._counts.started(n_files)
        self._bars.update(self._task, total=n_files, description="loading the model", pace="")

    def advanced(self, n_chunks: int, audio_s: float) -> None:
        self._counts.advanced(n_chunks, audio_s)
        self._update()

    def finished(self, path: Path, note: str | None) -> None:
        self._counts.n_done += 1
        if note:
            self._bars.console.print(f"  {shown(path)}: {note}", markup=False, soft_wrap=True)
        self._update()

    def _update(self) -> None:
        counts = self._counts
        self._bars.update(
            self._task,
            completed=counts.n_done,
            description=f"{counts.n_done:,} of {counts.n_files:,} files",
            pace=counts.pace,
        )

    def __enter__(self) -> BarProgress:
        self._bars.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bars.stop()


class NoProgress:
    """Nobody wants to know."""

    def walked(self, n_files: int) -> None: ...

    def started(self, n_files: int) -> None: ...

    def advanced(self, n_chunks: int, audio_s: float) -> None: ...

    def finished(self, path: Path, note: str | None) -> None: ...

    def __enter__(self) -> NoProgress:
        return self

    def __exit__(self, *exc_info: object) -> None: ...


def choose_progress(*, quiet: bool) -> PlainProgress | BarProgress | NoProgress:
    """What fits where stderr goes."""
    if quiet:
        return NoProgress()
    return BarProgress() if talk().is_terminal else PlainProgress()


class CopyLines:
    """How copying goes: lines on stderr, one every few seconds."""

    def __init__(self) -> None:
        self._what, self._n, self._n_done = "", 0, 0
        self._said_at = time.monotonic()

    def started(self, what: str, n_contents: int) -> None:
        self._what, self._n, self._n_done = what, n_contents, 0

    def advanced(self) -> None:
        self._n_done += 1
        if time.monotonic() - self._said_at >= PLAIN_EVERY_S:
            self._said_at = time.monotonic()
            say(f"  {self._what}: {self._n_done:,} of {self._n:,}")

    def __enter__(self) -> CopyLines:
        return self

    def __exit__(self, *exc_info: object) -> None: ...


class CopyBar:
    """How copying goes: a moving line on a terminal, if anybody wants to see it."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24))
        self._bars: Bars = Progress(
            *columns,
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=talk(),
            transient=True,
            disable=quiet,
        )
        self._task: TaskID = self._bars.add_task("looking what is there", total=None)

    def started(self, what: str, n_contents: int) -> None:
        self._bars.reset(self._task, description=what, total=n_contents)

    def advanced(self) -> None:
        self._bars.advance(self._task)

    def __enter__(self) -> CopyBar:
        self._bars.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bars.stop()


def choose_copy_progress(*, quiet: bool) -> CopyLines | CopyBar:
    """What fits where stderr goes."""
    return CopyBar(quiet=quiet) if quiet or talk().is_terminal else CopyLines()


def describe_pace(n_chunks: int, audio_s: float, wall_s: float) -> str:
    """One phrase for the end of a run."""
    rates = f"{n_chunks / wall_s:.1f} chunks/s, {audio_s / wall_s:.0f} × real time"
    return f"{counted(n_chunks, 'chunk')} of {length(audio_s)} in {length(wall_s)}, {rates}"

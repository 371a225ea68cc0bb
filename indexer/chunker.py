"""How sound is cut into chunks: pure planning, and a stream of samples cut by that plan.

Windows start at 0, hop, 2·hop, ... The first is always kept, however short the sound. A later one
is kept only if the one before it did not reach the end, and more than `min_tail_s` is left from
where it starts. Only at the end of the sound may a window be shorter than `window_s`.

Settings are whole milliseconds, as the ids of chunks are. That makes the plan independent of the
sampling rate: the same sound has the same spans at 16 kHz and at 44.1 kHz.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.domain import TimeSpan, Waveform

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alm2vec_search.domain import Samples

SILENCE_PEAK = 10 ** (-60 / 20)  # −60 dBFS
DEFAULT_MIN_TAIL_S = 1.0
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Chunking:
    """How files are cut.

    Raises:
        ValueError: a setting makes no sense. The text says which, and what would.
    """

    window_s: float = 10.0
    hop_s: float = 10.0
    min_tail_s: float = DEFAULT_MIN_TAIL_S

    def __post_init__(self) -> None:
        for setting in ("window_s", "hop_s", "min_tail_s"):
            ms = _whole_ms(getattr(self, setting), setting)
            object.__setattr__(self, setting, ms / 1000)
        if self.window_s <= 0:
            raise ValueError(f"window_s must be more than 0, not {self.window_s}")
        if not 0 < self.hop_s <= self.window_s:
            raise ValueError(
                f"hop_s must be more than 0 and at most window_s ({self.window_s}), so that no "
                f"sound is left out, not {self.hop_s}"
            )
        if not 0 <= self.min_tail_s < self.window_s:
            raise ValueError(
                f"min_tail_s must be at least 0 and less than window_s ({self.window_s}), "
                f"not {self.min_tail_s}"
            )

    @property
    def name(self) -> str:
        """Window and hop, and the shortest tail if it isn't the usual one.

        Two chunkings have the same name exactly if they are equal.

        >>> Chunking(window_s=10, hop_s=2.5).name
        '10s/2.5s'
        """
        parts = [self.window_s, self.hop_s]
        if self.min_tail_s != DEFAULT_MIN_TAIL_S:
            parts.append(self.min_tail_s)
        return "/".join(f"{part!r}".removesuffix(".0") + "s" for part in parts)

    @classmethod
    def parse(cls, name: str) -> Chunking:
        """The chunking of this name.

        Raises:
            ValueError: there is none.

        >>> Chunking.parse("10s/2.5s")
        Chunking(window_s=10.0, hop_s=2.5, min_tail_s=1.0)
        """
        chunking = cls(*(float(part.removesuffix("s")) for part in name.split("/")[:3]))
        if chunking.name != name:
            raise ValueError(f"not the name of a chunking: {name}")
        return chunking

    def spans(self, duration_s: float) -> list[TimeSpan]:
        """The chunks of a sound of this length; none if it is 0.

        >>> Chunking().spans(21.5)
        [TimeSpan(start_s=0.0, end_s=10.0), TimeSpan(start_s=10.0, end_s=20.0), \
TimeSpan(start_s=20.0, end_s=21.5)]
        """
        return [self.span(index, duration_s) for index in range(self.estimate(duration_s))]

    def estimate(self, duration_s: float) -> int:
        """How many chunks a sound of this length has; an estimate as far as the length is one.

        Raises:
            ValueError: `duration_s` is negative or not finite.
        """
        duration_ns = duration_s * 1000 * _NS_PER_MS
        if not 0 <= duration_ns < math.inf:
            raise ValueError(f"not a duration: {duration_s}")
        if duration_s == 0:
            return 0
        # Rounded to whole nanoseconds, n samples never fall on the other side of a boundary of
        # whole milliseconds than they do in truth (up to 1 MHz and 20 days).
        overhang_ms = max(self.window_ms - self.hop_ms, self.min_tail_ms)
        rest_ns = round(duration_ns) - overhang_ms * _NS_PER_MS
        return 1 + max(0, (rest_ns - 1) // (self.hop_ms * _NS_PER_MS))

    @property
    def window_ms(self) -> int:
        return round(self.window_s * 1000)

    @property
    def hop_ms(self) -> int:
        return round(self.hop_s * 1000)

    @property
    def min_tail_ms(self) -> int:
        return round(self.min_tail_s * 1000)

    def span(self, index: int, duration_s: float) -> TimeSpan:
        """The chunk at this index, in a sound of this length."""
        start_ms = index * self.hop_ms
        return TimeSpan(start_ms / 1000, min((start_ms + self.window_ms) / 1000, duration_s))


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """A stretch of one file, with its sound. The unit that is embedded."""

    span: TimeSpan
    waveform: Waveform
    silent: bool  # nothing in it reaches `SILENCE_PEAK`


def cut(blocks: Iterable[Samples], sampling_rate: int, chunking: Chunking) -> Iterator[Chunk]:
    """Cut a stream of mono sound as `chunking.spans` of its whole length says.

    Never holds more than a window and the block at hand; the sound in the chunks is a copy.

    Args:
        blocks: consecutive stretches of the sound, of any lengths.
        sampling_rate: of the blocks, in Hz.

    Raises:
        ValueError: `sampling_rate` is not above 0.
    """
    if sampling_rate <= 0:
        raise ValueError(f"not a sampling rate: {sampling_rate}")
    return _cut(blocks, _Grid(chunking, sampling_rate))


def _cut(blocks: Iterable[Samples], grid: _Grid) -> Iterator[Chunk]:
    held = _Held(limit=grid.n_window + 2)  # from the start of the window that is being filled
    n_seen = 0
    index = 0
    for block in blocks:
        position = 0
        while position < len(block):
            wanted = grid.complete_at(index) - n_seen
            stretch = block[position : position + wanted]
            held.append(stretch)
            position += len(stretch)
            n_seen += len(stretch)
            if n_seen == grid.complete_at(index):
                yield grid.chunk(index, held, n_seen)
                held.drop(grid.start_at(index + 1) - grid.start_at(index))
                index += 1
    for last in range(index, grid.n_chunks(n_seen)):
        yield grid.chunk(last, held, n_seen)
        held.drop(grid.start_at(last + 1) - grid.start_at(last))


@dataclass(frozen=True, slots=True)
class _Grid:
    """A chunking in samples. Where a boundary falls between two samples, the earlier one counts."""

    chunking: Chunking
    sampling_rate: int  # Hz

    @property
    def n_window(self) -> int:
        return max(1, self.chunking.window_ms * self.sampling_rate // 1000)

    def start_at(self, index: int) -> int:
        return index * self.chunking.hop_ms * self.sampling_rate // 1000

    def complete_at(self, index: int) -> int:
        """How many samples a sound must have, for this window to be a whole one."""
        end_ms = index * self.chunking.hop_ms + self.chunking.window_ms
        return -(-end_ms * self.sampling_rate // 1000)

    def n_chunks(self, n_samples: int) -> int:
        return self.chunking.estimate(n_samples / self.sampling_rate)

    def chunk(self, index: int, held: _Held, n_seen: int) -> Chunk:
        samples = held.first(self.n_window)
        return Chunk(
            span=self.chunking.span(index, n_seen / self.sampling_rate),
            waveform=Waveform(samples, self.sampling_rate),
            silent=_peak(samples) < SILENCE_PEAK,
        )


class _Held:
    """The sound since the start of a window, in memory that grows with it up to a limit."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit  # samples; a boundary between two samples adds one at either end
        self._memory: Samples = np.empty(0, dtype=np.float32)
        self._n = 0

    def append(self, samples: Samples) -> None:
        n = self._n + len(samples)
        if n > len(self._memory):
            grown = np.empty(min(max(n, 2 * len(self._memory)), self._limit), dtype=np.float32)
            grown[: self._n] = self._memory[: self._n]
            self._memory = grown
        self._memory[self._n : n] = samples
        self._n = n

    def first(self, n: int) -> Samples:
        return self._memory[: min(n, self._n)].copy()

    def drop(self, n: int) -> None:
        kept = self._memory[n : self._n]
        self._memory[: len(kept)] = kept  # numpy minds the overlap
        self._n = len(kept)


def _peak(samples: Samples) -> float:
    return max(float(samples.max()), -float(samples.min()))


def _whole_ms(seconds: float, setting: str) -> int:
    if not math.isfinite(seconds * 1000):
        raise ValueError(f"{setting} must be a number of seconds, not {seconds}")
    ms = round(seconds * 1000)
    if abs(seconds * 1000 - ms) > 1e-6:
        raise ValueError(f"{setting} must be whole milliseconds, not {seconds}")
    return ms

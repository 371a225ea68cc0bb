"""Tones as files, and a set of them that `FakeEncoder` can tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

from alm2vec_search.testing import NOTES_HZ, tone

if TYPE_CHECKING:
    from pathlib import Path

RATE = 16_000


def write_tone(path: Path, note: str, duration_s: float = 1.0, *, peak: float = 0.5) -> Path:
    """A file with one of the tones low, middle and high."""
    return write_tones(path, [note], duration_s, peak=peak)


def write_tones(
    path: Path, notes: list[str], duration_s: float = 1.0, *, peak: float = 0.5
) -> Path:
    """One tone after the other, each so long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = [tone(NOTES_HZ[note], duration_s, RATE, peak=peak) for note in notes]
    soundfile.write(path, np.concatenate(samples), RATE)
    return path

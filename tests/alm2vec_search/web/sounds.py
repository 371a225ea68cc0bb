"""A library of real sounds: short and long, mono and stereo, and one with a hostile name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HOSTILE = "<img src=x onerror=alert(1)> & \n\u202egnp.wav"
LONG_S = 600.0
RATE = 16_000


def bursts(
    duration_s: float, pitch_hz: float, rate: int = RATE, every_s: float = 1.3
) -> NDArray[np.float32]:
    """Calls that swell and fade over a little noise, `every_s`, in mono."""
    time_s = np.arange(round(duration_s * rate)) / rate
    phase = (time_s % every_s) / every_s
    swell = np.exp(-8 * phase) * (1 - np.exp(-60 * phase))
    glide = pitch_hz * (1 + 0.3 * np.exp(-6 * phase))
    tone = sum(np.sin(2 * np.pi * k * np.cumsum(glide) / rate) / k for k in (1, 2, 3, 5))
    noise = np.random.default_rng(round(pitch_hz)).standard_normal(len(time_s))
    return (0.3 * swell * tone + 0.008 * noise).astype(np.float32)


def fill(library: Path) -> None:
    """Writes them."""
    for folder in ("animals", "field", "voices"):
        (library / folder).mkdir(parents=True)
    _write(library / "animals" / "dog_barking_farm.wav", bursts(6.0, 420))
    _write(library / "animals" / "owl_night.wav", bursts(9.0, 350, every_s=3))
    stereo = np.stack([bursts(14.0, 180), bursts(14.0, 181)], axis=1)
    _write(library / "field" / "rain on a tin roof.wav", stereo)
    _write(library / "field" / "walk_home_long.wav", bursts(LONG_S, 240, every_s=7))
    _write(library / "voices" / "woman_speaking.wav", bursts(4.5, 210, 22_050, 0.4), 22_050)
    for i in range(8):
        _write(library / "voices" / f"note_{i}.wav", bursts(3.0 + i, 150 + 20 * i, every_s=0.7))
    _write(library / HOSTILE, bursts(5.0, 900))


def _write(path: Path, data: NDArray[np.float32], rate: int = RATE) -> None:
    with path.open("wb") as file:
        soundfile.write(file, data, rate, format="WAV", subtype="PCM_16")

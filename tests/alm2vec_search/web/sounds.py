"""A library of real sounds: short and long, mono and stereo, copied, and one with a hostile name;
and an encoder that knows some of them by name."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from alm2vec_search.domain import Label, Waveform
from alm2vec_search.testing import FakeEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

HOSTILE = "<img src=x onerror=alert(1)> & \n\u202egnp.wav"
LONG_S = 600.0
HOME_S = 300.0  # where in the long one something else is heard
RATE = 16_000
# A word stands for the pitch of what it names; words that aren't here are found in names alone.
DOG_HZ, OWL_HZ, HOME_HZ = 900.0, 350.0, 2400.0
WORDS_HZ = {"dog": DOG_HZ, "owl": OWL_HZ, "night": OWL_HZ, "wind": OWL_HZ, "home": HOME_HZ}


@dataclass(frozen=True, slots=True)
class NamingEncoder(FakeEncoder):
    """Knows the words of this library, and names what it hears by them. See `Labeller`."""

    notes_hz: Mapping[str, float] = field(default_factory=lambda: WORDS_HZ, hash=False)

    def labels(self, audio: Sequence[Waveform], most: int) -> list[tuple[Label, ...]]:
        names = list(self.notes_hz)
        near = self.encode_document(audio=audio) @ self.encode_query(text=names).T  # [n, names]
        return [
            tuple(
                Label(names[i].capitalize(), float(np.clip(row[i], 0, 1)))
                for i in np.argsort(-row, kind="stable")[:most]
            )
            for row in near
        ]


def bursts(
    duration_s: float, pitch_hz: float, rate: int = RATE, every_s: float = 1.3
) -> NDArray[np.float32]:
    """Calls that swell and fade over a little noise, `every_s`, in mono."""
    time_s = np.arange(round(duration_s * rate)) / rate
    phase = (time_s % every_s) / every_s
    swell = np.exp(-8 * phase) * (1 - np.exp(-60 * phase))
    turns = np.cumsum(pitch_hz * (1 + 0.02 * np.exp(-6 * phase))) / rate
    call = sum(np.sin(2 * np.pi * k * turns) / k**2 for k in (1, 2, 3))
    noise = np.random.default_rng(round(pitch_hz)).standard_normal(len(time_s))
    return (0.3 * swell * call + 0.003 * noise).astype(np.float32)


def fill(library: Path) -> None:
    """Writes them."""
    for folder in ("animals", "backup", "field", "voices"):
        (library / folder).mkdir(parents=True)
    dog = library / "animals" / "dog_barking_farm.wav"
    write(dog, bursts(6.0, DOG_HZ))
    shutil.copy(dog, library / "backup" / "farm.wav")
    (library / "alm2vec-notes.csv").write_text("path,tags\nanimals/dog_barking_farm.wav,farm\n")
    write(library / "animals" / "owl_night.wav", bursts(9.0, OWL_HZ, every_s=3))
    stereo = np.stack([bursts(14.0, 180), bursts(14.0, 181)], axis=1)
    write(library / "field" / "rain on a tin roof.wav", stereo)
    walk = np.resize(bursts(7.0, 240, every_s=7), round(LONG_S * RATE))  # again and again
    home = bursts(10.0, HOME_HZ)
    start = round(HOME_S * RATE)
    walk[start : start + len(home)] = home
    write(library / "field" / "walk_home_long.wav", walk)
    write(library / "voices" / "woman_speaking.wav", bursts(2.5, 210, 22_050, 0.4), 22_050)
    for i in range(8):
        pitch_hz = 100 * 1.5**i
        write(library / "voices" / f"note_{i}.wav", bursts(3.0 + i, pitch_hz, every_s=0.7))
    write(library / HOSTILE, bursts(5.0, 1300))


def write(path: Path, data: NDArray[np.float32], rate: int = RATE) -> None:
    with path.open("wb") as file:
        soundfile.write(file, data, rate, format="WAV", subtype="PCM_16")

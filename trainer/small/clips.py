"""Clips of training material: one sound file each, and a line that says what is heard in it.

Every clip is written as 16 kHz mono flac, 16 bits a sample, at most 10 s. A source's lines are
kept in a file of its own, so that one source can be made anew while the others stay.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import soxr

from trainer.whole import whole_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Waveform = NDArray[np.float32]  # [samples] at 16 kHz

RATE_HZ = 16_000
LONGEST_S = 10.0
SHORTEST_S = 0.04
SILENT_DB = -50.0  # a clip whose largest sample is below this is left out
FADE_S = 0.05  # where a long sound is cut
READ_S = 40.0  # of a file: some start with half a minute of nothing
QUIET = 10 ** (-55 / 20)  # of the loudest moment
MARGIN_S = 0.05


@dataclass(frozen=True)
class Description:
    """What is known about a clip, apart from its sound."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    licence: str
    package: str
    kind: str = "sound"  # or speech, or music
    speaker: str | None = None
    gender: str | None = None
    transcript: str | None = None


class Source:
    """The clips of one source: a folder below `clips/` and a file of lines below `lines/`."""

    def __init__(self, out: Path, name: str) -> None:
        self.name = name
        self._out = out
        self._seen: set[bytes] = set()
        self._lines: list[str] = []
        self._paths: set[Path] = set()

    def add(self, stem: str, waveform: Waveform, description: Description) -> bool:
        """Write a clip. Not a silent one, one too short to be heard, or one that is there already.

        `waveform` is [samples] at 16 kHz. Returns whether it was written.
        """
        waveform = cut(waveform)
        loudest = float(np.abs(waveform).max(initial=0.0))
        if loudest < 10 ** (SILENT_DB / 20) or waveform.size < SHORTEST_S * RATE_HZ:
            return False
        pcm = np.round(waveform / max(loudest, 1.0) * 32767).astype(np.int16)
        digest = hashlib.blake2b(pcm.tobytes()).digest()
        if digest in self._seen:
            return False
        self._seen.add(digest)
        path = self._out / "clips" / self.name / f"{stem}.flac"
        if path in self._paths:
            path = path.with_name(f"{path.stem}-{digest.hex()[:6]}.flac")
        self._paths.add(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, pcm, RATE_HZ, subtype="PCM_16")
        told = {name: value for name, value in asdict(description).items() if value is not None}
        line = {"path": path.relative_to(self._out).as_posix(), "source": self.name, **told}
        self._lines.append(json.dumps(line, ensure_ascii=False))
        return True

    def close(self) -> int:
        """Put the source's lines down, and all sources' together into `clips.jsonl`.

        Files of an earlier run that have no line any more go. Returns the number of clips.
        """
        for path in (self._out / "clips" / self.name).rglob("*.flac"):
            if path not in self._paths:
                path.unlink()
        folder = self._out / "lines"
        folder.mkdir(parents=True, exist_ok=True)
        replace(folder / f"{self.name}.jsonl", "".join(f"{line}\n" for line in self._lines))
        together = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.jsonl"))]
        replace(self._out / "clips.jsonl", "".join(together))
        return len(self._lines)


def read_sound(path: Path) -> Waveform:
    """A sound file as 16 kHz mono, [samples]: what a clip takes of it, without the quiet ends."""
    with soundfile.SoundFile(path) as file:
        rate_hz = file.samplerate
        samples = file.read(round(READ_S * rate_hz), dtype="float32", always_2d=True)
    return trim(resample(samples.mean(axis=1), rate_hz))


def trim(waveform: Waveform) -> Waveform:
    """Without what is far quieter than the loudest moment, before the first and after the last."""
    (heard,) = np.nonzero(np.abs(waveform) > np.abs(waveform).max(initial=0.0) * QUIET)
    if not heard.size:
        return waveform
    margin = round(MARGIN_S * RATE_HZ)
    return waveform[max(0, heard[0] - margin) : heard[-1] + margin]


def resample(waveform: Waveform, rate_hz: float) -> Waveform:
    """A mono signal brought to 16 kHz, [samples]."""
    if rate_hz == RATE_HZ:
        return waveform
    resampled: Waveform = soxr.resample(waveform, rate_hz, RATE_HZ).astype(np.float32)
    return resampled


def cut(waveform: Waveform) -> Waveform:
    """At most 10 s of it, with a short fade where it was cut."""
    longest = round(LONGEST_S * RATE_HZ)
    if waveform.size <= longest:
        return waveform
    kept = waveform[:longest].copy()
    fade = round(FADE_S * RATE_HZ)
    kept[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return kept


def replace(path: Path, text: str) -> None:
    """Write a file in one step: a reader finds the old one or the new one, whole."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """A file of JSON lines, a dict each."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

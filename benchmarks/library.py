"""Make a library to measure with, out of `samples/`: real sound, cut, mixed and encoded anew.

    python benchmarks/library.py FOLDER --minutes 180

Of the files 40 % last 1 to 10 s, 20 % 10 to 60 s, and the others, which have most of the minutes,
1 to 10 min; one lasts 31 min (or a fifth of everything, in a library too small for that). Formats
go round within each length: wav (16 bits), flac, mp3, ogg vorbis, opus and m4a, stereo and mono,
as such files are found in the wild.

The same minutes, seed and versions of the codecs make the same files every time, to the byte; but
for ogg vorbis, where libsndfile draws a serial number. No two files have the same bytes.

As a module: `make_library` and what it is made of, `Material`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from results import MB, cores, print_table

from alm2vec_search.audio import AUDIO_SUFFIXES, decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from alm2vec_search.domain import Samples

    Frames = NDArray[np.float32]  # [n, channels]

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
SHORT_S, MIDDLE_S, LONG_S = (1.0, 10.0), (10.0, 60.0), (60.0, 600.0)
LONGEST_S = 31 * 60.0
LONGEST_SHARE = 0.2  # of the whole library, where that is less
_MIDDLE_A_SHORT, _LONG_A_SHORT = 0.5, 1.0  # how many files of those lengths for each short one
_PATCH_S = (2.0, 20.0)  # of one clip, before the next comes
_BLOCK_S = 10


@dataclass(frozen=True, slots=True)
class Format:
    """One way to write sound into a file."""

    name: str
    suffix: str
    codec: str
    sampling_rate: int  # Hz
    channels: int
    bit_rate: int | None = None  # bit/s, for FFmpeg's codecs; the others are libsndfile's


# Stereo and mono take turns; within each, all formats are equally frequent.
FORMATS = (
    Format("wav", ".wav", "PCM_16", 44_100, 2),
    Format("mp3", ".mp3", "libmp3lame", 44_100, 2, 192_000),
    Format("flac", ".flac", "PCM_16", 44_100, 2),
    Format("opus", ".opus", "libopus", 48_000, 2, 96_000),
    Format("ogg", ".ogg", "VORBIS", 44_100, 2),
    Format("m4a", ".m4a", "aac", 44_100, 2, 128_000),
    Format("wav", ".wav", "PCM_16", 48_000, 1),
    Format("mp3", ".mp3", "libmp3lame", 44_100, 1, 64_000),
    Format("flac", ".flac", "PCM_16", 48_000, 1),
    Format("opus", ".opus", "libopus", 48_000, 1, 32_000),
    Format("ogg", ".ogg", "VORBIS", 44_100, 1),
    Format("m4a", ".m4a", "aac", 48_000, 1, 64_000),
)
# The longest is an mp3, as such recordings often are; small libraries have all formats, too.
_FIRST_FORMAT = {"talks": 1, "recordings": 0, "effects": 4, "notes": 9}


class Material:
    """All clips of a folder, decoded once for each sampling rate that is asked for."""

    def __init__(self, folder: Path = SAMPLES) -> None:
        self._paths = sorted(p for p in folder.rglob("*") if p.suffix in AUDIO_SUFFIXES)
        if not self._paths:
            raise SystemExit(f"no sound in {folder}")
        self._clips: dict[int, list[Samples]] = {}

    def clips(self, sampling_rate: int) -> list[Samples]:
        if sampling_rate not in self._clips:
            clips = [decode(path, sampling_rate).samples for path in self._paths]
            self._clips[sampling_rate] = [clip for clip in clips if len(clip)]
        return self._clips[sampling_rate]

    def mono(self, seed: Sequence[int], sampling_rate: int) -> Iterator[Samples]:
        """Endless sound, in patches of 2 to 20 s: one clip over another, looped, off its start."""
        rng = np.random.default_rng(seed)
        clips = self.clips(sampling_rate)
        while True:
            n = int(rng.uniform(*_PATCH_S) * sampling_rate)
            patch = np.zeros(n, np.float32)
            for loudest_db in (-3.0, -12.0):
                clip = clips[rng.integers(len(clips))]
                gain = 10 ** ((loudest_db - rng.uniform(0, 9)) / 20)
                start = rng.integers(len(clip))
                looped = np.take(clip, np.arange(start, start + n), mode="wrap")
                patch += np.float32(gain) * looped
            yield np.clip(patch, -1, 1)

    def sound(
        self, seed: Sequence[int], duration_s: float, sampling_rate: int, channels: int = 1
    ) -> Iterator[Frames]:
        """Sound of this length in blocks of 10 s; every further channel is a different one."""
        sources = [
            _rebuffered(self.mono([*seed, channel], sampling_rate), _BLOCK_S * sampling_rate)
            for channel in range(channels)
        ]
        n_left = max(1, round(duration_s * sampling_rate))
        while n_left:
            first, *others = (next(source) for source in sources)
            # not quite as wide as two sounds side by side, which no encoder is made for
            mixed = [first, *(0.7 * first + 0.3 * other for other in others)]
            block = np.stack(mixed, axis=1)[:n_left]
            n_left -= len(block)
            yield block


def _rebuffered(patches: Iterator[Samples], n: int) -> Iterator[Samples]:
    held = np.empty(0, np.float32)
    while True:
        while len(held) < n:
            held = np.concatenate([held, next(patches)])
        yield held[:n]
        held = held[n:]


def write_sound(path: Path, blocks: Iterator[Frames], form: Format) -> None:
    """Encode blocks into a file as they come: memory stays flat."""
    if form.bit_rate is None:
        _write_with_soundfile(path, blocks, form)
    else:
        _write_with_av(path, blocks, form)


def _write_with_soundfile(path: Path, blocks: Iterator[Frames], form: Format) -> None:
    import soundfile

    container = form.suffix.removeprefix(".").upper()
    with soundfile.SoundFile(
        path, "w", form.sampling_rate, form.channels, subtype=form.codec, format=container
    ) as file:
        for block in blocks:
            # libsndfile's Vorbis encoder overflows the stack when given a minute at once
            for start in range(0, len(block), form.sampling_rate):
                file.write(block[start : start + form.sampling_rate])


def _write_with_av(path: Path, blocks: Iterator[Frames], form: Format) -> None:
    import av

    layout = "stereo" if form.channels == 2 else "mono"
    container: Any
    with av.open(os.fspath(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(form.codec, rate=form.sampling_rate, layout=layout)
        stream.bit_rate = form.bit_rate
        n_written = 0
        for block in blocks:
            interleaved = np.ascontiguousarray(block).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
            frame.sample_rate = form.sampling_rate
            frame.pts = n_written
            n_written += len(block)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file of a library."""

    name: str  # below the library, with `/`
    duration_s: float
    form: Format


def plan_library(minutes: float, seed: int = 0) -> list[PlannedFile]:
    """Which files a library of so many minutes has."""
    rng = np.random.default_rng(seed)
    whole_s = minutes * 60
    longest_s = min(LONGEST_S, LONGEST_SHARE * whole_s)
    durations = {"talks": [longest_s], "recordings": [], "notes": [], "effects": []}
    left_s = whole_s - longest_s
    while left_s > 0:
        # As many short ones as all others together are two thirds of: that is 40 %.
        n = {name: len(of_name) for name, of_name in durations.items()}
        if n["effects"] * _LONG_A_SHORT <= n["recordings"]:
            name, (low, high) = "effects", SHORT_S
        elif n["notes"] < n["effects"] * _MIDDLE_A_SHORT:
            name, (low, high) = "notes", MIDDLE_S
        else:
            name, (low, high) = "recordings", LONG_S
        duration_s = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        if duration_s > left_s:  # the last one takes what is left
            duration_s = max(left_s, SHORT_S[0])
        durations[name].append(duration_s)
        left_s -= duration_s
    planned = []
    for name, of_name in durations.items():
        for i, duration_s in enumerate(of_name):
            form = FORMATS[(_FIRST_FORMAT[name] + i) % len(FORMATS)]
            planned.append(PlannedFile(f"{name}/{i:04}{form.suffix}", duration_s, form))
    return planned


def make_library(folder: Path, minutes: float, seed: int = 0) -> list[PlannedFile]:
    """Write it, with all cores; what is there already under the same names is written again."""
    planned = plan_library(minutes, seed)
    longest_first = sorted(enumerate(planned), key=lambda item: -item[1].duration_s)
    with ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn")) as pool:
        for written in [pool.submit(_write, folder, file, [seed, i]) for i, file in longest_first]:
            written.result()
    return planned


def _write(folder: Path, file: PlannedFile, seed: Sequence[int]) -> None:
    path = folder / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    form = file.form
    sound = _material().sound(seed, file.duration_s, form.sampling_rate, form.channels)
    write_sound(path, sound, form)


@cache
def _material() -> Material:
    return Material()


def print_library(folder: Path, planned: Sequence[PlannedFile]) -> None:
    rows = []
    for name in dict.fromkeys(file.form.name for file in planned):
        files = [file for file in planned if file.form.name == name]
        minutes = sum(file.duration_s for file in files) / 60
        n_bytes = sum((folder / file.name).stat().st_size for file in files)
        rows.append((name, len(files), f"{minutes:.1f}", f"{n_bytes / MB:.1f}"))
    minutes = sum(file.duration_s for file in planned) / 60
    n_bytes = sum((folder / file.name).stat().st_size for file in planned)
    rows.append(("all", len(planned), f"{minutes:.1f}", f"{n_bytes / MB:.1f}"))
    print_table(f"library in {folder}", ("format", "files", "minutes", "MB"), rows)
    kinds = Counter(file.name.partition("/")[0] for file in planned)
    of_kind = {
        kind: sum(f.duration_s for f in planned if f.name.startswith(kind)) for kind in kinds
    }
    print_table(
        "lengths",
        ("folder", "files", "of all", "minutes"),
        [
            (kind, n, f"{n / len(planned):.0%}", f"{of_kind[kind] / 60:.1f}")
            for kind, n in kinds.items()
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the library is made")
    parser.add_argument("--minutes", type=float, default=180.0, help="in all [180]")
    parser.add_argument("--seed", type=int, default=0, help="another one, another library [0]")
    args = parser.parse_args()
    planned = make_library(args.folder, args.minutes, args.seed)
    print_library(args.folder, planned)


if __name__ == "__main__":
    main()

"""How well words find sounds, on two sets of real recordings that the small model never saw.

    python benchmarks/quality.py --esc10 ESC-10 --gcompris SOUNDS --labels named_sounds.csv

Either set may be left out. Sounds go the way of an indexed file (decoded, cut into windows of
10 s, embedded, judged by their best window) and words that of a query.

**ESC-10**: 400 clips of 5 s in ten classes and five folds. `--folds 5` takes the one that nothing
is trained on. It is the public dataset of K. J. Piczak ("ESC: Dataset for Environmental Sound
Classification", 2015) in its first layout, a folder for each class. `001 - Dog bark/1-100032-A.ogg`
is fold 1, source recording 100032, take A. The class names, in small letters, are the queries.

- zero-shot accuracy: how often a clip is nearest to its own class's name, of ten
- text → audio P@10: how many of the first ten of all clips are of the class asked for

**Named sounds**: instruments, animals and everyday sounds of the children's program GCompris.
They are in the Debian package `gcompris-qt-data` (`apt-get download`, then `dpkg -x`), inside Qt
resource bundles (`*.rcc`) that have to be unpacked. A CSV file names them: columns `label`, a
plain name such as "snare drum", and `path`, relative to the folder of the unpacked sounds.

- top-1, top-5: how often a sound's own name is the nearest of all names, or among the nearest five
- text → audio R@1: how often the nearest of all sounds is one of that name

Intervals are bootstrapped, 95 %, with a fixed seed. What is drawn anew is what was drawn in the
first place: source recordings for a figure over clips, names for a figure over queries.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from alm2vec_search.audio import decode
from alm2vec_search.errors import Alm2VecError
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hardware import preferred_dtype
from alm2vec_search.model.hub import BUNDLED, find_model
from indexer.chunker import Chunking, cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from alm2vec_search.domain import Encoder, Waveform

CHUNKS_AT_A_TIME = 64
RESAMPLES = 10_000
SEED = 0


@dataclass(frozen=True, slots=True)
class Sound:
    """One file, and what is known about it."""

    path: Path
    label: str
    recording: str  # what it was cut from


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean with its 95 % interval."""

    dataset: str
    measure: str
    value: float
    low: float
    high: float
    n: int
    of: str  # what n counts


@dataclass(slots=True)
class Clock:
    """Where the time went, in seconds."""

    audio_s: float = 0.0  # how much sound there was
    decode_s: float = 0.0
    embed_s: float = 0.0


def main() -> None:
    args = parse_args()
    dtype = preferred_dtype(args.device) if args.dtype == "auto" else args.dtype
    torch.set_num_threads(args.threads)
    clock = Clock()
    try:
        encoder = ALM2VecEncoder(find_model(args.model), dtype=dtype, device=args.device)
        figures = []
        if args.esc10:
            figures += measure_esc10(read_esc10(args.esc10, args.folds), encoder, clock)
        if args.gcompris:
            figures += measure_named(read_named(args.gcompris, args.labels), encoder, clock)
    except (Alm2VecError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    if args.json:
        run = {"model": args.model, "dtype": dtype, "device": args.device, **asdict(clock)}
        print(json.dumps({**run, "figures": [asdict(figure) for figure in figures]}, indent=1))
    else:
        print(f"{args.model}, {dtype} on {args.device}\n\n{table(figures)}\n\n{seconds(clock)}")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--esc10", type=Path, metavar="DIR")
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2, 3, 4, 5], metavar="N")
    parser.add_argument("--gcompris", type=Path, metavar="DIR")
    parser.add_argument("--labels", type=Path, metavar="CSV", help="names of the sounds in there")
    parser.add_argument("--model", default=BUNDLED, help="a name, or a folder")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="more wait for each other (1)")
    parser.add_argument("--json", action="store_true", help="for machines")
    args = parser.parse_args()
    if not (args.esc10 or args.gcompris):
        parser.error("give --esc10, --gcompris, or both")
    if bool(args.gcompris) != bool(args.labels):
        parser.error("--gcompris and --labels go together")
    return args


def read_esc10(folder: Path, folds: Sequence[int]) -> list[Sound]:
    """The clips of a folder of class folders, those of some folds.

    Raises:
        ValueError: it isn't laid out so.
    """
    sounds = []
    for path in sorted(folder.glob("*/*.ogg")):
        label = re.fullmatch(r"\d+ - (.+)", path.parent.name)
        clip = re.fullmatch(r"(\d)-(.+)-[A-Z]\d*", path.stem)
        if label is None or clip is None:
            raise ValueError(f"{path} isn't named as ESC-10's clips are")
        if int(clip[1]) in folds:
            sounds.append(Sound(path, label[1].lower(), clip[2]))
    if not sounds:
        raise ValueError(f"{folder} holds no clips of ESC-10: it should have 001 - Dog bark/*.ogg")
    return sounds


def read_named(folder: Path, labels: Path) -> list[Sound]:
    """The sounds that a table names."""
    with labels.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [Sound(folder / row["path"], row["label"], row["path"]) for row in rows]


def measure_esc10(sounds: Sequence[Sound], encoder: Encoder, clock: Clock) -> list[Figure]:
    """Zero-shot accuracy, and the precision of the first ten answers."""
    labels, scores, truth = score(sounds, encoder, clock)
    right = scores.argmax(axis=0) == truth  # [F]
    first_ten = np.argsort(-scores, axis=1, kind="stable")[:, :10]  # [L, 10]
    precision = (truth[first_ten] == np.arange(len(labels))[:, None]).mean(axis=1)  # [L]
    return [
        figure("ESC-10", "zero-shot accuracy", right, "clips", [s.recording for s in sounds]),
        figure("ESC-10", "text → audio P@10", precision, "queries", labels),
    ]


def measure_named(sounds: Sequence[Sound], encoder: Encoder, clock: Clock) -> list[Figure]:
    """How high each sound ranks its own name, and whether each name finds a sound of its own."""
    labels, scores, truth = score(sounds, encoder, clock)
    own = np.take_along_axis(scores, truth[None, :], axis=0)  # [1, F]
    rank = (scores > own).sum(axis=0)  # [F], 0 is best
    found = truth[scores.argmax(axis=1)] == np.arange(len(labels))  # [L]
    recordings = [sound.recording for sound in sounds]
    return [
        figure("named sounds", "audio → text top-1", rank < 1, "sounds", recordings),
        figure("named sounds", "audio → text top-5", rank < 5, "sounds", recordings),
        figure("named sounds", "text → audio R@1", found, "queries", labels),
    ]


def score(
    sounds: Sequence[Sound], encoder: Encoder, clock: Clock
) -> tuple[list[str], NDArray[np.float32], NDArray[np.int64]]:
    """The distinct labels, how near each sound is to each [L, F], and whose label is which [F]."""
    labels = sorted({sound.label for sound in sounds})
    queries = encoder.encode_query(text=labels)  # [L, dim]
    scores = np.full((len(labels), len(sounds)), -np.inf, dtype=np.float32)
    held: list[tuple[int, Waveform]] = []
    for row, chunk in chunks(sounds, encoder.sampling_rate, clock):
        held.append((row, chunk))
        if len(held) == CHUNKS_AT_A_TIME:
            keep_best(scores, queries, held, encoder, clock)
            held.clear()
    if held:
        keep_best(scores, queries, held, encoder, clock)
    return labels, scores, np.array([labels.index(sound.label) for sound in sounds])


def chunks(
    sounds: Sequence[Sound], sampling_rate: int, clock: Clock
) -> Iterator[tuple[int, Waveform]]:
    """Each sound's windows, with the sound's number."""
    for row, sound in enumerate(sounds):
        started = time.perf_counter()
        waveform = decode(sound.path, sampling_rate)
        windows = [chunk.waveform for chunk in cut([waveform.samples], sampling_rate, Chunking())]
        clock.decode_s += time.perf_counter() - started
        clock.audio_s += waveform.duration_s
        for window in windows:
            yield row, window


def keep_best(
    scores: NDArray[np.float32],
    queries: NDArray[np.float32],
    held: Sequence[tuple[int, Waveform]],
    encoder: Encoder,
    clock: Clock,
) -> None:
    """Embed windows, and raise the scores of the sounds they are of. Writes to `scores`."""
    started = time.perf_counter()
    embeddings = encoder.encode_document(audio=[window for _, window in held])  # [n, dim]
    clock.embed_s += time.perf_counter() - started
    for (row, _), embedding in zip(held, embeddings, strict=True):
        scores[:, row] = np.maximum(scores[:, row], queries @ embedding)


def figure(
    dataset: str,
    measure: str,
    values: NDArray[np.bool_] | NDArray[np.float64],
    of: str,
    groups: Sequence[str],
) -> Figure:
    """The mean of `values`, with an interval from drawing whole groups of them anew."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.bincount(group, weights=values)  # [G]
    sizes = np.bincount(group)
    drawn = np.random.default_rng(SEED).integers(len(sizes), size=(RESAMPLES, len(sizes)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Figure(
        dataset, measure, float(np.mean(values)), float(low), float(high), len(values), of
    )


def table(figures: Sequence[Figure]) -> str:
    rows = [
        (f.dataset, f.measure, f"{f.value:.3f}", f"{f.low:.2f}–{f.high:.2f}", f"{f.n} {f.of}")
        for f in figures
    ]
    rows.insert(0, ("", "", "mean", "95 % interval", "over"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def seconds(clock: Clock) -> str:
    return (
        f"{clock.audio_s:.0f} s of sound: "
        f"{clock.decode_s:.1f} s to decode, {clock.embed_s:.1f} s to embed"
    )


if __name__ == "__main__":
    main()

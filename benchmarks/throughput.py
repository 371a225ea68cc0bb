"""How near indexing comes to what decoding and encoding cost anyway, and how far from a naive loop.

    python benchmarks/throughput.py --minutes 180 --rounds 5 --work DIR --json FILE

Each round runs, one after the other and in a turning order:

    start-up    `alm2vec index` on a few files of 0.2 s for each worker, into a fresh store; what
                its stages take is not counted
    index       `alm2vec index` on a library (`library.py`), into a fresh store
    parts       decoding and encoding the same alone, in one process (`parts.py`)
    parts, busy the same in as many processes at once as there are workers: what the cores take
                from each other by sharing caches and clock
    naive       file by file and chunk by chunk (`naive.py`)

Wall seconds are those until the command ends; CPU seconds are user and system of all its processes.
Absolute numbers hold for one machine; the ratios at the end are taken within each round, and what
is shown is their median and range.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from library import Format, Material, write_sound
from parts import audio_files
from processes import ALM2VEC, run, run_together
from results import (
    cores,
    median_and_range,
    parser,
    print_table,
    warn_if_busy,
    work_folder,
    write_json,
)

from indexer.pipeline import UNIT_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HERE = Path(__file__).resolve().parent
SHORT_S = 0.2
AIMS = {"CPU / parts": "<= 1.10", "bound / wall": ">= 0.85"}


@dataclass(frozen=True, slots=True)
class Indexed:
    """What one `alm2vec index` came to."""

    wall_s: float
    cpu_s: float
    lingered_s: float
    stages: dict[str, float]  # CPU seconds, as its own report says
    chunks: int
    audio_s: float

    def without_stages(self, n_cores: int) -> Indexed:
        """As if there had been nothing to index."""
        work_s = sum(self.stages.values())
        return replace(
            self,
            wall_s=self.wall_s - work_s / n_cores,
            cpu_s=self.cpu_s - work_s,
            stages=dict.fromkeys(self.stages, 0.0),
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """What decoding and encoding cost alone, in CPU seconds."""

    start_s: float
    decode_s: float
    encode_s: float
    chunks: int

    @property
    def work_s(self) -> float:
        return self.decode_s + self.encode_s


@dataclass(frozen=True, slots=True)
class Naive:
    """What the naive loop took, by the clock."""

    wall_s: float
    work_s: float  # without starting
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """One of each."""

    start_up: Indexed
    index: Indexed
    parts: Parts
    busy: Parts
    naive: Naive | None = None

    def ratios(self, n_cores: int) -> dict[str, float]:
        """What the README explains, by their names there."""
        cpu_s = self.index.cpu_s - self.start_up.cpu_s
        wall_s = self.index.wall_s - self.start_up.wall_s
        found = {
            "CPU / parts": cpu_s / self.parts.work_s,
            "CPU / parts, busy": cpu_s / self.busy.work_s,
            "CPU / parts, with start-up": self.index.cpu_s / self.parts.work_s,
            "bound / wall": self.parts.work_s / n_cores / wall_s,
            "bound / wall, busy": self.busy.work_s / n_cores / wall_s,
            "bound / wall, with start-up": self.parts.work_s / n_cores / self.index.wall_s,
        }
        if self.naive is not None:
            found["naive / index"] = self.naive.work_s / wall_s
            found["naive / index, with start-up"] = self.naive.wall_s / self.index.wall_s
        return found


class Bench:
    """Runs the contenders on one library.

    Args:
        library: a folder of audio.
        work: where stores go, and what the commands need.
    """

    def __init__(self, library: Path, work: Path, workers: int) -> None:
        self.library = library
        self.workers = workers
        self._work = work
        self._short = work / "short"
        self._variables = own_settings(work)

    def prepare(self) -> None:
        """Make the short files, and have the library in the page cache."""
        material = Material()
        form = Format("wav", ".wav", "PCM_16", 44_100, 1)
        self._short.mkdir(exist_ok=True)
        for i in range(self.workers * UNIT_FILES[0]):  # fewer wouldn't need all workers
            write_sound(self._short / f"{i}.wav", material.sound([i], SHORT_S, 44_100), form)
        for path in audio_files(self.library):
            with path.open("rb") as file:
                while file.read(1 << 24):
                    pass

    def start_up(self) -> Indexed:
        return self._index(self._short).without_stages(min(self.workers, cores()))

    def index(self) -> Indexed:
        return self._index(self.library)

    def parts(self) -> Parts:
        [parts] = self._parts(1)
        return parts

    def busy(self) -> Parts:
        """The mean of all."""
        together = self._parts(self.workers)
        return Parts(
            start_s=statistics.mean(parts.start_s for parts in together),
            decode_s=statistics.mean(parts.decode_s for parts in together),
            encode_s=statistics.mean(parts.encode_s for parts in together),
            chunks=together[0].chunks,
        )

    def naive(self) -> Naive:
        store = self._fresh_store()
        command: list[str | Path] = [sys.executable, HERE / "naive.py", self.library, store]
        finished = run(command, variables=self._variables)
        return Naive(finished.wall_s, json.loads(finished.stdout)["work_s"], finished.cpu_s)

    def _index(self, folder: Path) -> Indexed:
        store = self._fresh_store()
        options = ["--store", str(store), "--workers", str(self.workers), "--json"]
        finished = run([ALM2VEC, "index", folder, *options], variables=self._variables)
        report = json.loads(finished.stdout)
        return Indexed(
            wall_s=finished.wall_s,
            cpu_s=finished.cpu_s,
            lingered_s=finished.lingered_s,
            stages={**report["seconds"], "upsert": report["upsert_s"]},
            chunks=report["chunks"],
            audio_s=report["audio_s"],
        )

    def _parts(self, n_processes: int) -> list[Parts]:
        command: list[str | Path] = [sys.executable, HERE / "parts.py", self.library]
        results = []
        for finished in run_together([command] * n_processes, variables=self._variables):
            report = json.loads(finished.stdout)
            results.append(
                Parts(
                    start_s=sum(report[k] for k in ("imports_s", "load_model_s", "first_call_s")),
                    decode_s=report["decode_s"],
                    encode_s=report["encode_s"],
                    chunks=report["chunks"],
                )
            )
        return results

    def _fresh_store(self) -> Path:
        store = self._work / "store"
        shutil.rmtree(store, ignore_errors=True)
        return store


def own_settings(work: Path) -> dict[str, str]:
    """Variables under which `alm2vec` reads no settings of the user's, and leaves nothing there."""
    config = work / "config.toml"
    config.touch()
    return {"ALM2VEC_CONFIG": str(config), "ALM2VEC_HOME": str(work)}


def measure(bench: Bench, n_rounds: int, *, with_naive: bool) -> list[Round]:
    steps: dict[str, Callable[[], Any]] = {
        "start_up": bench.start_up,
        "index": bench.index,
        "parts": bench.parts,
        "busy": bench.busy,
    }
    if with_naive:
        steps["naive"] = bench.naive
    rounds = []
    for i in range(n_rounds):
        turned = [*steps][i % len(steps) :] + [*steps][: i % len(steps)]
        done = {}
        for name in turned:
            print(f"round {i + 1} of {n_rounds}: {name}", file=sys.stderr)
            done[name] = steps[name]()
        rounds.append(Round(**done))
    return rounds


def print_rounds(rounds: list[Round], workers: int) -> None:
    of = f"medians of {len(rounds)} rounds" if len(rounds) > 1 else "one round"
    audio_s, chunks = rounds[0].index.audio_s, rounds[0].index.chunks
    title = f"{audio_s / 60:.0f} min of sound, {chunks:,} chunks"
    print_table(
        f"{title}; {workers} workers on {cores()} cores; {of}",
        ("", "wall s", "× real time", "CPU s"),
        _seconds(rounds, audio_s),
    )
    print_table(
        f"index, stage by stage, as its own report says; {of}",
        ("stage", "CPU s"),
        _stages(rounds),
    )
    ratios = [done.ratios(min(workers, cores())) for done in rounds]
    print_table(
        f"ratios; {of}",
        ("", "median", "range", "aim"),
        [
            (name, *median_and_range([one[name] for one in ratios]), AIMS.get(name, ""))
            for name in ratios[0]
        ],
    )


def _seconds(rounds: list[Round], audio_s: float) -> Iterator[Sequence[str]]:
    def row(name: str, walls: list[float], cpus: list[float], *, paced: bool) -> Sequence[str]:
        wall_s = statistics.median(walls) if walls else 0.0
        pace = f"{audio_s / wall_s:.0f}" if paced else ""
        return name, f"{wall_s:.2f}" if walls else "", pace, f"{statistics.median(cpus):.2f}"

    start_ups, indexes = [r.start_up for r in rounds], [r.index for r in rounds]
    yield row("start-up", [r.wall_s for r in start_ups], [r.cpu_s for r in start_ups], paced=False)
    yield row("index", [r.wall_s for r in indexes], [r.cpu_s for r in indexes], paced=True)
    yield row("decoding alone", [], [r.parts.decode_s for r in rounds], paced=False)
    yield row("encoding alone", [], [r.parts.encode_s for r in rounds], paced=False)
    yield row("decoding alone, busy", [], [r.busy.decode_s for r in rounds], paced=False)
    yield row("encoding alone, busy", [], [r.busy.encode_s for r in rounds], paced=False)
    if naives := [r.naive for r in rounds if r.naive]:
        yield row("naive", [r.wall_s for r in naives], [r.cpu_s for r in naives], paced=True)


def _stages(rounds: list[Round]) -> Iterator[Sequence[str]]:
    yield "start-up", f"{statistics.median(r.start_up.cpu_s for r in rounds):.2f}"
    for stage in rounds[0].index.stages:
        yield stage, f"{statistics.median(r.index.stages[stage] for r in rounds):.2f}"
    rest = [r.index.cpu_s - sum(r.index.stages.values()) - r.start_up.cpu_s for r in rounds]
    yield "the rest: cutting, sending, noise", f"{statistics.median(rest):.2f}"


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--library", type=Path, metavar="DIR", help="use this folder of audio")
    made.add_argument("--minutes", type=float, default=180.0, help="of a library made here [180]")
    made.add_argument("--rounds", type=int, default=5, help="[5]")
    made.add_argument("--workers", type=int, default=cores(), help="[one a core]")
    made.add_argument("--no-naive", action="store_true", help="leave the naive loop out")
    args = made.parse_args()
    warn_if_busy()
    with work_folder(args.work) as work:
        library = args.library or made_library(work, args.minutes)
        bench = Bench(library.absolute(), work, args.workers)
        bench.prepare()
        rounds = measure(bench, args.rounds, with_naive=not args.no_naive)
        shutil.rmtree(work / "store", ignore_errors=True)
    print_rounds(rounds, args.workers)
    if rounds[0].index.wall_s < 3 * rounds[0].start_up.wall_s:
        print("warning: most of that was starting: use more --minutes", file=sys.stderr)
    n_cores = min(args.workers, cores())
    numbers = [{**asdict(done), "ratios": done.ratios(n_cores)} for done in rounds]
    write_json(args.json, {"workers": args.workers, "rounds": numbers})


def made_library(work: Path, minutes: float) -> Path:
    """A library in the work folder; one that is there from an earlier run is used again."""
    folder = work / f"library-{minutes:g}-minutes"
    if not folder.exists():
        draft = folder.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        print(f"making {folder}", file=sys.stderr)
        run([sys.executable, HERE / "library.py", draft, "--minutes", str(minutes)])
        draft.rename(folder)
    return folder


if __name__ == "__main__":
    main()

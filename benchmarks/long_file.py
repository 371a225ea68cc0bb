"""What the length of a file costs in memory: ten hours against the first ten minutes of the same.

    python benchmarks/long_file.py --hours 10 --work DIR --json FILE

Both files are encoded piece by piece from looped samples (`--format`: mp3 at 32 kbit/s, opus at
24 kbit/s, or flac at 8 kHz; 150, 110 and about 250 MB for ten hours), and indexed by one worker
into fresh stores. Memory is looked at ten times a second, process by process:

    RSS    the most that was resident, as the kernel keeps it (VmHWM), mapped files included
    own    the most that was resident and the process's own (RssAnon)

The difference of the two runs is what the length costs.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from library import Format, Material, write_sound
from processes import ALM2VEC, MemoryWatch, Peak, run
from results import MB, parser, print_table, warn_if_busy, work_folder, write_json
from throughput import own_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FORMATS = {
    "mp3": Format("mp3", ".mp3", "libmp3lame", 16_000, 1, 32_000),
    "opus": Format("opus", ".opus", "libopus", 16_000, 1, 24_000),
    "flac": Format("flac", ".flac", "PCM_16", 8_000, 1),
}
ROLES = ("main", "fork server", "worker")
SEED = (0,)  # the same for both files: one begins like the other


def make_file(folder: Path, name: str, duration_s: float) -> Path:
    """A file of this length; one that is there from an earlier run is used again."""
    form = FORMATS[name]
    path = folder / f"{duration_s:.0f}-s" / f"long{form.suffix}"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    print(f"making {path}", file=sys.stderr)
    draft = path.with_name(f"draft{form.suffix}")
    sound = Material().sound(SEED, duration_s, form.sampling_rate)
    write_sound(draft, sound, form)
    return draft.rename(path)


def index(path: Path, work: Path) -> dict[str, Any]:
    """Index one file with one worker, and watch."""
    store = work / "store"
    shutil.rmtree(store, ignore_errors=True)
    print(f"indexing {path}", file=sys.stderr)
    watch = MemoryWatch()
    options = ["--store", str(store), "--workers", "1", "--json", "--quiet"]
    finished = run([ALM2VEC, "index", path, *options], variables=own_settings(work), watch=watch)
    shutil.rmtree(store)
    report = json.loads(finished.stdout)
    return {
        "audio_s": report["audio_s"],
        "chunks": report["chunks"],
        "file_bytes": path.stat().st_size,
        "command_s": finished.wall_s,
        "run_s": report["wall_s"],
        "cpu_s": finished.cpu_s,
        "peaks": {role: watch.of(role) for role in ROLES},
    }


def print_runs(short: dict[str, Any], long: dict[str, Any]) -> None:
    print_table(
        "one worker",
        ("sound", "chunks", "file MB", "wall s", "× real time", "of the run alone", "CPU s"),
        [
            (
                f"{run['audio_s'] / 3600:.2f} h",
                f"{run['chunks']:,}",
                f"{run['file_bytes'] / MB:.1f}",
                f"{run['command_s']:.1f}",
                f"{run['audio_s'] / run['command_s']:.0f}",
                f"{run['audio_s'] / run['run_s']:.0f}",
                f"{run['cpu_s']:.1f}",
            )
            for run in (short, long)
        ],
    )
    print_table(
        "the most memory, MB",
        ("", "RSS, short", "long", "difference", "own, short", "long", "difference"),
        [_memory_row(short["peaks"][role], long["peaks"][role]) for role in ROLES],
    )


def _memory_row(short: Peak, long: Peak) -> Sequence[str]:
    pairs = ((short.rss, long.rss), (short.anonymous, long.anonymous))
    numbers = (value for a, b in pairs for value in (a, b, b - a))
    return short.role, *(f"{number / MB:.1f}" for number in numbers)


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--hours", type=float, default=10.0, help="of the long file [10]")
    made.add_argument("--cut-minutes", type=float, default=10.0, help="of the short one [10]")
    made.add_argument("--format", choices=FORMATS, default="mp3", help="of both [mp3]")
    args = made.parse_args()
    warn_if_busy()
    with work_folder(args.work) as work:
        started = time.monotonic()
        short_path = make_file(work, args.format, args.cut_minutes * 60)
        long_path = make_file(work, args.format, args.hours * 3600)
        print(f"making files took {time.monotonic() - started:.0f} s", file=sys.stderr)
        short, long = index(short_path, work), index(long_path, work)
    print_runs(short, long)
    for numbers in (short, long):
        numbers["peaks"] = {role: asdict(peak) for role, peak in numbers["peaks"].items()}
    write_json(args.json, {"format": args.format, "short": short, "long": long})


if __name__ == "__main__":
    main()

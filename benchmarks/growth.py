"""What a larger index costs: the store by itself, and a run over a library that hasn't changed.

    python benchmarks/growth.py --work DIR --json FILE

Two tables, each row in processes of its own:

    store       random vectors of the small model's dimension, five chunks a file, at 100, 1,000 and
                10,000 chunks (and 100,000 with --large): chunks put in per second, what the folder
                takes on the disk, the time to open it, the time of a query for ten files (after a
                few to warm up), and the memory of the process that asks: before opening, after
                opening, and after the queries
    unchanged   libraries of 100, 1,000 and 10,000 files of 0.2 s: seconds of the first
                `alm2vec index`, and of the second, which has nothing to do
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from library import Format, Material, write_sound
from processes import ALM2VEC, memory, run
from results import MB, parser, print_table, warn_if_busy, work_folder, write_json
from throughput import own_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alm2vec_search.collection.base import CollectionInfo
    from alm2vec_search.domain import Content, EmbeddedChunk, Embeddings, Place

SIZES = (100, 1_000, 10_000)
LARGE = 100_000
CHUNKS_A_FILE = 5
WINDOW_S = 10.0
N_QUERIES = 200
N_WARM_UP = 10
FLUSH_EVERY_S = 1.0  # as a run does
TINY_S = 0.2
FILES_A_FOLDER = 500
RATE = 16_000  # Hz


# The store


def fill(store: Path, n_chunks: int) -> dict[str, float]:
    """Put so many chunks into a new store."""
    from alm2vec_search.collection.edge import EdgeCollection

    info = _info()
    files = list(_files(n_chunks, info.embedding_dim))
    with EdgeCollection.create(store, info) as collection:
        started = flushed_at = time.monotonic()
        for content, place, chunks in files:
            collection.upsert(content, [place], chunks)
            if time.monotonic() - flushed_at > FLUSH_EVERY_S:
                collection.flush()
                flushed_at = time.monotonic()
        collection.flush()
        upsert_s = time.monotonic() - started
    return {"upsert_s": upsert_s, "disk_bytes": _allocated(store)}


def ask(store: Path) -> dict[str, float]:
    """Open a store, and query it."""
    from alm2vec_search.collection.edge import EdgeCollection

    _, before = memory()
    started = time.monotonic()
    with EdgeCollection.open(store) as collection:
        n_chunks = collection.count()
        open_s = time.monotonic() - started
        _, opened = memory()
        took_s = []
        for query in _vectors(N_WARM_UP + N_QUERIES, collection.info.embedding_dim, seed=1):
            asked_at = time.monotonic()
            collection.nearest_contents(query, limit=10)
            took_s.append(time.monotonic() - asked_at)
        resident, asked = memory()
    quantiles_s = statistics.quantiles(took_s[N_WARM_UP:], n=20)
    return {
        "chunks": n_chunks,
        "open_s": open_s,
        "query_p50_s": quantiles_s[9],
        "query_p95_s": quantiles_s[18],
        "anonymous_before": before,
        "anonymous_opened": opened,
        "anonymous_asked": asked,
        "rss_asked": resident,
    }


def _info() -> CollectionInfo:
    from alm2vec_search.collection.base import CollectionInfo
    from alm2vec_search.model.hub import BUNDLED, find_model

    return CollectionInfo("random-float32", "10s/10s", find_model(BUNDLED).embedding_dim, "random")


def _files(n_chunks: int, dim: int) -> Iterator[tuple[Content, Place, list[EmbeddedChunk]]]:
    from alm2vec_search.domain import Content, EmbeddedChunk, Place, TimeSpan

    library = Path("/home/someone/Music")
    vectors = _vectors(n_chunks, dim, seed=0)
    for i, start in enumerate(range(0, n_chunks, CHUNKS_A_FILE)):
        chunks = [
            EmbeddedChunk(TimeSpan(j * WINDOW_S, (j + 1) * WINDOW_S), vector, silent=False)
            for j, vector in enumerate(vectors[start : start + CHUNKS_A_FILE])
        ]
        duration_s = len(chunks) * WINDOW_S
        content_hash = hashlib.sha256(str(i).encode()).hexdigest()
        content = Content(content_hash, 1_000_000 + i, duration_s, 44_100, 2)
        path = library / f"A folder {i // 100}" / f"A recording of something {i}.mp3"
        yield content, Place(path, library, 1_700_000_000_000_000_000 + i), chunks


def _vectors(n: int, dim: int, *, seed: int) -> Embeddings:
    vectors = np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _allocated(folder: Path) -> int:
    """Bytes on the disk: less than the files' sizes, as there are holes in them."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def measure_store(work: Path, sizes: list[int]) -> list[dict[str, float]]:
    rows = []
    for n_chunks in sizes:
        print(f"store: {n_chunks:,} chunks", file=sys.stderr)
        store = work / "store"
        shutil.rmtree(store, ignore_errors=True)
        filled = _apart("fill", store, n_chunks)
        asked = _apart("ask", store)
        rows.append({**filled, **asked})
        shutil.rmtree(store)
    return rows


def _apart(what: str, *arguments: object) -> dict[str, float]:
    """Call one of the two in a process of its own."""
    finished = run([sys.executable, __file__, f"--{what}", *map(str, arguments)])
    result: dict[str, float] = json.loads(finished.stdout)
    return result


def print_store(rows: list[dict[str, float]]) -> None:
    print_table(
        f"store, {CHUNKS_A_FILE} chunks a file; bytes/chunk: of those since the row above",
        (
            "chunks", "put in/s", "disk MB", "bytes/chunk", "open ms", "query p50 ms", "p95 ms",
            "own MB before", "opened", "asked", "RSS MB",
        ),
        [
            (
                f"{row['chunks']:,}",
                f"{row['chunks'] / row['upsert_s']:,.0f}",
                f"{row['disk_bytes'] / MB:.1f}",
                "" if (more := _more(rows, i, "disk_bytes", "chunks")) is None else f"{more:,.0f}",
                f"{row['open_s'] * 1000:.0f}",
                f"{row['query_p50_s'] * 1000:.2f}",
                f"{row['query_p95_s'] * 1000:.2f}",
                *(f"{row[f'anonymous_{when}'] / MB:.0f}" for when in ("before", "opened", "asked")),
                f"{row['rss_asked'] / MB:.0f}",
            )
            for i, row in enumerate(rows)
        ],
    )  # fmt: skip


def _more(rows: list[dict[str, float]], i: int, value: str, count: str) -> float | None:
    """What one more costs: the difference to the row above, by how many more there are."""
    if i == 0:
        return None
    above, row = rows[i - 1], rows[i]
    return (row[value] - above[value]) / (row[count] - above[count])


# The unchanged run


def make_tiny_library(folder: Path, n_files: int) -> None:
    """Files of 0.2 s, each another sound."""
    sound = Material().mono([0], RATE)
    n = round(TINY_S * RATE)
    form = Format("wav", ".wav", "PCM_16", RATE, 1)
    patch = np.empty(0, np.float32)
    for i in range(n_files):
        while len(patch) < n:
            patch = next(sound)
        path = folder / f"{i // FILES_A_FOLDER:03}" / f"{i:06}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        # where two patches are silent, two files would be the same
        noise = np.random.default_rng(i).normal(0, 1e-3, n).astype(np.float32)
        write_sound(path, iter([(patch[:n] + noise)[:, None]]), form)
        patch = patch[n:]


def measure_unchanged(work: Path, sizes: list[int]) -> list[dict[str, float]]:
    rows = []
    for n_files in sizes:
        print(f"unchanged: {n_files:,} files", file=sys.stderr)
        library, store = work / "tiny", work / "store"
        for folder in (library, store):
            shutil.rmtree(folder, ignore_errors=True)
        make_tiny_library(library, n_files)
        first, second = (_index(library, store, work) for _ in range(2))
        if (first["indexed"], second["unchanged"]) != (n_files, n_files):
            sys.exit(f"{n_files} files: indexed {first['indexed']}, kept {second['unchanged']}")
        rows.append(
            {
                "files": n_files,
                "first_s": first["command_s"],
                "first_cpu_s": first["cpu_s"],
                "second_s": second["command_s"],
                "second_cpu_s": second["cpu_s"],
            }
        )
        for folder in (library, store):
            shutil.rmtree(folder)
    return rows


def _index(library: Path, store: Path, work: Path) -> dict[str, Any]:
    options = ["--store", str(store), "--json", "--quiet"]
    finished = run([ALM2VEC, "index", library, *options], variables=own_settings(work))
    report = json.loads(finished.stdout)
    return {**report, "command_s": finished.wall_s, "cpu_s": finished.cpu_s}


def print_unchanged(rows: list[dict[str, float]]) -> None:
    def ms_a_file(i: int, value: str) -> str:
        more_s = _more(rows, i, value, "files")
        return "" if more_s is None else f"{more_s * 1000:.3f}"

    print_table(
        f"files of {TINY_S} s, indexed, and indexed again; ms/file: of those since the row above",
        ("files", "first s", "CPU s", "ms/file", "second s", "CPU s", "ms/file"),
        [
            (
                f"{row['files']:,}",
                f"{row['first_s']:.2f}",
                f"{row['first_cpu_s']:.2f}",
                ms_a_file(i, "first_s"),
                f"{row['second_s']:.2f}",
                f"{row['second_cpu_s']:.2f}",
                ms_a_file(i, "second_s"),
            )
            for i, row in enumerate(rows)
        ],
    )


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--large", action="store_true", help=f"the store at {LARGE:,} chunks, too")
    made.add_argument(
        "--sizes", type=int, nargs="+", default=list(SIZES), metavar="N", help="[100 1000 10000]"
    )
    made.add_argument("--only", choices=("store", "unchanged"), help="one of the two")
    made.add_argument("--fill", nargs=2, help=argparse.SUPPRESS)
    made.add_argument("--ask", nargs=1, help=argparse.SUPPRESS)
    args = made.parse_args()
    if args.fill:
        print(json.dumps(fill(Path(args.fill[0]), int(args.fill[1]))))
        return
    if args.ask:
        print(json.dumps(ask(Path(args.ask[0]))))
        return
    warn_if_busy()
    numbers = {}
    with work_folder(args.work) as work:
        if args.only != "unchanged":
            numbers["store"] = measure_store(work, [*args.sizes, *([LARGE] if args.large else [])])
            print_store(numbers["store"])
        if args.only != "store":
            numbers["unchanged"] = measure_unchanged(work, args.sizes)
            print_unchanged(numbers["unchanged"])
    write_json(args.json, numbers)


if __name__ == "__main__":
    main()

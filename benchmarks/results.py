"""What the benchmarks print: tables for people, and one JSON file for machines."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MB = 1 << 20
_PACKAGES = ("torch", "transformers", "numpy", "soundfile", "soxr", "av", "qdrant-edge-py")


def parser(docstring: str | None) -> argparse.ArgumentParser:
    """A command line with what all benchmarks share: `--work` and `--json`."""
    made = argparse.ArgumentParser(
        description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--work", type=Path, metavar="DIR", help="keep what is made in this folder")
    made.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there, too")
    return made


@contextmanager
def work_folder(given: Path | None) -> Iterator[Path]:
    """The folder to work in: the given one, which stays, or one that goes afterwards."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.absolute()
        return
    folder = Path(tempfile.mkdtemp(prefix="alm2vec-benchmark-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def print_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """The first column to the left, the others to the right."""
    cells = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    print(f"\n{title}\n")
    for i, row in enumerate(cells):
        first, *others = (
            cell.ljust(width) if j == 0 else cell.rjust(width)
            for j, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *others]).rstrip())
        if i == 0:
            print("  ".join("-" * width for width in widths))


def median_and_range(values: Sequence[float], digits: int = 2) -> tuple[str, str]:
    """Two cells: `"1.20"`, `"1.10-1.31"`."""
    shown = f"{statistics.median(values):.{digits}f}"
    return shown, f"{min(values):.{digits}f}-{max(values):.{digits}f}"


def write_json(path: Path | None, numbers: dict[str, Any]) -> None:
    if path is not None:
        record = {"machine": machine(), **numbers}
        path.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")


def machine() -> dict[str, object]:
    """What the numbers depend on, beside the code."""
    return {
        "cpu": _cpu_name(),
        "cores": cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def warn_if_busy() -> None:
    """Others on the machine make every number worse, and not all by the same."""
    load = os.getloadavg()[0]
    if load > 0.3 * cores():
        print(f"warning: the machine is busy (load {load:.1f})", file=sys.stderr)


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()

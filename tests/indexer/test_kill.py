"""`kill -9` at any moment, run again, and the index is the same as if nothing had happened."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from index_driver import Index, write_tone

RUN = Path(__file__).with_name("killed_run.py")
N_FILES = 400
N_KILLS = 6


def make_library(library: Path) -> None:
    notes = ("low", "middle", "high")
    for i in range(N_FILES):
        path = library / f"{i % 7}" / f"{i}.wav"
        write_tone(path, notes[i % 3], duration_s=0.5 + i % 11, peak=0.2 + i / 1000)
    for i in range(0, N_FILES, 40):
        shutil.copy(library / f"{i % 7}" / f"{i}.wav", library / f"copy-{i}.wav")


def change_library(library: Path) -> None:
    """Files that change, move and go: what the second half of the kills falls into."""
    for i in range(0, N_FILES, 3):
        path = library / f"{i % 7}" / f"{i}.wav"
        if i % 2:
            write_tone(path, "high", duration_s=1 + i % 5, peak=0.3 + i / 1000)
        else:
            path.rename(path.with_name(f"moved-{i}.wav"))
    shutil.rmtree(library / "3")


def run_until(n_files: int, store: Path, library: Path, delay_s: float) -> bool:
    """Run, and kill a moment after so many files; whether it was cut short by that."""
    command = [sys.executable, str(RUN), str(store), str(library)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(n_files):
            process.stdout.readline()
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        return "finished" not in process.stdout.read()


def test_killed_again_and_again(tmp_path: Path, library: Path) -> None:
    rng = random.Random(4)
    make_library(library)
    killed, undisturbed = Index(tmp_path / "killed"), Index(tmp_path / "undisturbed")
    n_cut_short = 0
    for step, most in ((lambda _: None, 100), (change_library, 30)):
        step(library)
        for _ in range(N_KILLS // 2):
            n_files, delay_s = rng.randint(1, most), rng.uniform(0, 0.02)
            n_cut_short += run_until(n_files, killed.folder, library, delay_s)
        assert not killed.run(library).skipped
        undisturbed.run(library)
        assert killed.dump() == undisturbed.dump()
    assert n_cut_short >= N_KILLS // 2, "the kills came too late to show anything"
    assert killed.run(library).unchanged == len(list(library.rglob("*.wav")))

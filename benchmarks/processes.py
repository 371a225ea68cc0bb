"""Running a command and knowing what it cost: all of its processes, whoever their parent is.

`alm2vec index` has a main process, a fork server and workers, and the fork server outlives the main
process for a moment. So that its seconds aren't lost, whoever measures becomes the parent of every
process that loses its own, and waits for them all. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALM2VEC = Path(sys.executable).with_name("alm2vec")
OK_CODES = (0,)
_PR_SET_CHILD_SUBREAPER = 36
# What would make one person's run another one than the next person's.
_NOT_INHERITED = ("ALM2VEC_", "OMP_", "MKL_", "OPENBLAS_", "TORCH_")


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that has ended, with all its processes."""

    stdout: str
    stderr: str
    wall_s: float  # until the command itself ended
    cpu_s: float  # user and system, of all processes
    lingered_s: float  # until the last of the others ended, too


@dataclass(slots=True)
class Peak:
    """The most memory that one process held, as the kernel and as samples say."""

    role: str  # main, fork server, worker, other
    rss: int = 0  # bytes: VmHWM, with files that are mapped, whoever else has them
    anonymous: int = 0  # bytes: the process's own; the largest sample


@dataclass(slots=True)
class MemoryWatch:
    """Looks at the memory of every process of a command, several times a second."""

    every_s: float = 0.1
    peaks: dict[int, Peak] = field(default_factory=dict)  # by process id

    def of(self, role: str) -> Peak:
        """The largest of that role."""
        peaks = [peak for peak in self.peaks.values() if peak.role == role]
        return Peak(role, max(p.rss for p in peaks), max(p.anonymous for p in peaks))

    def look(self, main: int) -> None:
        for pid in _descendants(os.getpid()):
            try:
                status = _status(pid)
                role = _role(pid, main)
            except OSError:  # it ended
                continue
            if "VmHWM" not in status:  # it has ended, and nobody has taken note yet
                continue
            peak = self.peaks.setdefault(pid, Peak(role))
            if peak.role == "other":  # a process is known by its command, which comes after it
                peak.role = role
            peak.rss = max(peak.rss, status["VmHWM"])
            peak.anonymous = max(peak.anonymous, status["RssAnon"])


def run(
    command: Sequence[str | Path],
    *,
    variables: Mapping[str, str] | None = None,
    watch: MemoryWatch | None = None,
    cwd: Path | None = None,
) -> Finished:
    """Run a command to its end, and wait for what it leaves behind. One at a time.

    Raises:
        SystemExit: it failed; what it said is shown.
    """
    [finished] = run_together([command], variables=variables, watch=watch, cwd=cwd)
    return finished


def run_together(
    commands: Sequence[Sequence[str | Path]],
    *,
    variables: Mapping[str, str] | None = None,
    watch: MemoryWatch | None = None,
    cwd: Path | None = None,
) -> list[Finished]:
    """Run commands at the same time. CPU seconds of orphans are shared among them evenly.

    Raises:
        SystemExit: one of them failed; what it said is shown.
    """
    _adopt_orphans()
    with tempfile.TemporaryDirectory() as folder:
        talks = [(Path(folder, f"{i}.out"), Path(folder, f"{i}.err")) for i in range(len(commands))]
        started = time.monotonic()
        processes = [
            _start(command, *talk, variables=variables or {}, cwd=cwd)
            for command, talk in zip(commands, talks, strict=True)
        ]
        pids = [process.pid for process in processes]
        with _Watching(watch, pids[0]):
            ended, orphans_cpu_s = _wait_for_all(pids)
        lasted_s = time.monotonic() - started
        said = [(out.read_text("utf-8"), err.read_text("utf-8")) for out, err in talks]
    results = []
    for process, command, (stdout, stderr) in zip(processes, commands, said, strict=True):
        ended_at, cpu_s, code = ended[process.pid]
        process.returncode = code  # we waited for it, not `subprocess`
        if code not in OK_CODES:
            sys.exit(f"{' '.join(map(str, command))}\nended with {code}:\n{stdout}{stderr}")
        wall_s = ended_at - started
        share_s = orphans_cpu_s / len(commands)
        results.append(Finished(stdout, stderr, wall_s, cpu_s + share_s, lasted_s - wall_s))
    return results


def _start(
    command: Sequence[str | Path],
    stdout: Path,
    stderr: Path,
    *,
    variables: Mapping[str, str],
    cwd: Path | None,
) -> subprocess.Popen[bytes]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED)}
    # Into files, not pipes: whoever outlives the command would hold a pipe open.
    with stdout.open("wb") as out, stderr.open("wb") as err:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**inherited, **variables},
            cwd=cwd,
        )


def _wait_for_all(pids: Sequence[int]) -> tuple[dict[int, tuple[float, float, int]], float]:
    """When each ended, its CPU seconds and its exit code; and the CPU seconds of all others."""
    ended: dict[int, tuple[float, float, int]] = {}
    orphans_cpu_s = 0.0
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)  # usage holds that of all it waited for itself
        except ChildProcessError:
            return ended, orphans_cpu_s
        cpu_s = usage.ru_utime + usage.ru_stime
        if pid in pids:
            ended[pid] = (time.monotonic(), cpu_s, os.waitstatus_to_exitcode(status))
        else:
            orphans_cpu_s += cpu_s


def _adopt_orphans() -> None:
    if sys.platform != "linux":
        sys.exit("the benchmarks need Linux: they count the CPU seconds of orphaned processes")
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


class _Watching:
    """A thread that looks at memory while the block runs."""

    def __init__(self, watch: MemoryWatch | None, main: int) -> None:
        self._watch = watch
        self._main = main
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)

    def _look_on(self) -> None:
        assert self._watch is not None
        while not self._over.wait(self._watch.every_s):
            self._watch.look(self._main)

    def __enter__(self) -> None:
        if self._watch is not None:
            self._thread.start()

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        if self._watch is not None:
            self._thread.join()


def memory() -> tuple[int, int]:
    """Resident bytes of this process, all and anonymous."""
    status = _status(os.getpid())
    return status["VmRSS"], status["RssAnon"]


def _descendants(ancestor: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                children.setdefault(_parent(int(folder.name)), []).append(int(folder.name))
            except OSError:  # it ended
                continue
    found: list[int] = []
    new = [ancestor]
    while new:
        new = [child for pid in new for child in children.get(pid, [])]
        found += new
    return found


def _role(pid: int, main: int) -> str:
    if pid == main:
        return "main"
    if b"forkserver" not in _command_line(pid):
        return "other"
    is_server = b"forkserver" not in _command_line(_parent(pid))
    return "fork server" if is_server else "worker"


def _parent(pid: int) -> int:
    # pid (name) state parent ...: the name may contain anything, so count from its end
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _status(pid: int) -> dict[str, int]:
    """The lines of `status` that are bytes."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    pairs = (line.split(":", 1) for line in lines)
    return {name: int(text.split()[0]) * 1024 for name, text in pairs if text.endswith(" kB")}

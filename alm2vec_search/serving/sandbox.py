"""Decoding what strangers send, in a process of its own that can do no harm.

Decoders are old C code, and files can be made to break them. So each upload is decoded by a fresh
process that has next to nothing: no secrets in its environment, no descriptors but its pipes, a
limited amount of memory and of processor time, no right to open files or connections (see
`lockdown.py`). It lives for one upload, and its whole process group is killed when it has answered
or when its time is up. On systems without `resource` (Windows) only the clock limits it, and only
the process itself is killed.

What it answers is data: samples, and a few numbers that are checked. A process that is started
ahead waits, with its decoders loaded, for the next upload.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore, Lock, Timer
from typing import TYPE_CHECKING, Any

import numpy as np

import alm2vec_search
from alm2vec_search.audio.playing import WAV_HEADER_BYTES, wav_header
from alm2vec_search.domain import Waveform
from alm2vec_search.errors import (
    UploadError,
    UploadsBusy,
    UploadTimedOut,
    UploadTooLarge,
    UploadTooLong,
    UploadUnreadable,
)
from alm2vec_search.serving import sandbox_messages as messages
from alm2vec_search.serving.uploads import HIGHEST_PLAYED_RATE, Upload, UploadLimits

if TYPE_CHECKING:
    from typing import IO

_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from alm2vec_search.serving.sandbox_child import main
main(json.loads(sys.argv[2]))
"""
_PATIENCE_S = 5.0  # for a turn
_DYING_S = 1.0  # from a closed pipe to a return code
_SLACK_S = 1.0  # of sound, that resamplers and codecs add
_PIPE_BYTES = 1 << 20
_MOST_CHANNELS, _MOST_RATE = 1 << 16, 1 << 32  # what a header can say
_MOST_SAID = 200  # characters of a reason
_GONE_MAD = "its decoder gave an answer that makes no sense"


def decode_upload(data: bytes, sampling_rate: int, *, limits: UploadLimits | None = None) -> Upload:
    """Decode a file that was sent, in a process of its own. For several, `Sandbox` is quicker.

    Args:
        data: the bytes of the file.
        sampling_rate: in Hz, of the waveform for the model.
        limits: what it may be and take.

    Raises:
        UploadTooLarge, UploadTooLong: it is more than is taken.
        UploadUnreadable: it can't be decoded, or there is no sound in it.
        UploadTimedOut: that took too long.
        UploadError: no process could be started.
    """
    with Sandbox(limits, ahead=0) as sandbox:
        return sandbox.decode(data, sampling_rate)


class Sandbox:
    """Decodes uploads, some at once. Threads may share one. Close it, or use it with `with`.

    Args:
        limits: for each.
        at_once: how many are decoded at the same time.
        ahead: how many processes wait for uploads: each takes some 50 MB, and saves the time that
            it takes to start one.
    """

    def __init__(
        self, limits: UploadLimits | None = None, *, at_once: int = 2, ahead: int = 1
    ) -> None:
        self.limits = limits or UploadLimits()
        self._turns = BoundedSemaphore(at_once)
        self._n_ahead = ahead
        self._waiting: list[_Child] = []
        self._lock = Lock()
        self._is_closed = False
        self._start_ahead()

    def decode(self, data: bytes, sampling_rate: int) -> Upload:
        """
        Raises:
            UploadError: as `decode_upload`.
            UploadsBusy: no turn came in a few seconds.
        """
        if len(data) > self.limits.upload_bytes:
            raise UploadTooLarge(most_bytes=self.limits.upload_bytes)
        if not data:
            raise UploadUnreadable("it is empty")
        if not self._turns.acquire(timeout=_PATIENCE_S):
            raise UploadsBusy
        try:
            with self._take() as child:
                return child.decode(data, sampling_rate)
        finally:
            self._turns.release()
            self._start_ahead()

    def close(self) -> None:
        """Let the waiting processes go. What is being decoded ends by itself."""
        with self._lock:
            self._is_closed = True
            waiting, self._waiting = self._waiting, []
        for child in waiting:
            child.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _take(self) -> _Child:
        while True:
            with self._lock:
                child = self._waiting.pop() if self._waiting else None
            if child is None:
                return _Child(self.limits)
            if child.is_alive():
                return child
            child.close()

    def _start_ahead(self) -> None:
        with self._lock:
            while not self._is_closed and len(self._waiting) < self._n_ahead:
                try:
                    self._waiting.append(_Child(self.limits))
                except UploadError:  # the next upload tries again, and says so
                    return


class _Child:
    """A process for one upload."""

    def __init__(self, limits: UploadLimits) -> None:
        self._limits = limits
        for_child = {
            "cpu_s": limits.cpu_s,
            "memory_bytes": limits.memory_bytes,
            "upload_bytes": limits.upload_bytes,
            "duration_s": limits.duration_s,
        }
        # isolated: it sees neither the environment's paths nor the user's packages
        command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", _START]
        try:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [*command, json.dumps(_import_paths()), json.dumps(for_child)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                close_fds=True,
                cwd=tempfile.gettempdir(),
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise UploadError(
                f"no process for the upload could be started: {error.strerror or error}",
                hint="try again later",
            ) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin: Any = self._process.stdin
        self._stdout: Any = self._process.stdout
        _widen(self._stdin)
        _widen(self._stdout)
        self._timed_out = False

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def decode(self, data: bytes, sampling_rate: int) -> Upload:
        """Once."""
        clock = Timer(self._limits.wall_s, self._time_out)
        clock.daemon = True
        clock.start()
        try:
            with suppress(OSError):  # it died: what it said until then, if anything, counts
                wanted = {"sampling_rate": sampling_rate, "n_bytes": len(data)}
                self._stdin.write(json.dumps(wanted).encode() + b"\n")
                self._stdin.write(data)
                self._stdin.flush()
            upload = self._answer(_Answer(sampling_rate, self._limits))
        finally:
            clock.cancel()
            clock.join()  # from here on, nobody else kills what may be somebody else's number
        if upload is None:
            raise self._why_it_died()
        return upload

    def _answer(self, answer: _Answer) -> Upload | None:
        """None, if it fell silent before it had said all."""
        try:
            while (message := messages.receive(self._stdout)) is not None:
                if (upload := answer.take(*message)) is not None:
                    return upload
        except ValueError as error:
            raise UploadUnreadable(_GONE_MAD) from error
        return None

    def _why_it_died(self) -> UploadError:
        if self._timed_out:
            return UploadTimedOut()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_DYING_S)
        if self._timed_out or self._process.returncode == -getattr(signal, "SIGXCPU", 0):
            return UploadTimedOut()
        return UploadUnreadable("damaged, its decoder broke down")

    def _time_out(self) -> None:
        self._timed_out = True
        self._kill()

    def _kill(self) -> None:
        """With all that it may have started. Its number is its own until `wait` has been called."""
        if self._process.returncode is not None:
            return
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(OSError):
            self._process.kill()

    def close(self) -> None:
        self._kill()
        for pipe in (self._stdin, self._stdout):
            with suppress(OSError):  # what it no longer reads
                pipe.close()
        self._process.wait()

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Answer:
    """What a child says, put together. Nothing of it is believed: it may have been taken over."""

    def __init__(self, sampling_rate: int, limits: UploadLimits) -> None:
        self._sampling_rate = sampling_rate
        self._limits = limits
        self._info: _Info | None = None
        self._mono = bytearray()
        self._played = io.BytesIO()

    def take(self, kind: bytes, data: bytes) -> Upload | None:
        """The upload, when all has come.

        Raises:
            UploadTooLong, UploadUnreadable: the child says so.
            ValueError: it makes no sense.
        """
        if kind == messages.FAILED:
            raise self._failure(messages.fields_of(data))
        if self._info is None:
            if kind != messages.INFO:
                raise ValueError(kind)
            self._info = _Info.of(messages.fields_of(data))
            self._played.write(bytes(WAV_HEADER_BYTES))
        elif kind == messages.MONO:
            self._mono += data
            self._check_length(len(self._mono), 4 * self._sampling_rate)
        elif kind == messages.PLAYED:
            self._played.write(data)
            self._check_length(self._n_played(), self._info.played_bytes_a_second)
        elif kind == messages.END:
            return self._upload(self._info, messages.fields_of(data))
        else:
            raise ValueError(kind)
        return None

    def _n_played(self) -> int:
        return self._played.tell() - WAV_HEADER_BYTES  # bytes

    def _check_length(self, n_bytes: int, bytes_a_second: int) -> None:
        if n_bytes > (self._limits.duration_s + _SLACK_S) * bytes_a_second:
            raise UploadTooLong(most_s=self._limits.duration_s)

    def _failure(self, fields: dict[str, Any]) -> UploadError:
        why, reason = fields.get("why"), fields.get("reason")
        if why == messages.TOO_LONG:
            return UploadTooLong(most_s=self._limits.duration_s)
        if why == messages.TOO_MUCH_MEMORY:
            return UploadUnreadable("decoding it takes more memory than it may")
        return UploadUnreadable(_text(reason) or "damaged")

    def _upload(self, info: _Info, fields: dict[str, Any]) -> Upload:
        samples = np.frombuffer(self._mono, "<f4").astype(np.float32, copy=False)
        n_played = self._n_played()
        if not len(samples) or not n_played or n_played % (2 * info.played_channels):
            raise ValueError("no sound")
        if not np.isfinite(samples).all() or np.abs(samples).max() > 1:
            raise ValueError("no samples")
        self._played.seek(0)
        self._played.write(wav_header(info.played_rate, info.played_channels, n_played))
        return Upload(
            waveform=Waveform(samples, self._sampling_rate),
            duration_s=n_played / info.played_bytes_a_second,
            sampling_rate=info.sampling_rate,
            channels=info.channels,
            wav=self._played.getvalue(),
            note=_text(fields.get("note")),
        )


@dataclass(frozen=True, slots=True)
class _Info:
    sampling_rate: int  # Hz, of the file
    channels: int
    played_rate: int  # Hz, of the WAV
    played_channels: int

    @property
    def played_bytes_a_second(self) -> int:
        return 2 * self.played_channels * self.played_rate

    @classmethod
    def of(cls, fields: dict[str, Any]) -> _Info:
        """
        Raises:
            ValueError: they aren't what they should be.
        """
        return cls(
            sampling_rate=_whole(fields.get("sampling_rate"), _MOST_RATE),
            channels=_whole(fields.get("channels"), _MOST_CHANNELS),
            played_rate=_whole(fields.get("played_rate"), HIGHEST_PLAYED_RATE),
            played_channels=_whole(fields.get("played_channels"), 2),
        )


def _whole(number: object, most: int) -> int:
    if type(number) is not int or not 1 <= number <= most:
        raise ValueError(number)
    return number


def _text(said: object) -> str | None:
    """A phrase for people, and nothing that does something to their terminals."""
    if not isinstance(said, str) or not said:
        return None
    return "".join(c if c.isprintable() else " " for c in said[:_MOST_SAID])


def _import_paths() -> list[str]:
    """Where this process finds its modules, absolute: the child stands in another folder."""
    own = str(Path(alm2vec_search.__file__).resolve().parent.parent)
    return [own, *(str(Path(path).absolute()) for path in sys.path if path and path != own)]


def _environment() -> dict[str, str]:
    """Nothing of ours but what a process can't start without. Libraries that make a thread for each
    core would take address space for each."""
    kept = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {name: os.environ[name] for name in kept if name in os.environ} | threads


def _widen(pipe: IO[bytes]) -> None:
    """Fewer turns for the same bytes, where that can be had."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

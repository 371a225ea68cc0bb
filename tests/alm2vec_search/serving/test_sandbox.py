"""A process for each upload, that can do next to nothing, and is gone afterwards."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import psutil
import pytest
import soundfile
from audio_files import ENCODINGS, WAV, WAV_FLOAT, Encoding, make_sound
from hostile_uploads import HostileUpload, hostile_uploads, playlists, silence, wav

from alm2vec_search.audio import av_decoder, decode
from alm2vec_search.errors import (
    DecodeError,
    UploadError,
    UploadsBusy,
    UploadTimedOut,
    UploadTooLarge,
    UploadTooLong,
    UploadUnreadable,
)
from alm2vec_search.serving import sandbox as sandbox_module
from alm2vec_search.serving import sandbox_messages as messages
from alm2vec_search.serving.sandbox import Sandbox, decode_upload
from alm2vec_search.serving.uploads import UploadLimits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RATE = 16_000
ONE_BYTE_MORE_THAN_IS_TAKEN = b"x" * 1001
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(ahead=2) as sandbox:
        yield sandbox


@pytest.fixture
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture(scope="module")
def slow() -> bytes:
    """Some seconds of work for a decoder."""
    return silence("FLAC", "PCM_16", 96_000, 240, 8)


class Trap:
    """A port of this machine, and whether anybody came."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.2)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port: int = self._server.getsockname()[1]
        self._udp.bind(("127.0.0.1", self.port))
        self._udp.settimeout(0.2)

    def sprung(self) -> bool:
        with suppress(TimeoutError):
            self._server.accept()[0].close()
            return True
        with suppress(TimeoutError):
            self._udp.recvfrom(1)
            return True
        return False

    def close(self) -> None:
        self._server.close()
        self._udp.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


def sound_of(
    tmp_path: Path, encoding: Encoding = WAV, rate: int = RATE, duration_s: float = 2.0
) -> bytes:
    path = tmp_path / f"x{encoding.suffix}"
    return encoding.write(path, make_sound(duration_s, rate, 2), rate).read_bytes()


def n_children() -> int:
    return len(psutil.Process().children(recursive=True))


def by_name(value: object) -> str | None:
    return value.name if isinstance(value, Encoding | HostileUpload) else None


def run_in_child(code: str, *, before: str = "load_decoders()") -> list[str]:
    """What a shut-in process prints."""
    script = f"""
import os, socket, sys
from alm2vec_search.audio.preloading import load_decoders
from alm2vec_search.serving.lockdown import limit_resources, shut_in
{before}
limit_resources(cpu_s=5, memory_bytes=1 << 30, file_bytes=1000)
version = shut_in()
def attempt(name, do):
    try:
        print(name, "works", do())
    except Exception as error:
        print(name, type(error).__name__)
{code}
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    return run.stdout.splitlines() + ([run.stderr] if run.returncode else [])


class TestResult:
    @pytest.mark.parametrize("encoding", ENCODINGS, ids=by_name)
    def test_as_a_file_of_the_library(
        self, tmp_path: Path, sandbox: Sandbox, encoding: Encoding
    ) -> None:
        """With no right to open files: nothing is loaded only when it is needed."""
        data = sound_of(tmp_path, encoding, 48_000)
        upload = sandbox.decode(data, RATE)
        expected = decode(tmp_path / f"x{encoding.suffix}", RATE)
        np.testing.assert_array_equal(upload.waveform.samples, expected.samples)
        assert upload.waveform.sampling_rate == RATE
        assert (upload.sampling_rate, upload.channels) == (48_000, 2)
        assert upload.duration_s == pytest.approx(expected.duration_s, abs=1e-3)
        assert upload.note is None

    def test_what_is_played(self, tmp_path: Path, sandbox: Sandbox) -> None:
        upload = sandbox.decode(sound_of(tmp_path), RATE)
        frames, rate = soundfile.read(io.BytesIO(upload.wav), dtype="float32")
        assert rate == RATE
        np.testing.assert_allclose(frames, make_sound(2, RATE, 2), rtol=0, atol=2**-14)
        assert len(upload.wav) == 44 + 2 * 2 * 2 * RATE
        with upload.open() as sound:
            assert sound.source.size == len(upload.wav)

    def test_no_more_than_48_khz_are_played(self, tmp_path: Path, sandbox: Sandbox) -> None:
        upload = sandbox.decode(sound_of(tmp_path, WAV_FLOAT, 192_000), RATE)
        frames, rate = soundfile.read(io.BytesIO(upload.wav))
        assert rate == 48_000
        assert upload.sampling_rate == 192_000
        assert len(frames) / rate == pytest.approx(2, abs=0.001)

    def test_the_waveform_may_be_written_to(self, tmp_path: Path, sandbox: Sandbox) -> None:
        upload = sandbox.decode(sound_of(tmp_path), RATE)
        upload.waveform.samples[0] = 0

    def test_a_damaged_one_says_so(self, tmp_path: Path, sandbox: Sandbox) -> None:
        data = sound_of(tmp_path)
        upload = sandbox.decode(data[: len(data) // 2], RATE)
        assert upload.duration_s == pytest.approx(1, abs=0.01)
        assert upload.note == "1.0 of 2.0 s could be read"

    def test_without_a_sandbox_at_hand(self, tmp_path: Path) -> None:
        before = n_children()
        assert decode_upload(sound_of(tmp_path), 8_000).waveform.sampling_rate == 8_000
        assert n_children() == before


class TestRefused:
    def test_too_large(self) -> None:
        limits = UploadLimits(upload_bytes=1000)
        with pytest.raises(UploadTooLarge, match="1000 bytes"):
            decode_upload(ONE_BYTE_MORE_THAN_IS_TAKEN, RATE, limits=limits)

    def test_as_large_as_may_be(self, tmp_path: Path) -> None:
        data = sound_of(tmp_path)
        limits = UploadLimits(upload_bytes=len(data))
        assert decode_upload(data, RATE, limits=limits).duration_s == 2

    def test_too_long(self, tmp_path: Path) -> None:
        data = sound_of(tmp_path)
        with pytest.raises(UploadTooLong, match=r"1\.5 s"):
            decode_upload(data, RATE, limits=UploadLimits(duration_s=1.5))
        assert decode_upload(data, RATE, limits=UploadLimits(duration_s=2)).duration_s == 2

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "it is empty"),
            (b"dear diary", "not audio"),
            (wav(b""), "no sound"),
            (b"fLaC" + bytes(100), "nothing in it could be read|can't be played"),
        ],
    )
    def test_no_sound_in_it(self, sandbox: Sandbox, data: bytes, reason: str) -> None:
        with pytest.raises(UploadUnreadable, match=reason) as error:
            sandbox.decode(data, RATE)
        assert "/" not in str(error.value)

    def test_time_is_up(self, slow: bytes) -> None:
        before = n_children()
        start = time.monotonic()
        with pytest.raises(UploadTimedOut):
            decode_upload(slow, RATE, limits=UploadLimits(wall_s=1))
        assert time.monotonic() - start < 3
        assert n_children() == before

    @linux
    def test_processor_time_is_up(self, slow: bytes) -> None:
        with pytest.raises(UploadTimedOut):
            decode_upload(slow, RATE, limits=UploadLimits(cpu_s=1, wall_s=60))

    @linux
    def test_too_little_memory(self, tmp_path: Path) -> None:
        limits = UploadLimits(memory_bytes=150 << 20)  # it has more already
        with pytest.raises(UploadUnreadable):
            decode_upload(sound_of(tmp_path, duration_s=60), RATE, limits=limits)

    def test_no_process_can_be_started(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(UploadError, match="could be started"):
            decode_upload(b"x", RATE)

    def test_too_many_at_once(self, monkeypatch: pytest.MonkeyPatch, slow: bytes) -> None:
        monkeypatch.setattr(sandbox_module, "_PATIENCE_S", 0.05)
        with Sandbox(at_once=1, ahead=0) as sandbox:
            thread = threading.Thread(target=sandbox.decode, args=(slow, RATE))
            thread.start()
            time.sleep(0.2)
            with pytest.raises(UploadsBusy):
                sandbox.decode(slow, RATE)
            thread.join()


class TestProcesses:
    def test_one_waits_and_each_is_used_once(self, tmp_path: Path) -> None:
        data = sound_of(tmp_path)
        before = n_children()
        with Sandbox(ahead=1) as sandbox:
            seen = set()
            for _ in range(3):
                assert n_children() == before + 1
                seen |= {child.pid for child in psutil.Process().children()}
                sandbox.decode(data, RATE)
            assert len(seen) >= 3
        assert n_children() == before

    def test_one_that_died_while_it_waited(self, tmp_path: Path) -> None:
        with Sandbox(ahead=1) as sandbox:
            os.kill(sandbox._waiting[0]._process.pid, 9)
            sandbox._waiting[0]._process.wait()
            assert sandbox.decode(sound_of(tmp_path), RATE).duration_s == 2

    def test_many_threads(self, tmp_path: Path) -> None:
        data = sound_of(tmp_path)
        durations = []
        with Sandbox(at_once=2, ahead=2) as sandbox:
            threads = [
                threading.Thread(
                    target=lambda: durations.append(sandbox.decode(data, RATE).duration_s)
                )
                for _ in range(6)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert durations == [2] * 6

    @linux
    def test_those_that_wait_end_with_the_server(self) -> None:
        code = (
            "import os; from alm2vec_search.serving.sandbox import Sandbox;"
            "s = Sandbox(ahead=2); print(*(c._process.pid for c in s._waiting), flush=True);"
            "os.kill(os.getpid(), 9)"
        )
        run = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        pids = [int(pid) for pid in run.stdout.split()]
        assert len(pids) == 2
        end = time.monotonic() + 10
        while any(map(is_running, pids)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not any(map(is_running, pids))

    def test_all_that_it_started_is_killed_with_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        code = (
            "import subprocess, sys, time;"
            "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']);"
            "time.sleep(99)"
        )
        monkeypatch.setattr(sandbox_module, "_START", code)
        before = n_children()
        with pytest.raises(UploadTimedOut):
            decode_upload(b"x", RATE, limits=UploadLimits(wall_s=1))
        time.sleep(0.1)
        assert n_children() == before

    @linux
    def test_nothing_slow_is_loaded(self) -> None:
        code = (
            "import sys, alm2vec_search.serving.sandbox_child as child;"
            "child.load_decoders(); print(*sys.modules)"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        loaded = {name.partition(".")[0] for name in run.stdout.split()}
        assert "av" in loaded
        slow = {"torch", "transformers", "qdrant_edge", "qdrant_client", "pydantic", "PIL", "rich"}
        assert loaded.isdisjoint(slow)

    @linux
    def test_what_it_sees_of_us(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET_TOKEN", "hush")
        secret = os.open("/etc/passwd", os.O_RDONLY)
        os.set_inheritable(secret, True)
        try:
            with Sandbox(ahead=1) as sandbox:
                pid = sandbox._waiting[0]._process.pid
                process = psutil.Process(pid)
                environment = set(process.environ())
                links = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
                assert os.getsid(pid) == pid
        finally:
            os.close(secret)
        assert environment <= {
            *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LC_CTYPE"),
            *("LD_LIBRARY_PATH",),
        }
        assert "/etc/passwd" not in links


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@linux
class TestLockdown:
    def test_limits(self) -> None:
        (line,) = run_in_child(
            "import resource\n"
            "print(*(resource.getrlimit(getattr(resource, 'RLIMIT_' + name))[0]"
            " for name in 'AS FSIZE NOFILE NPROC CORE'.split()))"
        )
        assert line.split() == [str(1 << 30), "1000", "32", "0", "0"]

    def test_no_more_memory(self) -> None:
        assert run_in_child("attempt('memory', lambda: len(bytearray(1 << 30)))") == [
            "memory MemoryError"
        ]

    def test_no_privileges_and_nobody_looks_in(self) -> None:
        lines = run_in_child(
            "import ctypes; libc = ctypes.CDLL(None)\n"
            "print(libc.prctl(39, 0, 0, 0, 0), libc.prctl(3, 0, 0, 0, 0))"
        )
        assert lines == ["1 0"]

    def test_no_files_and_no_connections(self, trap: Trap, tmp_path: Path) -> None:
        lines = run_in_child(
            "print(version)\n"
            "attempt('read', lambda: open('/etc/passwd').read())\n"
            "attempt('list', lambda: os.listdir('/'))\n"
            f"attempt('write', lambda: open({str(tmp_path / 'x')!r}, 'w').write('x'))\n"
            f"attempt('connect', lambda: socket.create_connection(('127.0.0.1', {trap.port})))\n",
            before="load_decoders(); import encodings.idna",
        )
        version = int(lines[0])
        if version == 0:
            pytest.skip("this kernel has no Landlock")
        assert lines[1:4] == [
            "read PermissionError",
            "list PermissionError",
            "write PermissionError",
        ]
        if version >= 4:
            assert lines[4] == "connect PermissionError"
            assert not trap.sprung()

    def test_files_of_a_limited_size(self, tmp_path: Path) -> None:
        code = "os.ftruncate(file, 0); attempt('write', lambda: os.write(file, bytes(2000)))"
        path = str(tmp_path / "x")
        lines = run_in_child(code, before=f"file = os.open({path!r}, os.O_CREAT | os.O_RDWR)")
        assert lines == ["write works 1000"]


class TestPlaylists:
    """FFmpeg's way to files and addresses that an upload names."""

    def test_nobody_comes_even_without_walls(self, tmp_path: Path, trap: Trap) -> None:
        """By the decoder itself, in this process, that may open files and connections."""
        for upload in playlists(trap.port):
            path = tmp_path / "x.wav"
            path.write_bytes(upload.data)
            with pytest.raises(DecodeError, match="not audio"):
                decode(path, RATE)
        assert not trap.sprung()

    def test_somebody_comes_where_ffmpeg_may_do_as_it_likes(
        self, tmp_path: Path, trap: Trap
    ) -> None:
        """So that the tests above can fail: the trap and the list are good."""
        path = tmp_path / "x.m3u8"
        path.write_bytes(playlists(trap.port)[6].data)
        likes = {"protocol_whitelist": "file,http,tcp", "allowed_extensions": "ALL"}
        with pytest.raises(av.FFmpegError):
            av.open(str(path), options=likes, timeout=1)
        assert trap.sprung()

    def test_each_wall_holds_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Lists aren't taken; and if they were, no other file could be opened."""
        sound_of(tmp_path)  # x.wav
        path = tmp_path / "list.wav"
        path.write_text(f"ffconcat version 1.0\nfile 'file:{tmp_path / 'x.wav'}'\n")
        av_open, fallen = av.open, {"safe": "0"}

        def open_with_fallen_walls(url: str, *, options: dict[str, str], **more: Any) -> Any:
            return av_open(url, options=options | fallen, **more)

        monkeypatch.setattr(av_decoder.av, "open", open_with_fallen_walls)
        with pytest.raises(DecodeError):
            decode(path, RATE)
        fallen["format_whitelist"] = "concat,wav"
        with pytest.raises(DecodeError):
            decode(path, RATE)
        fallen["protocol_whitelist"] = "fd,file"
        assert decode(path, RATE).duration_s == 2  # the list is good
        del fallen["format_whitelist"]
        with pytest.raises(DecodeError):
            decode(path, RATE)


class TestLies:
    """A child that was taken over says what it likes."""

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"i",
            b"\xff" * 1000,
            b"i\xff\xff\xff\xff",
            messages.END + b"\2\0\0\0{}",
            messages.MONO + b"\4\0\0\0\0\0\0\0",
            messages.INFO + b"\2\0\0\0[]",
            messages.INFO + b"\5\0\0\0" + b"[" * 5,
            messages.FAILED + b"\2\0\0\0{}",
        ],
    )
    def test_nonsense(self, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
        lie(monkeypatch, answer)
        with pytest.raises(UploadUnreadable):
            decode_upload(b"x", RATE)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("sampling_rate", value) for value in (0, -1, 1.5, "16000", None, True, 1 << 40)),
            *(("channels", value) for value in (0, 1 << 20)),
            *(("played_rate", value) for value in (0, 96_000)),
            *(("played_channels", value) for value in (0, 3)),
        ],
    )
    def test_numbers(self, monkeypatch: pytest.MonkeyPatch, field: str, value: object) -> None:
        lie(monkeypatch, answer_of(**{field: value}))
        with pytest.raises(UploadUnreadable, match="no sense"):
            decode_upload(b"x", RATE)

    @pytest.mark.parametrize("sample", [np.nan, np.inf, 1.5])
    def test_samples(self, monkeypatch: pytest.MonkeyPatch, sample: float) -> None:
        lie(monkeypatch, answer_of(mono=np.float32([0.5, sample]).tobytes()))
        with pytest.raises(UploadUnreadable, match="no sense"):
            decode_upload(b"x", RATE)

    @pytest.mark.parametrize(("mono", "played"), [(b"", b"12"), (b"1234", b""), (b"123", b"12")])
    def test_lengths(self, monkeypatch: pytest.MonkeyPatch, mono: bytes, played: bytes) -> None:
        lie(monkeypatch, answer_of(mono=mono, played=played))
        with pytest.raises(UploadUnreadable, match="no sense"):
            decode_upload(b"x", RATE)

    def test_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It may not fill our memory."""
        piece = messages.MONO + (1 << 20).to_bytes(4, "little") + bytes(1 << 20)
        lie(monkeypatch, answer_of(end=False), again=piece)
        with pytest.raises(UploadTooLong):
            decode_upload(b"x", RATE, limits=UploadLimits(duration_s=100))

    def test_what_people_see(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reason = json.dumps({"why": "unreadable", "reason": "\x1b[2J\n" + "x" * 9999}).encode()
        lie(monkeypatch, messages.FAILED + len(reason).to_bytes(4, "little") + reason)
        with pytest.raises(UploadUnreadable) as error:
            decode_upload(b"x", RATE)
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 300

    def test_the_truth_is_believed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lie(monkeypatch, answer_of())
        upload = decode_upload(b"x", RATE)
        assert (upload.sampling_rate, upload.channels, upload.note) == (44_100, 6, None)
        np.testing.assert_array_equal(upload.waveform.samples, np.float32([0.5, -0.5]))


def answer_of(
    *, mono: bytes = np.float32([0.5, -0.5]).tobytes(), played: bytes = b"1234", end: bool = True,
    **info: object,
) -> bytes:  # fmt: skip
    out = io.BytesIO()
    fields = {"sampling_rate": 44_100, "channels": 6, "played_rate": 48_000, "played_channels": 1}
    messages.send_json(out, messages.INFO, **fields | info)
    if mono:
        messages.send(out, messages.MONO, mono)
    if played:
        messages.send(out, messages.PLAYED, played)
    if end:
        messages.send_json(out, messages.END, note=None)
    return out.getvalue()


def lie(monkeypatch: pytest.MonkeyPatch, answer: bytes, *, again: bytes = b"") -> None:
    code = (
        f"import sys; sys.stdin.buffer.read(1); out = sys.stdout.buffer; out.write({answer!r})\n"
        f"piece = {again[:5]!r} + bytes({max(0, len(again) - 5)})\n"
        "while len(piece) > 5: out.write(piece)\n"
    )
    monkeypatch.setattr(sandbox_module, "_START", code)


@linux
def test_hostile_uploads(tmp_path: Path, own_temporary_folder: Path, trap: Trap) -> None:
    """Each ends in a sound or in one of our errors, in time, and leaves nothing behind."""
    uploads = hostile_uploads(tmp_path, trap.port)
    assert len(uploads) >= 200
    children, process = n_children(), psutil.Process()
    descriptors = process.num_fds()
    outcomes: dict[str, str] = {}
    said: list[str] = []
    with Sandbox(ahead=2) as sandbox:

        def send(upload: HostileUpload) -> None:
            start = time.monotonic()
            try:
                sound = sandbox.decode(upload.data, RATE)
            except UploadError as error:
                outcomes[upload.name] = type(error).__name__
                said.append(str(error))
            else:
                outcomes[upload.name] = "sound"
                assert np.isfinite(sound.waveform.samples).all()
                assert 0 < sound.duration_s <= 601
            assert time.monotonic() - start < 15, upload.name

        sandbox.decode(sound_of(tmp_path), RATE)
        before = process.memory_info().rss
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(send, uploads))
        grown = process.memory_info().rss - before
    assert len(outcomes) == len(uploads)
    assert not [text for text in said if str(own_temporary_folder) in text or "/" in text]
    lists = {outcome for name, outcome in outcomes.items() if " of /etc" in name or "m3u8" in name}
    assert lists == {"UploadUnreadable"}
    assert set(outcomes.values()) == {"sound", "UploadUnreadable", "UploadTooLong"}
    bombs = {outcome for name, outcome in outcomes.items() if name.startswith("bomb")}
    assert bombs == {"UploadTooLong"}
    assert n_children() == children
    assert process.num_fds() <= descriptors  # other tests' may have been closed meanwhile
    assert list(own_temporary_folder.iterdir()) == []
    assert not trap.sprung()
    # What two sounds of ten minutes take at once may stay with the allocator. All that were sent
    # would be gigabytes.
    assert grown < 300_000_000

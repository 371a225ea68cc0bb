"""`alm2vec serve` as its user starts it: a process, an address, a browser's requests."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_line import CommandLine

ALM2VEC = (sys.executable, "-m", "alm2vec_search.cli")
SAMPLES = Path(__file__).parents[2] / "samples"
TOKEN = "ALM2VEC_TOKEN"


@contextmanager
def serving(*options: str) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """The address, what was said until then, and the process."""
    with subprocess.Popen(
        [*ALM2VEC, "serve", "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stderr is not None
        try:
            said = ""
            while not (found := re.search(r"http://\S+", said)):
                line = process.stderr.readline()
                assert line, f"it ended: {said}"
                said += line
            yield found[0], said, process
        finally:
            process.kill()


@pytest.fixture
def animals(alm2vec: CommandLine) -> None:
    assert alm2vec("index", SAMPLES / "animals", "-q").exit_code == 0


@pytest.mark.usefixtures("animals")
def test_search_and_listen_and_stop() -> None:
    with serving() as (address, said, process), httpx.Client(base_url=address) as client:
        assert address.startswith("http://127.0.0.1:")
        assert "#token" not in said
        assert "<title>" in client.get("/").text
        [hit] = client.post("/v1/search", json={"text": "dog barking", "limit": 1}).json()["hits"]
        assert hit["path"].endswith("animals/REC_0042.wav")
        span = {"start": 0, "end": 1}
        clip = client.get(f"/v1/sounds/{hit['sound']}/audio", params=span)
        assert clip.content[:4] == b"RIFF"
        process.send_signal(signal.SIGINT)
        rest = process.communicate(timeout=20)[1]
        assert process.returncode in (0, 130)
        assert "Traceback" not in rest
        assert "dog" not in said + rest  # what is asked is nobody's business


@pytest.mark.usefixtures("animals")
def test_everywhere_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("--host", "0.0.0.0") as (address, _, _process):
        base, _, token = address.partition("#token=")
        assert len(token) >= 32
        here = base.replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(f"{here}v1/status").status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{here}v1/status", headers=headers).status_code == 200
    monkeypatch.setenv(TOKEN, "of my own")
    with serving() as (address, _, _process):
        headers = {"Authorization": "Bearer of my own"}
        here = address.partition("#")[0]
        assert httpx.get(f"{here}v1/status").status_code == 401
        assert httpx.get(f"{here}v1/status", headers=headers).status_code == 200


def test_before_anything_is_indexed(alm2vec: CommandLine) -> None:
    with serving() as (address, said, _process):
        assert "nothing to search" in said
        assert httpx.post(f"{address}v1/search", json={"text": "x"}).status_code == 503
        assert alm2vec("index", SAMPLES / "animals", "-q").exit_code == 0
        answer = httpx.post(f"{address}v1/search", json={"text": "dog barking"}, timeout=60)
        assert answer.json()["hits"]


def test_a_port_that_is_taken(alm2vec: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        answer = alm2vec("serve", "--port", str(taken.getsockname()[1]))
    assert answer.exit_code == 2
    assert "can't listen on 127.0.0.1" in answer.err
    assert "--port" in answer.err

"""The whole of it in containers: built, started, a library indexed and searched, and taken down.

    pytest -m docker tests/test_docker.py

Asked for by its marker only: it builds an image and fetches Qdrant's, some gigabytes in all.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from compose_files import CLUSTER, COMPOSE, ROOT, find_compose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.docker

BUILD_S, STEP_S = 3600, 600
DOG = "/library/animals/REC_0042.wav"


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


@dataclass(frozen=True)
class Stack:
    """The services of one project, which nothing else on this machine belongs to."""

    compose: tuple[str, ...]  # how it is called for this project
    env: dict[str, str]
    key: str
    token: str
    port: int
    qdrant_port: int

    def run(self, *arguments: str, timeout_s: float = STEP_S) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.compose, *arguments],
            env=self.env,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def must(self, *arguments: str, timeout_s: float = STEP_S) -> str:
        done = self.run(*arguments, timeout_s=timeout_s)
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def get(self, path: str, *, port: int | None = None, **headers: str) -> tuple[int, Any]:
        """The status and the JSON of an answer; straight to this machine, past any proxy."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{port or self.port}{path}",
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, None


@pytest.fixture(scope="module")
def image(request: pytest.FixtureRequest) -> Iterator[str]:
    """The image of this tree, under a name of its own."""
    if "docker" not in (request.config.getoption("-m") or ""):
        pytest.skip("ask for it: pytest -m docker")
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine runs here")
    name = f"alm2vec-search-test:{secrets.token_hex(4)}"
    subprocess.run(["docker", "build", "--tag", name, str(ROOT)], check=True, timeout=BUILD_S)
    yield name
    subprocess.run(["docker", "image", "rm", name], check=False)


def started(image: str, folder: Path, *files: Path) -> Iterator[Stack]:
    compose = find_compose()
    if compose is None:
        pytest.skip("no Docker Compose 2.20 or newer")
    key, token = secrets.token_hex(24), secrets.token_hex(24)
    port, qdrant_port = free_port(), free_port()
    env_file = folder / ".env"
    env_file.write_text(
        f"QDRANT_API_KEY={key}\nALM2VEC_TOKEN={token}\nALM2VEC_LIBRARY={ROOT / 'samples'}\n"
        f"ALM2VEC_PORT={port}\nQDRANT_PORT={qdrant_port}\nALM2VEC_IMAGE={image}\n"
    )
    named = [argument for file in files for argument in ("--file", str(file))]
    project = ["--project-name", f"alm2vec-test-{secrets.token_hex(4)}"]
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ALM2VEC_", "QDRANT_", "COMPOSE_", "HF_"))
    }
    stack = Stack(
        (*compose, "--env-file", str(env_file), *named, *project),
        env,
        key,
        token,
        port,
        qdrant_port,
    )
    try:
        yield stack
    finally:
        stack.run("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "10")


@pytest.fixture(scope="module")
def stack(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Started and indexed, as docs/docker.md says."""
    for stack in started(image, tmp_path_factory.mktemp("stack"), COMPOSE):
        stack.must("up", "--detach", "--wait", "--no-build")
        stack.must("run", "--rm", "-T", "index")
        yield stack


def test_it_is_found_by_the_command(stack: Stack) -> None:
    found = stack.must("exec", "-T", "app", "alm2vec", "search", "dog barking", "-k", "3", "--json")

    hits = [json.loads(line) for line in found.splitlines()]
    assert hits[0]["path"] == DOG


def test_it_is_found_over_http_with_the_token(stack: Stack) -> None:
    path = "/v1/search?" + urllib.parse.urlencode({"text": "dog barking", "limit": 3})

    assert stack.get("/health")[0] == 200
    assert stack.get(path)[0] == 401
    status, answer = stack.get(path, Authorization=f"Bearer {stack.token}")
    assert status == 200
    assert DOG in json.dumps(answer)


def test_qdrant_asks_for_its_key(stack: Stack) -> None:
    assert stack.get("/collections", port=stack.qdrant_port)[0] in {401, 403}
    status, answer = stack.get("/collections", port=stack.qdrant_port, api_key=stack.key)
    assert status == 200
    assert answer["result"]["collections"]


def test_an_unchanged_library_is_not_read_again(stack: Stack) -> None:
    again = stack.run("run", "--rm", "-T", "index")

    assert again.returncode == 0
    assert "unchanged: 45 files" in again.stdout + again.stderr


def test_index_takes_options(stack: Stack) -> None:
    stack.must("run", "--rm", "-T", "index", "--dry-run")


@pytest.mark.parametrize("place", ["/library/new", "/opt/new", "/etc/new", "/new"])
def test_nothing_can_be_written_but_its_data(stack: Stack, place: str) -> None:
    assert stack.run("exec", "-T", "app", "touch", place).returncode != 0
    stack.must("exec", "-T", "app", "sh", "-c", "touch /data/new /tmp/new && rm /data/new /tmp/new")


def test_it_runs_as_its_own_user_without_rights(stack: Stack) -> None:
    status = stack.must("exec", "-T", "app", "cat", "/proc/self/status")

    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(lines["Uid"].split()) == {"10001"}
    assert int(lines["CapBnd"], 16) == 0
    assert lines["NoNewPrivs"] == "1"


def test_the_index_outlives_its_containers(stack: Stack) -> None:
    stack.must("down")
    stack.must("up", "--detach", "--wait", "--no-build")

    test_it_is_found_by_the_command(stack)


def test_a_cluster_answers_without_one_of_its_nodes(image: str, tmp_path: Path) -> None:
    for stack in started(image, tmp_path, COMPOSE, CLUSTER):
        stack.must("up", "--detach", "--wait", "--no-build")
        stack.must("run", "--rm", "-T", "index")
        _, cluster = stack.get("/cluster", port=stack.qdrant_port, api_key=stack.key)
        assert len(cluster["result"]["peers"]) == 3

        stack.must("stop", "qdrant-3")

        test_it_is_found_by_the_command(stack)

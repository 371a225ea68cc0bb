"""The compose files and the Dockerfile: whole, closed to the outside, and with nothing left open.

No Docker engine is needed but for the last test, which brings all of it up.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
SINGLE, CLUSTER = "docker-compose.yml", "docker-compose.cluster.yml"
SETS = [(SINGLE,), (SINGLE, CLUSTER)]
PROFILES = ("index", "gpu", "index-gpu")
SECRETS = {"QDRANT_API_KEY": "a-key", "ALM2VEC_TOKEN": "a-token"}
OURS = {"app", "index", "app-gpu", "index-gpu"}


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text())  # type: ignore[no-any-return]


def compose() -> list[str] | None:
    """The command that is here: the plugin, or the program that it replaced."""
    if (
        shutil.which("docker")
        and not subprocess.run(
            ["docker", "compose", "version"], capture_output=True, check=False
        ).returncode
    ):
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def without_what_is_new(document: dict[str, Any]) -> dict[str, Any]:
    """Compose 1 knows neither a project's name in a file, nor that a mount may not be made."""
    rest = {key: value for key, value in document.items() if key != "name"}
    for service in rest["services"].values():
        for volume in service.get("volumes", ()):
            if isinstance(volume, dict):
                volume.pop("bind", None)
    return rest


def resolved(names: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """The files together, as Compose understands them."""
    command = compose()
    if command is None:
        if os.environ.get("CI"):
            pytest.fail("neither docker compose nor docker-compose is here")
        pytest.skip("neither docker compose nor docker-compose is here")
    if command == ["docker-compose"]:
        for name in names:
            (folder / name).write_text(yaml.safe_dump(without_what_is_new(read(name))))
    else:
        for name in names:
            shutil.copy(ROOT / name, folder)
    files = [word for name in names for word in ("--file", str(folder / name))]
    profiles = [word for profile in PROFILES for word in ("--profile", profile)]
    done = subprocess.run(
        [*command, *files, *profiles, "config"],
        capture_output=True,
        text=True,
        env={**os.environ, **SECRETS},
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)  # type: ignore[no-any-return]


@pytest.fixture(params=SETS, ids=["single", "cluster"])
def services(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return resolved(request.param, tmp_path)["services"]  # type: ignore[no-any-return]


class TestTogether:
    def test_all_are_there(self, services: dict[str, Any]) -> None:
        assert services.keys() >= OURS | {"qdrant"}

    def test_nothing_is_open_to_the_outside(self, services: dict[str, Any]) -> None:
        ports = [str(port) for service in services.values() for port in service.get("ports", ())]
        assert ports
        assert all("127.0.0.1" in port for port in ports)
        assert not any("6335" in port for port in ports)  # which takes writes of other nodes

    def test_the_library_is_read_only(self, services: dict[str, Any]) -> None:
        for name in OURS:
            mounts = [mount for mount in services[name]["volumes"] if "/library" in str(mount)]
            assert len(mounts) == 1
            [mount] = mounts
            is_read_only = mount.endswith(":ro") if isinstance(mount, str) else mount["read_only"]
            assert is_read_only

    def test_nobody_has_more_rights_than_needed(self, services: dict[str, Any]) -> None:
        for service in services.values():
            assert "no-new-privileges:true" in service["security_opt"]
            assert service["cap_drop"] == ["ALL"]
            assert not service.get("privileged")
        assert all(services[name]["read_only"] for name in OURS)

    def test_every_image_is_pinned(self, services: dict[str, Any]) -> None:
        for service in services.values():
            tag = service["image"].rpartition(":")[2]
            assert re.search(r"\d+\.\d+\.\d+", tag), service["image"]

    def test_the_commands_find_the_server_and_its_key(self, services: dict[str, Any]) -> None:
        for name in OURS:
            environment = services[name]["environment"]
            assert re.fullmatch(r"http://qdrant[a-z-]*:6333", environment["ALM2VEC_STORE"])
            assert environment["ALM2VEC_API_KEY"] == SECRETS["QDRANT_API_KEY"]
        for name in ("app", "app-gpu"):
            assert services[name]["environment"]["ALM2VEC_TOKEN"] == SECRETS["ALM2VEC_TOKEN"]


def test_nodes_of_the_cluster_are_as_the_single_one(tmp_path: Path) -> None:
    services = resolved((SINGLE, CLUSTER), tmp_path)["services"]
    first, second = services["qdrant"], services["qdrant-2"]
    for key in ("image", "security_opt", "cap_drop", "ulimits", "mem_limit"):
        assert first[key] == second[key], key
    assert first["healthcheck"]["test"] == second["healthcheck"]["test"]
    nodes = [name for name in services if name.startswith("qdrant")]
    assert len(nodes) == 3
    stores = [str(services[name]["volumes"]) for name in nodes]
    assert len(set(stores)) == 3


class TestVariables:
    TEXT = "".join((ROOT / name).read_text() for name in (SINGLE, CLUSTER))

    def test_each_is_explained(self) -> None:
        explained = (ROOT / ".env.example").read_text()
        named = set(re.findall(r"\$\{([A-Z0-9_]+)", self.TEXT))
        assert named
        for name in named | {"ALM2VEC_MODEL", "HF_TOKEN", "HF_HUB_OFFLINE"}:
            assert re.search(rf"^(# )?{name}=", explained, re.MULTILINE), name

    @pytest.mark.parametrize("name", SECRETS)
    def test_secrets_must_be_set_and_are_nowhere_else(self, name: str) -> None:
        uses = re.findall(rf"\$\{{{name}([^}}]*)\}}", self.TEXT)
        assert uses
        assert all(use.startswith(":?") for use in uses)
        explained = (ROOT / ".env.example").read_text()
        assert re.search(rf"^{name}=$", explained, re.MULTILINE)

    def test_the_file_of_secrets_is_never_committed_nor_in_the_image(self) -> None:
        ignored = subprocess.run(["git", "check-ignore", "-q", ".env"], cwd=ROOT, check=False)
        assert ignored.returncode == 0
        wanted = (ROOT / ".dockerignore").read_text().splitlines()
        assert wanted[1] == "*"  # all but what is named
        assert "!.env" not in wanted


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server on loopback that answers everything with one status: its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class TestHealth:
    """The checks, really run: by the shell of the image, and by its Python."""

    def checks(self, port: int) -> list[list[str]]:
        test = read(SINGLE)["services"]["qdrant"]["healthcheck"]["test"]
        assert test[0] == "CMD"
        of_qdrant = [word.replace("6333", str(port)) for word in test[1:]]
        of_ours = [sys.executable, str(ROOT / "docker" / "healthcheck.py"), str(port)]
        return [of_qdrant, of_ours]

    @pytest.mark.parametrize(("status", "is_well"), [(200, True), (503, False), (404, False)])
    def test_by_the_answer(self, status: int, is_well: bool) -> None:
        with answering(status) as port:
            for check in self.checks(port):
                done = subprocess.run(check, capture_output=True, check=False)
                assert (done.returncode == 0) == is_well, check

    def test_nobody_there(self) -> None:
        for check in self.checks(1):
            assert subprocess.run(check, capture_output=True, check=False).returncode == 1


class TestImage:
    LINES = (ROOT / "Dockerfile").read_text().splitlines()

    def test_it_runs_as_a_user(self) -> None:
        users = [line.split()[1] for line in self.LINES if line.startswith("USER")]
        assert users
        assert users[-1].split(":")[0] not in ("root", "0")

    def test_nothing_is_fetched_unseen(self) -> None:
        text = "\n".join(self.LINES)
        assert not re.search(r"^ADD ", text, re.MULTILINE)
        assert ":latest" not in text
        assert "--require-hashes" in text
        for image in re.findall(r"^ARG PYTHON_IMAGE=(\S+)", text, re.MULTILINE):
            assert re.search(r":\d+\.\d+\.\d+", image)

    def test_all_that_is_copied_is_let_in(self) -> None:
        let_in = {
            line[1:]
            for line in (ROOT / ".dockerignore").read_text().splitlines()
            if line[:1] == "!"
        }
        copied = re.findall(r"^COPY (?!--from)(.+) \S+$", "\n".join(self.LINES), re.MULTILINE)
        for path in " ".join(copied).split():
            assert (ROOT / path).exists(), path
            covered = {path, path.split("/")[0], f"docker/*{Path(path).suffix}"}
            assert covered & let_in, path

    def test_the_lists_hold_what_the_project_wants(self) -> None:
        """Its own dependencies, at the versions that it is tested with."""
        import tomllib

        from packaging.requirements import Requirement
        from packaging.utils import canonicalize_name

        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        tested = _pins((ROOT / "constraints.txt").read_text())
        for flavour in ("cpu", "gpu"):
            pins = _pins((ROOT / "docker" / f"{flavour}.lock").read_text())
            if flavour == "cpu":
                pins |= _pins((ROOT / "docker" / "torch-cpu.lock").read_text())
            for wanted in map(Requirement, project["dependencies"]):
                name = canonicalize_name(wanted.name)
                assert pins[name].split("+")[0] == tested[name], (flavour, name)


def _pins(text: str) -> dict[str, str]:
    from packaging.utils import canonicalize_name

    found = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s\\;]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


@pytest.mark.docker
def test_the_stack_indexes_and_searches(tmp_path: Path) -> None:
    """Everything for real, on the samples: minutes, and images of gigabytes."""
    import httpx

    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no Docker engine is running")
    environment = {
        **os.environ,
        **SECRETS,
        "ALM2VEC_LIBRARY": str(ROOT / "samples"),
        "ALM2VEC_PORT": "18765",
        "QDRANT_PORT": "16333",
    }
    project = [
        "docker",
        "compose",
        "--project-name",
        "alm2vec-test",
        "--project-directory",
        str(ROOT),
    ]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*project, *words], env=environment, check=True, capture_output=True, text=True
        )

    try:
        run("build", "app")
        run("run", "--rm", "index")
        run("up", "--detach", "--wait")
        base = "http://127.0.0.1:18765"
        assert httpx.get(f"{base}/v1/status").status_code == 401
        headers = {"Authorization": f"Bearer {SECRETS['ALM2VEC_TOKEN']}"}
        body = {"text": "dog barking", "limit": 1}
        answer = httpx.post(f"{base}/v1/search", json=body, headers=headers, timeout=60)
        [hit] = answer.json()["hits"]
        assert hit["path"] == "/library/animals/REC_0042.wav"
        audio = httpx.get(f"{base}/v1/sounds/{hit['sound']}/audio", headers=headers, timeout=60)
        assert audio.content[:4] == b"RIFF"
        again = json.loads(run("run", "--rm", "index", "--json").stdout.splitlines()[-1])
        assert again
        time.sleep(1)
    finally:
        subprocess.run([*project, "down", "--volumes"], env=environment, check=False)

"""The image, checked without a Docker engine. test_docker.py builds it for real."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from compose_files import ROOT, instructions
from loopback import answering, nobody
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

DOCKERFILE = ROOT / "Dockerfile"
LOCKS = ("cpu", "gpu", "torch-cpu", "build")
HADOLINT = Path(sys.executable).with_name("hadolint")


def lock(name: str) -> dict[str, str]:
    """The version of each package of one list."""
    text = (ROOT / f"docker/{name}.lock").read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.M))


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if "==" in line]
    return {canonicalize_name(name): version for name, version in pairs}


def required() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"]]


def lint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HADOLINT, "--no-color", dockerfile], capture_output=True, text=True, check=False
    )


needs_hadolint = pytest.mark.skipif(not HADOLINT.exists(), reason="no hadolint for this platform")


@needs_hadolint
def test_hadolint_has_nothing_to_say() -> None:
    linted = lint(DOCKERFILE)

    assert linted.returncode == 0, linted.stdout


@needs_hadolint
def test_hadolint_would_say_it(tmp_path: Path) -> None:
    careless = tmp_path / "Dockerfile"
    careless.write_text("FROM python:latest\nADD https://example.org/x /x\nUSER root\n")

    said = lint(careless).stdout

    assert {"DL3002", "DL3007"} <= set(re.findall(r"DL\d+", said))


def test_images_it_starts_from_are_pinned() -> None:
    told = instructions(DOCKERFILE.read_text())
    defaults = dict(text.split("=", 1) for name, text in told if name == "ARG")

    assert [text for name, text in told if name == "FROM"] == [
        "${PYTHON_IMAGE} AS build",
        "${PYTHON_IMAGE}",
    ]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-[a-z]+", defaults["PYTHON_IMAGE"])
    assert "latest" not in DOCKERFILE.read_text()


def test_it_ends_as_an_unprivileged_user_with_a_fixed_number() -> None:
    told = instructions(DOCKERFILE.read_text())
    final = told[max(place for place, (name, _) in enumerate(told) if name == "FROM") :]

    (user,) = [text for name, text in final if name == "USER"]
    uid, gid = map(int, user.split(":"))
    assert uid >= 1000
    assert gid >= 1000
    assert f"--uid {uid} --gid {gid}" in dict(final)["RUN"]
    assert [name for name, _ in final if name == "RUN"] == ["RUN"]
    after = [name for name, _ in final[final.index(("USER", user)) :]]
    assert not {"RUN", "COPY", "ADD"} & set(after)
    assert dict(final)["ENTRYPOINT"] == '["alm2vec"]'
    assert dict(final)["VOLUME"] == '["/data"]'


def test_nothing_is_fetched_but_what_the_lists_say() -> None:
    told = instructions(DOCKERFILE.read_text())
    installs = re.findall(r"\binstall (--require-hashes[^&;]*)", " ".join(t for _, t in told))

    assert not [text for name, text in told if name == "ADD"]
    assert not re.search(r"\b(apt-get|curl|wget|gcc|git)\b", " ".join(t for _, t in told))
    assert len(installs) == 2
    assert all("--only-binary :all:" in install for install in installs)


def test_only_what_the_image_is_made_of_goes_to_the_builder() -> None:
    patterns = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    kept = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    copied = {
        source
        for name, text in instructions(DOCKERFILE.read_text())
        if name == "COPY" and not text.startswith("--from")
        for source in text.split()[:-1]
    }

    assert patterns[0] == "*"
    assert all((ROOT / source).exists() for source in copied)
    assert {re.sub(r"docker/[\w-]+\.lock", "docker/*.lock", source) for source in copied} == kept


@pytest.mark.parametrize("name", LOCKS)
def test_every_file_has_a_hash(name: str) -> None:
    text = (ROOT / f"docker/{name}.lock").read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.M)[1:]

    assert entries
    assert len(entries) == len(lock(name))
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==\S+ \\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n)+", entry), (
            entry
        )


@pytest.mark.parametrize("flavour", ["cpu", "gpu"])
def test_the_lists_hold_all_that_is_wanted(flavour: str) -> None:
    """If not, `sh docker/lock.sh` writes them anew."""
    locked = lock(flavour) | (lock("torch-cpu") if flavour == "cpu" else {})

    for requirement in required():
        name = canonicalize_name(requirement.name)
        assert name in locked, f"docker/{flavour}.lock lacks {name}: sh docker/lock.sh"
        assert requirement.specifier.contains(locked[name]), name


@pytest.mark.parametrize("name", LOCKS)
def test_the_lists_hold_the_versions_that_are_tested(name: str) -> None:
    tested = constraints()

    for package, version in lock(name).items():
        if package in tested:
            assert Version(version).public == tested[package], f"{package}: sh docker/lock.sh"


def test_cuda_comes_with_the_image_for_a_gpu_and_with_no_other() -> None:
    def is_cuda(package: str) -> bool:
        return package == "triton" or package.startswith(("nvidia-", "cuda-"))

    assert not any(map(is_cuda, lock("cpu")))
    assert len([package for package in lock("gpu") if is_cuda(package)]) > 5
    assert "torch" not in lock("cpu")
    assert Version(lock("torch-cpu")["torch"]).local == "cpu"
    assert Version(lock("torch-cpu")["torch"]).public == lock("gpu")["torch"]


def health(port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "docker/healthcheck.py"), str(port)],
        env={"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_health_check_of_the_server() -> None:
    with answering(200, "/health") as port:
        assert health(port).returncode == 0
    with answering(503, "/health") as port:
        assert (health(port).returncode, health(port).stderr.strip()) == (
            1,
            "GET /health was answered with 503",
        )
    with nobody() as port:
        done = health(port)
        assert done.returncode == 1
        assert f"no answer on port {port}" in done.stderr


def test_the_health_check_asks_where_the_server_listens() -> None:
    told = dict(instructions(DOCKERFILE.read_text()))

    assert '"--port", "8765"' in told["CMD"]
    assert told["EXPOSE"] == "8765"
    assert "else 8765" in (ROOT / "docker/healthcheck.py").read_text()

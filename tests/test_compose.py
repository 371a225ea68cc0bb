"""What Docker is told, checked without a Docker engine. test_docker.py runs it for real."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from compose_files import CLUSTER, COMPOSE, ROOT, SECRETS, environment_file, find_compose, services
from loopback import answering, nobody

if TYPE_CHECKING:
    from pathlib import Path

OURS = ("app", "index", "app-gpu", "index-gpu")
NODES = ("qdrant", "qdrant-2", "qdrant-3")
COMPOSE_HERE = find_compose()
PROFILES = ("gpu", "index", "index-gpu")
PROFILE_SETS = [chosen for count in range(4) for chosen in itertools.combinations(PROFILES, count)]


def example() -> str:
    return (ROOT / ".env.example").read_text()


# -- the form


def against_the_specification(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", [COMPOSE, CLUSTER], ids=lambda path: path.name)
def test_files_follow_the_compose_specification(path: Path) -> None:
    checked = against_the_specification(path)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_misspelt_key_does_not_follow_it(tmp_path: Path) -> None:
    misspelt = tmp_path / "docker-compose.yml"
    misspelt.write_text(COMPOSE.read_text().replace("    healthcheck:\n", "    healtcheck:\n"))

    checked = against_the_specification(misspelt)

    assert checked.returncode == 1
    assert "healtcheck" in checked.stdout


needs_compose = pytest.mark.skipif(COMPOSE_HERE is None, reason="no Docker Compose 2.20 or newer")


def configured(
    *arguments: str, files: tuple[Path, ...], without: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """What `docker compose config` says, with both secrets set but the one named by `without`."""
    assert COMPOSE_HERE is not None
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {name: f"of-{name}" for name in SECRETS - {without}} | variables
    named = [argument for file in files for argument in ("--file", str(file))]
    return subprocess.run(
        [*COMPOSE_HERE, "--env-file", os.devnull, *named, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@needs_compose
@pytest.mark.parametrize("profiles", PROFILE_SETS, ids=lambda chosen: "+".join(chosen) or "none")
@pytest.mark.parametrize("files", [(COMPOSE,), (COMPOSE, CLUSTER)], ids=["single", "cluster"])
def test_compose_itself_takes_them(files: tuple[Path, ...], profiles: tuple[str, ...]) -> None:
    chosen = [argument for profile in profiles for argument in ("--profile", profile)]

    done = configured(*chosen, "config", "--format", "json", files=files)

    assert done.returncode == 0, done.stderr
    names = {"qdrant", "app"} | {{"gpu": "app-gpu"}.get(profile, profile) for profile in profiles}
    assert set(json.loads(done.stdout)["services"]) == names | (
        {"qdrant-2", "qdrant-3"} if CLUSTER in files else set()
    )


@needs_compose
@pytest.mark.parametrize("secret", sorted(SECRETS))
def test_compose_starts_nothing_without_a_secret(secret: str) -> None:
    missing = configured("config", files=(COMPOSE,), without=secret)
    empty = configured("config", files=(COMPOSE,), **{secret: ""})

    for done in (missing, empty):
        assert done.returncode != 0
        assert secret in done.stderr


@needs_compose
def test_a_cluster_as_compose_lays_it_over_the_single_node() -> None:
    done = configured(
        "--profile",
        "*",
        "config",
        "--format",
        "json",
        files=(COMPOSE, CLUSTER),
        ALM2VEC_MODEL="a/b",
    )
    merged = json.loads(done.stdout)

    assert merged["name"] == "alm2vec-cluster"
    for name in OURS:
        service = merged["services"][name]
        assert service["environment"]["ALM2VEC_STORE"] == "http://qdrant-cluster:6333"
        assert service["environment"]["ALM2VEC_API_KEY"] == "of-QDRANT_API_KEY"
        assert service["environment"]["ALM2VEC_MODEL"] == "a/b"
        assert set(service["depends_on"]) == set(NODES)
    volumes = [
        volume["source"]
        for name in NODES
        for volume in merged["services"][name]["volumes"]
        if volume["target"] == "/qdrant/storage"
    ]
    assert len(set(volumes)) == 3


# -- what is open, and to whom


@pytest.mark.parametrize("path", [COMPOSE, CLUSTER], ids=lambda path: path.name)
def test_ports_are_published_on_loopback_only(path: Path) -> None:
    for name, service in services(path).items():
        for port in service.get("ports", []):
            assert isinstance(port, str), f"{name}: {port}"
            assert re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port), f"{name}: {port}"
            assert not port.endswith(":6335"), "the port between nodes takes writes"
        assert service.get("network_mode") is None


def test_what_is_published() -> None:
    published = {name for name, service in services(COMPOSE).items() if "ports" in service}

    assert published == {"qdrant", "app", "app-gpu"}
    assert not any("ports" in service for service in services(CLUSTER).values())


def test_secrets_must_be_set_and_are_nowhere_written_down() -> None:
    for text in (COMPOSE.read_text(), CLUSTER.read_text()):
        for secret in SECRETS:
            uses = re.findall(rf"\$\{{?{secret}\b[^}}\s]*", text)
            assert all(use.startswith(f"${{{secret}:?") for use in uses), uses
        for name, value in re.findall(
            r"^\s+(\w*(?:KEY|TOKEN|SECRET|PASSWORD)\w*): *(.*)$", text, re.M
        ):
            is_passed_on = value == "" or value.startswith("${")
            assert is_passed_on, f"{name} is written down"
    assert {environment_file(example())[secret] for secret in SECRETS} == {""}


def test_the_server_asks_for_a_token_and_qdrant_for_a_key() -> None:
    ours = services(COMPOSE)

    assert ours["qdrant"]["environment"]["QDRANT__SERVICE__API_KEY"].startswith(
        "${QDRANT_API_KEY:?"
    )
    for name in OURS:
        assert ours[name]["environment"]["ALM2VEC_API_KEY"].startswith("${QDRANT_API_KEY:?")
        has_token = "ALM2VEC_TOKEN" in ours[name]["environment"]
        assert has_token == ("ports" in ours[name])


def test_the_library_is_read_only_and_at_one_path() -> None:
    mounts = []
    for name in OURS:
        (library,) = [
            volume for volume in services(COMPOSE)[name]["volumes"] if isinstance(volume, dict)
        ]
        assert library["read_only"] is True
        assert library["bind"] == {"create_host_path": False}
        mounts.append((library["source"], library["target"]))
    assert len(set(mounts)) == 1
    assert services(COMPOSE)["index"]["entrypoint"][-1] == mounts[0][1]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_little(name: str) -> None:
    service = services(COMPOSE)[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"][0].startswith("/tmp:")
    assert service["mem_limit"].startswith("${")
    assert service["depends_on"]["qdrant"] == {"condition": "service_healthy"}
    assert not {"privileged", "pid", "ipc", "user", "cap_add"} & set(service)
    written = [v.split(":")[1] for v in service["volumes"] if isinstance(v, str)]
    assert written == ["/data"]


def test_a_gpu_is_asked_for_where_it_is_used() -> None:
    for name, service in services(COMPOSE).items():
        assert ("deploy" in service) == name.endswith("-gpu")
        if name.endswith("-gpu"):
            assert service["environment"]["ALM2VEC_DEVICE"] == "cuda"
            assert service["build"]["args"]["FLAVOUR"] == "gpu"
            (device,) = service["deploy"]["resources"]["reservations"]["devices"]
            assert device["capabilities"] == ["gpu"]


# -- Qdrant


def test_nodes_of_a_cluster_are_as_the_single_node() -> None:
    single = services(COMPOSE)["qdrant"]
    cluster = services(CLUSTER)

    for name in ("qdrant-2", "qdrant-3"):
        node = cluster[name]
        same = set(single) - {"environment", "ports", "volumes"}
        assert {key: node[key] for key in same} == {key: single[key] for key in same}
        assert {volume.split(":")[1] for volume in node["volumes"]} == {
            volume.split(":")[1] for volume in single["volumes"]
        }
        assert single["environment"].items() <= node["environment"].items()
    assert {cluster[name]["environment"]["QDRANT_URI"] for name in NODES} == {
        f"http://{name}:6335" for name in NODES
    }
    for name in NODES:
        said = cluster[name]["environment"]
        assert said["QDRANT_BOOTSTRAP"] == cluster["qdrant"]["environment"]["QDRANT_URI"]
        assert said["QDRANT__SERVICE__ENFORCE_INTERNAL_AUTH"] == "true"
        assert cluster[name]["networks"]["default"]["aliases"] == ["qdrant-cluster"]


def test_shards_can_be_spread_over_the_nodes() -> None:
    said = services(CLUSTER)["index"]["environment"]

    assert int(said["ALM2VEC_SHARD_NUMBER"]) % len(NODES) == 0
    assert 1 < int(said["ALM2VEC_REPLICATION_FACTOR"]) <= len(NODES)
    assert all(services(CLUSTER)[name]["environment"] == said for name in OURS)


def health_check(path: Path, name: str, port: int) -> int:
    """What the health check of a Qdrant node exits with, where its server listens at `port`."""
    kind, *command = services(path)[name]["healthcheck"]["test"]
    assert kind == "CMD"
    assert command[-1].count("/6333") == 1
    command[-1] = command[-1].replace("/6333", f"/{port}")
    return subprocess.run(command, stderr=subprocess.DEVNULL, timeout=10, check=False).returncode


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash; Qdrant's image has one")
@pytest.mark.parametrize(("path", "name"), [(COMPOSE, "qdrant"), (CLUSTER, "qdrant-2")])
def test_the_health_check_of_qdrant(path: Path, name: str) -> None:
    with answering(200, "/readyz") as port:
        assert health_check(path, name, port) == 0
    with answering(503, "/readyz") as port:
        assert health_check(path, name, port) == 1
    with answering(200, "/elsewhere") as port:
        assert health_check(path, name, port) == 1
    with nobody() as port:
        assert health_check(path, name, port) == 1


def test_qdrant_is_within_one_minor_version_of_its_client() -> None:
    locked = re.search(
        r"^qdrant-client==(\d+)\.(\d+)", (ROOT / "docker/cpu.lock").read_text(), re.M
    )
    if locked is None:
        pytest.skip("docker/cpu.lock has no qdrant-client")
    image = re.search(r":v(\d+)\.(\d+)\.\d+", services(COMPOSE)["qdrant"]["image"])

    assert image is not None
    assert image[1] == locked[1]
    assert abs(int(image[2]) - int(locked[2])) <= 1


# -- what is pinned, and what is named


@pytest.mark.parametrize("path", [COMPOSE, CLUSTER], ids=lambda path: path.name)
def test_images_are_pinned(path: Path) -> None:
    for name, service in services(path).items():
        image = service.get("image")
        if image is None or image.startswith("${"):
            continue
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(-\w+)?(@sha256:[0-9a-f]{64})?", image), name


def test_our_images_are_called_after_this_version() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)

    assert version is not None
    images = {services(COMPOSE)[name]["image"] for name in OURS}
    assert images == {
        f"${{ALM2VEC_IMAGE:-alm2vec-search:{version[1]}}}",
        f"${{ALM2VEC_GPU_IMAGE:-alm2vec-search:{version[1]}-gpu}}",
    }
    assert all(image[2:-1].replace(":-", "=") in example() for image in images)


def passed_on(node: Any) -> set[str]:
    """Variables of containers that come from outside as they are: names without a value."""
    return {
        name
        for service in node.values()
        for name, value in service.get("environment", {}).items()
        if value is None
    }


def test_the_example_lists_every_variable_with_its_default() -> None:
    used: dict[str, set[str]] = {}
    for path in (COMPOSE, CLUSTER):
        text = path.read_text()
        for name, default in re.findall(r"\$\{(\w+)(?::-([^}]*))?", text):
            used.setdefault(name, set()).add(default)
        assert not re.findall(r"\$(?!\{)\w+", text), "write ${NAME}: that is what this test reads"
        for name in passed_on(services(path)):
            used.setdefault(name, set())
    lines = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=(.*)$", example(), re.M)

    listed = dict(lines)
    assert len(listed) == len(lines)
    assert set(listed) == set(used)
    for name, defaults in used.items():
        assert len(defaults) <= 1, f"{name} has several defaults: {defaults}"
        if name not in {"ALM2VEC_LIBRARY_GID", *SECRETS} and defaults:
            assert {listed[name]} == defaults


def test_each_variable_of_the_example_is_explained() -> None:
    blocks = re.split(r"\n\s*\n", example())

    for block in blocks:
        lines = block.strip().splitlines()
        if any(re.match(r"(# )?[A-Z][A-Z0-9_]*=", line) for line in lines) and "ports" not in block:
            first = lines[0]
            has_words = first.startswith("# ") and not re.match(r"# [A-Z0-9_]+=", first)
            assert has_words or "_PORT=" in block, block


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_the_line_that_makes_the_secrets(tmp_path: Path) -> None:
    page = (ROOT / "docs/docker.md").read_text()
    line = re.search(r"^\$ (sed [^\n]*\\\n[^\n]*> \.env)$", page, re.M)
    assert line is not None
    shutil.copy(ROOT / ".env.example", tmp_path)

    subprocess.run(["sh", "-euc", line[1]], cwd=tmp_path, check=True)

    made = environment_file((tmp_path / ".env").read_text())
    secrets = {made[name] for name in SECRETS}
    assert len(secrets) == 2
    assert all(re.fullmatch(r"[0-9a-f]{48}", secret) for secret in secrets)
    assert made == environment_file(example()) | {name: made[name] for name in SECRETS}


def test_git_keeps_the_secrets_out() -> None:
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_comments_name_services_that_are_there() -> None:
    pages = [COMPOSE, CLUSTER, ROOT / "docs/docker.md", ROOT / ".env.example"]
    known = set(services(COMPOSE)) | set(services(CLUSTER))
    named = [
        name
        for page in pages
        for name in re.findall(r"compose [^\n`]*?(?:exec|run --rm) ([a-z0-9-]+)", page.read_text())
    ]

    assert len(named) > 5
    assert set(named) <= known


def test_volumes_are_declared() -> None:
    for path in (COMPOSE, CLUSTER):
        declared = yaml.safe_load(path.read_text())["volumes"]
        used = {
            volume.split(":")[0]
            for service in services(path).values()
            for volume in service.get("volumes", [])
            if isinstance(volume, str)
        }
        assert used == set(declared)

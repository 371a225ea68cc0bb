"""The files that Docker reads, as values, and Docker Compose itself where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
CLUSTER = ROOT / "docker-compose.cluster.yml"
SECRETS = frozenset({"QDRANT_API_KEY", "ALM2VEC_TOKEN"})


def services(path: Path) -> dict[str, dict[str, Any]]:
    """The services of one file, anchors resolved and variables left as they are."""
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["services"]
    return loaded


def environment_file(text: str) -> dict[str, str]:
    """The variables that a file of `NAME=value` lines sets."""
    return dict(re.findall(r"^([A-Z][A-Z0-9_]*)=(.*)$", text, re.M))


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Each instruction of a Dockerfile with what it says, continued lines joined."""
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [
        (name.upper(), " ".join(rest.split()))
        for name, _, rest in (line.strip().partition(" ") for line in joined.splitlines())
        if name
    ]


def find_compose() -> list[str] | None:
    """How Docker Compose is called here; None without a version that knows these files."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        asked = subprocess.run(
            [*command, "version", "--short"], capture_output=True, text=True, check=False
        )
        version = re.match(r"v?(\d+)\.(\d+)", asked.stdout.strip())
        if asked.returncode == 0 and version and (int(version[1]), int(version[2])) >= (2, 20):
            return command
    return None

"""sha256 of files; that of a large one is remembered, since a model's weights take a minute.

What is remembered holds as long as a file's place, size and time of change stay as they are. It
lies in the user's cache folder and may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

import platformdirs

LARGE = 100_000_000  # bytes; reading less takes no time worth remembering
REMEMBERED = 1_000  # files, the newest
DIGEST = hashlib.sha256().digest_size


def sha256_of(path: Path) -> bytes:
    """The digest of a file's bytes.

    Raises:
        OSError: it can't be read.
    """
    stat = path.stat()
    if stat.st_size < LARGE:
        return _read(path)
    key = f"{os.path.realpath(path)} {stat.st_size} {stat.st_mtime_ns}"
    known = _known()
    if key not in known:
        known[key] = _read(path).hex()
        _remember(known)
    return bytes.fromhex(known[key])


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _memory() -> Path:
    return Path(platformdirs.user_cache_dir("alm2vec")) / "file-hashes.json"


def _known() -> dict[str, str]:
    try:
        known = json.loads(_memory().read_bytes())
        return {key: value for key, value in known.items() if len(bytes.fromhex(value)) == DIGEST}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}  # there is none, or it is damaged: it is made anew


def _remember(known: dict[str, str]) -> None:
    newest = dict(list(known.items())[-REMEMBERED:])
    with contextlib.suppress(OSError):  # a full or read-only disk costs time, nothing else
        folder = _memory().parent
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix="file-hashes-")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(newest, file)
            os.replace(name, _memory())
        except OSError:
            os.unlink(name)

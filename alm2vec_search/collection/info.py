"""What made a collection, kept in a small file beside its vectors, or as metadata on a server.

The file is written last when a collection is made: a folder without it holds no collection.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from alm2vec_search.collection.base import CollectionInfo
from alm2vec_search.domain import Aspect
from alm2vec_search.errors import CollectionError, IncompatibleCollection

if TYPE_CHECKING:
    from pathlib import Path

_INFO = "collection.json"
_FORMAT = 2  # of the file, and of the payloads
REBUILD_HINT = "index again with --rebuild, or use another index with --store"


class OtherFormat(Exception):
    """Said to be whole, and of another version. The message says of which."""


def read_info(folder: Path) -> CollectionInfo | None:
    """What made the collection in this folder; None if there is none. Opens nothing else.

    Raises:
        CollectionError: the file can't be read, is damaged, or of a later version.
    """
    path = folder / _INFO
    try:
        return from_document(json.loads(path.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CollectionError(f"{path} can't be read: {error.strerror}") from error
    except OtherFormat as error:
        raise CollectionError(
            f"the index in {folder} was made by {error} of alm2vec", hint=REBUILD_HINT
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise CollectionError(
            f"{path} is damaged, or of a later version of alm2vec",
            hint="put it back from a backup, or index again with --rebuild",
        ) from error


def write_info(folder: Path, info: CollectionInfo) -> None:
    """All of it or nothing, and on the disk when this returns. OSErrors pass through."""
    path = folder / _INFO
    draft = path.with_suffix(".tmp")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(to_document(info), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(folder)
    _sync_folder(folder.parent)  # which may hold the folder since a moment ago


def remove_info(folder: Path) -> None:
    """From here on there is no collection, on the disk too. OSErrors pass through."""
    (folder / _INFO).unlink(missing_ok=True)
    _sync_folder(folder)


def require_compatible(store: str, *, expected: CollectionInfo, found: CollectionInfo) -> None:
    """Refuse vectors that something else made.

    Args:
        store: where they are, for people.

    Raises:
        IncompatibleCollection: says what made them, and what is asking.
    """
    if expected != found:
        raise IncompatibleCollection(
            store, expected=str(expected), found=str(found), hint=REBUILD_HINT
        )


def to_document(info: CollectionInfo) -> dict[str, Any]:
    """As JSON."""
    return {"format": _FORMAT, **asdict(info)}


def from_document(document: Any) -> CollectionInfo:
    """The inverse of `to_document`.

    Raises:
        OtherFormat: another version of alm2vec wrote it.
        ValueError, TypeError, KeyError: it is nothing of ours.
    """
    if not isinstance(document, dict):
        raise TypeError("not an info")
    document = dict(document)
    if (form := document.pop("format")) != _FORMAT:
        is_older = isinstance(form, int) and form < _FORMAT
        raise OtherFormat("an earlier version" if is_older else "a later version")
    aspects = tuple(Aspect(**aspect) for aspect in document.pop("aspects", ()))
    info = CollectionInfo(**document, aspects=aspects)
    texts = (info.fingerprint, info.chunking, info.model)
    if not all(isinstance(text, str) for text in texts) or not isinstance(info.embedding_dim, int):
        raise TypeError("not an info")
    return info


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # folders can't be synced there, and needn't be
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

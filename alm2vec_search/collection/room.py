"""Whether there is room on the disk.

Qdrant Edge writes into memory-mapped files with holes in them. Where such a write finds the disk
full, the kernel ends the process (SIGBUS), and nobody is told why. So we ask first, and stop while
there is enough left to flush and close.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from alm2vec_search.errors import CollectionError, CollectionFull

if TYPE_CHECKING:
    from pathlib import Path

# Bytes that adding leaves free, for flushing and closing, and for whoever else writes meanwhile.
# Needed to create: 1 MB on a disk, 25 MB in a file system in memory. Segments that grow together
# are written anew beside what they were. Opening needs none on a disk, so a full one can still be
# searched; in a file system in memory it fills the holes once, 80 MB, and isn't asked about.
RESERVE = 128 * 2**20
# Bytes that flushing and deleting leave free. Needed: a few dozen KB.
SMALL_RESERVE = 4 * 2**20
NO_ROOM_HINT = "free some space, or keep the index on another disk with --store"


def require_room(folder: Path, *, n_bytes: int = 0, reserve: int = RESERVE) -> None:
    """Asking takes 2 µs on a local disk.

    Args:
        folder: on the disk in question.
        n_bytes: about to be written.
        reserve: bytes that have to be left after that.

    Raises:
        CollectionFull: there is less.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise CollectionError(f"the disk of {folder} can't be used: {error.strerror}") from error
    if free < reserve + n_bytes:
        raise CollectionFull(
            f"only {free // 10**6} MB left on the disk of {folder}",
            hint=NO_ROOM_HINT,
        )

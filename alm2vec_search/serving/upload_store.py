"""Uploads that are kept for a while, so that a sound is sent once and asked with many times."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from alm2vec_search.errors import SoundNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class UploadStore(Generic[T]):
    """In memory, under ids that nobody can guess.

    Args:
        size: of an upload, in bytes.
        most_bytes: of all together; the one that was used longest ago goes first.
        kept_s: how long one is kept after it was last used.
    """

    def __init__(self, size: Callable[[T], int], *, most_bytes: int, kept_s: float) -> None:
        self._size = size
        self._most_bytes = most_bytes
        self.kept_s = kept_s
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()  # by last use
        self._n_bytes = 0
        self._lock = threading.Lock()

    def add(self, upload: T) -> str:
        """Its id."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._drop_old()
            self._kept[name] = time.monotonic(), upload
            self._n_bytes += self._size(upload)
            while self._n_bytes > self._most_bytes and len(self._kept) > 1:
                self._drop_first()
        return name

    def __getitem__(self, name: str) -> T:
        """
        Raises:
            SoundNotFound: there is none, or it is gone.
        """
        with self._lock:
            self._drop_old()
            if name not in self._kept:
                raise SoundNotFound(
                    "no such upload", hint="they are kept for a while: send it anew"
                )
            _, upload = self._kept.pop(name)
            self._kept[name] = time.monotonic(), upload
            return upload

    def _drop_old(self) -> None:
        oldest = time.monotonic() - self.kept_s
        while self._kept and next(iter(self._kept.values()))[0] < oldest:
            self._drop_first()

    def _drop_first(self) -> None:
        _, (_, upload) = self._kept.popitem(last=False)
        self._n_bytes -= self._size(upload)

"""So much at once, so much that waits, and nothing longer than a time limit."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from alm2vec_search.errors import ServerBusy, TooSlow

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

T = TypeVar("T")


class Gate:
    """Runs blocking work in threads for an event loop.

    Work that is abandoned after its time goes on until it is done, as threads can't be stopped, and
    counts until then.

    Args:
        name: of the threads.
        at_once: how much runs.
        waiting: how much may wait beside; what comes then is refused at once.
        limit_s: how long whoever asked waits, in seconds.
    """

    def __init__(self, name: str, *, at_once: int, waiting: int, limit_s: float) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=name)
        self._most = at_once + waiting
        self._limit_s = limit_s
        self._n_inside = 0
        self._lock = threading.Lock()

    @property
    def n_inside(self) -> int:
        """What runs or waits now."""
        return self._n_inside

    async def __call__(self, work: Callable[[], T]) -> T:
        """
        Raises:
            ServerBusy: too much waits already.
            TooSlow: it isn't done in time.
        """
        with self._lock:
            if self._n_inside >= self._most:
                raise ServerBusy("too many requests are waiting", hint="try again in a moment")
            self._n_inside += 1
        future = self._threads.submit(work)
        future.add_done_callback(self._left)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._limit_s)
        except TimeoutError as error:
            raise TooSlow(
                f"not done within {self._limit_s:g} s", hint="ask for less, or try again later"
            ) from error

    def close(self) -> None:
        """What waits is dropped; what runs goes on until it is done."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _left(self, _: Future[T]) -> None:
        with self._lock:
            self._n_inside -= 1

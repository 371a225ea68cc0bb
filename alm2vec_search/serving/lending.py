"""An index that is open while it is asked, and let go of when nobody has asked for a while.

An embedded index is open in one process at a time. A server that kept it would lock out `alm2vec
index`, and to open it takes 20 ms. So it is let go of between bursts of questions. Behind an alias
on a Qdrant server there may be another collection tomorrow, so what is open there is renewed.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alm2vec_search.collection.base import Collection

IDLE_S = 5.0


@dataclass(slots=True, eq=False)
class _Loan:
    collection: Collection
    opened_at: float  # by the monotonic clock
    n_users: int = 0


class Lender:
    """Lends one open collection to many threads.

    Args:
        open_collection: may raise; whoever asked then gets that error, and the next one tries anew.
        idle_s: how long nobody has to have asked before the collection is closed.
        renew_s: how old a collection may be when it is lent; None: as old as it gets. A newer one
            is opened while the older is in use.
    """

    def __init__(
        self,
        open_collection: Callable[[], Collection],
        *,
        idle_s: float = IDLE_S,
        renew_s: float | None = None,
    ) -> None:
        self._open = open_collection
        self._idle_s = idle_s
        self._renew_s = renew_s
        self._lock = threading.Lock()
        self._loan: _Loan | None = None
        self._timer: threading.Timer | None = None
        self._is_closed = False

    @contextmanager
    def __call__(self) -> Iterator[Collection]:
        """The collection, open until the end of the block.

        Raises:
            CollectionError: it can't be opened.
        """
        loan = self._take()
        try:
            yield loan.collection
        finally:
            self._give_back(loan)

    def close(self) -> None:
        """Let go of it as soon as nobody uses it, and don't hold it longer than that again."""
        with self._lock:
            self._is_closed = True
            self._stop_timer()
            loan, self._loan = self._loan, None
            unused = loan if loan is not None and not loan.n_users else None
        if unused is not None:
            unused.collection.close()

    def _take(self) -> _Loan:
        with self._lock:
            self._stop_timer()
            outdated = None
            if self._loan is not None and self._is_outdated(self._loan):
                outdated, self._loan = self._loan, None
            if self._loan is None:
                self._loan = _Loan(self._open(), time.monotonic())
            loan = self._loan
            loan.n_users += 1
        if outdated is not None and not outdated.n_users:
            outdated.collection.close()
        return loan

    def _give_back(self, loan: _Loan) -> None:
        with self._lock:
            loan.n_users -= 1
            if loan.n_users:
                return
            is_current = loan is self._loan and not self._is_closed
            if is_current:
                self._timer = threading.Timer(self._idle_s, self._let_go, [loan])
                self._timer.daemon = True
                self._timer.start()
        if not is_current:
            loan.collection.close()

    def _let_go(self, loan: _Loan) -> None:
        with self._lock:
            if loan is not self._loan or loan.n_users:
                return
            self._loan = None
            # With the lock: who asks now has to wait until it is free to be opened again.
            loan.collection.close()

    def _is_outdated(self, loan: _Loan) -> bool:
        return self._renew_s is not None and time.monotonic() - loan.opened_at > self._renew_s

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

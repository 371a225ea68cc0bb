"""So much at once, so much that waits, and nothing longer than a time limit."""

from __future__ import annotations

import asyncio
import threading

import pytest

from alm2vec_search.errors import QueryError, ServerBusy, TooSlow
from alm2vec_search.serving.gate import Gate


def test_work_is_done_and_its_errors_come_out() -> None:
    async def main() -> None:
        gate = Gate("test", at_once=1, waiting=1, limit_s=5)
        assert await gate(lambda: 6 * 7) == 42

        def fail() -> None:
            raise QueryError("no")

        with pytest.raises(QueryError, match="no"):
            await gate(fail)
        assert gate.n_inside == 0
        gate.close()

    asyncio.run(main())


def test_what_is_too_much_is_refused_at_once() -> None:
    async def main() -> None:
        gate, go_on = Gate("test", at_once=2, waiting=1, limit_s=5), threading.Event()
        inside = [asyncio.create_task(gate(lambda: go_on.wait(5))) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(ServerBusy):
            await gate(lambda: None)
        go_on.set()
        assert await asyncio.gather(*inside) == [True] * 3
        assert await gate(lambda: "again") == "again"
        gate.close()

    asyncio.run(main())


def test_nobody_waits_longer_than_the_limit_and_what_runs_counts_on() -> None:
    async def main() -> None:
        gate, go_on = Gate("test", at_once=1, waiting=0, limit_s=0.05), threading.Event()
        with pytest.raises(TooSlow):
            await gate(lambda: go_on.wait(5))
        with pytest.raises(ServerBusy):
            await gate(lambda: None)
        go_on.set()
        for _ in range(100):
            if not gate.n_inside:
                break
            await asyncio.sleep(0.02)
        assert await gate(lambda: 1) == 1
        gate.close()

    asyncio.run(main())

"""Some work on two devices at once: two processes, joined by gloo as torchrun would join them."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import traceback
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TIMEOUT_S = 120.0


def on_devices(
    work: Callable[..., dict[str, Any]], *given: Any, folder: Path, count: int = 2
) -> list[dict[str, Any]]:
    """Run `work(*given)`, a function of a module, once on each device.

    Returns:
        what each gave, in order.

    Raises:
        AssertionError: one of them failed; with its traceback.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    starter = multiprocessing.get_context("spawn").Process(
        target=_start, args=(work, given, count, port, folder)
    )
    starter.start()
    starter.join()
    failed = "\n".join(path.read_text() for path in sorted(folder.glob("failed-*")))
    assert not failed, failed
    assert starter.exitcode == 0, f"not done after {TIMEOUT_S} s"
    return [torch.load(folder / f"result-{rank}.pt") for rank in range(count)]


def _start(
    work: Callable[..., dict[str, Any]], given: tuple[Any, ...], count: int, port: int, folder: Path
) -> None:
    """What takes long to import is imported once, by the arguments of this function."""
    processes = [
        multiprocessing.get_context("fork").Process(
            target=_run, args=(work, given, rank, count, port, folder)
        )
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(TIMEOUT_S)
        process.kill()
        process.join()
    sys.exit(any(process.exitcode for process in processes))


def _run(
    work: Callable[..., dict[str, Any]],
    given: tuple[Any, ...],
    rank: int,
    count: int,
    port: int,
    folder: Path,
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    try:
        torch.distributed.init_process_group("gloo")
        torch.save(work(*given), folder / f"result-{rank}.pt")
        torch.distributed.barrier()
    except BaseException:
        (folder / f"failed-{rank}").write_text(traceback.format_exc())
        os._exit(1)  # the other would wait for us
    torch.distributed.destroy_process_group()

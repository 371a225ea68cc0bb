"""Processes that decode and embed, each the whole chain with one thread.

Measured on two cores, whole chains side by side reach what the cores allow; decoding in one
process and embedding in another doesn't. Processes also hold the damage when a decoder crashes:
the file it died on is reported, and the others go on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import sys
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Protocol

from alm2vec_search.errors import ModelError
from indexer.embedding import Advance, Failed, embed_files

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from multiprocessing.context import ForkServerContext, SpawnContext
    from multiprocessing.process import BaseProcess

    from alm2vec_search.domain import Encoder
    from indexer.chunker import Chunking
    from indexer.embedding import Job, Outcome

PRELOADED = ("alm2vec_search.model.encoder",)  # imported once, for all workers
CRASHED = "it made the decoder crash"


class EncoderFactory(Protocol):
    """Builds an encoder, wherever it was sent to: it can be pickled."""

    def build(self) -> Encoder: ...


@dataclass(frozen=True, slots=True)
class _Ready:
    """A worker has loaded its model."""


@dataclass(frozen=True, slots=True)
class _Hungry:
    """A worker has read its unit, and wants the next before it embeds what it holds."""


class _NoMore:
    """There is no next unit: sent to a worker, which embeds what it holds, and ends."""


@dataclass(frozen=True, slots=True)
class _Broken:
    """A worker can't go on: not because of a file."""

    error: Exception


def embed_in_processes(
    units: Iterable[list[Job]], factory: EncoderFactory, chunking: Chunking, n_workers: int
) -> Generator[Outcome | Advance]:
    """Embed units of files in so many processes; outcomes come as they are done.

    A unit is asked for when a worker is free, so that `units` can be made as it goes.

    Raises:
        ModelError: a worker died while it loaded the model.
        Exception: what the encoder raised in a worker. The other workers are stopped.
    """
    pool = _Pool(factory, chunking)
    waiting = _Units(units)
    try:
        while True:
            while len(pool.workers) < n_workers and (unit := waiting.next()) is not None:
                pool.start(unit)
            if not pool.workers and (suspect := waiting.next_alone()) is not None:
                pool.start(suspect)
            if not pool.workers:
                return
            for worker in pool.ready():
                yield from _attend(worker, pool, waiting)
    finally:
        pool.stop()


def _attend(worker: _Worker, pool: _Pool, waiting: _Units) -> Iterator[Outcome | Advance]:
    """Take what a worker has to say."""
    try:
        message = worker.connection.recv()
    except (EOFError, OSError):  # it ended, or died
        exit_code = pool.drop(worker)
        if not worker.is_ready:
            raise ModelError(
                f"a worker died while it loaded the model (exit code {exit_code})",
                hint="if memory is short, --workers 1 takes less of it",
            ) from None
        yield from waiting.take_back(worker)
        return
    match message:
        case _Broken():
            raise message.error
        case _Ready():
            worker.is_ready = True
        case _Hungry():
            worker.give(waiting.next())
        case Advance():
            yield message
        case _:
            worker.unsettled.pop(message.file.path, None)
            yield message


class _Units:
    """The work that is left; files of a worker that died are tried again one by one."""

    def __init__(self, units: Iterable[list[Job]]) -> None:
        self._units = iter(units)
        self._alone: deque[list[Job]] = deque()

    def next(self) -> list[Job] | None:
        return next(self._units, None)

    def next_alone(self) -> list[Job] | None:
        return self._alone.popleft() if self._alone else None

    def take_back(self, worker: _Worker) -> Iterator[Failed]:
        """What a dead worker had in hand: a lone file is to blame, several are not known to be."""
        if worker.n_given == 1:
            for job in worker.unsettled.values():
                yield Failed(job.file, CRASHED, transient=False)
        else:
            self._alone.extend([job] for job in worker.unsettled.values())


@dataclass(slots=True, eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    unsettled: dict[object, Job] = field(default_factory=dict)  # by path; no outcome yet
    n_given: int = 0  # files, in all
    is_ready: bool = False  # its model is loaded

    def give(self, unit: list[Job] | None) -> None:
        """The next unit, if there is one; a worker with a suspect in hand gets no other file."""
        jobs = unit or []
        self.unsettled |= {job.file.path: job for job in jobs}
        self.n_given += len(jobs)
        with contextlib.suppress(OSError):  # it died; receiving from it says so, too
            self.connection.send(unit or _NoMore())


class _Pool:
    """The worker processes."""

    def __init__(self, factory: EncoderFactory, chunking: Chunking) -> None:
        self.workers: list[_Worker] = []
        self._arguments = (factory, chunking)
        self._context = process_context()

    def start(self, unit: list[Job]) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, *self._arguments), name="alm2vec worker", daemon=True
        )
        process.start()
        theirs.close()  # so that we see the end of the pipe when the process dies
        worker = _Worker(process, ours)
        self.workers.append(worker)
        worker.give(unit)

    def ready(self) -> list[_Worker]:
        """Wait until some workers have something to say."""
        speaking = wait([worker.connection for worker in self.workers])
        return [worker for worker in self.workers if worker.connection in speaking]

    def drop(self, worker: _Worker) -> int | None:
        """Be done with a worker that ended, or will when it finds its pipe closed; its code."""
        self.workers.remove(worker)
        worker.connection.close()
        worker.process.join()
        exit_code = worker.process.exitcode
        worker.process.close()
        return exit_code

    def stop(self) -> None:
        for worker in list(self.workers):
            worker.process.kill()
            self.drop(worker)


def process_context() -> SpawnContext | ForkServerContext:
    """Where processes come from: forked after torch has run, they may hang, so from a server that
    has imported it and hasn't run it."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *PRELOADED])
    return context


def _work(connection: Connection, factory: EncoderFactory, chunking: Chunking) -> None:
    """The life of a worker: take units and give out their outcomes, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that owns the index
    try:
        encoder = factory.build()
        connection.send(_Ready())
        for outcome in embed_files(_jobs_from(connection), encoder, chunking):
            connection.send(outcome)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # whoever asked is gone
    except Exception as error:
        _say_broken(connection, error)


def _jobs_from(connection: Connection) -> Iterator[Job]:
    """Unit after unit as one stream, so that batches span units, too."""
    while not isinstance(unit := connection.recv(), _NoMore):
        yield from unit
        connection.send(_Hungry())


def _say_broken(connection: Connection, error: Exception) -> None:
    """Send the error home."""
    with contextlib.suppress(OSError):
        connection.send(_Broken(sendable(error)))


def sendable(error: Exception) -> Exception:
    """An error that can travel between processes: one that can't is told."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error

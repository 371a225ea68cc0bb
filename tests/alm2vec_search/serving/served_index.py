"""A server over an index of tones: everything real but the model."""

from __future__ import annotations

import io
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import soundfile
import uvicorn
from starlette.testclient import TestClient

from alm2vec_search.collection.edge import EdgeCollection
from alm2vec_search.serving.app import create_app
from alm2vec_search.serving.engine import Engine
from alm2vec_search.serving.lending import Lender
from alm2vec_search.serving.metrics import Metrics
from alm2vec_search.testing import NOTES_HZ, FakeEncoder, tone
from alm2vec_search.verdicts import Judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from index_driver import Index
    from starlette.types import ASGIApp

    from alm2vec_search.domain import Encoder
    from alm2vec_search.serving.limits import Limits

RATE = 16_000


@dataclass
class Server:
    """A library, its index, and what is served of it."""

    library: Path
    index: Index
    home: Path
    encoder: Encoder = field(default_factory=FakeEncoder)  # of questions

    def engine(
        self, *, observe: Callable[[int], None] = lambda n: None, idle_s: float = 0.5
    ) -> Engine:
        return Engine(
            Lender(lambda: EdgeCollection.open(self.index.folder), idle_s=idle_s),
            load=lambda info: self.encoder,
            judge=Judge,
            observe=observe,
        )

    def app(
        self, *, token: str | None = None, limits: Limits | None = None, idle_s: float = 0.5
    ) -> ASGIApp:
        metrics = Metrics()
        engine = self.engine(observe=metrics.saw_batch, idle_s=idle_s)
        return create_app(
            engine,
            metrics,
            store="the index",
            cache=self.home / "clips",
            hosts={"localhost"},
            token=token,
            limits=limits,
        )

    def client(self, *, token: str | None = None, limits: Limits | None = None) -> TestClient:
        return TestClient(self.app(token=token, limits=limits), base_url="http://localhost")


@contextmanager
def running(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """The server on loopback, over real connections: its address. Port 0 is any that is free."""
    listening = socket.create_server(("127.0.0.1", port))
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def wav(note: str, duration_s: float = 1.0) -> bytes:
    """A tone as a file."""
    out = io.BytesIO()
    soundfile.write(out, tone(NOTES_HZ[note], duration_s, RATE), RATE, format="WAV")
    return out.getvalue()

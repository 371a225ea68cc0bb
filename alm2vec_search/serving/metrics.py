"""What a Prometheus server can read: requests, how long they took, and how busy the model is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from alm2vec_search.serving.gate import Gate

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_INPUTS = (1, 2, 4, 8, 16)
UNKNOWN_ROUTE = "other"


class Metrics:
    """Of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "alm2vec_requests",
            "Requests that were answered.",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "alm2vec_request_seconds",
            "From a request to the end of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._inputs = Histogram(
            "alm2vec_model_inputs",
            "Inputs that went through the model together.",
            buckets=_INPUTS,
            registry=self._registry,
        )

    def watch(self, name: str, gate: Gate) -> None:
        """Show what runs or waits behind a gate."""
        gauge = Gauge(
            f"alm2vec_{name}_inside", f"What runs or waits: {name}.", registry=self._registry
        )
        gauge.set_function(lambda: gate.n_inside)

    def saw_batch(self, n_inputs: int) -> None:
        self._inputs.observe(n_inputs)

    def saw_request(self, route: str, method: str, status: int, seconds: float) -> None:
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class Counted:
    """ASGI middleware: counts every request by the route that answered it, never by its address,
    in which there may be anything."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_seen)
        finally:
            route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
            seconds = time.perf_counter() - started
            self._metrics.saw_request(route, scope["method"], status, seconds)

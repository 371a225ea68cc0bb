"""`alm2vec serve`: the page for listening, and the same over HTTP."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from alm2vec_search.commands.options import DeviceOption, ModelOption, StoreOption

if TYPE_CHECKING:
    from starlette.types import ASGIApp

PORT = 8765


def serve(
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 is everywhere."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")] = PORT,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="A name by which this server is asked, beside its address; may be repeated.",
        ),
    ] = None,
    log_queries: Annotated[
        bool, typer.Option("--log-queries", help="Log addresses whole, with what is asked.")
    ] = False,
    store: StoreOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
) -> None:
    """Search and listen in a browser; the same over HTTP.

    On this machine only, unless --host says otherwise. Then everybody who asks needs a token:
    ALM2VEC_TOKEN, or one that is made up and shown at the start.
    """
    from alm2vec_search.commands.engines import build_engine
    from alm2vec_search.errors import CollectionNotFound
    from alm2vec_search.serving.access import LOOPBACK
    from alm2vec_search.serving.app import create_app
    from alm2vec_search.serving.metrics import Metrics
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import say

    settings = load_settings(store=store, model=model, device=device)
    listening = _listen(host, port)
    host_name, port = listening.getsockname()[:2]
    token = None if settings.token is None else settings.token.get_secret_value()
    if token is None and not _is_loopback(host_name):
        token = secrets.token_urlsafe(24)
    metrics = Metrics()
    engine = build_engine(settings, observe=metrics.saw_batch)
    try:
        engine.warm_up()
    except CollectionNotFound as error:
        say(f"{error}: {error.hint}; until then there is nothing to search")
    app = create_app(
        engine,
        metrics,
        store=settings.store_name,
        cache=settings.home / "clips",
        hosts={*LOOPBACK, host, *_names(host_name), *(allow_host or ())},
        token=token,
    )
    address = f"http://{_shown(host_name)}:{port}/"
    say(f"{address}{'' if token is None else f'#token={token}'}  (Ctrl-C ends it)")
    _run(app, listening, log_queries=log_queries)


def _listen(host: str, port: int) -> socket.socket:
    """
    Raises:
        ConfigError: nothing can listen there.
    """
    from alm2vec_search.errors import ConfigError

    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigError(
            f"can't listen on {host}:{port}: {error.strerror or error}",
            hint="use another --port, or 0 for any that is free",
        ) from error


def _run(app: ASGIApp, listening: socket.socket, *, log_queries: bool) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="info" if log_queries else "warning",
        access_log=log_queries,
        server_header=False,
        timeout_graceful_shutdown=5,
        limit_concurrency=256,
        proxy_headers=False,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _names(address: str) -> set[str]:
    """By which this machine is asked, where it listens everywhere: all of its names."""
    if not ipaddress.ip_address(address).is_unspecified:
        return {_shown(address)}
    return {socket.gethostname(), socket.getfqdn()}


def _shown(address: str) -> str:
    """As in a web address."""
    return f"[{address}]" if ":" in address else address

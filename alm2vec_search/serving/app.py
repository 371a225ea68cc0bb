"""The server as one ASGI application: routes inside, guards around.

every request → counted → who may ask → how large it is → its route → the engine
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI

from alm2vec_search.serving.access import Access
from alm2vec_search.serving.bodies import BoundedBodies
from alm2vec_search.serving.embeddings_routes import embeddings_routes
from alm2vec_search.serving.failures import answer_errors
from alm2vec_search.serving.gate import Gate
from alm2vec_search.serving.limits import BODY_BYTES, Limits
from alm2vec_search.serving.metrics import Counted, Metrics
from alm2vec_search.serving.page_routes import page_routes
from alm2vec_search.serving.search_routes import search_routes
from alm2vec_search.serving.server_routes import server_routes
from alm2vec_search.serving.sound_routes import sound_routes
from alm2vec_search.serving.sounds import Sounds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

    from starlette.types import ASGIApp

    from alm2vec_search.serving.engine import Engine

# Requests that may carry a sound, and by how much its bytes grow on the way.
_CARRY_SOUNDS = {"/v1/uploads": 1.0, "/v1/search": 1.4, "/v1/embeddings": 1.4}


def create_app(
    engine: Engine,
    metrics: Metrics,
    *,
    store: str,
    cache: Path,
    hosts: Collection[str],
    token: str | None = None,
    limits: Limits | None = None,
) -> ASGIApp:
    """
    Args:
        engine: what answers; put away when the server ends.
        store: where the index is, for people.
        cache: a folder for clips and pictures.
        hosts: names that lead here; see `Access`.
        token: what has to come with each request for data; None: nothing.
    """
    limits = limits or Limits()
    searches = Gate(
        "searches",
        at_once=limits.searches,
        waiting=limits.searches_waiting,
        limit_s=limits.search_s,
    )
    clips = Gate(
        "clips", at_once=limits.clips, waiting=limits.clips_waiting, limit_s=limits.search_s
    )
    metrics.watch("searches", searches)
    metrics.watch("clips", clips)
    sounds = Sounds(engine, cache=cache, limits=limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        searches.close()
        clips.close()
        sounds.close()
        engine.close()

    app = FastAPI(
        title="alm2vec-search",
        version=version("alm2vec-search"),
        description="Search over audio collections by meaning: in words, by sound, or both.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # they would be fetched from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    answer_errors(app)
    app.include_router(search_routes(engine, searches, sounds))
    app.include_router(sound_routes(sounds, clips, limits))
    app.include_router(embeddings_routes(engine, searches, sounds))
    app.include_router(server_routes(engine, searches, metrics, limits, store=store, token=token))
    app.include_router(page_routes())

    def most_bytes(path: str) -> int:
        return BODY_BYTES + round(_CARRY_SOUNDS.get(path, 0) * limits.upload_bytes)

    bounded = BoundedBodies(app, most_bytes=most_bytes)
    return Counted(Access(bounded, hosts=hosts, token=token), metrics=metrics)

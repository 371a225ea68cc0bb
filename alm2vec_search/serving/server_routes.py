"""Routes: what is served, how it does, and who may ask."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.responses import Response

from alm2vec_search.errors import AccessDenied
from alm2vec_search.serving.access import COOKIE, SESSION, is_token
from alm2vec_search.serving.answers import AsciiJSON
from alm2vec_search.serving.schemas import Health, Session, StatusRecord, failures

if TYPE_CHECKING:
    from alm2vec_search.serving.engine import Engine, Status
    from alm2vec_search.serving.gate import Gate
    from alm2vec_search.serving.limits import Limits
    from alm2vec_search.serving.metrics import Metrics

DAY_S = 24 * 3600


def server_routes(
    engine: Engine, gate: Gate, metrics: Metrics, limits: Limits, *, store: str, token: str | None
) -> APIRouter:
    """
    Args:
        store: where the index is, for people.
        token: what `Access` asks for.
    """
    routes = APIRouter(tags=["server"])
    answers: dict[int | str, dict[str, Any]] = {200: {"model": StatusRecord}, **failures()}

    @routes.get("/v1/status", response_model=None, responses=answers)
    async def status() -> AsciiJSON:
        """Which model and index answer, and how much one request may ask."""
        return AsciiJSON(_told(await gate(engine.status), store, limits))

    @routes.post(SESSION, status_code=204, response_model=None, responses=failures())
    async def session(body: Session) -> Response:
        """Trade the token for a cookie, so that a page needn't keep it."""
        if token is not None and not is_token(body.token, token):
            raise AccessDenied("that isn't the token", hint="alm2vec serve says it when it starts")
        answer = Response(status_code=204)
        if token is not None:
            answer.set_cookie(
                COOKIE, token, max_age=30 * DAY_S, httponly=True, samesite="strict", path="/"
            )
        return answer

    @routes.get("/health", responses={200: {"model": Health}})
    async def health() -> Health:
        """Whether the server runs. It says nothing of the index: see /v1/status."""
        return Health(status="ok")

    @routes.get("/metrics", response_model=None, responses={200: {"content": {"text/plain": {}}}})
    async def prometheus() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _told(status: Status, store: str, limits: Limits) -> dict[str, Any]:
    encoder, info = status.encoder, status.info
    return {
        "version": version("alm2vec-search"),
        "model": {
            "name": encoder.name,
            "fingerprint": encoder.fingerprint,
            "device": encoder.device,
            "sampling_rate": encoder.sampling_rate,
        },
        "index": {
            "store": store,
            "chunks": status.n_chunks,
            "chunking": info.chunking,
            "libraries": [str(library) for library in status.libraries],
            "aspects": [{"name": a.name, "instruction": a.instruction} for a in info.aspects],
        },
        "limits": {
            "upload_bytes": limits.upload_bytes,
            "upload_s": limits.upload_s,
            "clip_s": limits.clip_s,
        },
    }

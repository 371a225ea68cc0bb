"""Every error as an answer: its status, and one shape for all.

{"error": {"type": "QueryError", "message": "the query is empty", "hint": "..."}}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from alm2vec_search import errors
from alm2vec_search.serving.answers import AsciiJSON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

# The first that fits; what is most special comes first.
STATUSES: tuple[tuple[type[errors.Alm2VecError], int], ...] = (
    (errors.AccessDenied, 403),
    (errors.SoundNotFound, 404),
    (errors.ServerBusy, 503),
    (errors.TooSlow, 504),
    (errors.SoundForbidden, 403),
    (errors.SoundGone, 410),
    (errors.MediaError, 503),
    (errors.UploadTooLarge, 413),
    (errors.UploadTooLong, 413),
    (errors.UploadUnreadable, 415),
    (errors.UploadTimedOut, 422),
    (errors.UploadError, 503),
    (errors.QueryError, 422),
    (errors.AudioError, 415),
    (errors.ModelError, 503),
    (errors.CollectionError, 503),
    (errors.Alm2VecError, 500),
)
# Of those that are 503, what doesn't pass by itself: somebody has to do something first.
LASTING = (errors.CollectionNotFound, errors.IncompatibleCollection, errors.ModelNotHere)
RETRY_AFTER_S = 2
INTERNAL = "InternalError"


def status_of(error: errors.Alm2VecError) -> int:
    return next(status for kind, status in STATUSES if isinstance(error, kind))


def answer(error: errors.Alm2VecError) -> AsciiJSON:
    """The answer for an error of ours."""
    status = status_of(error)
    headers = {}
    if status == 503 and not isinstance(error, LASTING):
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return failure(status, type(error).__name__, str(error), error.hint, headers)


def failure(
    status: int,
    kind: str,
    message: str,
    hint: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> AsciiJSON:
    """Any failure in the one shape."""
    told = {"error": {"type": kind, "message": message, "hint": hint}}
    return AsciiJSON(told, status_code=status, headers=dict(headers or {}))


def answer_errors(app: FastAPI) -> None:
    """Give every error that leaves a route its answer."""

    async def ours(_: Request, error: Exception) -> AsciiJSON:
        assert isinstance(error, errors.Alm2VecError)
        return answer(error)

    async def invalid(_: Request, error: Exception) -> AsciiJSON:
        assert isinstance(error, RequestValidationError)
        first: Any = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
        message = f"{where}: {first['msg']}" if where else first["msg"]
        return failure(422, "InvalidRequest", message, "see /v1/openapi.json")

    async def http(_: Request, error: Exception) -> AsciiJSON:
        assert isinstance(error, HTTPException)
        return failure(
            error.status_code, "HTTPError", str(error.detail), headers=error.headers or {}
        )

    async def internal(_: Request, error: Exception) -> AsciiJSON:
        return failure(500, INTERNAL, "something went wrong here", "the server's log says what")

    app.add_exception_handler(errors.Alm2VecError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, internal)

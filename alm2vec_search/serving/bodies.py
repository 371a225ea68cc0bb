"""No request is larger than it may be, whatever it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from alm2vec_search.serving.failures import failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BoundedBodies:
    """ASGI middleware.

    Args:
        most_bytes: how large the body may be, for a path.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: Callable[[str], int]) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._most_bytes(scope["path"])
        too_large = f"the request has more than {most} bytes"
        said = Headers(scope=scope).get("content-length", "0")
        if not said.isdecimal() or int(said) > most:
            refusal = failure(413, "HTTPError", too_large, "send less at once")
            await refusal(scope, receive, send)
            return
        n_bytes = 0

        async def receive_counted() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > most:
                raise HTTPException(413, too_large)  # in whatever reads it
            return message

        await self._app(scope, receive_counted, send)

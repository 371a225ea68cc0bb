"""Who may ask: requests to our own address, from our own page or from no page, with the token.

A page of somebody else's can send requests to a server on this machine, and by a name that leads
here (DNS rebinding) can even read the answers. So the `Host` has to be one of ours, and whatever
comes from a page has to come from ours. A token is asked for where one is set.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from alm2vec_search.serving.failures import failure

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "alm2vec_token"
LOOPBACK = frozenset({"localhost"})
SESSION = "/v1/session"
_OPEN = frozenset({"/health", SESSION})  # without a token, like the page itself
_GUARDED = ("/v1/", "/metrics")
NONCE = "csp_nonce"  # of this answer, in the scope's state

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def content_security_policy(nonce: str) -> str:
    """Only our own files, and styles of parts that know the nonce of this answer."""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' 'nonce-{nonce}'",
            "img-src 'self' blob: data:",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "font-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


class Access:
    """ASGI middleware, around everything.

    Args:
        hosts: names that lead here, without a port, as a `Host` header has them. Addresses in
            numbers always do: only a name can be made to lead elsewhere than it did.
        token: what has to come with each request for data; None: nothing.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], token: str | None = None) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        nonce = secrets.token_urlsafe(16)
        scope.setdefault("state", {})[NONCE] = nonce

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", content_security_policy(nonce))
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self._refused(scope)
        if refused is not None:
            status, message, hint = refused
            kind = "Unauthorized" if status == 401 else "AccessDenied"
            headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
            answer = failure(status, kind, message, hint, headers)
            await answer(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _is_ours(self, host: str) -> bool:
        return host in self._hosts or _is_address(host)

    def _refused(self, scope: Scope) -> tuple[int, str, str] | None:
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "").lower()
        if not self._is_ours(_without_port(host)):
            hint = "alm2vec serve --allow-host NAME lets it in"
            return 403, "this server isn't known by that name", hint
        if not _is_own_page(headers, host, path, scope["method"]):
            return 403, "pages of other sites may not ask this server", "ask from its own page"
        is_guarded = path.startswith(_GUARDED) and path not in _OPEN
        if self._token is not None and is_guarded and not _has_token(headers, self._token):
            hint = "send Authorization: Bearer TOKEN; alm2vec serve says it when it starts"
            return 401, "a token is needed", hint
        return None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def is_token(given: str, token: str) -> bool:
    """In a time that doesn't depend on how much of it is right."""
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())


def _has_token(headers: Headers, token: str) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and is_token(given.strip(), token):
        return True
    return any(is_token(value, token) for value in _cookies(headers.getlist("cookie")))


def _is_own_page(headers: Headers, host: str, path: str, method: str) -> bool:
    """Whether a request comes from our page, or from no page at all."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host:
        return False
    is_link_to_page = method in ("GET", "HEAD") and path == "/"
    site = headers.get("sec-fetch-site", "none")
    return is_link_to_page or site in ("none", "same-origin")


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _cookies(lines: list[str]) -> list[str]:
    found = []
    for line in lines:
        try:
            jar = SimpleCookie(line)
        except CookieError:
            continue
        found += [jar[COOKIE].value] if COOKIE in jar else []
    return found

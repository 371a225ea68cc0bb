"""Routes: the page, and the files it is made of."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

from alm2vec_search.serving.access import NONCE

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

PAGE = files("alm2vec_search").joinpath("web")
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


def page_routes() -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    assets = dict(_assets(PAGE))  # by their names below the page's folder: there are no others

    @routes.get("/")
    async def page(request: Request) -> HTMLResponse:
        """With the nonce of this answer, for the styles of parts that make their own."""
        html = PAGE.joinpath("index.html").read_text(encoding="utf-8")
        return HTMLResponse(html.replace("{{nonce}}", request.scope["state"][NONCE]))

    @routes.get("/assets/{name:path}")
    async def asset(name: str) -> Response:
        if name not in assets:
            raise HTTPException(404, "no such file")
        content, media_type = assets[name]
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return routes


def _assets(folder: Traversable, above: str = "") -> dict[str, tuple[bytes, str]]:
    """All files that a browser asks for, with their types, in memory: half a megabyte."""
    found: dict[str, tuple[bytes, str]] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            found |= _assets(entry, f"{above}{entry.name}/")
        elif (suffix := f".{entry.name.rpartition('.')[2]}") in _TYPES:
            found[f"{above}{entry.name}"] = entry.read_bytes(), _TYPES[suffix]
    return found

"""No request is larger than it may be, whatever it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from alm2vec_search.serving.bodies import BoundedBodies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

MOST = 1000


@pytest.fixture
def client() -> TestClient:
    async def count(request: Request) -> PlainTextResponse:
        n_bytes = 0
        async for piece in request.stream():
            n_bytes += len(piece)
        return PlainTextResponse(str(n_bytes))

    app = Starlette(routes=[Route(path, count, methods=["POST"]) for path in ("/small", "/large")])
    return TestClient(BoundedBodies(app, most_bytes=lambda p: MOST if p == "/small" else 10 * MOST))


def pieces(n_bytes: int) -> Iterator[bytes]:
    for start in range(0, n_bytes, 100):
        yield b"x" * min(100, n_bytes - start)


@pytest.mark.parametrize("n_bytes", [0, 1, MOST])
def test_what_fits_passes(client: TestClient, n_bytes: int) -> None:
    assert client.post("/small", content=b"x" * n_bytes).text == str(n_bytes)
    assert client.post("/small", content=pieces(n_bytes)).text == str(n_bytes)


@pytest.mark.parametrize("n_bytes", [MOST + 1, 50 * MOST])
def test_what_does_not_is_refused_whether_it_says_so_or_not(
    client: TestClient, n_bytes: int
) -> None:
    said = client.post("/small", content=b"x" * n_bytes)
    unsaid = client.post("/small", content=pieces(n_bytes))  # in chunks, of no length
    for answer in (said, unsaid):
        assert answer.status_code == 413
        assert f"more than {MOST} bytes" in answer.text


def test_each_path_has_its_own(client: TestClient) -> None:
    assert client.post("/large", content=b"x" * 5 * MOST).status_code == 200


def test_a_length_that_is_none(client: TestClient) -> None:
    assert client.post("/small", headers={"Content-Length": "-5"}).status_code == 413

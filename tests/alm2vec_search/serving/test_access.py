"""Who may ask: our own names, our own page or none, and whoever has the token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from alm2vec_search.serving.access import COOKIE, Access, content_security_policy

if TYPE_CHECKING:
    from starlette.requests import Request

TOKEN = "s3cret-token"


def client(token: str | None = None, host: str = "localhost:8765") -> TestClient:
    async def say(request: Request) -> PlainTextResponse:
        return PlainTextResponse("here you are")

    paths = ("/", "/v1/search", "/v1/session", "/metrics", "/health", "/assets/app.js")
    app = Starlette(routes=[Route(path, say, methods=["GET", "POST"]) for path in paths])
    guarded = Access(app, hosts={"localhost", "studio.lan"}, token=token)
    return TestClient(guarded, base_url=f"http://{host}")


class TestNames:
    @pytest.mark.parametrize(
        "host",
        [
            "localhost",
            "localhost:8765",
            "LOCALHOST",
            "127.0.0.1:8765",
            "[::1]:8765",
            "studio.lan:80",
            "192.168.1.7:8765",
        ],
    )
    def test_ours(self, host: str) -> None:
        assert client().get("/v1/search", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:8765",
            "",
            "localhost:8765:1",
            "studio.lan.",
            "2130706433.evil",
        ],
    )
    def test_a_name_that_was_made_to_lead_here(self, host: str) -> None:
        answer = client().get("/v1/search", headers={"Host": host})
        assert answer.status_code == 403
        assert answer.json()["error"]["hint"].startswith("alm2vec serve --allow-host")


class TestPages:
    @pytest.mark.parametrize("path", ["/v1/search", "/metrics", "/assets/app.js", "/v1/session"])
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:9999"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ],
    )
    def test_of_others_are_refused(self, path: str, headers: dict[str, str]) -> None:
        assert client().post(path, headers=headers).status_code == 403

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Origin": "http://localhost:8765"},
            {"Origin": "https://localhost:8765"},  # behind something that speaks TLS
            {"Origin": "http://localhost:8765", "Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
        ],
    )
    def test_ours_and_none_may_ask(self, headers: dict[str, str]) -> None:
        assert client().post("/v1/search", headers=headers).status_code == 200

    def test_a_link_to_the_page_may_be_anywhere(self) -> None:
        assert client().get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


class TestToken:
    def test_data_needs_it_and_the_page_does_not(self) -> None:
        asks = client(TOKEN)
        for path in ("/v1/search", "/metrics"):
            answer = asks.get(path)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        for path in ("/", "/health", "/v1/session", "/assets/app.js"):
            assert asks.get(path).status_code == 200

    @pytest.mark.parametrize(
        ("header", "status"),
        [
            (f"Bearer {TOKEN}", 200),
            (f"bearer {TOKEN}", 200),
            (f"Bearer {TOKEN}x", 401),
            (f"Basic {TOKEN}", 401),
            (TOKEN, 401),
            ("Bearer ", 401),
            ("Bearer é", 401),
        ],
    )
    def test_as_a_header(self, header: str, status: int) -> None:
        answer = client(TOKEN).get("/v1/search", headers={"Authorization": header.encode()})
        assert answer.status_code == status

    @pytest.mark.parametrize(
        ("cookie", "status"),
        [
            (f"{COOKIE}={TOKEN}", 200),
            (f"other=1; {COOKIE}={TOKEN}", 200),
            (f"{COOKIE}=wrong", 401),
            ("=;;=", 401),
        ],
    )
    def test_as_a_cookie(self, cookie: str, status: int) -> None:
        answer = client(TOKEN).get("/v1/search", headers={"Cookie": cookie})
        assert answer.status_code == status

    def test_a_foreign_page_is_refused_with_the_cookie_too(self) -> None:
        headers = {"Cookie": f"{COOKIE}={TOKEN}", "Origin": "https://evil.example"}
        assert client(TOKEN).post("/v1/search", headers=headers).status_code == 403


@pytest.mark.parametrize("path", ["/", "/v1/search", "/nothing"])
@pytest.mark.parametrize("headers", [{}, {"Host": "evil.example"}])
def test_every_answer_tells_the_browser_what_it_may_not(path: str, headers: dict[str, str]) -> None:
    told = client().get(path, headers=headers).headers
    assert told["X-Content-Type-Options"] == "nosniff"
    assert told["Cache-Control"] == "no-store"
    policy = told["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert policy != client().get(path).headers["Content-Security-Policy"]  # another nonce


def test_the_nonce_is_for_styles_only() -> None:
    parts = content_security_policy("abc").split("; ")
    assert [part for part in parts if "abc" in part] == ["style-src 'self' 'nonce-abc'"]

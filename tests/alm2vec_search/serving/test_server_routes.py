"""What is served and how it does; vectors; the token; the page's files."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from served_index import wav

from alm2vec_search.serving.schemas import EmbeddingsAnswer, StatusRecord
from alm2vec_search.testing import FakeEncoder

if TYPE_CHECKING:
    from pathlib import Path

    from served_index import Server
    from starlette.testclient import TestClient


def test_status(server: Server, client: TestClient) -> None:
    with server.index.open() as (collection, _):
        n_chunks = collection.count()
    told = StatusRecord.model_validate(client.get("/v1/status").json())
    assert told.model.name == "fake"
    assert told.index.chunks == n_chunks > 0
    assert told.index.libraries == [str(server.library)]


def test_no_index_yet(server: Server, tmp_path: Path) -> None:
    server.index.folder = tmp_path / "nowhere"
    with server.client() as client:
        for answer in (client.get("/v1/status"), client.post("/v1/search", json={"text": "x"})):
            assert answer.status_code == 503
            assert "alm2vec index" in answer.json()["error"]["hint"]
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/").status_code == 200


class TestVectors:
    def vectors(self, client: TestClient, **body: Any) -> Any:
        answer = client.post("/v1/embeddings", json=body)
        assert answer.status_code == 200, answer.text
        told = EmbeddingsAnswer.model_validate(answer.json())
        assert [item.index for item in told.data] == list(range(len(told.data)))
        return np.array([item.embedding for item in told.data], dtype=np.float32)

    def test_of_words(self, client: TestClient) -> None:
        expected = FakeEncoder().encode_query(text=["low", "high"])
        np.testing.assert_allclose(self.vectors(client, input=["low", "high"]), expected, rtol=1e-6)
        np.testing.assert_allclose(self.vectors(client, input="low"), expected[:1], rtol=1e-6)

    def test_as_openai_s_clients_ask_for_them(self, client: TestClient) -> None:
        body = {"input": "low", "model": "fake", "encoding_format": "base64", "user": "ana"}
        [item] = client.post("/v1/embeddings", json=body).json()["data"]
        vector = np.frombuffer(base64.b64decode(item["embedding"]), "<f4")
        np.testing.assert_array_equal(vector, FakeEncoder().encode_query(text=["low"])[0])

    def test_of_sounds_and_both(self, client: TestClient) -> None:
        sound = f"data:audio/wav;base64,{base64.b64encode(wav('low', 2)).decode()}"
        vectors = self.vectors(
            client, input=[sound, {"audio": sound}, {"audio": sound, "text": "high"}]
        )
        low, high = FakeEncoder().encode_query(text=["low", "high"])
        assert vectors[0] @ low > 0.9
        np.testing.assert_array_equal(vectors[0], vectors[1])
        assert vectors[2] @ high > vectors[0] @ high

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"input": []},
            {"input": ""},
            {"input": [""]},
            {"input": [{}]},
            {"input": ["x"] * 65},
            {"input": [1, 2]},
            {"input": "x" * 3000},
            {"input": "x", "model": "gpt"},
            {"input": "x", "dimensions": 8},
            {"input": "x", "encoding_format": "float16"},
        ],
    )
    def test_refused(self, client: TestClient, body: dict[str, Any]) -> None:
        answer = client.post("/v1/embeddings", json=body)
        assert answer.status_code == 422
        assert answer.json()["error"]["message"]


class TestToken:
    def test_traded_for_a_cookie(self, server: Server) -> None:
        with server.client(token="t0ken") as client:
            assert client.get("/v1/status").status_code == 401
            assert client.post("/v1/session", json={"token": "wrong"}).status_code == 403
            traded = client.post("/v1/session", json={"token": "t0ken"})
            assert traded.status_code == 204
            assert {"HttpOnly", "SameSite=strict"} <= set(traded.headers["Set-Cookie"].split("; "))
            assert client.get("/v1/status").status_code == 200

    def test_none_is_needed(self, client: TestClient) -> None:
        answer = client.post("/v1/session", json={"token": "any"})
        assert answer.status_code == 204
        assert "Set-Cookie" not in answer.headers


def test_metrics_tell_routes_and_nothing_of_what_was_asked(client: TestClient) -> None:
    client.post("/v1/search", json={"text": "a private matter"})
    client.get("/v1/search", params={"text": "a private matter"})
    client.get("/v1/sounds/privateid/audio")
    client.get("/nothing/private")
    told = client.get("/metrics").text
    assert 'alm2vec_requests_total{method="POST",route="/v1/search",status="200"} 1.0' in told
    assert 'route="/v1/sounds/{sound}/audio",status="404"} 1.0' in told
    assert 'route="other",status="404"} 1.0' in told
    assert "private" not in told


class TestPage:
    def test_it_has_the_nonce_that_its_policy_names(self, client: TestClient) -> None:
        answer = client.get("/")
        policy = answer.headers["Content-Security-Policy"]
        nonce = policy.partition("'nonce-")[2].partition("'")[0]
        assert nonce in answer.text
        assert "{{" not in answer.text

    def test_all_that_it_names_is_there_and_ours(self, client: TestClient) -> None:
        import re

        html = client.get("/").text
        names = re.findall(r'(?:src|href)="([^"#]+)"', html)
        assert names
        for name in names:
            assert name.startswith("assets/"), name
            assert client.get(f"/{name}").status_code == 200, name

    def test_nothing_else_of_the_package_is(self, client: TestClient) -> None:
        for name in ("index.html", "vendor.py", "../errors.py", "nothing.js", ""):
            assert client.get(f"/assets/{name}").status_code == 404


def test_an_error_that_nobody_foresaw_tells_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from starlette.testclient import TestClient

    from alm2vec_search.serving.engine import Engine

    def break_down(*_: object) -> None:
        raise RuntimeError("secret details")

    monkeypatch.setattr(Engine, "search", break_down)
    app = server.app()
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = client.post("/v1/search", json={"text": "x"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"

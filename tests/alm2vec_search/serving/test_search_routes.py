"""A search over HTTP, in all its forms, and what it refuses."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
from served_index import RATE, wav

from alm2vec_search.serving.schemas import SearchAnswer
from alm2vec_search.testing import NOTES_HZ, tone

if TYPE_CHECKING:
    from served_index import Server
    from starlette.testclient import TestClient


def hits(client: TestClient, **body: Any) -> list[dict[str, Any]]:
    answer = client.post("/v1/search", json=body)
    assert answer.status_code == 200, answer.text
    told = SearchAnswer.model_validate(answer.json())  # as it is documented
    assert [hit.rank for hit in told.hits] == list(range(1, len(told.hits) + 1))
    return answer.json()["hits"]


def names(client: TestClient, **body: Any) -> list[str]:
    return [Path(hit["path"]).name for hit in hits(client, **body)]


class TestAsked:
    def test_in_words(self, client: TestClient) -> None:
        first = hits(client, text="high", limit=2)[0]
        assert Path(first["path"]).name in ("high.wav", "both.flac")
        assert first["verdict"] in ("strong", "likely", "weak")
        assert len(first["sound"]) == 64

    def test_where_in_the_file(self, client: TestClient) -> None:
        [hit] = hits(client, text="high", where="name:both*", limit=1)
        assert (hit["start_s"], hit["end_s"]) == (4.0, 6.0)

    def test_by_an_address(self, client: TestClient) -> None:
        answer = client.get("/v1/search", params={"text": "low", "where": "name:low*", "limit": 3})
        assert [Path(hit["path"]).name for hit in answer.json()["hits"]] == ["low.wav"]

    def test_by_an_indexed_sound_and_a_region_of_it(self, client: TestClient) -> None:
        [both] = hits(client, text="x", where="name:both*")
        like = {"sound": both["sound"], "start_s": 4.5, "end_s": 6}
        assert set(names(client, like=like, limit=2, keep_copies=True)) == {"high.wav", "both.flac"}
        like = {"sound": both["sound"], "start_s": 0, "end_s": 3}
        assert set(names(client, like=like, limit=2, keep_copies=True)) == {"low.wav", "both.flac"}

    def test_by_an_upload_many_times(self, client: TestClient) -> None:
        sent = client.post("/v1/uploads", content=wav("middle", 2))
        assert sent.status_code == 201
        assert sent.json()["duration_s"] == 2.0
        like = {"upload": sent.json()["upload"]}
        for _ in range(2):
            assert names(client, like=like, limit=1) == ["middle.wav"]
        assert names(client, like={**like, "start_s": 0.5, "end_s": 1}, limit=1) == ["middle.wav"]

    def test_by_a_sound_that_is_sent_along(self, client: TestClient) -> None:
        data = f"data:audio/wav;base64,{base64.b64encode(wav('middle')).decode()}"
        assert names(client, like={"data": data}, limit=1) == ["middle.wav"]

    def test_weighted_and_negative(self, client: TestClient) -> None:
        scores = {
            less: hits(client, text="low", less=less, where="name:both*", words=0)[0]["score"]
            for less in ((), ("high",))
        }
        assert scores[()] > scores[("high",)]
        [clauses] = [hit["clauses"] for hit in hits(client, text="low", more=["2:high"], limit=1)]
        assert [(c["clause"], c["weight"]) for c in clauses] == [("low", 1.0), ("high", 2.0)]

    def test_an_instruction_and_which_way_it_went(self, client: TestClient) -> None:
        body = {"text": "low", "instruction": "what note is it?", "limit": 2}
        answer = client.post("/v1/search", json=body).json()
        assert answer["way"] == "the best were heard again under the instruction"
        assert all(hit["reembedded"] for hit in answer["hits"])

    def test_why(self, client: TestClient) -> None:
        [hit] = hits(client, text="low", explain=True, limit=1)
        assert hit["explanation"]["compared"] == "plain"

    def test_nothing_matches(self, client: TestClient) -> None:
        answer = client.post("/v1/search", json={"text": "low", "where": "duration>100"}).json()
        assert answer["hits"] == []
        assert answer["nothing_matches"] is True


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({}, 422, "the query is empty"),
    ({"text": "  "}, 422, "the query is empty"),
    ({"less": ["rain"]}, 422, "the query is empty"),
    ({"text": "x", "where": "duration<<3"}, 422, "column 10"),
    ({"text": "x", "aspect": "nope"}, 422, "no aspect nope"),
    ({"text": "x", "limit": 0}, 422, "limit"),
    ({"text": "x", "limit": 10**9}, 422, "limit"),
    ({"text": "x", "unknown": 1}, 422, "unknown"),
    ({"text": "x" * 3000}, 422, "text"),
    ({"text": "x", "more": ["0:y"]}, 422, "asks for nothing"),
    ({"like": {}}, 422, "no sound, or several"),
    ({"like": {"sound": "a", "upload": "b"}}, 422, "no sound, or several"),
    ({"like": {"sound": "0" * 64}}, 404, "no such sound"),
    ({"like": {"upload": "nope"}}, 404, "no such upload"),
    ({"like": {"data": "data:audio/wav;base64,%%%"}}, 422, "base64"),
    ({"like": {"data": "data:audio/wav;base64,AAAA"}}, 415, "can't be used"),
    ({"like": {"data": "file:///etc/passwd,"}}, 422, "like.data"),
    ({"like": {"data": "http://127.0.0.1/x.wav,"}}, 422, "like.data"),
]


@pytest.mark.parametrize(("body", "status", "message"), REFUSED)
def test_what_is_refused_says_why(
    client: TestClient, body: dict[str, Any], status: int, message: str
) -> None:
    answer = client.post("/v1/search", json=body)
    assert answer.status_code == status
    assert message in answer.json()["error"]["message"]


def test_a_region_that_is_none(client: TestClient) -> None:
    [both] = hits(client, text="x", where="name:both*")
    for start_s, end_s in ((5, 4), (100, 101), (3, 3)):
        like = {"sound": both["sound"], "start_s": start_s, "end_s": end_s}
        assert client.post("/v1/search", json={"like": like}).status_code == 422


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"\xff", b'{"text": "\\ud800"}', b"NaN"]
)
def test_what_is_no_request(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/search", content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["message"]


def test_words_never_name_a_file(server: Server, client: TestClient) -> None:
    """On the command line `--less FILE` is a sound; from elsewhere it is only its name."""
    path = str(server.library / "low" / "low.wav")
    [hit] = hits(client, text="low", less=[path], limit=1)
    [_, less] = hit["clauses"]
    assert less["score"] < 0.999


def test_an_upload_that_is_gone(server: Server) -> None:
    from alm2vec_search.serving.limits import Limits

    with server.client(limits=Limits(upload_kept_s=0.0)) as client:
        sent = client.post("/v1/uploads", content=wav("low")).json()
        answer = client.post("/v1/search", json={"like": {"upload": sent["upload"]}})
        assert answer.status_code == 404


def test_the_index_is_free_between_questions(server: Server, client: TestClient) -> None:
    """So that `alm2vec index` can be run while the server is up, and is seen by it."""
    import time

    assert "new.wav" not in names(client, text="middle")
    soundfile.write(server.library / "new.wav", tone(NOTES_HZ["middle"] * 1.1, 2, RATE), RATE)
    time.sleep(1.0)
    server.index.run(server.library)
    assert "new.wav" in names(client, text="middle")


def test_another_process_has_the_index(server: Server, client: TestClient) -> None:
    with server.index.open():
        answer = client.post("/v1/search", json={"text": "x"})
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        assert "in use by" in answer.json()["error"]["message"]
    assert hits(client, text="low")

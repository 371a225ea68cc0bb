"""Sounds over HTTP: to listen to, to look at, to send; and what nobody gets."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from served_index import RATE

from alm2vec_search.serving.limits import Limits
from alm2vec_search.testing import tone

if TYPE_CHECKING:
    from served_index import Server
    from starlette.testclient import TestClient


def id_of(client: TestClient, name: str) -> str:
    body = {"text": "x", "where": f"name:{name}*"}
    [hit] = client.post("/v1/search", json=body).json()["hits"]
    return str(hit["sound"])


def samples(data: bytes) -> tuple[Any, int]:
    return soundfile.read(io.BytesIO(data))  # type: ignore[no-any-return]


@pytest.fixture
def both(client: TestClient) -> str:
    return f"/v1/sounds/{id_of(client, 'both')}"


class TestListening:
    def test_all_of_a_file_as_it_is(self, server: Server, client: TestClient, both: str) -> None:
        answer = client.get(f"{both}/audio")
        assert answer.headers["Content-Type"] == "audio/flac"
        assert answer.content == (server.library / "both.flac").read_bytes()

    def test_a_stretch(self, client: TestClient, both: str) -> None:
        answer = client.get(f"{both}/audio", params={"start": 3.5, "end": 4.5})
        assert answer.headers["Content-Type"] == "audio/wav"
        heard, rate = samples(answer.content)
        expected = np.concatenate([tone(200, 4, RATE)[-RATE // 2 :], tone(4000, 0.5, RATE)])
        assert rate == RATE
        np.testing.assert_allclose(heard, expected, atol=1e-3)

    def test_parts_of_it_in_any_order(self, client: TestClient, both: str) -> None:
        whole = client.get(f"{both}/audio").content
        for asked, part in (("0-9", whole[:10]), ("100-", whole[100:]), ("-7", whole[-7:])):
            answer = client.get(f"{both}/audio", headers={"Range": f"bytes={asked}"})
            assert answer.status_code == 206
            assert answer.content == part
            assert answer.headers["Content-Range"].endswith(f"/{len(whole)}")
        beyond = client.get(f"{both}/audio", headers={"Range": f"bytes={len(whole)}-"})
        assert beyond.status_code == 416
        assert beyond.headers["Content-Range"] == f"bytes */{len(whole)}"

    @pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=-", "items=0-1", "bytes=5-2", "x"])
    def test_what_is_no_range_is_all_of_it(self, client: TestClient, both: str, asked: str) -> None:
        answer = client.get(f"{both}/audio", headers={"Range": asked})
        assert answer.status_code == 200
        assert len(answer.content) == int(answer.headers["Content-Length"])

    def test_longer_than_may_be(self, server: Server) -> None:
        with server.client(limits=Limits(clip_s=2.0)) as client:
            name = id_of(client, "both")
            answer = client.get(f"/v1/sounds/{name}/audio", params={"start": 0, "end": 3})
            assert answer.status_code == 422
            assert "too long" in answer.json()["error"]["message"]


class TestLooking:
    def test_an_outline(self, client: TestClient, both: str) -> None:
        told = client.get(f"{both}/peaks", params={"points": 50, "start": 1, "end": 3}).json()
        assert (told["start_s"], told["end_s"]) == (1.0, 3.0)
        assert len(told["min"]) == len(told["max"]) == 50
        np.testing.assert_allclose(told["max"], 0.5, atol=0.02)
        np.testing.assert_allclose(told["min"], -0.5, atol=0.02)

    def test_a_spectrogram(self, client: TestClient, both: str) -> None:
        answer = client.get(f"{both}/spectrogram.png", params={"width": 80, "height": 64})
        picture = Image.open(io.BytesIO(answer.content))
        assert picture.size == (80, 64)
        loudness = np.asarray(picture.getchannel("A"), dtype=float)  # [height, width], top first
        low, high = loudness[:, 10], loudness[:, 70]
        assert low.argmax() > high.argmax()  # the low note is further down

    @pytest.mark.parametrize(
        "params", [{"width": 0}, {"width": 10**6}, {"height": 10**6}, {"start": -1}, {"end": "x"}]
    )
    def test_nothing_absurd(self, client: TestClient, both: str, params: dict[str, Any]) -> None:
        assert client.get(f"{both}/spectrogram.png", params=params).status_code == 422


class TestSending:
    def test_it_can_be_heard_and_seen(self, client: TestClient) -> None:
        out = io.BytesIO()
        soundfile.write(out, tone(440, 2, 48_000), 48_000, format="OGG")
        sent = client.post("/v1/uploads", content=out.getvalue()).json()
        upload = f"/v1/uploads/{sent['upload']}"
        heard, rate = samples(client.get(f"{upload}/audio").content)
        assert rate == 48_000
        assert len(heard) == pytest.approx(2 * rate, rel=0.01)
        assert len(client.get(f"{upload}/peaks", params={"points": 9}).json()["max"]) == 9
        assert client.get(f"{upload}/spectrogram.png").headers["Content-Type"] == "image/png"

    @pytest.mark.parametrize(
        ("content", "status"),
        [(b"", 415), (b"not a sound", 415), (b"#EXTM3U\n/etc/passwd\n", 415)],
    )
    def test_no_sound_in_it(self, client: TestClient, content: bytes, status: int) -> None:
        answer = client.post("/v1/uploads", content=content)
        assert answer.status_code == status
        assert answer.json()["error"]["hint"]

    def test_too_much(self, server: Server) -> None:
        with server.client(limits=Limits(upload_bytes=2**20, upload_s=2.0)) as client:
            assert client.post("/v1/uploads", content=b"x" * 3 * 2**20).status_code == 413
            out = io.BytesIO()
            soundfile.write(out, tone(440, 9, 8000), 8000, format="WAV")
            assert client.post("/v1/uploads", content=out.getvalue()).status_code == 413

    def test_nothing_of_it_is_left_on_the_disk(self, server: Server, client: TestClient) -> None:
        out = io.BytesIO()
        soundfile.write(out, tone(440, 2, RATE), RATE, format="WAV")
        sent = client.post("/v1/uploads", content=out.getvalue()).json()
        client.get(f"/v1/uploads/{sent['upload']}/audio", params={"start": 0, "end": 1})
        assert [path for path in (server.home / "clips").rglob("*") if path.is_file()] == []


class TestNobodyGets:
    """What isn't in the index as it was indexed."""

    def test_by_a_path(self, server: Server, client: TestClient) -> None:
        outside = server.library.parent / "secret.wav"
        soundfile.write(outside, tone(440, 1, RATE), RATE)
        wishes = ("../secret.wav", "..%2fsecret.wav", "%2e%2e/secret.wav", str(outside))
        for wish in (*wishes, "/etc/passwd", "%2fetc%2fpasswd", "..;/..;/etc/passwd"):
            for prefix in ("/v1/sounds/", "/v1/uploads/", "/assets/"):
                for what in ("/audio", ""):
                    answer = client.get(f"{prefix}{wish}{what}")
                    assert answer.status_code in (404, 405, 422), (prefix, wish)
                    assert b"root:" not in answer.content
                    assert not answer.content.startswith(b"RIFF")

    def test_a_file_that_was_changed(self, server: Server, client: TestClient, both: str) -> None:
        path = server.library / "both.flac"
        os.utime(path, (1, 1))
        answer = client.get(f"{both}/audio")
        assert answer.status_code == 410
        assert "changed" in answer.json()["error"]["message"]

    def test_a_file_that_is_gone(self, server: Server, client: TestClient, both: str) -> None:
        (server.library / "both.flac").unlink()
        for what in ("audio", "peaks", "spectrogram.png"):
            assert client.get(f"{both}/{what}").status_code == 410

    def test_what_a_link_leads_to(self, server: Server, client: TestClient, both: str) -> None:
        """The very same bytes with the same times, but outside of all libraries."""
        path, outside = server.library / "both.flac", server.library.parent / "elsewhere.flac"
        path.rename(outside)
        path.symlink_to(outside)
        answer = client.get(f"{both}/audio")
        assert answer.status_code == 403
        assert str(outside) not in answer.text

    def test_a_secret_behind_a_link(self, server: Server, client: TestClient, both: str) -> None:
        path = server.library / "both.flac"
        status = path.stat()
        secret = server.library.parent / "secret.txt"
        secret.write_bytes(b"s3cret" + bytes(status.st_size - 6))
        os.utime(secret, ns=(status.st_atime_ns, status.st_mtime_ns))
        path.unlink()
        path.symlink_to(secret)
        answer = client.get(f"{both}/audio")
        assert answer.status_code == 403
        assert b"s3cret" not in answer.content

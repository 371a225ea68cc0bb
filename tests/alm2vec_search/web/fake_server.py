"""A server that speaks as `alm2vec serve` does, over real files, with no model behind it.

Words are looked for in names; sounds are compared by their mean spectra. Everything the page shows
and plays is made from the files.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from alm2vec_search.errors import Alm2VecError, QueryError
from alm2vec_search.where import parse_where

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from numpy.typing import NDArray
    from starlette.requests import Request

WEB = Path(__file__).resolve().parents[3] / "alm2vec_search" / "web"
TOKEN = "open sesame"
CHUNK_S = 10.0
BANDS = 32


@dataclass(frozen=True)
class Sound:
    """A file, whether indexed or uploaded."""

    id: str
    path: Path
    name: str
    duration_s: float
    channels: int
    sampling_rate: int

    def read(self, start_s: float | None, end_s: float | None) -> tuple[NDArray[np.float32], int]:
        """Mono, and its rate."""
        start = round((start_s or 0) * self.sampling_rate)
        stop = None if end_s is None else round(end_s * self.sampling_rate)
        with self.path.open("rb") as file:
            data, rate = soundfile.read(file, start=start, stop=stop, dtype="float32")
        return (data if data.ndim == 1 else data.mean(axis=1)), rate


@dataclass
class Backend:
    """What the server has: sounds below a folder, uploads, and whether it wants a token."""

    library: Path
    scratch: Path
    wants_token: bool = False
    aspects: tuple[tuple[str, str], ...] = (("animal", "what animal is it?"),)
    sounds: dict[str, Sound] = field(default_factory=dict)
    uploads: dict[str, Sound] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in sorted(os.fsencode(p) for p in self.library.rglob("*.wav")):
            path = Path(os.fsdecode(name))
            key = hashlib.sha256(name).hexdigest()[:16]
            self.sounds[key] = _sound(key, path)


def _sound(key: str, path: Path) -> Sound:
    with path.open("rb") as file:
        told = soundfile.info(file)
    return Sound(key, path, path.name, told.duration, told.channels, told.samplerate)


@cache
def _spectrum(sound: Sound, start_s: float | None, end_s: float | None) -> NDArray[np.float64]:
    """What the fake hears: the loudness of each band, of unit length. [BANDS]"""
    data, _rate = sound.read(start_s, end_s)
    power = np.abs(np.fft.rfft(data)) ** 2
    bands = np.array([part.sum() for part in np.array_split(power, BANDS)])
    loudness = np.log1p(bands)
    return loudness / (np.linalg.norm(loudness) + 1e-9)


def create_app(backend: Backend) -> Starlette:
    """The routes, each under the headers that the real one sends."""

    def guarded(
        handle: Callable[[Request], Response | Awaitable[Response]],
    ) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if backend.wants_token and request.cookies.get("token") != "yes":
                return _error(
                    401, "Unauthorized", "a token is wanted", "it was printed at the start"
                )
            try:
                told = handle(request)
                return told if isinstance(told, Response) else await told
            except Alm2VecError as error:
                return _error(422, type(error).__name__, str(error), error.hint)

        return answer

    async def session(request: Request) -> Response:
        if (await request.json()).get("token") != TOKEN:
            return _error(401, "Unauthorized", "that is not the token", None)
        response = Response(status_code=204)
        response.set_cookie("token", "yes", httponly=True, samesite="strict")
        return response

    async def search(request: Request) -> Response:
        return JSONResponse(_answer(backend, await request.json()))

    async def upload(request: Request) -> Response:
        body = await request.body()
        key = hashlib.sha256(body).hexdigest()[:16]
        path = backend.scratch / f"upload-{key}"
        path.write_bytes(body)
        try:
            sound = _sound(key, path)
        except soundfile.LibsndfileError:
            return _error(
                415, "DecodeError", "no sound in it", "wav, flac, mp3 and others are read"
            )
        backend.uploads[key] = sound
        told = {"upload": key, "duration_s": sound.duration_s, "expires_s": 900}
        return JSONResponse(told, status_code=201)

    async def media(request: Request) -> Response:
        held = backend.sounds if request.path_params["kind"] == "sounds" else backend.uploads
        sound = held.get(request.path_params["id"])
        if sound is None:
            return _error(404, "NotFound", "there is no such sound", None)
        if not sound.path.exists():
            return _error(
                410, "Gone", "the file is gone", "alm2vec index brings the index up to date"
            )
        span = [request.query_params.get(name) for name in ("start", "end")]
        start_s, end_s = (None if text is None else float(text) for text in span)
        make = {"peaks": _peaks, "spectrogram.png": _spectrogram, "audio": _audio}
        return await run_in_threadpool(
            make[request.path_params["what"]], backend, sound, start_s, end_s
        )

    return Starlette(
        routes=[
            Route("/", lambda _request: _page()),
            Mount("/assets", StaticFiles(directory=WEB)),
            Route("/v1/session", session, methods=["POST"]),
            Route("/v1/status", guarded(lambda _request: JSONResponse(_status(backend)))),
            Route("/v1/search", guarded(search), methods=["POST"]),
            Route("/v1/uploads", guarded(upload), methods=["POST"]),
            Route("/v1/{kind:str}/{id:str}/{what:str}", guarded(media)),
        ]
    )


def _page() -> Response:
    nonce = base64.b64encode(os.urandom(12)).decode()
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; "
        "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; font-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    text = (WEB / "index.html").read_text("utf-8").replace("{{nonce}}", nonce)
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
    return Response(text, media_type="text/html", headers=headers)


def _error(status: int, kind: str, message: str, hint: str | None) -> Response:
    told = {"error": {"type": kind, "message": message, "hint": hint}}
    return JSONResponse(told, status_code=status)


def _status(backend: Backend) -> dict[str, Any]:
    chunks = sum(int(np.ceil(s.duration_s / CHUNK_S)) for s in backend.sounds.values())
    return {
        "version": "0.1.0",
        "model": {"name": "fake", "fingerprint": "0", "device": "cpu", "sampling_rate": 16000},
        "index": {
            "store": str(backend.scratch),
            "chunks": chunks,
            "chunking": "10s/10s",
            "libraries": [str(backend.library)] if chunks else [],
            "aspects": [{"name": n, "instruction": i} for n, i in backend.aspects],
        },
        "limits": {"upload_bytes": 67108864, "upload_s": 600, "clip_s": 600},
    }


def _answer(backend: Backend, body: dict[str, Any]) -> dict[str, Any]:
    began = time.perf_counter()
    if where := body.get("where"):
        parse_where(where)
    asked = _asked(backend, body.get("like"))
    words = set(body.get("text", "").lower().split())
    if asked is None and not words and not body.get("more"):
        raise QueryError("nothing is asked", hint="give words, or a sound")
    hits = []
    for sound in backend.sounds.values():
        start_s = CHUNK_S * (int(sound.duration_s // CHUNK_S) // 2)
        end_s = min(start_s + CHUNK_S, sound.duration_s)
        named = len(words & set(sound.path.stem.lower().replace("_", " ").split()))
        score = named / len(words) if words else 0.0
        if asked is not None:
            score += float(asked @ _spectrum(sound, start_s, end_s))
        hits.append(_hit(backend, sound, start_s, end_s, min(score, 1.0)))
    hits.sort(key=lambda hit: -hit["score"])
    least = {"weak": 0.0, "likely": 0.4, "strong": 0.7}[body.get("min", "weak")]
    hits = [hit for hit in hits if hit["probability"] >= least][: body.get("limit", 10)]
    for rank, hit in enumerate(hits, 1):
        hit["rank"] = rank
        if body.get("explain"):
            hit["explanation"] = {
                "window": [hit["start_s"], hit["end_s"]],
                "compared": "plain",
                "heard": {"Animal": 0.94, "Dog": 0.93, "Bark": 0.47},
            }
    instruction = body.get("instruction")
    return {
        "hits": hits,
        "way": "the best 30 were heard again under the instruction" if instruction else None,
        "nothing_matches": all(hit["verdict"] == "weak" for hit in hits),
        "took_s": time.perf_counter() - began,
    }


def _asked(backend: Backend, like: dict[str, Any] | None) -> NDArray[np.float64] | None:
    if like is None:
        return None
    held, key = (
        (backend.sounds, like["sound"]) if "sound" in like else (backend.uploads, like["upload"])
    )
    if key not in held:
        raise QueryError("there is no such sound")
    return _spectrum(held[key], like.get("start_s"), like.get("end_s"))


def _hit(
    backend: Backend, sound: Sound, start_s: float, end_s: float, score: float
) -> dict[str, Any]:
    verdict = "strong" if score >= 0.7 else "likely" if score >= 0.4 else "weak"
    told: dict[str, Any] = {
        "sound": sound.id,
        "path": str(sound.path),
        "library": str(backend.library),
        "start_s": start_s,
        "end_s": end_s,
        "duration_s": sound.duration_s,
        "score": round(score, 6),
        "verdict": verdict,
        "probability": score,
        "channels": sound.channels,
        "sampling_rate": sound.sampling_rate,
    }
    if sound.path.parent != backend.library:
        told["tags"] = [sound.path.parent.name]
        told["copies"] = [str(backend.library / "backup" / sound.path.name)]
    return told


def _peaks(_backend: Backend, sound: Sound, start_s: float | None, end_s: float | None) -> Response:
    data, _rate = sound.read(start_s, end_s)
    parts = np.array_split(data, min(800, len(data)))
    return JSONResponse(
        {
            "start_s": start_s or 0.0,
            "end_s": sound.duration_s if end_s is None else end_s,
            "min": [round(float(part.min()), 4) for part in parts],
            "max": [round(float(part.max()), 4) for part in parts],
        }
    )


def _spectrogram(
    _backend: Backend, sound: Sound, start_s: float | None, end_s: float | None
) -> Response:
    data, _rate = sound.read(start_s, end_s)
    size, columns, rows = 1024, 800, 128
    starts = np.linspace(0, max(len(data) - size, 0), columns).astype(int)
    padded = np.pad(data, (0, size))
    frames = np.stack([padded[at : at + size] for at in starts]) * np.hanning(size)
    power = np.abs(np.fft.rfft(frames)) ** 2  # [columns, bins]
    picked = np.unique(np.geomspace(2, size // 2, rows).astype(int), return_index=False)
    rows_of = np.interp(np.linspace(0, len(picked) - 1, rows), range(len(picked)), picked)
    loudness = 10 * np.log10(power[:, rows_of.astype(int)] + 1e-9)
    alpha = np.clip((loudness - loudness.max() + 70) / 70, 0, 1).T[::-1]
    image = np.zeros((rows, columns, 4), np.uint8)
    image[..., 3] = (255 * alpha).astype(np.uint8)
    png = io.BytesIO()
    Image.fromarray(image, "RGBA").save(png, "png")
    return Response(png.getvalue(), media_type="image/png")


def _audio(backend: Backend, sound: Sound, start_s: float | None, end_s: float | None) -> Response:
    if start_s is None or end_s is None:
        return FileResponse(sound.path, media_type="audio/wav")
    data, rate = sound.read(start_s, end_s)
    path = backend.scratch / f"{sound.id}-{start_s:g}-{end_s:g}.wav"
    soundfile.write(path, data, rate)
    return FileResponse(path, media_type="audio/wav")


def serve(backend: Backend) -> Iterator[str]:
    """Its address, while it runs."""
    config = uvicorn.Config(create_app(backend), port=0, log_level="error", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join()

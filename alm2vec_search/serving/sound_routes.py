"""Routes: sounds to listen to and to look at, indexed ones and uploads, and how to send one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response

from alm2vec_search.serving.answers import AsciiJSON
from alm2vec_search.serving.media import span_within
from alm2vec_search.serving.pictures import MOST_HEIGHT, MOST_POINTS, MOST_WIDTH
from alm2vec_search.serving.ranges import file_answer
from alm2vec_search.serving.schemas import Peaks, UploadRecord, failures

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from alm2vec_search.serving.gate import Gate
    from alm2vec_search.serving.limits import Limits
    from alm2vec_search.serving.media import Media, OpenSound, Playable
    from alm2vec_search.serving.sounds import Sounds

Start = Annotated[
    float | None, Query(ge=0, allow_inf_nan=False, description="In seconds; the start by default.")
]
End = Annotated[
    float | None, Query(ge=0, allow_inf_nan=False, description="In seconds; the end by default.")
]
Id = Annotated[str, Path(max_length=100)]
_KEPT = {"Cache-Control": "private, max-age=3600"}
_ANY_BYTES = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def sound_routes(sounds: Sounds, gate: Gate, limits: Limits) -> APIRouter:
    """
    Args:
        gate: sounds are decoded in its threads.
    """
    routes = APIRouter(tags=["sounds"])

    @routes.post(
        "/v1/uploads",
        status_code=201,
        response_model=None,
        responses={201: {"model": UploadRecord}, **failures(413, 415)},
        openapi_extra=_ANY_BYTES,
    )
    async def upload(request: Request) -> AsciiJSON:
        """Send an audio file, as it is, to ask with. It is decoded, kept in memory for a while,
        and never written to the disk."""
        data = await request.body()
        name, kept = await gate(lambda: sounds.add(data))
        told = {
            "upload": name,
            "duration_s": round(kept.duration_s, 3),
            "expires_s": limits.upload_kept_s,
        }
        return AsciiJSON(told, status_code=201)

    _add_media(routes, "/v1/sounds", sounds.indexed, sounds.of_index, gate)
    _add_media(routes, "/v1/uploads", sounds.uploaded, sounds.of_uploads, gate)
    return routes


def _add_media(
    routes: APIRouter,
    prefix: str,
    open_sound: Callable[[str], AbstractContextManager[OpenSound]],
    media: Media,
    gate: Gate,
) -> None:
    """How a sound is listened to and looked at, by its id."""
    wav: dict[str, Any] = {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}
    png: dict[str, Any] = {"image/png": {"schema": {"type": "string", "format": "binary"}}}
    refused = failures(404, 410, 415)

    @routes.get(
        prefix + "/{sound}/audio",
        response_model=None,
        responses={
            200: {"content": wav},
            206: {"content": wav, "description": "The range that was asked for."},
            416: {"description": "There is no such range."},
            **refused,
        },
    )
    async def audio(
        sound: Id,
        start: Start = None,
        end: End = None,
        wanted: Annotated[str | None, Header(alias="range", max_length=1000)] = None,
    ) -> Response:
        """All of it, as it is where browsers play that and else as WAV; or a stretch, as WAV.
        Ranges are understood."""

        def work() -> Playable:
            with open_sound(sound) as opened:
                if start is None and end is None:
                    return media.whole(opened)
                return media.clip(opened, span_within(start, end, opened.duration_s))

        playable = await gate(work)
        return file_answer(playable.file, playable.size, playable.media_type, wanted)

    @routes.get(
        prefix + "/{sound}/peaks",
        response_model=None,
        responses={200: {"model": Peaks}, **refused},
    )
    async def peaks(
        sound: Id,
        start: Start = None,
        end: End = None,
        points: Annotated[int, Query(ge=1, le=MOST_POINTS)] = 800,
    ) -> AsciiJSON:
        """The outline of a stretch: the lowest and the highest sample of each column, mono."""

        def work() -> dict[str, Any]:
            with open_sound(sound) as opened:
                span = span_within(start, end, opened.duration_s)
                drawn = media.peaks(opened, span, points=points)
            return {
                "start_s": span.start_s,
                "end_s": span.end_s,
                "min": _rounded(drawn.low),
                "max": _rounded(drawn.high),
            }

        return AsciiJSON(await gate(work), headers=_KEPT)

    @routes.get(
        prefix + "/{sound}/spectrogram.png",
        response_model=None,
        responses={200: {"content": png}, **refused},
    )
    async def spectrogram(
        sound: Id,
        start: Start = None,
        end: End = None,
        width: Annotated[int, Query(ge=1, le=MOST_WIDTH)] = 800,
        height: Annotated[int, Query(ge=1, le=MOST_HEIGHT)] = 128,
    ) -> Response:
        """A log-mel spectrogram of a stretch: black, the louder the less transparent, low notes at
        the bottom."""

        def work() -> bytes:
            with open_sound(sound) as opened:
                span = span_within(start, end, opened.duration_s)
                return media.spectrogram(opened, span, width=width, height=height)

        return Response(await gate(work), media_type="image/png", headers=_KEPT)


def _rounded(samples: Any) -> list[float]:
    """To what a screen can show."""
    return [round(float(sample), 4) for sample in samples]

"""A file as an answer, or the part of it that was asked for (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import anyio.to_thread
from starlette.responses import Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import BinaryIO

PIECE_BYTES = 2**18


def file_answer(file: BinaryIO, size: int, media_type: str, asked: str | None) -> Response:
    """The file, which is closed afterwards.

    Args:
        size: of the file, in bytes.
        asked: the `Range` header. Several ranges, or what is no range, are answered by all of it.
    """
    common = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=3600"}
    part = _range(asked, size)
    if part is None:
        headers = {**common, "Content-Length": str(size)}
        return StreamingResponse(_pieces(file, 0, size), 200, headers, media_type)
    if not part:
        file.close()
        return Response(status_code=416, headers={**common, "Content-Range": f"bytes */{size}"})
    headers = {
        **common,
        "Content-Length": str(len(part)),
        "Content-Range": f"bytes {part.start}-{part.stop - 1}/{size}",
    }
    return StreamingResponse(_pieces(file, part.start, len(part)), 206, headers, media_type)


def _range(asked: str | None, size: int) -> range | None:
    """None: all of it; an empty one: there is no such part.

    >>> _range("bytes=2-5", 10), _range("bytes=-3", 10), _range("bytes=8-", 10)
    (range(2, 6), range(7, 10), range(8, 10))
    >>> _range("bytes=10-", 10), _range("bytes=0-1,4-5", 10)
    (range(0, 0), None)
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", asked or "")
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        part = range(max(0, size - int(last)), size)
    elif last and int(last) < int(first):
        return None  # no range at all
    else:
        part = range(int(first), min(size, int(last) + 1 if last else size))
    return part or range(0)


async def _pieces(file: BinaryIO, start: int, n_bytes: int) -> AsyncIterator[bytes]:
    try:
        await anyio.to_thread.run_sync(file.seek, start)
        while n_bytes > 0:
            piece = await anyio.to_thread.run_sync(file.read, min(PIECE_BYTES, n_bytes))
            if not piece:  # it became shorter: better a broken connection than a false end
                raise OSError("the file became shorter while it was sent")
            n_bytes -= len(piece)
            yield piece
    finally:
        file.close()

"""How a sandbox and its server speak: bytes with a kind and a length, and nothing that runs.

server → child   a line of JSON {sampling_rate, n_bytes}, then the bytes of the upload
child → server   INFO, any number of MONO and PLAYED, and END; or FAILED at any time
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import BinaryIO

INFO = b"i"  # JSON: sampling_rate and channels of the file; played_rate, played_channels
MONO = b"m"  # float32, little-endian: for the model
PLAYED = b"p"  # int16, little-endian: for browsers
END = b"e"  # JSON: note
FAILED = b"f"  # JSON: why, and a reason for people

UNREADABLE, TOO_LONG, TOO_MUCH_MEMORY = "unreadable", "too long", "too much memory"

LONGEST = 1 << 20  # bytes of one message
_HEAD = struct.Struct("<cI")


class BadMessageError(ValueError):
    """What came isn't a message."""


def send(out: BinaryIO, kind: bytes, data: bytes) -> None:
    """Raises OSError where nobody listens any more."""
    view = memoryview(data)
    for start in range(0, max(1, len(view)), LONGEST):
        part = view[start : start + LONGEST]
        out.write(_HEAD.pack(kind, len(part)))
        out.write(part)
    out.flush()


def send_json(out: BinaryIO, kind: bytes, /, **fields: Any) -> None:
    """Raises OSError where nobody listens any more."""
    send(out, kind, json.dumps(fields).encode())


def receive(source: BinaryIO) -> tuple[bytes, bytes] | None:
    """Kind and bytes of the next message; None where no whole one comes any more.

    Raises:
        BadMessageError: it is too long.
    """
    head = source.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    kind, length = _HEAD.unpack(head)
    if length > LONGEST:
        raise BadMessageError(f"{length} bytes")
    data = source.read(length)
    return (kind, data) if len(data) == length else None


def fields_of(data: bytes) -> dict[str, Any]:
    """
    Raises:
        BadMessageError: they aren't JSON.
    """
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadMessageError("no JSON") from error
    if not isinstance(fields, dict):
        raise BadMessageError("no fields")
    return fields

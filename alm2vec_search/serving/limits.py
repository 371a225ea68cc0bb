"""How much one server does at once, and how much one request may ask."""

from __future__ import annotations

from dataclasses import dataclass

BODY_BYTES = 2**20  # of a request without a sound in it


@dataclass(frozen=True, slots=True)
class Limits:
    upload_bytes: int = 64 * 2**20
    upload_s: float = 600.0  # of sound
    clip_s: float = 600.0  # of sound, cut out or drawn
    uploads_bytes: int = 512 * 2**20  # kept in memory, all together
    upload_kept_s: float = 900.0
    searches: int = 4  # at once
    searches_waiting: int = 256
    search_s: float = 30.0  # until an answer
    clips: int = 2  # at once
    clips_waiting: int = 256
    decoded_uploads: int = 2  # at once
    clips_kept_bytes: int = 512 * 2**20  # on the disk

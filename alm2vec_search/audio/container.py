"""What the bytes of a file say before anything is decoded: its kind, and where it should end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alm2vec_search.audio.source import Source

    ByteOrder = Literal["little", "big"]

_MAGICS = (
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"caff", b".snd", b"fLaC", b"OggS"),
    *(b"ID3", b"\x1aE\xdf\xa3", b"wvPk", b"MAC ", b"#!AMR", b"TTA1"),
)
_MAX_OGG_PAGE = 27 + 255 + 255 * 255  # bytes
_MAX_CHUNKS = 10_000
_TOLERANCE_BYTES = 16  # some writers count their own header, some forget a pad byte
_ASF = b"0&\xb2u\x8ef\xcf\x11"
_ASF_FILE_PROPERTIES = b"\xa1\xdc\xab\x8cG\xa9\xcf\x11"


@dataclass(frozen=True, slots=True)
class Extent:
    """Where the sound lies, as the header has it: `end` may be past the end of the file, or at
    `start`, where a recorder was stopped before it could write how much it had recorded."""

    start: int  # bytes; 0 where only the end is known, of the sound and all that is around it
    end: int  # bytes


@dataclass(frozen=True, slots=True)
class OggPage:
    """What matters here of an Ogg page's header."""

    stream: int  # serial number
    is_last: bool  # it says that it ends its stream


def looks_like_sound(source: Source) -> bool:
    """Whether it begins as some kind of file with sound in it does."""
    head = source.read_at(0, 16)
    return head.startswith((*_MAGICS, _ASF)) or head[4:8] == b"ftyp" or _is_mpeg(head)


def why_unreadable(source: Source) -> str:
    """The likeliest reason why no decoder got anything out of it, for a report line."""
    if not looks_like_sound(source):
        return "not audio"
    if is_cut_off(source):
        return "cut off, and what is left of it can't be played"
    return "damaged, nothing in it could be read"


def is_for_ffmpeg(source: Source) -> bool:
    """Whether libsndfile would open it and do badly.

    MPEG audio: without a Xing header it stops at a guess of the length (27 of 60 s in one file),
    and its decoder prints on stderr. Ogg of several streams: it stops after the first. Opus: it
    takes three times as long.
    """
    head = source.read_at(0, 512)
    if head.startswith(b"OggS"):
        last = last_ogg_page(source)
        return b"OpusHead" in head or (last is not None and last.stream != _ogg_page(head).stream)
    return _is_mpeg(head)


def _is_mpeg(head: bytes) -> bool:
    return head.startswith(b"ID3") or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)


def mp3_knows_its_length(source: Source) -> bool:
    """Whether its first frame holds a count of frames (Xing, Info or VBRI header). Without one,
    what decoders call its length is the file's size divided by a guessed bit rate."""
    offset = 0
    while (tag := source.read_at(offset, 10)).startswith(b"ID3") and len(tag) == 10:
        offset += 10 + sum(
            (byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True)
        )
    start = source.read_at(offset, 4096)
    for name in (b"Xing", b"Info"):
        at = start.find(name)
        if 0 <= at <= len(start) - 8 and start[at + 7] & 1:  # the flag "a count of frames follows"
            return True
    return b"VBRI" in start


def last_ogg_page(source: Source) -> OggPage | None:
    """The last page that is whole; None where there is none near the end."""
    offset = max(0, source.size - _MAX_OGG_PAGE - 27)
    tail = source.read_at(offset, source.size - offset)
    at = len(tail)
    while (at := tail.rfind(b"OggS", 0, at)) >= 0:
        header = tail[at : at + 27 + 255]
        if len(header) < 27 or header[4] != 0:
            continue
        lengths = header[27 : 27 + header[26]]
        if at + 27 + header[26] + sum(lengths) <= len(tail):
            return _ogg_page(header)
    return None


def _ogg_page(header: bytes) -> OggPage:
    return OggPage(int.from_bytes(header[14:18], "little"), is_last=bool(header[5] & 4))


def is_cut_off(source: Source) -> bool:
    """Whether the file is shorter than its own header says."""
    extent = sound_extent(source)
    return extent is not None and extent.end > source.size + _TOLERANCE_BYTES


def sound_extent(source: Source) -> Extent | None:
    """Where the sound should begin and end, in the formats whose headers say so; None where they
    don't, or say that they don't know (a recorder that wrote into a pipe)."""
    head = source.read_at(0, 40)
    kind = head[:4]
    if kind in (b"RIFF", b"RIFX"):
        order: ByteOrder = "little" if kind == b"RIFF" else "big"
        if head[8:12] == b"WAVE":
            return _chunk(source, b"data", order)
        return _known(0, 8 + int.from_bytes(head[4:8], order))
    if kind in (b"RF64", b"BW64"):  # the true length stands in the ds64 chunk, always the first
        start = _start_of_chunk(source, b"data")
        return None if start is None else Extent(start, start + _little(head[28:36]))
    if kind == b"FORM":
        return _chunk(source, b"SSND", "big")
    if kind == b".snd":
        return _known(_big(head[4:8]), _big(head[8:12]))
    if kind == b"riff":
        return Extent(0, _little(head[16:24]))
    if kind == b"caff":
        return _caf_data(source)
    if head[4:8] == b"ftyp":
        return _mp4_boxes(source)
    if kind == b"\x1aE\xdf\xa3":
        return _matroska_segment(source)
    if head.startswith(_ASF):
        header = source.read_at(0, 4096)
        at = header.find(_ASF_FILE_PROPERTIES)
        return None if at < 0 else _known(0, _little(header[at + 40 : at + 48]))
    return None


def _known(start: int, length: int) -> Extent | None:
    """None for the lengths that recorders write while they don't know better: all ones, or the
    largest a signed number holds, give or take a header. (0 is a length: see `Extent`.)"""
    if length >= 0xFFFF_FF00 or 0x7FFF_F000 <= length < 0x8000_1000:
        return None
    return Extent(start, start + length)


def _chunk(source: Source, name: bytes, order: ByteOrder) -> Extent | None:
    """The body of the first chunk of this name in a RIFF or IFF file."""
    for found, start, length in _chunks(source, order):
        if found == name:
            return _known(start, length)
    return None


def chunk_bytes(source: Source, name: bytes, *, most: int) -> bytes:
    """The body of the first chunk of this name in a WAVE file, if it has no more bytes than that;
    else nothing."""
    head = source.read_at(0, 12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return b""
    for found, start, length in _chunks(source, "little"):
        if found == name:
            return source.read_at(start, length) if length <= most else b""
    return b""


def _start_of_chunk(source: Source, name: bytes) -> int | None:
    return next((start for found, start, _ in _chunks(source, "little") if found == name), None)


def _chunks(source: Source, order: ByteOrder) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of each chunk, up to where the file ends."""
    offset = 12
    for _ in range(_MAX_CHUNKS):
        header = source.read_at(offset, 8)
        if len(header) < 8:
            return
        length = int.from_bytes(header[4:], order)
        yield header[:4], offset + 8, length
        offset += 8 + length + length % 2


def _caf_data(source: Source) -> Extent | None:
    offset = 8
    for _ in range(_MAX_CHUNKS):
        header = source.read_at(offset, 12)
        if len(header) < 12:
            return None
        length = int.from_bytes(header[4:], "big", signed=True)
        if header[:4] == b"data":
            return None if length < 0 else Extent(offset + 12, offset + 12 + length)
        offset += 12 + max(0, length)
    return None


def _mp4_boxes(source: Source) -> Extent | None:
    offset = 0
    for _ in range(_MAX_CHUNKS):
        header = source.read_at(offset, 16)
        if len(header) < 8:
            return Extent(0, offset)
        length = _big(header[:4])
        if length == 1:  # the length follows the name
            length = _big(header[8:16])
        if length < 8:  # 0: to the end of the file, wherever that is
            return None
        offset += length
    return None


def _matroska_segment(source: Source) -> Extent | None:
    start = source.read_at(0, 128)
    header_length, at = _matroska_number(start, 4)
    at += header_length
    if start[at : at + 4] != b"\x18\x53\x80\x67":
        return None
    length, body = _matroska_number(start, at + 4)
    unknown = (1 << 7 * (body - at - 4)) - 1
    return None if length == unknown else Extent(0, body + length)


def _matroska_number(data: bytes, at: int) -> tuple[int, int]:
    """A number whose first byte says how many bytes it has, and where it ends."""
    if at >= len(data) or data[at] == 0:
        return 0, at
    n_bytes = 9 - data[at].bit_length()
    number = _big(data[at : at + n_bytes]) & ((1 << 7 * n_bytes) - 1)
    return number, at + n_bytes


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")

"""Files made to break whoever decodes them: the same ones for the same seed."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from audio_files import AIFF, FLAC, M4A, MKV, MP3, OGG, OPUS, WAV, make_sound

if TYPE_CHECKING:
    from pathlib import Path

SEED = 20260
RATE = 16_000
TRUNCATED, DAMAGED, RANDOM = 54, 54, 30


@dataclass(frozen=True)
class HostileUpload:
    name: str
    data: bytes


def hostile_uploads(folder: Path, port: int) -> list[HostileUpload]:
    """At least 200 of them. Playlists among them name a secret file, and a port of this machine."""
    luck = random.Random(SEED)
    sound = make_sound(3, 48_000, 2)
    plain = {
        encoding.name: encoding.write(folder / f"x{encoding.suffix}", sound, 48_000).read_bytes()
        for encoding in (WAV, FLAC, MP3, OGG, OPUS, M4A, AIFF, MKV)
    }
    uploads: list[HostileUpload] = []

    def add(name: str, data: bytes) -> None:
        uploads.append(HostileUpload(name, data))

    names = list(plain)
    for i in range(TRUNCATED):
        name = names[i % len(names)]
        data = plain[name]
        # half of them within the headers
        end = luck.randrange(1, 200 if i % 2 else len(data))
        add(f"{name} cut off {i} after {end}", data[:end])
    for i in range(DAMAGED):
        name = names[i % len(names)]
        damaged = bytearray(plain[name])
        for _ in range(luck.choice([1, 10, 1000])):
            at = luck.randrange(len(damaged) if i % 2 else 400)
            damaged[at] = luck.randrange(256)
        add(f"{name} damaged {i}", bytes(damaged))
    magics = [b"RIFF", b"fLaC", b"OggS", b"ID3\4", b"\xff\xfb", b"FORM", b"\x1aE\xdf\xa3", b""]
    for i in range(RANDOM):
        add(f"random {i}", magics[i % len(magics)] + luck.randbytes(luck.randrange(1, 20_000)))
    uploads += _of_other_kinds(luck)
    uploads += _that_lie()
    uploads += _bombs()
    uploads += playlists(port)
    return uploads


def _of_other_kinds(luck: random.Random) -> list[HostileUpload]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.wav", bytes(10_000_000))
    noise = luck.randbytes(2000)
    return [
        HostileUpload("one byte", b"x"),
        HostileUpload("zeros", bytes(100_000)),
        HostileUpload("zip", archive.getvalue()),
        HostileUpload("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + noise),
        HostileUpload("gif", b"GIF89a\xff\xff\xff\xff" + noise),
        HostileUpload("jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0" + noise),
        HostileUpload("html", b"<!DOCTYPE html><script>alert(1)</script>" * 50),
        HostileUpload("pdf", b"%PDF-1.7\n%" + noise),
        HostileUpload(
            "svg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/>'
        ),
        HostileUpload("elf", b"\x7fELF\2\1\1" + noise),
        HostileUpload("script", b"#!/bin/sh\nrm -rf /\n"),
        HostileUpload("pickle", b"cos\nsystem\n(S'true'\ntR."),
        HostileUpload("xml bomb", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "cc">]><MPD>&b;'),
        HostileUpload("midi", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk" + noise),
        HostileUpload("tar", b"../../etc/x".ljust(257, b"\0") + b"ustar" + noise),
    ]


def wav(
    data: bytes,
    *,
    rate: int = RATE,
    channels: int = 1,
    bits: int = 16,
    says: int | None = None,
    kind: int = 1,
    align: int | None = None,
) -> bytes:
    """A WAV file whose header may lie."""
    align = channels * bits // 8 if align is None else align
    length = len(data) if says is None else says
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", min(0xFFFF_FFFF, 36 + length), b"WAVE", b"fmt ", 16, kind, channels % 65536),
        *(rate, (rate * align) & 0xFFFF_FFFF, align % 65536, bits, b"data", length),
    ) + data  # fmt: skip


def _that_lie() -> list[HostileUpload]:
    data = (1000 * np.sin(np.arange(RATE))).astype("<i2").tobytes()
    uploads = [
        HostileUpload("wav of 4 GB", wav(data, says=0xFFFF_FFF0)),
        HostileUpload("wav of 2 GB", wav(data, says=0x7FFF_FFF0)),
        HostileUpload("wav of nothing", wav(b"")),
        HostileUpload("wav that says nothing", wav(data, says=0)),
        HostileUpload("rf64 of exabytes", _rf64(data, 1 << 62)),
        HostileUpload("w64", b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0" + b"\xff" * 200),
        HostileUpload("au of terabytes", struct.pack(">4s5I", b".snd", 24, 1 << 31, 3, 8000, 1)),
        HostileUpload("caf of exabytes", _caf(1 << 62)),
        HostileUpload("aiff of 4 GB", _aiff(0xFFFF_FFFF, 1)),
        HostileUpload("aiff of 65535 channels", _aiff(1000, 65_535)),
        HostileUpload("flac of hours", _flac_header(2**36 - 1)),
        HostileUpload("flac of no known length", _flac_header(0)),
        HostileUpload("mp4 with a box of exabytes", _mp4_box(1 << 62)),
        HostileUpload("mp4 with boxes in boxes", _nested_boxes(2000)),
        HostileUpload("mkv of unknown length", b"\x1aE\xdf\xa3\x01" + b"\xff" * 7 + bytes(500)),
        HostileUpload("mkv in mkv", b"\x1aE\xdf\xa3\xa3" * 5000),
        HostileUpload("id3 of 256 MB", b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(1000)),
        HostileUpload("ogg pages without end", (b"OggS\0\2" + bytes(20) + b"\1\0") * 3000),
    ]
    for rate in (0, 1, 99, 1_000_000_000, 0xFFFF_FFFF):
        uploads.append(HostileUpload(f"wav at {rate} Hz", wav(data, rate=rate)))
    for channels in (0, 255, 1000, 65_535):
        uploads.append(HostileUpload(f"wav of {channels} channels", wav(data, channels=channels)))
    for bits in (0, 1, 7, 24, 64, 65_535):
        uploads.append(HostileUpload(f"wav of {bits} bits", wav(data, bits=bits)))
    for kind in (0, 2, 3, 0x11, 0x31, 0x55, 0x161, 0xFFFE, 0xFFFF):
        uploads.append(HostileUpload(f"wav of kind {kind:x}", wav(data, kind=kind)))
    not_numbers = np.full(RATE, np.nan, "<f4").tobytes()
    uploads.append(HostileUpload("not a number", wav(not_numbers, bits=32, kind=3)))
    huge = np.full(RATE, 3e38, "<f4").tobytes()
    uploads.append(HostileUpload("louder than anything", wav(huge, bits=32, kind=3)))
    return uploads


def _rf64(data: bytes, length: int) -> bytes:
    ds64 = struct.pack("<QQQI", length, length, length, 0)
    form = struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    return (
        b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", len(ds64)) + ds64
        + b"fmt " + struct.pack("<I", len(form)) + form + b"data\xff\xff\xff\xff" + data
    )  # fmt: skip


def _caf(length: int) -> bytes:
    form = struct.pack(">d4sIIIII", 8000.0, b"lpcm", 0, 2, 1, 1, 16)
    return (
        b"caff\0\1\0\0desc" + struct.pack(">q", len(form)) + form + b"data"
        + struct.pack(">qI", length, 0) + bytes(500)
    )  # fmt: skip


def _aiff(length: int, channels: int) -> bytes:
    rate = b"\x40\x0e\xac\x44" + bytes(6)
    common = struct.pack(">HIH", channels, length, 16) + rate
    return (
        b"FORM\xff\xff\xff\xffAIFFCOMM" + struct.pack(">I", len(common)) + common
        + b"SSND" + struct.pack(">III", length, 0, 0) + bytes(500)
    )  # fmt: skip


def _flac_header(n_samples: int) -> bytes:
    bits = (655_350 << 44) | (7 << 41) | (31 << 36) | n_samples
    return b"fLaC\x80\0\0\x22\x10\0\xff\xff" + bytes(6) + bits.to_bytes(8, "big") + bytes(16 + 100)


def _mp4_box(length: int) -> bytes:
    brand = struct.pack(">I4s4sI4s", 20, b"ftyp", b"M4A ", 0, b"isom")
    return brand + struct.pack(">I4sQ", 1, b"moov", length) + bytes(500)


def _nested_boxes(depth: int) -> bytes:
    brand = struct.pack(">I4s4sI4s", 20, b"ftyp", b"M4A ", 0, b"isom")
    names = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
    return brand + b"".join(
        struct.pack(">I4s", 8 * (depth - i), names[i % len(names)]) for i in range(depth)
    )


def _bombs() -> list[HostileUpload]:
    """Much sound in few bytes: well-formed, and refused for its length."""
    return [
        HostileUpload("bomb: flac of two hours", silence("FLAC", "PCM_16", 8_000, 7200)),
        HostileUpload("bomb: flac of 8 channels", silence("FLAC", "PCM_16", 8_000, 700, 8)),
        HostileUpload("bomb: opus of many minutes", silence("OGG", "OPUS", 8_000, 700)),
        HostileUpload("bomb: wav of a day at 100 Hz", wav(bytes(20_000_000), rate=100)),
    ]


def silence(container: str, codec: str, rate: int, duration_s: int, channels: int = 1) -> bytes:
    file = io.BytesIO()
    minute = np.zeros((60 * rate, channels), np.float32)
    with soundfile.SoundFile(file, "w", rate, channels, codec, format=container) as sound:
        for start_s in range(0, duration_s, 60):
            sound.write(minute[: (duration_s - start_s) * rate])
    return file.getvalue()


def playlists(port: int) -> list[HostileUpload]:
    """They would make FFmpeg open other files, and connections."""
    uploads = []
    targets = ["/etc/passwd", "file:///etc/passwd", f"http://127.0.0.1:{port}/a.wav", "fd:"]
    targets += [f"tcp://127.0.0.1:{port}", f"udp://127.0.0.1:{port}", "pipe:0", "subfile:,,:/etc/x"]
    targets += [f"concat:http://127.0.0.1:{port}/a|/etc/passwd", f"ftp://127.0.0.1:{port}/a"]
    for target in targets:
        hls = f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n"
        dash = (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period>'
            '<AdaptationSet contentType="audio"><Representation id="1" bandwidth="1" '
            f'mimeType="audio/mp4"><BaseURL>{target}</BaseURL></Representation></AdaptationSet>'
            "</Period></MPD>"
        )
        uploads += [
            HostileUpload(f"m3u8 of {target}", hls.encode()),
            HostileUpload(
                f"ffconcat of {target}", f"ffconcat version 1.0\nfile '{target}'\n".encode()
            ),
            HostileUpload(f"dash of {target}", dash.encode()),
        ]
    key = (
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
        f'#EXT-X-KEY:METHOD=AES-128,URI="http://127.0.0.1:{port}/key"\n#EXTINF:1,\nfd:\n'
    )
    sdp = (
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n"
    )
    master = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nhttp://127.0.0.1:{port}/in.m3u8\n"
    uploads += [
        HostileUpload("m3u8 with a key", key.encode()),
        HostileUpload("m3u8 of m3u8", master.encode()),
        HostileUpload("sdp", sdp.encode()),
        HostileUpload("rtsp", f"RTSPtext\nrtsp://127.0.0.1:{port}/\n".encode()),
        HostileUpload("image sequence", b"%d.png\n"),
        HostileUpload("pls", f"[playlist]\nFile1=http://127.0.0.1:{port}/\n".encode()),
    ]
    return uploads

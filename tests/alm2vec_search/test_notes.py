"""What files say of themselves, read from real files in every format that keeps notes."""

from __future__ import annotations

import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from alm2vec_search.audio import read_notes, to_notes
from alm2vec_search.audio.notes import LONGEST, MOST

if TYPE_CHECKING:
    from pathlib import Path

TAGS = {"title": "Héavy Rain", "artist": "Ana", "genre": "Rain; Weather", "comment": "on tin"}


def write_tagged(path: Path, *options: str, **tags: str) -> Path:
    metadata = [part for name, text in tags.items() for part in ("-metadata", f"{name}={text}")]
    sine = ["-f", "lavfi", "-i", "sine=duration=0.2"]
    command = ["ffmpeg", "-v", "error", "-y", *sine, *metadata, *options, str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg", "opus", "m4a", "mka"])
def test_tags_of_every_format(tmp_path: Path, suffix: str) -> None:
    notes = read_notes(write_tagged(tmp_path / f"x.{suffix}", **TAGS))
    assert dict(notes.named) == TAGS
    assert notes.tags == ("Rain", "Weather")


def test_a_broadcast_wave(tmp_path: Path) -> None:
    said = {"description": "Stream, night", "originator": "Ana"}
    path = write_tagged(tmp_path / "x.wav", "-write_bext", "1", **said)
    assert {"Stream, night", "Ana"} <= {text for _, text in read_notes(path).named}


IXML = """<?xml version="1.0" encoding="UTF-8"?>
<BWFXML><PROJECT>Stream</PROJECT><SCENE>12</SCENE><TAKE>3</TAKE><NOTE></NOTE>
<ASWG><category>WATER</category><subCategory>FLOW</subCategory></ASWG></BWFXML>"""


def with_chunk(path: Path, name: bytes, body: bytes) -> Path:
    data = path.read_bytes() + name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    return path


def test_ixml(tmp_path: Path) -> None:
    path = with_chunk(write_tagged(tmp_path / "x.wav"), b"iXML", IXML.encode())
    notes = read_notes(path)
    assert dict(notes.named) == {
        "project": "Stream",
        "scene": "12",
        "take": "3",
        "category": "WATER",
        "subcategory": "FLOW",
    }
    assert notes.tags == ("WATER", "FLOW")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<BWFXML><PROJECT>x",
        b"\xff\xfe\0<",
        b'<?xml version="1.0" encoding="nonsense"?><a/>',
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a><NOTE>&b;</NOTE></a>',
        b"<a>" + b"x" * 2_000_000 + b"</a>",
    ],
)
def test_ixml_that_cannot_be_used_says_nothing(tmp_path: Path, body: bytes) -> None:
    path = with_chunk(write_tagged(tmp_path / "x.wav", title="T"), b"iXML", body)
    assert read_notes(path).named == (("title", "T"),)


def test_what_is_no_audio_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("title=x")
    (tmp_path / "empty.wav").touch()
    for name in ("text.wav", "empty.wav", "gone.wav"):
        assert not read_notes(tmp_path / name)


def test_notes_are_cleaned_and_bounded() -> None:
    notes = to_notes([("Comment", "a\0b\x07 "), ("x", "y" * 9999), ("", "z"), ("empty", " ")])
    assert notes.named == (("comment", "a b"), ("x", "y" * LONGEST))
    assert len(to_notes([(f"n{i}", "x") for i in range(1000)]).named) == MOST
    assert to_notes([("half", "\ud800")]).named == (("half", "?"),)
    assert to_notes([("genre", "a"), ("Genre", "a")]).named == (("genre", "a"),)

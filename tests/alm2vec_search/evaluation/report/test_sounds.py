"""Where sounds lie from a page, and which of them it can play."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from audio_files import AIFF, MP3, WAV, make_sound

from alm2vec_search.evaluation.report.sounds import page_sound
from alm2vec_search.evaluation.runs import SoundRef

if TYPE_CHECKING:
    from pathlib import Path

    from audio_files import Encoding


def write(path: Path, encoding: Encoding = WAV) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return encoding.write(path, make_sound(0.5, 16_000), 16_000)


def test_from_the_run_to_the_page(tmp_path: Path) -> None:
    write(tmp_path / "data" / "sounds" / "a.wav")
    run = tmp_path / "data" / "runs" / "run.json"
    ref = SoundRef(path="../sounds/a.wav")
    beside = page_sound(ref, run, tmp_path / "data" / "runs" / "report.html")
    assert (beside.address, beside.name, beside.is_played) == ("../sounds/a.wav", "a.wav", True)
    above = page_sound(ref, run, tmp_path / "report.html")
    assert above.address == "data/sounds/a.wav"


def test_an_absolute_path_is_relative_in_the_page(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    sound = page_sound(SoundRef(path=str(path)), tmp_path / "r.json", tmp_path / "x" / "r.html")
    assert sound.address == "../a.wav"


@pytest.mark.parametrize("name", ["a b.wav", "50%.wav", "a#t=1?.wav", "a:b.wav", "jeřáb \n'\".wav"])
def test_names_survive_the_way_into_an_address(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    sound = page_sound(SoundRef(path=name, end_s=1), tmp_path / "r.json", tmp_path / "r.html")
    assert sound.address is not None
    parts = urlsplit(sound.address)
    assert unquote(parts.path) == name
    assert (parts.scheme, parts.query, parts.fragment) == ("", "", "t=0,1")


@pytest.mark.parametrize(
    ("start_s", "end_s", "fragment", "stretch"),
    [
        (0.0, None, "", ""),
        (1.5, None, "#t=1.5", "from 0:01.5"),
        (0.0, 10.0, "#t=0,10", "0:00.0–0:10.0"),
        (61.25, 1 / 3 + 70, "#t=61.25,70.333", "1:01.2–1:10.3"),
    ],
)
def test_stretches(
    tmp_path: Path, start_s: float, end_s: float | None, fragment: str, stretch: str
) -> None:
    write(tmp_path / "a.wav")
    ref = SoundRef(path="a.wav", start_s=start_s, end_s=end_s)
    sound = page_sound(ref, tmp_path / "r.json", tmp_path / "r.html")
    assert (sound.address, sound.stretch) == ("a.wav" + fragment, stretch)


@pytest.mark.parametrize("path", ["gone.wav", ".", "a\0b.wav", "a" * 400])
def test_what_is_not_there_has_no_address(tmp_path: Path, path: str) -> None:
    sound = page_sound(SoundRef(path=path), tmp_path / "r.json", tmp_path / "r.html")
    assert sound.address is None
    assert not sound.is_played


@pytest.mark.parametrize(("encoding", "is_played"), [(WAV, True), (MP3, True), (AIFF, False)])
def test_browsers_play_it_or_not(tmp_path: Path, encoding: Encoding, is_played: bool) -> None:
    path = write(tmp_path / f"a{encoding.suffix}", encoding)
    sound = page_sound(SoundRef(path=path.name), tmp_path / "r.json", tmp_path / "r.html")
    assert sound.address == path.name
    assert sound.is_played is is_played


@pytest.mark.parametrize("content", [b"", b"no sound at all"])
def test_what_cannot_be_decoded_is_no_sound(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    sound = page_sound(SoundRef(path="a.wav"), tmp_path / "r.json", tmp_path / "r.html")
    assert not sound.is_played

"""Copies of real sounds, made by ffmpeg, and sounds that are none."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from alm2vec_search.audio import decode
from alm2vec_search.domain import Waveform
from alm2vec_search.likeness import Kind, KnownCopies, Likeness, kind_of, likeness

if TYPE_CHECKING:
    from alm2vec_search.domain import Samples

RATE = 16_000
SAMPLES = Path(__file__).parents[2] / "samples"
SOUNDS = [
    "animals/REC_0042.wav",
    "animals/night_call.flac",
    "voices/answering_machine.wav",
    "instruments/bells_peal.mp3",
    "machines/till.flac",
]


def sound(name: str) -> Samples:
    return decode(SAMPLES / name, RATE).samples


def remade(name: str, out: Path, *options: str) -> Samples:
    command = ["ffmpeg", "-v", "error", "-i", SAMPLES / name, *options, out]
    subprocess.run(command, check=True)
    return decode(out, RATE).samples


def compared(first: Samples, second: Samples) -> Kind | None:
    found = likeness(first, second, RATE)
    return kind_of(found, len(first) / RATE, len(second) / RATE)


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize(
    ("out", "options"),
    [
        ("x.mp3", ["-b:a", "64k"]),
        ("x.opus", ["-b:a", "32k"]),
        ("x.wav", ["-ar", "11025"]),
        ("x.wav", ["-af", "volume=-12dB"]),
    ],
)
def test_another_codec_rate_or_loudness(
    tmp_path: Path, name: str, out: str, options: list[str]
) -> None:
    assert compared(sound(name), remade(name, tmp_path / out, *options)) is Kind.ENCODED


def test_a_part_is_found_where_it_lies(tmp_path: Path) -> None:
    part = remade("animals/REC_0042.wav", tmp_path / "x.mp3", "-ss", "1.3", "-t", "2.5")
    found = likeness(sound("animals/REC_0042.wav"), part, RATE)
    assert found.is_same
    assert found.offset_s == pytest.approx(1.3, abs=0.05)
    assert found.overlap_s == pytest.approx(2.5, abs=0.1)
    backwards = likeness(part, sound("animals/REC_0042.wav"), RATE)
    assert backwards.offset_s == pytest.approx(-1.3, abs=0.05)
    assert compared(sound("animals/REC_0042.wav"), part) is Kind.TRIMMED


def test_other_sounds_are_no_copies() -> None:
    for one, other in itertools.combinations(SOUNDS, 2):
        assert compared(sound(one), sound(other)) is None, (one, other)


def test_two_stretches_of_the_same_noise_are_no_copies() -> None:
    """They have the same spectrum all along, and agree at every moment as well as at none."""
    noise = np.random.default_rng(0).normal(0, 0.1, 8 * RATE).astype(np.float32)
    assert compared(noise[: 4 * RATE], noise[4 * RATE :]) is None


def test_silence_is_like_nothing() -> None:
    silence = np.zeros(RATE, np.float32)
    assert compared(silence, silence) is None
    assert compared(sound(SOUNDS[0]), silence) is None


@pytest.mark.parametrize("n", [1, 100, 2000])
def test_sounds_of_nearly_no_length(n: int) -> None:
    assert compared(sound(SOUNDS[0]), np.full(n, 0.1, np.float32)) is None


@pytest.mark.parametrize(
    ("found", "lengths", "kind"),
    [
        (Likeness(0.95, 0.0, 5.0), (5.0, 5.0), Kind.ENCODED),
        (Likeness(0.95, 0.05, 4.9), (5.0, 5.1), Kind.ENCODED),
        (Likeness(0.5, 0.0, 5.0), (5.0, 5.0), None),
        (Likeness(0.95, 2.0, 3.0), (9.0, 3.0), Kind.TRIMMED),
        (Likeness(0.95, 8.5, 0.5), (9.0, 3.0), None),  # only their ends touch
        (Likeness(0.95, 0.0, 0.05), (0.05, 0.05), None),
    ],
)
def test_kinds(found: Likeness, lengths: tuple[float, float], kind: Kind | None) -> None:
    assert kind_of(found, *lengths) is kind


class TestKnownCopies:
    """A pair is read once, and what couldn't be read is tried again."""

    def test_a_pair_is_read_once(self) -> None:
        heard = Waveform(sound(SOUNDS[0]), RATE)
        reads: list[str] = []

        def read() -> tuple[Waveform, Waveform]:
            reads.append("read")
            return heard, heard

        known = KnownCopies()
        assert [known.are_copies("a pair", read) for _ in range(3)] == [True] * 3
        assert reads == ["read"]

    def test_what_cannot_be_read_is_no_copy_and_not_remembered(self) -> None:
        heard = Waveform(sound(SOUNDS[0]), RATE)
        known = KnownCopies()
        assert not known.are_copies("a pair", lambda: (heard, None))
        assert known.are_copies("a pair", lambda: (heard, heard))

    def test_the_oldest_goes_first(self) -> None:
        heard = Waveform(sound(SOUNDS[0]), RATE)
        known, reads = KnownCopies(most=2), []

        def ask(pair: str) -> None:
            known.are_copies(pair, lambda: (reads.append(pair), (heard, heard))[1])

        for pair in ("a", "b", "a", "c", "a", "b"):
            ask(pair)
        assert reads == ["a", "b", "c", "b"]

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile

from alm2vec_search.audio import decode
from trainer.small.mixtures import are_alike, mix, write_mixtures

if TYPE_CHECKING:
    from pathlib import Path

RATE = 16_000


def tone(hz: float, seconds: float) -> Any:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(
        "float32"
    )


def level(samples: Any, hz: float) -> float:
    """Of a tone in a sound."""
    times = np.arange(len(samples)) / RATE
    return float(np.abs((samples * np.exp(-2j * np.pi * hz * times)).mean()))


@pytest.mark.parametrize("louder_db", [0.0, 6.0, 12.0])
def test_one_is_so_much_louder_than_the_other(louder_db: float) -> None:
    mixture = mix(tone(440, 2), tone(1000, 2), louder_db, np.random.default_rng(0))

    assert mixture is not None
    found = 20 * np.log10(level(mixture, 440) / level(mixture, 1000))
    assert found == pytest.approx(louder_db, abs=0.2)
    assert np.abs(mixture).max() == pytest.approx(0.7, abs=1e-3)


def test_what_is_behind_is_there_all_the_time() -> None:
    mixture = mix(tone(440, 3), tone(1000, 0.5), 6.0, np.random.default_rng(0))

    assert mixture is not None
    assert len(mixture) == 3 * RATE
    parts = [level(part, 1000) for part in np.split(mixture, 6)]
    assert min(parts) > 0.8 * max(parts)


def test_silence_makes_no_mixture() -> None:
    silence = np.zeros(RATE, np.float32)

    assert mix(silence, tone(440, 1), 0.0, np.random.default_rng(0)) is None
    assert mix(tone(440, 1), silence[:0], 0.0, np.random.default_rng(0)) is None


def test_those_that_could_be_taken_for_each_other_never_meet() -> None:
    dog = {"kind": "sound", "labels": ["Dog", "Animal"]}
    assert are_alike(dog, {"kind": "sound", "labels": ["Cat", "Animal"]})
    assert not are_alike(dog, {"kind": "sound", "labels": ["Rain"]})
    assert are_alike({"kind": "speech", "labels": ["A"]}, {"kind": "speech", "labels": ["B"]})


def test_mixtures_are_written_with_what_they_are_of(tmp_path: Path) -> None:
    clips = []
    for name, hz, kind in (("dog", 440, "sound"), ("rain", 800, "sound"), ("man", 200, "speech")):
        soundfile.write(tmp_path / f"{name}.flac", tone(hz, 1), RATE)
        clips.append({"path": f"{name}.flac", "source": "x", "kind": kind, "labels": [name]})

    write_mixtures(tmp_path, clips, 8, seed=0)
    again = (tmp_path / "mixtures.jsonl").read_text()
    write_mixtures(tmp_path, clips, 8, seed=0)

    lines = [json.loads(line) for line in again.splitlines()]
    assert (tmp_path / "mixtures.jsonl").read_text() == again
    assert len(lines) == 8
    for line in lines:
        assert len(set(line["parts"])) == 2
        assert decode(tmp_path / line["path"], RATE).duration_s >= 1

"""Sounds of data sets, by our decoders: neither torchcodec nor torchaudio is needed."""

from __future__ import annotations

import sys
from importlib.metadata import requires
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from audio_files import FLAC, M4A, make_sound
from datasets import Audio, Dataset, Features, Value
from toy_mteb import with_audio, write_tones

from alm2vec_search.audio import decode
from alm2vec_search.evaluation.mteb.audio import (
    StoredSound,
    Undecodable,
    our_decoders,
    stored_sound,
    waveform_of,
)

if TYPE_CHECKING:
    from pathlib import Path


OTHERS = ("torchaudio", "torchcodec")


@pytest.fixture(autouse=True)
def _without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OTHERS:
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails


def test_mteb_asks_for_them_only_in_extras() -> None:
    plain = [line for line in requires("mteb") or [] if "extra ==" not in line]

    assert plain
    assert not [line for line in plain if line.startswith(OTHERS)]


@pytest.mark.parametrize("encoding", [FLAC, M4A], ids=lambda encoding: encoding.name)
def test_a_row_holds_the_file_decoded(encoding: object, tmp_path: Path) -> None:
    path = encoding.write(tmp_path / f"a{encoding.suffix}", make_sound(1.0, 44_100, 2), 44_100)  # type: ignore[attr-defined]
    rows = with_audio([{"id": "1", "audio": str(path)}])

    with our_decoders():
        sound = rows[0]["audio"]
        assert sound["sampling_rate"] == 44_100
        np.testing.assert_array_equal(sound["array"], decode(path, 44_100).samples)
        np.testing.assert_array_equal(
            waveform_of(sound, 16_000).samples, decode(path, 16_000).samples
        )


def test_bytes_are_decoded_whatever_they_are_called(tmp_path: Path) -> None:
    path = FLAC.write(tmp_path / "a.flac", make_sound(1.0, 22_050), 22_050)
    sound = StoredSound("gone/clip.unknown", path.read_bytes())

    assert sound.suffix == ".wav"
    np.testing.assert_array_equal(sound.waveform(16_000).samples, decode(path, 16_000).samples)


def test_a_rate_that_the_data_set_asks_for_is_kept(tmp_path: Path) -> None:
    path = write_tones(tmp_path / "a.wav", "low")
    rows = Dataset.from_dict({"audio": [path]}).cast_column("audio", Audio(sampling_rate=8000))

    with our_decoders():
        sound = rows[0]["audio"]
        assert sound["sampling_rate"] == 8000
        assert len(sound["array"]) == 8000


def test_rows_may_be_written_again(tmp_path: Path) -> None:
    path = write_tones(tmp_path / "a.wav", "low")

    def marked(row: dict[str, object]) -> dict[str, object]:
        return {"audio": row["audio"], "mark": "x"}

    with our_decoders():
        rows = with_audio([{"audio": path}]).map(marked, load_from_cache_file=False)
        features = Features({"audio": Audio(), "id": Value("string")})
        again = Dataset.from_list([{"audio": rows[0]["audio"], "id": "1"}], features=features)

        np.testing.assert_array_equal(again[0]["audio"]["array"], decode(path, 16_000).samples)


def test_samples_in_memory_are_one_sound_of_one_channel() -> None:
    stereo = make_sound(1.0, 16_000, 2).T  # [2, n]

    sound = waveform_of({"array": stereo, "sampling_rate": 16_000}, 16_000)

    np.testing.assert_allclose(sound.samples, stereo.mean(axis=0), atol=1e-6)
    assert len(waveform_of({"array": stereo, "sampling_rate": 16_000}, 8000).samples) == 8000


def test_samples_in_memory_become_a_file() -> None:
    samples = make_sound(1.0, 16_000)[:, 0]

    stored = stored_sound({"array": samples, "sampling_rate": 16_000})

    with stored.file() as file:
        read, rate = soundfile.read(file, dtype="float32")
    assert rate == 16_000
    np.testing.assert_allclose(read, samples, atol=2 / 32768)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "noise.wav").write_bytes(b"RIFF and nothing else")

    with pytest.raises(Undecodable, match=r"noise\.wav"):
        StoredSound(str(tmp_path / "noise.wav"), None).waveform(16_000)
    with pytest.raises(RuntimeError, match="elsewhere"):  # as tasks of mteb expect it
        StoredSound("elsewhere/a.wav", None)
    with pytest.raises(Undecodable, match="no samples"):
        waveform_of({"array": np.empty(0), "sampling_rate": 16_000}, 16_000)


def test_afterwards_all_is_as_it_was() -> None:
    before = Audio.decode_example, Audio.encode_example

    def fail() -> None:
        with our_decoders():
            assert Audio.decode_example is not before[0]
            raise ValueError("midway")

    with pytest.raises(ValueError, match="midway"):
        fail()

    assert (Audio.decode_example, Audio.encode_example) == before

"""A toy Whisper that was trained to name tones: what it hears can be foretold."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from cascade_checkpoints import RATE, note, silence, write_whisper
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from alm2vec_search.domain import Waveform
from alm2vec_search.errors import ModelError
from alm2vec_search.model.transcribing import Transcriber, windows

if TYPE_CHECKING:
    from pathlib import Path

SOUNDS = {
    "low": note("low"),
    "": silence(),
    "high": note("high", 0.4),
    "middle": note("middle", 2.0),
}


def load(folder: Path, **options: Any) -> Transcriber:
    return Transcriber(folder, **{"dtype": torch.float32, "device": "cpu", **options})


def in_a_row(*sounds: Waveform) -> Waveform:
    return Waveform(np.concatenate([sound.samples for sound in sounds]), RATE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_what_is_said(whisper: Path, dtype: torch.dtype, batch_size: int | None) -> None:
    transcriber = load(whisper, dtype=dtype, batch_size=batch_size)

    assert transcriber.sampling_rate == RATE
    assert transcriber.transcribe(list(SOUNDS.values())) == list(SOUNDS)
    assert transcriber.transcribe([SOUNDS["high"]]) == ["high"]
    assert transcriber.transcribe([]) == []


def test_one_of_many_languages_writes_the_language_it_hears(tmp_path: Path) -> None:
    """The prompt has a language and a task in it then: untold, this toy would write neither."""
    write_whisper(tmp_path, multilingual=True)

    assert load(tmp_path).transcribe(list(SOUNDS.values())) == list(SOUNDS)


def test_a_long_sound_is_put_together_from_windows(whisper: Path) -> None:
    pause = silence(0.4)
    long = in_a_row(note("low", 1.4), pause, note("high", 1.5), pause, note("middle"), silence(5))

    assert load(whisper).transcribe([note("low"), long, note("high")]) == [
        "low",
        "low high middle",
        "high",
    ]


def test_all_batches_have_one_shape(whisper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a rounding error is the same in any company."""
    transcriber = load(whisper, batch_size=3)
    shapes = []
    generate = transcriber._model.generate

    def watched(features: torch.Tensor, **options: Any) -> Any:
        shapes.append(tuple(features.shape))
        return generate(features, **options)

    monkeypatch.setattr(transcriber._model, "generate", watched)
    transcriber.transcribe([*SOUNDS.values(), note("low", 0.1)])
    transcriber.transcribe([note("low")])

    assert shapes == [(3, 80, 200)] * 3


def test_nothing_is_shown(whisper: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(whisper).transcribe([note("low")])

    assert capfd.readouterr() == ("", "")


# Windows.


@given(n_samples=st.integers(1, 400), longest=st.integers(20, 90), sampling_rate=st.integers(1, 40))
def test_windows_are_the_sound_and_none_is_too_long(
    n_samples: int, longest: int, sampling_rate: int
) -> None:
    samples = np.random.default_rng(n_samples).normal(size=n_samples).astype(np.float32)

    found = list(windows(samples, longest, sampling_rate))

    assert np.array_equal(np.concatenate(found), samples)
    assert all(0 < len(window) <= longest for window in found)


def test_windows_end_in_the_middle_of_the_quietest_moment() -> None:
    """At 100 Hz, windows of 30 s: a moment has 10 samples, and the last 500 are looked at."""
    samples = np.ones(5_000, np.float32)
    samples[1_000:1_100] = 0  # quieter, and too early
    samples[2_600:2_610] = 0.1
    samples[2_700:2_710] = 0.1  # as quiet, and later

    first, second = windows(samples, 3_000, 100)

    assert (len(first), len(second)) == (2_705, 2_295)


def test_a_sound_that_fits_is_not_cut() -> None:
    samples = np.zeros(3_000, np.float32)

    (window,) = windows(samples, 3_000, 100)

    assert window is samples


# Loading.


@pytest.fixture
def folder(whisper: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return shutil.copytree(whisper, tmp_path / "model")


def test_weights_that_are_missing_are_named(folder: Path) -> None:
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.encoder.conv1.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})

    with pytest.raises(ModelError, match=re.escape("encoder.conv1.weight is missing")):
        load(folder)


def test_pickled_weights_are_never_loaded(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()

    with pytest.raises(ModelError, match="pickled weights are never loaded"):
        load(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "{"),
        ("config.json", '{"model_type": "bert"}'),
        ("processor_config.json", "{"),
        ("tokenizer.json", "{"),
        ("model.safetensors", "cut off"),
    ],
)
def test_a_broken_folder_is_explained_in_one_line(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)

    with pytest.raises(ModelError, match="can't be loaded: ") as caught:
        load(folder)

    assert "\n" not in str(caught.value)


def test_code_beside_the_weights_is_never_run(folder: Path) -> None:
    ran = folder / "ran"
    (folder / "theirs.py").write_text(f"open({str(ran)!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForSpeechSeq2Seq": "theirs.Model", "AutoConfig": "theirs.Cfg"}
    (folder / "config.json").write_text(json.dumps(config))

    assert load(folder).transcribe([note("low")]) == ["low"]
    assert not ran.exists()


def test_a_device_that_is_not_there_is_named(whisper: Path) -> None:
    with pytest.raises(ModelError, match="the device cuda:77 can't be used: "):
        load(whisper, device="cuda:77")

"""The bundled model, as a user has it: weights that ship, sounds that were recorded."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from alm2vec_search.audio import decode
from alm2vec_search.domain import TimeSpan, Waveform
from alm2vec_search.errors import ModelError
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hardware import preferred_dtype
from alm2vec_search.model.hub import BUNDLED_FOLDER, ModelFiles, find_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from alm2vec_search.domain import Embedding, Embeddings

SAMPLES = Path(__file__).parents[3] / "samples"
SAME = 1e-5  # measured: 1.5e-7
LONG_TEXT = "a very long description of what could be heard in a recording " * 8


@pytest.fixture(params=["encoder32", "encoder16"])
def encoder(request: pytest.FixtureRequest) -> ALM2VecEncoder:
    found: ALM2VecEncoder = request.getfixturevalue(request.param)
    return found


def noise(n_samples: int, seed: int = 0) -> Waveform:
    samples = np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32)
    return Waveform(0.1 * samples, 16_000)


# What a vector doesn't depend on.


def test_a_sound_is_the_same_in_any_company(
    encoder: ALM2VecEncoder, sounds: dict[str, Waveform]
) -> None:
    clips = [
        sounds[name]
        for name in ("snap.wav", "R07_0113.wav", "hillside.flac", "DSC_0817.m4a", "excuse_me.m4a")
    ]
    alone = np.concatenate([encoder.encode_document(audio=[clip]) for clip in clips])

    together = encoder.encode_document(audio=clips)
    twice = encoder.encode_document(audio=clips)
    with_long_text = encoder.encode_document(
        audio=[*clips, None, clips[0]], text=[*[None] * 5, LONG_TEXT, LONG_TEXT]
    )

    assert np.array_equal(together, twice)
    assert np.abs(together - alone).max() <= SAME
    assert np.abs(with_long_text[:5] - alone).max() <= SAME


def test_text_is_the_same_in_any_company(
    encoder: ALM2VecEncoder, sounds: dict[str, Waveform]
) -> None:
    texts = ["rain", "a dog barks in the distance", LONG_TEXT]
    alone = np.concatenate([encoder.encode_query(text=[text]) for text in texts])

    together = encoder.encode_query(text=texts)
    with_sounds = encoder.encode_query(
        text=[*texts, None, "rain"], audio=[None, None, None, sounds["R07_0113.wav"], noise(9_000)]
    )

    assert np.abs(together - alone).max() <= SAME
    assert np.abs(with_sounds[:3] - alone).max() <= SAME


def test_batches_are_put_back_in_order(encoder32: ALM2VecEncoder) -> None:
    texts = ["dog " * (n % 5 + 1) + str(n) for n in range(21)]  # more than two batches, unsorted

    together = encoder32.encode_query(text=texts)
    alone = np.concatenate([encoder32.encode_query(text=[text]) for text in texts])

    assert np.abs(together - alone).max() <= SAME


def presence(encoder: ALM2VecEncoder, sound: Waveform) -> NDArray[np.float32]:
    """How present each class is in a sound [523]."""
    waveforms = torch.from_numpy(sound.samples)[None].to(encoder.device)
    lengths = torch.tensor([len(sound.samples)], device=encoder.device)
    model = encoder._model
    with torch.inference_mode():
        frames, mask = model.audio_encoder(waveforms, lengths)
        found = model.audio_projector.hear(frames.float(), mask)[0, 0]
    heard: NDArray[np.float32] = found.cpu().numpy()
    return heard


def test_numeric_types_hear_the_same(
    encoder32: ALM2VecEncoder, encoder16: ALM2VecEncoder, sounds: dict[str, Waveform]
) -> None:
    """Vectors differ by more: of two classes that are about as present, another may be eighth."""
    for name in ("excuse_me.m4a", "R07_0113.wav", "hillside.flac"):
        difference = presence(encoder32, sounds[name]) - presence(encoder16, sounds[name])
        assert np.abs(difference).max() < 0.04  # measured 0.008; 0.015 over all of them
    words32, words16 = (e.encode_query(text=["rain"]) for e in (encoder32, encoder16))
    assert np.array_equal(words32, words16)


# What comes out.


def test_vectors_are_float32_of_length_1(encoder: ALM2VecEncoder) -> None:
    embeddings = encoder.encode_document(
        text=["rain", None, "rain", ""], audio=[None, noise(1), noise(50_000), None]
    )

    assert embeddings.dtype == np.float32
    assert embeddings.shape == (4, encoder.embedding_dim) == (4, 384)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_digital_silence_has_a_vector(encoder: ALM2VecEncoder) -> None:
    embeddings = encoder.encode_document(audio=[Waveform(np.zeros(16_000, np.float32), 16_000)])

    assert np.isfinite(embeddings).all()
    assert np.linalg.norm(embeddings) == pytest.approx(1)


def test_no_inputs_make_no_vectors(encoder32: ALM2VecEncoder) -> None:
    assert encoder32.encode_query(text=[]).shape == (0, 384)
    assert encoder32.encode_document(audio=[]).shape == (0, 384)


def test_text_and_sound_together_lie_between_the_two(
    encoder32: ALM2VecEncoder, sounds: dict[str, Waveform]
) -> None:
    sound = sounds["creek.ogg"]
    text, audio, both = encoder32.encode_query(
        text=["a dog", None, "a dog"], audio=[None, sound, sound]
    )

    assert both @ text > audio @ text + 0.1
    assert both @ audio > audio @ text + 0.1


def test_queries_and_documents_differ_in_the_default_instruction_only(
    encoder32: ALM2VecEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder32._config, "query_instruction", "find a sound")
    monkeypatch.setattr(encoder32._config, "document_instruction", "describe it")

    def alike(one: Embeddings, other: Embeddings) -> bool:
        return bool(np.abs(one - other).max() <= SAME)

    query, document = encoder32.encode_query, encoder32.encode_document
    assert not alike(query(text=["rain"]), document(text=["rain"]))
    assert alike(query(text=["rain"], instruction="x"), document(text=["rain"], instruction="x"))
    assert alike(query(text=["rain"]), document(text=["rain"], instruction="find a sound"))
    assert alike(document(text=["rain"]), query(text=["rain"], instruction="describe it"))
    assert not alike(query(text=["rain"]), query(text=["rain"], instruction=""))


def test_the_bundled_model_has_no_default_instructions(encoder32: ALM2VecEncoder) -> None:
    assert np.array_equal(
        encoder32.encode_query(text=["rain"]), encoder32.encode_document(text=["rain"])
    )


def test_an_encoder_says_what_it_is(encoder: ALM2VecEncoder) -> None:
    dtype = "float32" if encoder.fingerprint.endswith("float32") else "bfloat16"

    assert encoder.fingerprint == find_model("small").fingerprint(dtype)
    assert encoder.name == "small"
    assert encoder.follows_instructions
    assert encoder.device == "cpu"
    assert encoder.sampling_rate == 16_000
    assert next(encoder._model.audio_encoder.stem.parameters()).dtype == getattr(torch, dtype)
    assert next(encoder._model.language_model.parameters()).dtype == torch.float32


def test_the_vectors_of_this_revision_are_these(encoder32: ALM2VecEncoder) -> None:
    """If code changed them on purpose, raise `PIPELINE_REVISION`; new weights need no more."""
    t = np.arange(48_000) / 16_000
    chirps = 0.5 * np.sin(2 * np.pi * (200 * t + 400 * t**2)) * (np.sin(2 * np.pi * 3 * t) > 0)
    sound = Waveform(chirps.astype(np.float32), 16_000)

    words, heard = encoder32.encode_document(text=["a dog barks", None], audio=[None, sound])

    np.testing.assert_allclose(words[:6], WORDS, atol=1e-4)
    np.testing.assert_allclose(heard[:6], HEARD, atol=1e-4)


WORDS = [0.03506, -0.03032, 0.06072, 0.10762, 0.06266, -0.02494]
HEARD = [-0.08099, 0.01597, -0.00128, -0.02187, 0.00471, -0.03986]


# What is refused.


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "give text, audio, or both"),
        ({"text": ["a", None]}, "an input is text, audio, or both"),
        ({"text": [None], "audio": [None]}, "an input is text, audio, or both"),
        ({"audio": [Waveform(np.zeros(9, np.float32), 44_100)]}, "sound at 44100 Hz, not 16000"),
        ({"audio": [Waveform(np.zeros(0, np.float32), 16_000)]}, "a sound without samples"),
        ({"text": ["a", "b"], "audio": [noise(9)]}, "argument 2 is shorter"),
        ({"text": [], "audio": [noise(9)]}, "argument 2 is longer"),
    ],
)
def test_inputs_that_make_no_sense_are_refused(
    encoder32: ALM2VecEncoder, inputs: dict[str, Any], message: str
) -> None:
    for encode in (encoder32.encode_query, encoder32.encode_document):
        with pytest.raises(ValueError, match=message):
            encode(**inputs)


# Real sounds.


@pytest.fixture(scope="module")
def embedded(encoder32: ALM2VecEncoder, sounds: dict[str, Waveform]) -> dict[str, Embedding]:
    vectors = encoder32.encode_document(audio=list(sounds.values()))
    return dict(zip(sounds, vectors, strict=True))


# Chosen so that noise of 0.0003 in the samples leaves them as they are.
FOUND_FIRST = {  # each is ahead of the next by 0.06 to 0.27
    "dog": "REC_0042.wav",
    "frogs croak": "STE-007.opus",
    "crow": "R07_0113.wav",
    "water": "creek.ogg",
    "choir": "bounce_0012.opus",
    "explosion": "fx_011.ogg",
    "door bell": "front_hall.wav",
}
FOUND_TOGETHER = {  # the last is ahead of the next by 0.05 to 0.16
    "drums": {"take_03.mp3", "snare_roll.flac", "tabla.ogg"},
    "guitar": {"idea_7b.wav", "em9_strum.m4a"},
    "speech": {"counting.flac", "weather_report.mp3"},
    "dog barking": {"REC_0042.wav", "VN-20240312-0007.m4a"},
}


def ranking(
    encoder: ALM2VecEncoder, embedded: dict[str, Embedding], query: str
) -> list[tuple[str, float]]:
    """File names with their cosines, best first."""
    embedding = encoder.encode_query(text=[query])[0]
    scores = {name: float(embedding @ vector) for name, vector in embedded.items()}
    return sorted(scores.items(), key=lambda item: -item[1])


@pytest.mark.parametrize(("query", "expected"), FOUND_FIRST.items())
def test_a_word_finds_its_sound_first(
    encoder32: ALM2VecEncoder, embedded: dict[str, Embedding], query: str, expected: str
) -> None:
    (best, score), (_, next_score), *_ = ranking(encoder32, embedded, query)

    assert best == expected
    assert score > next_score + 0.03


@pytest.mark.parametrize(("query", "expected"), FOUND_TOGETHER.items())
def test_a_word_finds_all_its_sounds_first(
    encoder32: ALM2VecEncoder, embedded: dict[str, Embedding], query: str, expected: set[str]
) -> None:
    found = ranking(encoder32, embedded, query)

    assert {name for name, _ in found[: len(expected)]} == expected


def test_a_rooster_is_found_in_minutes_of_running_water(encoder32: ALM2VecEncoder) -> None:
    """It crows at 2:31 of the recording, in the fourth of these windows."""
    minute = decode(SAMPLES / "field" / "ZOOM0021.opus", 16_000, TimeSpan(120, 180))
    windows = [Waveform(samples, 16_000) for samples in np.split(minute.samples, 6)]

    rooster, stream = (
        encoder32.encode_query(text=["rooster", "stream"])
        @ encoder32.encode_document(audio=windows).T
    )

    assert rooster.argmax() == 3
    assert rooster[3] > np.delete(rooster, 3).max() + 0.4  # measured 0.52
    assert np.delete(stream, 3).min() > 0.3  # measured 0.36


def test_what_is_heard_has_names(encoder32: ALM2VecEncoder, sounds: dict[str, Waveform]) -> None:
    dog, duet = encoder32.labels([sounds["REC_0042.wav"], sounds["excuse_me.m4a"]], most=5)
    assert [label.name for label in dog[:3]] == ["Animal", "Domestic animals, pets", "Dog"]
    assert len(duet) == 5
    presences = [label.presence for label in duet]
    assert presences == sorted(presences, reverse=True)
    assert all(0 <= presence <= 1 for presence in presences)
    assert encoder32.labels([], most=5) == []


def test_a_sound_finds_its_like(embedded: dict[str, Embedding]) -> None:
    """Two dogs, and a woman who speaks while a dog barks behind her."""
    dogs = embedded["REC_0042.wav"]
    others = {name: vector for name, vector in embedded.items() if name != "REC_0042.wav"}

    cosines = {name: float(dogs @ vector) for name, vector in others.items()}

    assert max(cosines, key=cosines.__getitem__) == "VN-20240312-0007.m4a"


# Loading.


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """The bundled model, to be damaged: links to all but the small files, which are copies."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in BUNDLED_FOLDER.iterdir():
        if path.name.startswith("base-"):
            (folder / path.name).symlink_to(path)
        elif path.is_file():
            shutil.copy(path, folder)
    return folder


@pytest.fixture
def talk() -> Iterator[list[logging.LogRecord]]:
    """What transformers logs meanwhile, even if its own handler writes somewhere else."""
    records: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger, handler = logging.getLogger("transformers"), Keep()
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def load(folder: Path) -> ALM2VecEncoder:
    return ALM2VecEncoder(find_model(str(folder)), dtype="float32")


def change_tensors(folder: Path, changes: dict[str, torch.Tensor | None]) -> None:
    """In the adapter; None takes a tensor away."""
    tensors = {**load_file(folder / "adapter.safetensors"), **changes}
    kept = {key: value for key, value in tensors.items() if value is not None}
    save_file(kept, folder / "adapter.safetensors", metadata={"format": "pt"})


def change_config(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


def assert_fails(folder: Path, message: str) -> None:
    """In one line that holds this text."""
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_loading_says_nothing(
    capfd: pytest.CaptureFixture[str], talk: list[logging.LogRecord]
) -> None:
    ALM2VecEncoder(find_model("small"), dtype="float32")

    assert not talk
    assert capfd.readouterr() == ("", "")
    logging.getLogger("transformers.modeling_utils").warning("heard")
    assert [record.message for record in talk if record.getMessage() == "heard"] == ["heard"]


def test_loading_leaves_transformers_settings_as_they_were() -> None:
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.enable_progress_bar()
    ALM2VecEncoder(find_model("small"), dtype="float32")

    assert transformers_logging.get_verbosity() == before
    assert transformers_logging.is_progress_bar_enabled()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio_projector.words": None}, "missing: audio_projector.words"),
        ({"nobody.weight": torch.zeros(2)}, "unknown: nobody.weight"),
        (
            {"audio_projector.words": torch.zeros(2, 2)},
            "of another shape: audio_projector.words ([2, 2], not [523, 3, 384])",
        ),
        (
            {f"layer.{i}": torch.zeros(2) for i in range(9)},
            "unknown: layer.0, layer.1, layer.2 and 6 more",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    model_folder: Path,
    capfd: pytest.CaptureFixture[str],
    talk: list[logging.LogRecord],
    changes: dict[str, torch.Tensor | None],
    message: str,
) -> None:
    change_tensors(model_folder, changes)

    assert_fails(
        model_folder, f"the weights in {model_folder} don't fit its config.json: {message}"
    )
    assert not talk
    assert capfd.readouterr() == ("", "")


def test_all_that_does_not_fit_is_said_at_once(model_folder: Path) -> None:
    change_tensors(
        model_folder, {"audio_projector.detector.bias": None, "nobody.weight": torch.zeros(2)}
    )

    assert_fails(model_folder, "missing: audio_projector.detector.bias; unknown: nobody.weight")


def test_a_shard_that_was_cut_off_is_named(
    model_folder: Path, capfd: pytest.CaptureFixture[str], talk: list[logging.LogRecord]
) -> None:
    shard = model_folder / "adapter.safetensors"
    shard.write_bytes(shard.read_bytes()[:100_000])

    assert_fails(model_folder, f"{shard} can't be read: ")
    assert not talk
    assert capfd.readouterr() == ("", "")


def test_a_shard_that_is_gone_is_named(model_folder: Path) -> None:
    (model_folder / "adapter.safetensors").unlink()

    assert_fails(model_folder, f"{model_folder / 'adapter.safetensors'}")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "bert"}, "doesn't describe an ALM2Vec model"),
        ({"pooling": "max"}, "pooling is one of mean, eos, not 'max'"),
        ({"audio_token": "<nope>"}, "the tokenizer has no token '<nope>'"),
        ({"audio_config": {"model_type": "whisper"}}, "no audio encoder is called 'whisper'"),
        ({"projector_config": {"kind": "mlp"}}, "no projector is called 'mlp'"),
        ({"projector_config": {"kind": "soft_words", "depth": 2}}, "'depth'"),
        (
            {"text_config": {"model_type": "nonesuch", "hidden_size": 384}},
            "Unrecognized model identifier: nonesuch",
        ),
    ],
)
def test_a_config_that_makes_no_sense_is_explained(
    model_folder: Path,
    capfd: pytest.CaptureFixture[str],
    talk: list[logging.LogRecord],
    fields: dict[str, Any],
    message: str,
) -> None:
    change_config(model_folder, **fields)

    assert_fails(model_folder, message)
    assert not talk
    assert capfd.readouterr() == ("", "")


def test_a_damaged_tokenizer_is_explained(model_folder: Path) -> None:
    (model_folder / "tokenizer.json").write_text("{")

    assert_fails(model_folder, f"the model in {model_folder} can't be loaded: ")


def test_a_folder_that_is_gone_or_empty_is_named(tmp_path: Path) -> None:
    assert_fails(tmp_path / "gone", f"no model is called {tmp_path / 'gone'}")
    assert_fails(tmp_path, "is not a model: it has no config.json, tokenizer.json, *.safetensors")
    with pytest.raises(ModelError, match="can't be read: No such file or directory"):
        ALM2VecEncoder(ModelFiles("gone", tmp_path / "gone"), dtype="float32")


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(ModelError, match="float16 is no numeric type of ours") as caught:
        ALM2VecEncoder(find_model("small"), dtype="float16")

    assert caught.value.hint == "use float32 or bfloat16"


@pytest.mark.parametrize("device", ["cuda:77", "abacus"])
def test_a_device_that_is_not_there_is_named(
    device: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match=f"the device {device} can't be used: ") as caught:
        ALM2VecEncoder(find_model("small"), dtype="float32", device=device)

    assert "\n" not in str(caught.value)
    assert caught.value.hint == "--device cpu works everywhere"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True}, "float32"),
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True}, "bfloat16"),
        ({}, "float32"),
    ],
)
def test_a_cpu_prefers_bfloat16_where_it_is_native(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)

    assert preferred_dtype("cpu") == expected
    assert preferred_dtype("mps") == "float32"


def test_an_old_torch_prefers_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)

    assert preferred_dtype("cpu") == "float32"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_hears_the_same(encoder32: ALM2VecEncoder, sounds: dict[str, Waveform]) -> None:
    on_gpu = ALM2VecEncoder(find_model("small"), dtype="float32", device="cuda")

    for name in ("REC_0042.wav", "creek.ogg", "counting.flac"):
        difference = presence(on_gpu, sounds[name]) - presence(encoder32, sounds[name])
        assert np.abs(difference).max() < 0.02
    texts = on_gpu.encode_query(text=["rain"]) - encoder32.encode_query(text=["rain"])
    assert np.abs(texts).max() < 0.001
    assert np.isfinite(on_gpu.encode_document(audio=list(sounds.values()))).all()

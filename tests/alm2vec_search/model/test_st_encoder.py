"""A toy CLAP, written as sentence-transformers writes models, and run through our protocol."""

from __future__ import annotations

import builtins
import json
import logging
import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch
from clap_checkpoint import DIM, as_sentence_transformers, tokenizer, write_clap
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertModel

from alm2vec_search.domain import Waveform
from alm2vec_search.errors import ModelError
from alm2vec_search.model.st_encoder import SentenceTransformersEncoder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from alm2vec_search.domain import Encoder

RATE = 48_000
SAME = 1e-5  # measured: 5e-7
TEXTS = ["rain", "a dog barks in the distance", "", "rain " * 40]


def chirp(n_samples: int, hz: float) -> Waveform:
    """It rises by an octave in a second, and comes and goes."""
    t = np.arange(n_samples) / RATE
    samples = np.sin(2 * np.pi * hz * (t + t**2 / 2)) * (np.sin(2 * np.pi * 3 * t) > 0)
    return Waveform((0.5 * samples).astype(np.float32), RATE)


SOUNDS = [
    chirp(10 * RATE, 200),
    chirp(9_000, 3_000),
    chirp(10 * RATE, 5_000),
    chirp(100, 900),
    chirp(9_000, 80),
]


# Toys.


def write_bert(folder: Path) -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(tokenizer()), num_hidden_layers=1, **sizes)
    BertModel(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)


@pytest.fixture(scope="module")
def plain_clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("plain")
    write_clap(folder, fused=False)
    return folder


@pytest.fixture(scope="module")
def clap(plain_clap: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_sentence_transformers(plain_clap, tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="module")
def fused_clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plain: Path = tmp_path_factory.mktemp("plain_fused")
    write_clap(plain, fused=True)
    return as_sentence_transformers(plain, tmp_path_factory.mktemp("fused"))


@pytest.fixture
def model_folder(clap: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return shutil.copytree(clap, tmp_path / "model")


def load(folder: Path, **options: Any) -> SentenceTransformersEncoder:
    settings = {"dtype": "float32", "device": "cpu", "batch_size": 2, **options}
    return SentenceTransformersEncoder(folder, name="st:toy", fingerprint="f00-float32", **settings)


@pytest.fixture(scope="module")
def encoder(clap: Path) -> SentenceTransformersEncoder:
    return load(clap)


@pytest.fixture(scope="module")
def theirs(clap: Path) -> SentenceTransformer:
    return SentenceTransformer(str(clap), device="cpu", local_files_only=True)


# What comes out.


def test_an_encoder_says_what_it_is(encoder: SentenceTransformersEncoder) -> None:
    found: Encoder = encoder

    assert found.name == "st:toy"
    assert found.fingerprint == "f00-float32"
    assert found.device == "cpu"
    assert found.embedding_dim == DIM
    assert found.sampling_rate == 48_000
    assert not found.follows_instructions


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_words_and_sounds_are_vectors_of_one_space(clap: Path, dtype: str) -> None:
    encoder = load(clap, dtype=dtype)

    words = encoder.encode_query(text=TEXTS)
    sounds = encoder.encode_document(audio=SOUNDS)
    mixed = encoder.encode_document(text=["rain", None], audio=[None, SOUNDS[1]])

    assert words.shape == (len(TEXTS), DIM)
    assert sounds.shape == (len(SOUNDS), DIM)
    for vectors in (words, sounds, mixed):
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.abs(mixed - [words[0], sounds[1]]).max() <= SAME
    weights = next(encoder._model.parameters())
    assert weights.dtype == getattr(torch, dtype)


def test_no_inputs_make_no_vectors(encoder: SentenceTransformersEncoder) -> None:
    assert encoder.encode_query(text=[]).shape == (0, DIM)
    assert encoder.encode_document(audio=[]).shape == (0, DIM)


def test_digital_silence_has_a_vector(encoder: SentenceTransformersEncoder) -> None:
    (silence,) = encoder.encode_document(audio=[Waveform(np.zeros(RATE, np.float32), RATE)])

    assert np.linalg.norm(silence) == pytest.approx(1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vectors_are_the_same_in_any_company_and_order(clap: Path, dtype: str) -> None:
    encoder = load(clap, dtype=dtype)
    text = [*TEXTS[:2], None, None, *TEXTS[2:], None, None, None]
    audio = [None, None, *SOUNDS[:2], None, None, *SOUNDS[2:]]
    alone = np.concatenate(
        [encoder.encode_query(text=[t], audio=[a]) for t, a in zip(text, audio, strict=True)]
    )

    together = encoder.encode_query(text=text, audio=audio)

    assert np.abs(together - alone).max() <= SAME
    assert spread(alone) > 0.01  # else they would be alike in any order


def spread(vectors: NDArray[np.float32]) -> float:
    """How far the two nearest are from each other, in the number that differs the most."""
    pairs = [(i, j) for i in range(len(vectors)) for j in range(i)]
    return float(min(np.abs(vectors[i] - vectors[j]).max() for i, j in pairs))


def test_a_fused_model_draws_no_lots(fused_clap: Path) -> None:
    """CLAP's extractor picks one sound of each batch at random to be heard as a long one."""
    encoder = load(fused_clap, batch_size=8)
    sounds = [chirp(9_000, hz) for hz in (80, 300, 900, 2_500, 6_000)]
    alone = np.concatenate([encoder.encode_document(audio=[sound]) for sound in sounds])

    together = [encoder.encode_document(audio=sounds) for _ in range(3)]

    assert all(np.array_equal(vectors, together[0]) for vectors in together)
    assert np.abs(together[0] - alone).max() <= SAME


def test_vectors_are_those_of_sentence_transformers(
    encoder: SentenceTransformersEncoder, theirs: SentenceTransformer
) -> None:
    arrays = [{"array": sound.samples, "sampling_rate": RATE} for sound in SOUNDS]

    words = theirs.encode_query(TEXTS, normalize_embeddings=True)
    sounds = theirs.encode_document(arrays, normalize_embeddings=True)

    assert np.abs(encoder.encode_query(text=TEXTS) - words).max() <= SAME
    assert np.abs(encoder.encode_document(audio=SOUNDS) - sounds).max() <= SAME


def test_a_plain_clap_of_transformers_is_taken_too(
    plain_clap: Path, encoder: SentenceTransformersEncoder
) -> None:
    plain = load(plain_clap)

    assert np.array_equal(plain.encode_query(text=TEXTS), encoder.encode_query(text=TEXTS))


def test_words_that_name_a_file_are_words(
    encoder: SentenceTransformersEncoder, theirs: SentenceTransformer, tmp_path: Path
) -> None:
    """sentence-transformers opens bare ones, and addresses too."""
    path = tmp_path / "dog.wav"
    soundfile.write(path, SOUNDS[1].samples, RATE)
    texts = [str(path), "https://127.0.0.1:1/dog.wav"]

    expected = theirs.encode([{"text": text} for text in texts], normalize_embeddings=True)

    assert np.abs(encoder.encode_query(text=texts) - expected).max() <= SAME


# Instructions.


@pytest.mark.parametrize(
    ("instruction", "prompt"), [("find", "find "), ("find: ", "find: "), ("", "")]
)
def test_an_instruction_goes_in_front_of_the_words(
    encoder: SentenceTransformersEncoder,
    theirs: SentenceTransformer,
    instruction: str,
    prompt: str,
) -> None:
    expected = theirs.encode([prompt + text for text in TEXTS[:2]], normalize_embeddings=True)

    for encode in (encoder.encode_query, encoder.encode_document):
        found = encode(text=TEXTS[:2], instruction=instruction)
        assert np.abs(found - expected).max() <= SAME


def test_without_an_instruction_the_model_s_own_prompts_are_used(
    model_folder: Path, encoder: SentenceTransformersEncoder
) -> None:
    change_json(
        model_folder / "config_sentence_transformers.json",
        prompts={"query": "find ", "document": "this is "},
    )
    prompted = load(model_folder)

    query, document = prompted.encode_query(text=["rain"]), prompted.encode_document(text=["rain"])
    bare = prompted.encode_query(text=["rain"], instruction="")

    assert np.abs(query - encoder.encode_query(text=["find rain"])).max() <= SAME
    assert np.abs(document - encoder.encode_query(text=["this is rain"])).max() <= SAME
    assert np.abs(bare - encoder.encode_query(text=["rain"])).max() <= SAME


def test_an_instruction_that_would_be_ignored_is_refused(
    encoder: SentenceTransformersEncoder,
) -> None:
    with pytest.raises(ModelError, match="st:toy takes no instruction with a sound") as caught:
        encoder.encode_query(text=["rain", None], audio=[None, SOUNDS[1]], instruction="find")

    assert caught.value.hint == "leave the instruction out, or use an ALM2Vec model"
    assert encoder.encode_query(audio=[SOUNDS[1]], instruction="").shape == (1, DIM)


# What is refused.


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "give text, audio, or both"),
        ({"text": ["a", None]}, "an input is text, audio, or both"),
        ({"audio": [Waveform(np.zeros(9, np.float32), 16_000)]}, "sound at 16000 Hz, not 48000"),
        ({"audio": [Waveform(np.zeros(0, np.float32), RATE)]}, "a sound without samples"),
        ({"text": ["a", "b"], "audio": [chirp(9, 80)]}, "argument 2 is shorter"),
    ],
)
def test_inputs_that_make_no_sense_are_refused(
    encoder: SentenceTransformersEncoder, inputs: dict[str, Any], message: str
) -> None:
    for encode in (encoder.encode_query, encoder.encode_document):
        with pytest.raises(ValueError, match=message):
            encode(**inputs)


def test_words_and_sound_in_one_are_refused(encoder: SentenceTransformersEncoder) -> None:
    with pytest.raises(ModelError, match="takes words or a sound, not both in one") as caught:
        encoder.encode_query(text=["rain", "rain"], audio=[None, SOUNDS[1]])

    assert caught.value.hint == "ask for one of the two, or use an ALM2Vec model"


def test_a_model_that_takes_both_in_one_gets_them(
    encoder: SentenceTransformersEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an instruction, if it takes messages. No toy does: what it is given is looked at."""
    asked: list[Any] = []

    def encode(inputs: list[dict[str, Any]], **options: Any) -> NDArray[np.float32]:
        asked.append((*inputs, options["prompt"]))
        return np.ones((len(inputs), DIM), np.float32)

    monkeypatch.setattr(encoder._model, "supports", lambda modality: True)
    monkeypatch.setattr(encoder._model, "encode_query", encode)
    encoder.encode_query(text=["rain"], audio=[SOUNDS[1]], instruction="find")

    sound = {"array": SOUNDS[1].samples, "sampling_rate": RATE}
    assert asked == [({"text": "rain", "audio": sound}, "find")]


def test_a_sound_that_would_be_cut_is_refused(encoder: SentenceTransformersEncoder) -> None:
    with pytest.raises(ModelError, match=r"st:toy hears 10 s at a time, not 10\.5 s") as caught:
        encoder.encode_document(audio=[chirp(504_000, 80)])

    assert caught.value.hint == "index with --window 10, or name a region: FILE@START-END"


# Loading.


def change_json(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def change_tensors(folder: Path, changes: dict[str, torch.Tensor | None]) -> None:
    """None takes a tensor away."""
    tensors = {**load_file(folder / "model.safetensors"), **changes}
    kept = {key: value for key, value in tensors.items() if value is not None}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def assert_fails(folder: Path, message: str) -> ModelError:
    """In one line that holds this text."""
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    return caught.value


def test_loading_says_nothing_and_leaves_settings_as_they_were(
    clap: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loggers = [
        logging.getLogger(name)
        for name in ("transformers", "transformers.modeling_utils", "sentence_transformers")
    ]
    before = [(logger.level, list(logger.filters)) for logger in loggers]

    load(clap)

    assert capfd.readouterr() == ("", "")
    assert [(logger.level, list(logger.filters)) for logger in loggers] == before


def test_without_sentence_transformers_the_extra_is_named(
    clap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any) -> Any:
        if name == "sentence_transformers":
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", absent)

    error = assert_fails(clap, "sentence-transformers can't be imported: No module named")
    assert error.hint == "pip install 'alm2vec-search[st]'"


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_model_of_text_only_is_refused(tmp_path: Path, *, wrapped: bool) -> None:
    write_bert(tmp_path / "plain")
    folder = tmp_path / "plain"
    if wrapped:
        folder = as_sentence_transformers(folder, tmp_path / "bert")

    error = assert_fails(folder, "st:toy takes no sound")
    assert error.hint == "use a model that takes audio and text, as CLAP does"


def test_pickled_weights_are_never_loaded(model_folder: Path) -> None:
    tensors = load_file(model_folder / "model.safetensors")
    torch.save(tensors, model_folder / "pytorch_model.bin")
    load(model_folder)  # beside safetensors they don't matter
    (model_folder / "model.safetensors").unlink()

    assert_fails(model_folder, f"{model_folder} has no *.safetensors, and pickled weights are")
    (model_folder / "pytorch_model.bin").unlink()
    assert_fails(model_folder, f"{model_folder} has no *.safetensors")


def test_pickled_weights_of_one_module_are_not_loaded_either(model_folder: Path) -> None:
    (model_folder / "1_Dense").mkdir()
    torch.save({}, model_folder / "1_Dense" / "pytorch_model.bin")

    assert_fails(model_folder, f"{model_folder / '1_Dense'} has no *.safetensors")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"text_projection.linear1.weight": None},
            "don't fit its config.json: text_projection.linear1.weight is missing",
        ),
        (
            {"text_projection.linear1.weight": torch.zeros(2, 2)},
            "don't fit its config.json: text_projection.linear1.weight is of another shape",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(
    model_folder: Path,
    capfd: pytest.CaptureFixture[str],
    changes: dict[str, torch.Tensor | None],
    message: str,
) -> None:
    """transformers would fill in random ones, so that each run had other vectors."""
    change_tensors(model_folder, changes)

    assert_fails(model_folder, message)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "can't be loaded: "),
        ("config.json", '{"model_type": "nonesuch"}', "can't be loaded: "),
        ("modules.json", "[", "can't be loaded: "),
        (
            "modules.json",
            '[{"type": "os.Thing", "path": "", "name": "0"}]',
            "module class 'os.Thing'",
        ),
        ("tokenizer.json", "{", "can't be loaded: "),
        ("model.safetensors", "cut off", "can't be loaded: "),
    ],
)
def test_a_broken_folder_is_explained_in_one_line(
    model_folder: Path,
    capfd: pytest.CaptureFixture[str],
    name: str,
    content: str,
    message: str,
) -> None:
    (model_folder / name).write_text(content)

    assert_fails(model_folder, message)
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_is_gone_or_empty_is_named(tmp_path: Path) -> None:
    assert_fails(tmp_path, f"{tmp_path} has no *.safetensors")
    assert_fails(tmp_path / "gone", f"{tmp_path / 'gone'} has no *.safetensors")


def test_an_unknown_type_is_named(clap: Path) -> None:
    with pytest.raises(ModelError, match="float16 is no numeric type of ours") as caught:
        load(clap, dtype="float16")

    assert caught.value.hint == "use float32 or bfloat16"


@pytest.mark.parametrize("device", ["cuda:77", "abacus"])
def test_a_device_that_is_not_there_is_named(clap: Path, device: str) -> None:
    with pytest.raises(ModelError, match=f"the device {device} can't be used: ") as caught:
        load(clap, device=device)

    assert "\n" not in str(caught.value)
    assert caught.value.hint == "--device cpu works everywhere"

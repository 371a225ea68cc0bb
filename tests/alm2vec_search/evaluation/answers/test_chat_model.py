"""A toy Qwen2-Audio that was trained to name tones: its answers can be foretold."""

from __future__ import annotations

import json
import logging
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from chat_checkpoint import (
    HEARS_S,
    RATE,
    TONES,
    note,
    small_tokenizer,
    write_audio_flamingo,
    write_qwen2_audio,
)

from alm2vec_search.domain import Waveform
from alm2vec_search.errors import EvaluationError, ModelError
from alm2vec_search.evaluation.answers import chat_model
from alm2vec_search.evaluation.answers.answering import ask, build_answerer
from alm2vec_search.evaluation.answers.chat_model import ChatModel
from alm2vec_search.evaluation.answers.prompting import prompt_for
from alm2vec_search.evaluation.answers.questions import (
    WHICH,
    Answer,
    Answerer,
    ChoiceQuestion,
    question_of,
)
from trainer.pairs import AudioRef, Side

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = ("high", "low", "middle")
TEXT = "Which tone?"
SILENT = ChoiceQuestion(TEXT, OPTIONS)


def asked(name: str, duration_s: float = 1.0) -> ChoiceQuestion:
    return ChoiceQuestion(TEXT, OPTIONS, note(name, duration_s))


def load(folder: Path, **options: Any) -> ChatModel:
    settings = {"device": "cpu", "dtype": "float32", "announce": pytest.fail, **options}
    return ChatModel(str(folder), **settings)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("qwen")
    write_qwen2_audio(folder, [prompt_for(SILENT)])
    return folder


@pytest.fixture
def folder(qwen: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return shutil.copytree(qwen, tmp_path / "model")


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


# What comes out.


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_says_what_it_hears(qwen: Path, dtype: str) -> None:
    answerer: Answerer = load(qwen, dtype=dtype)

    assert (answerer.name, answerer.device) == (str(qwen), "cpu")
    assert answerer.sampling_rate == RATE
    for name in TONES:
        assert ask(answerer, asked(name)) == Answer(f"It is {name}.", OPTIONS.index(name))


def test_it_is_greedy_whatever_its_folder_says(qwen: Path) -> None:
    settings = json.loads((qwen / "generation_config.json").read_text())
    assert settings["do_sample"]
    model = load(qwen)

    assert {model.answer(asked("high")) for _ in range(5)} == {"It is high."}


def test_a_question_without_a_sound_is_words_only(qwen: Path) -> None:
    assert load(qwen).answer(SILENT).startswith("It is ")


def test_an_answer_ends_where_the_tokenizer_says(folder: Path) -> None:
    """Without an end in generation_config.json, the toy would say its sentence over and over."""
    settings = folder / "generation_config.json"
    settings.write_text("{}")
    change(folder / "tokenizer_config.json", eos_token="<|im_end|>")
    change(folder / "config.json", eos_token_id=None)

    assert load(folder).answer(asked("low")) == "It is low."


def test_a_sound_that_is_cut_is_said(qwen: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = load(qwen)
    with caplog.at_level(logging.WARNING):
        model.answer(asked("low", HEARS_S))
        assert caplog.messages == []
        model.answer(asked("low", HEARS_S + 0.5))

    assert caplog.messages == [f"{qwen} hears 2 s of a sound, not 2.5 s"]


def test_nothing_is_shown(qwen: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(qwen).answer(asked("low"))

    assert capfd.readouterr() == ("", "")


def test_a_sound_at_another_rate_is_refused(qwen: Path) -> None:
    sound = Waveform(note("low").samples, 8_000)

    with pytest.raises(ValueError, match="sound at 8000 Hz, not 16000"):
        load(qwen).answer(ChoiceQuestion(TEXT, OPTIONS, sound))


def test_what_it_cannot_take_is_one_line(qwen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(qwen)
    monkeypatch.setattr(model._processor, "chat_template", "{{ nothing.at.all }}")

    with pytest.raises(ModelError, match="can't take the question: ") as caught:
        model.answer(asked("low"))

    assert "\n" not in str(caught.value)


# Which models.


def test_audio_flamingo_is_one_of_another_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With random weights: that it hears and says something is all that is looked at."""
    write_audio_flamingo(tmp_path)
    monkeypatch.setattr(chat_model, "MAX_TOKENS", 3)
    model = load(tmp_path)

    assert type(model._model).__name__ == "AudioFlamingo3ForConditionalGeneration"
    assert model.sampling_rate == RATE
    assert model.answer(asked("low")) == model.answer(asked("low"))


def test_of_an_omni_model_the_half_that_writes_is_loaded() -> None:
    from transformers import Qwen2_5OmniConfig, Qwen2_5OmniThinkerForConditionalGeneration

    config = Qwen2_5OmniConfig(enable_audio_output=False)

    assert chat_model._class_of(config, "omni") == (
        Qwen2_5OmniThinkerForConditionalGeneration,
        config.thinker_config,
    )


@pytest.mark.parametrize("kind", ["bert", "qwen2", "whisper"])
def test_a_model_that_does_not_hear_and_answer_is_refused(folder: Path, kind: str) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))

    with pytest.raises(ModelError, match=f"hears and answers: its kind is {kind}") as caught:
        load(folder)
    assert "Qwen2-Audio" in str(caught.value.hint)


def test_a_model_of_words_only_is_refused(tmp_path: Path) -> None:
    small_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bart"}')
    (tmp_path / "model.safetensors").write_bytes(b"")

    with pytest.raises(ModelError, match="hears nothing"):
        load(tmp_path)


def test_a_model_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    write_audio_flamingo(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()

    with pytest.raises(ModelError, match="has no chat template"):
        load(tmp_path)


def test_a_package_that_is_missing_is_named(qwen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(*_: object, **__: object) -> None:
        raise ImportError("\nQwen2VLVideoProcessor requires the Torchvision library\n")

    monkeypatch.setattr("transformers.AutoProcessor.from_pretrained", without)

    with pytest.raises(ModelError, match="needs a package that isn't installed: ") as caught:
        load(qwen)
    assert "torchvision" in str(caught.value.hint)


def test_weights_that_are_missing_are_named(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    gone = next(name for name in tensors if "conv1.weight" in name)
    del tensors[gone]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match=re.escape("conv1.weight is missing")):
        load(folder)


def test_pickled_weights_are_never_loaded(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(ModelError, match="pickled weights are never loaded"):
        load(folder)


def test_code_beside_the_weights_is_never_run(folder: Path) -> None:
    ran = folder / "ran"
    (folder / "theirs.py").write_text(f"open({str(ran)!r}, 'w')\n")
    change(folder / "config.json", auto_map={"AutoConfig": "theirs.C", "AutoModel": "theirs.M"})
    change(folder / "processor_config.json", auto_map={"AutoProcessor": "theirs.P"})

    assert load(folder).answer(asked("low")) == "It is low."
    assert not ran.exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_broken_folder_is_explained_in_one_line(folder: Path, name: str) -> None:
    (folder / name).write_text("{")

    with pytest.raises(ModelError, match="can't be loaded: ") as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_what_is_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(ModelError, match="no model is called nowhere"):
        ChatModel("nowhere", device="cpu", dtype="float32", announce=pytest.fail)
    with pytest.raises(ModelError, match="owner/name isn't on this machine") as caught:
        ChatModel("owner/name", device="cpu", dtype="float32", announce=pytest.fail)
    assert "HF_HUB_OFFLINE is set" in str(caught.value.hint)
    with pytest.raises(ModelError, match="the device cuda:77 can't be used"):
        ChatModel("nowhere", device="cuda:77", dtype="float32", announce=pytest.fail)


# Questions of a set.


def test_transformers_makes_a_model_of_this_machine(qwen: Path) -> None:
    answerer = build_answerer(
        "transformers", str(qwen), device="cpu", dtype="auto", announce=pytest.fail
    )

    assert isinstance(answerer, ChatModel)
    assert answerer.dtype in ("float32", "bfloat16")


@pytest.mark.parametrize("where", ["", "ftp://host", "localhost:8000", "openai"])
def test_nobody_answers_elsewhere(where: str) -> None:
    with pytest.raises(EvaluationError, match="is nowhere that answers") as caught:
        build_answerer(where, "m", device="cpu", dtype="auto", announce=pytest.fail)
    assert caught.value.hint == "use transformers, or a server's address: https://HOST/v1"


@pytest.mark.parametrize(
    ("text", "instruction", "expected"),
    [
        ("What is it?", None, "What is it?"),
        ("What is it?", "Answer the question.", "What is it?"),
        (None, "Who is speaking?", "Who is speaking?"),
        (None, None, WHICH),
    ],
)
def test_a_query_is_a_question(
    tmp_path: Path, text: str | None, instruction: str | None, expected: str
) -> None:
    sound = note("low")
    query = Side(text=text, instruction=instruction, audio=AudioRef(path=tmp_path / "a.wav"))

    found = question_of(query, [Side(text="a dog"), Side(text="a cat")], sound)

    assert (found.text, found.options) == (expected, ("a dog", "a cat"))
    assert found.sound is sound


def test_sounds_are_no_options(tmp_path: Path) -> None:
    query, sound = Side(text="rain"), Side(audio=AudioRef(path=tmp_path / "a.wav"))

    with pytest.raises(EvaluationError, match="can't choose between sounds") as caught:
        question_of(query, [Side(text="a dog"), sound], None)
    assert "leave out --answers" in str(caught.value.hint)

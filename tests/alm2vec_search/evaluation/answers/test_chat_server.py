"""Against a server that runs in the test and speaks chat completions; openai itself asks it."""

from __future__ import annotations

import base64
import builtins
import io
import re
import socket
from typing import Any

import numpy as np
import pytest
import soundfile
from chat_stand_in import ChatStandIn, completion, failure

from alm2vec_search.domain import Waveform
from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.answers.answering import ask, build_answerer
from alm2vec_search.evaluation.answers.chat_server import ChatServer, wav_of
from alm2vec_search.evaluation.answers.prompting import prompt_for
from alm2vec_search.evaluation.answers.questions import Answer, Answerer, ChoiceQuestion
from alm2vec_search.testing import tone

SOUND = Waveform(tone(440, 0.3, 16_000), 16_000)
QUESTION = ChoiceQuestion("What is heard?", ("a dog", "a tone"), SOUND)


def test_what_is_sent(server: ChatStandIn) -> None:
    answerer: Answerer = ChatServer(server.address, "gpt-hears", key="secret")

    assert (answerer.name, answerer.device) == ("gpt-hears", server.address)
    assert ask(answerer, QUESTION) == Answer("B", 1)
    (asked,) = server.asked
    assert server.paths == ["/v1/chat/completions"]
    assert server.keys == ["Bearer secret"]
    assert (asked["model"], asked["temperature"]) == ("gpt-hears", 0)
    (message,) = asked["messages"]
    heard, words = message["content"]
    assert message["role"] == "user"
    assert words == {"type": "text", "text": prompt_for(QUESTION)}
    assert (heard["type"], heard["input_audio"]["format"]) == ("input_audio", "wav")
    data = base64.b64decode(heard["input_audio"]["data"], validate=True)
    samples, sampling_rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert sampling_rate == answerer.sampling_rate == 16_000
    assert np.abs(samples - SOUND.samples).max() <= 1 / 32_767


def test_a_question_without_a_sound_is_words_only(server: ChatStandIn) -> None:
    question = ChoiceQuestion("Which is louder?", ("a whisper", "a jet"))

    ChatServer(server.address, "m").answer(question)

    (part,) = server.asked[0]["messages"][0]["content"]
    assert part == {"type": "text", "text": prompt_for(question)}


@pytest.mark.parametrize(("key", "sent"), [("from-there", "from-there"), (None, "none")])
def test_the_key_is_the_environment_s(
    server: ChatStandIn, monkeypatch: pytest.MonkeyPatch, key: str | None, sent: str
) -> None:
    if key is not None:
        monkeypatch.setenv("OPENAI_API_KEY", key)

    ChatServer(server.address, "m").answer(QUESTION)

    assert server.keys == [f"Bearer {sent}"]


@pytest.mark.parametrize("content", ["", None])
def test_a_model_may_say_nothing(server: ChatStandIn, content: str | None) -> None:
    server.answers = [(200, completion(content))]

    assert ask(ChatServer(server.address, "m"), QUESTION) == Answer("", None)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(server: ChatStandIn, status: int) -> None:
    server.answers = [(status, failure("wait")), (status, "busy"), (200, completion("A"))]

    assert ChatServer(server.address, "m").answer(QUESTION) == "A"
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("status", "answer", "message", "hint", "tries"),
    [
        (401, failure("bad key"), "lets nobody in with this key: .*bad key", "OPENAI_API_KEY", 1),
        (403, failure("not you"), "lets nobody in with this key: .*not you", "OPENAI_API_KEY", 1),
        (404, failure("no such model"), "has no model m, or is no such server", "/v1", 1),
        (404, "<html>Not Found", "has no model m, or is no such server", "/v1", 1),
        (429, failure("quota"), "has had too many requests: .*quota", "later", 3),
        (400, failure("audio input is not supported"), "m takes no sound: ", "that hears", 1),
        (422, failure("Unknown modality"), "m takes no sound: .*modality", "that hears", 1),
        (400, failure("At most 0 audio(s)"), "m takes no sound: ", "that hears", 1),
        (400, failure("too long"), "refuses: .*too long", None, 1),
        (500, failure("oh no"), "fails: .*oh no", None, 3),
        (503, "<html>Busy", "fails: Error code: 503", None, 3),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(
    server: ChatStandIn, status: int, answer: object, message: str, hint: str | None, tries: int
) -> None:
    server.answers = [(status, answer)]

    with pytest.raises(EvaluationError, match=message) as caught:
        ChatServer(server.address, "m", retries=2).answer(QUESTION)

    assert "\n" not in str(caught.value)
    assert len(server.asked) == tries
    if hint is None:
        assert caught.value.hint is None
    else:
        assert hint in str(caught.value.hint)


def test_a_model_is_not_deaf_because_of_its_name(server: ChatStandIn) -> None:
    server.answers = [(400, failure("gpt-4o-Audio-preview has no parameter temperature"))]

    with pytest.raises(EvaluationError, match=r"refuses: .*no parameter temperature"):
        ChatServer(server.address, "gpt-4o-audio-preview").answer(QUESTION)


@pytest.mark.parametrize("answer", ["<html>Welcome", {"hello": "there"}, {"choices": []}, [], "7"])
def test_what_is_no_chat_completion_is_named(server: ChatStandIn, answer: object) -> None:
    server.answers = [(200, answer)]

    with pytest.raises(EvaluationError, match=re.escape(server.address)) as caught:
        ChatServer(server.address, "m", retries=0).answer(QUESTION)

    assert caught.value.hint == "an address ends in /v1 mostly"


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"http://127.0.0.1:{held.getsockname()[1]}/v1"

        with pytest.raises(EvaluationError, match=f"{address} can't be reached: ") as caught:
            ChatServer(address, "m", retries=0).answer(QUESTION)

    assert caught.value.hint == "check the address, and whether the server runs"


@pytest.mark.parametrize("address", ["http://[", "nonsense", "http://"])
def test_what_is_no_address_is_named(address: str) -> None:
    with pytest.raises(EvaluationError, match=re.escape(f"{address} can't be reached: ")):
        ChatServer(address, "m", retries=0).answer(QUESTION)


def test_a_server_that_does_not_answer_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"

        with pytest.raises(EvaluationError, match=f"{address} doesn't answer within 0.1 s"):
            ChatServer(address, "m", retries=0, timeout_s=0.1).answer(QUESTION)


def test_without_openai_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any) -> Any:
        if name == "openai":
            raise ModuleNotFoundError(f"No module named '{name}'")
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", absent)

    with pytest.raises(EvaluationError, match="openai can't be imported") as caught:
        ChatServer("http://127.0.0.1:9/v1", "m")
    assert caught.value.hint == "pip install 'alm2vec-search[eval]'"


def test_what_is_louder_than_a_file_can_hold_is_clipped() -> None:
    data = wav_of(Waveform(np.array([0, 1, -1, 3, -3], np.float32), 8_000))

    samples, sampling_rate = soundfile.read(io.BytesIO(data), dtype="int16")

    assert sampling_rate == 8_000
    assert samples.tolist() == [0, 32_767, -32_767, 32_767, -32_767]


def test_an_address_makes_a_server(server: ChatStandIn) -> None:
    answerer = build_answerer(
        server.address, "m", device="auto", dtype="auto", announce=lambda _: None
    )

    assert isinstance(answerer, ChatServer)
    assert answerer.answer(QUESTION) == "B"

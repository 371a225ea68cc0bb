"""MMAU-mini by a model that answers: on a real server, from the command line, and interrupted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from chat_stand_in import completion, failure
from tones import write_tone

from alm2vec_search.evaluation.runs import read_run

if TYPE_CHECKING:
    from pathlib import Path

    from chat_stand_in import ChatStandIn
    from command_line import Answer, CommandLine

    from alm2vec_search.evaluation.runs import Run

QUESTIONS = [("low", "sound", 0), ("middle", "music", 1), ("high", "speech", 2)]


@pytest.fixture
def mmau(tmp_path: Path) -> Path:
    choices = ["a hum", "a note", "a whistle"]
    records = [
        {
            "audio_id": f"./sounds/{note}.wav",
            "question": f"What is the {note} one?",
            "choices": choices,
            "answer": choices[right],
            "task": task,
        }
        for note, task, right in QUESTIONS
    ]
    for note, _, _ in QUESTIONS:
        write_tone(tmp_path / f"sounds/{note}.wav", note)
    (tmp_path / "mmau-test-mini.json").write_text(json.dumps(records))
    return tmp_path


def measure(alm2vec: CommandLine, mmau: Path, server: ChatStandIn, *more: str) -> Answer:
    return alm2vec(
        "eval",
        "mmau-mini",
        "--source",
        mmau,
        "--answers",
        server.address,
        "--model",
        "gpt-hears",
        *more,
    )


def accuracy(run: Run, domain: str | None = None) -> float:
    figures = run.tasks[0].figures
    (value,) = [f.value for f in figures if f.metric == "accuracy" and f.domain == domain]
    return value


def test_answers_are_read_and_counted(
    alm2vec: CommandLine, mmau: Path, server: ChatStandIn, tmp_path: Path
) -> None:
    server.answers = [(200, completion(said)) for said in ("(A)", "A or B", "The answer is B.")]
    out = tmp_path / "run.json"

    done = measure(alm2vec, mmau, server, "-o", str(out))

    assert done.exit_code == 0, done.err
    run = read_run(out)
    assert accuracy(run) == pytest.approx(1 / 3)
    assert [accuracy(run, domain) for domain in ("sound", "music", "speech")] == [1, 0, 0]
    assert run.tasks[0].places == (0, None, None)
    assert [worst.found[0].text for worst in run.tasks[0].worst] == ["A or B", "The answer is B."]
    assert "1 of 3 answers name no option, or more than one: they are wrong" in run.notes
    assert "1 of 3 answers name no option" in done.err
    assert (run.system.kind, run.system.name) == ("answers", "gpt-hears")
    sounds: list[Any] = [asked["messages"][0]["content"][0]["type"] for asked in server.asked]
    assert sounds == ["input_audio"] * 3


def test_an_interrupted_run_asks_only_what_is_left(
    alm2vec: CommandLine, mmau: Path, server: ChatStandIn, tmp_path: Path
) -> None:
    out = tmp_path / "run.json"
    server.answers = [(200, completion("A")), (400, failure("no money"))]

    stopped = measure(alm2vec, mmau, server, "-o", str(out))
    asked_before = len(server.asked)
    with (tmp_path / "run.answers.jsonl").open("a") as file:
        file.write('{"question": "cut sho')  # as a killed process leaves it
    server.answers = [(200, completion("B")), (200, completion("C"))]
    done = measure(alm2vec, mmau, server, "-o", str(out))

    assert (stopped.exit_code, done.exit_code) == (2, 0)
    assert "no money" in stopped.err
    assert "kept from before: 1 answer" in done.err
    assert len(server.asked) == asked_before + 2
    assert accuracy(read_run(out)) == 1


def test_another_model_is_asked_anew(
    alm2vec: CommandLine, mmau: Path, server: ChatStandIn, tmp_path: Path
) -> None:
    out = str(tmp_path / "run.json")
    measure(alm2vec, mmau, server, "-o", out)
    measure(alm2vec, mmau, server, "-o", out, "--model", "another")
    assert len(server.asked) == 6
    assert {asked["model"] for asked in server.asked} == {"gpt-hears", "another"}


def test_a_sound_that_cannot_be_read_is_not_asked_about(
    alm2vec: CommandLine, mmau: Path, server: ChatStandIn
) -> None:
    (mmau / "sounds/low.wav").write_bytes(b"no sound")
    done = measure(alm2vec, mmau, server)
    assert done.exit_code == 1
    assert "can't be read: 1 sound" in done.err
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--answers", "somewhere", "--model", "m"], "somewhere is nowhere that answers"),
        (["--answers", "transformers"], "--answers needs the name of a model"),
        (["--answers", "http://127.0.0.1:9/v1", "--model", "m"], "can't be reached"),
    ],
)
def test_nobody_to_ask(
    alm2vec: CommandLine, mmau: Path, arguments: list[str], message: str
) -> None:
    done = alm2vec("eval", "mmau-mini", "--source", mmau, *arguments)
    assert done.exit_code == 2
    assert message in done.err

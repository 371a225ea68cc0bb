"""`alm2vec eval`, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tones import write_tone

from alm2vec_search.evaluation.runs import read_run

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for note in ("low", "high"):
        write_tone(tmp_path / f"{note}.wav", note)
    path = tmp_path / "sounds.csv"
    path.write_text("path,text\nlow.wav,a hum\nhigh.wav,a whistle\n")
    return path


def test_labels_as_lines_for_a_pipe(alm2vec: CommandLine, sounds: Path, tmp_path: Path) -> None:
    done = alm2vec("eval", "labels", str(sounds), "-o", str(tmp_path / "run.json"))
    assert done.exit_code == 0
    header, *rows = [line.split("\t") for line in done.out.splitlines()]
    assert header == ["task", "domain", "metric", "value", "low", "high", "n"]
    assert {row[0] for row in rows} == {"text to audio", "audio to text"}
    assert all(len(row) == len(header) for row in rows)
    assert "sounds: 2 sounds, 2 texts; small" in done.err
    run = read_run(tmp_path / "run.json")
    assert float(rows[0][3]) == pytest.approx(run.tasks[0].figures[0].value, abs=1e-6)
    assert run.system.name == "small"
    assert run.cost.audio_s == pytest.approx(4, abs=0.1)  # both ways


def test_a_reader_who_stops_loses_nothing(sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.json"
    command = [sys.executable, "-m", "alm2vec_search.cli", "eval", "labels", sounds, "-o", out]
    writing = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writing.stdout is not None
    assert writing.stderr is not None
    writing.stdout.close()
    talk = writing.stderr.read().decode()
    writing.stderr.close()
    assert writing.wait() == 0
    assert "Traceback" not in talk
    assert read_run(out).set_name == "sounds"


def test_json_is_the_run(alm2vec: CommandLine, sounds: Path) -> None:
    done = alm2vec("eval", "labels", str(sounds), "--json", "--name", "mine")
    assert done.exit_code == 0
    assert json.loads(done.out)["set_name"] == "mine"


def test_a_search_of_the_same(alm2vec: CommandLine, sounds: Path) -> None:
    done = alm2vec("eval", "labels", str(sounds), "--search", "--json")
    assert done.exit_code == 0
    told = json.loads(done.out)
    assert told["system"]["kind"] == "search"
    assert [task["name"] for task in told["tasks"]] == [
        "text to audio",
        "text to audio, by sound alone",
    ]


def test_what_is_missing_is_named_and_the_exit_code_says_so(
    alm2vec: CommandLine, sounds: Path
) -> None:
    sounds.write_text(sounds.read_text() + "gone.wav,a bell\n")
    done = alm2vec("eval", "labels", str(sounds))
    assert done.exit_code == 1
    assert "no file: 1 clip\n  gone.wav" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["labels", "none.csv"], "none.csv"),
        (["labels", "{sounds}", "-o", "{folder}"], "is a folder"),
        (["labels", "{sounds}", "--model", "./nothing"], "nothing"),
        (["triplets", "{sounds}"], "not JSON"),
        (["audiocaps", "--source", "{folder}"], "expected a column"),
        (["clotho", "--source", "{folder}"], "no csv of the split evaluation"),
        (["librisqa", "--source", "{folder}"], "no json of the split test"),
        (["mmau-mini", "--source", "{folder}"], "no json"),
    ],
)
def test_what_cannot_be_measured(
    alm2vec: CommandLine, sounds: Path, arguments: list[str], message: str
) -> None:
    (sounds.parent / "test.csv").write_text("a,b\n")
    given = [a.format(sounds=sounds, folder=sounds.parent) for a in arguments]
    done = alm2vec("eval", *given)
    assert done.exit_code in (2, 3)
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_triplets_are_measured_with_their_halves(
    alm2vec: CommandLine, sounds: Path, tmp_path: Path
) -> None:
    line = {
        "query": {"audio": "low.wav", "instruction": "what is it?"},
        "target": {"audio": "low.wav"},
        "hard_negative": {"audio": "high.wav"},
    }
    (tmp_path / "t.jsonl").write_text(json.dumps(line) + "\n")
    done = alm2vec("eval", "triplets", str(tmp_path / "t.jsonl"))
    assert done.exit_code == 0
    tasks = {line.split("\t")[0] for line in done.out.splitlines()[1:]}
    assert tasks == {"triplets", "the sound alone", "the words alone"}
    sound_alone = [r.split("\t") for r in done.out.splitlines() if r.startswith("the sound alone")]
    assert float(sound_alone[0][3]) == 1  # the same sound

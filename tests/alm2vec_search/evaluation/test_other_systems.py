"""Systems that the paper compares with, by the options that the report names for them.

Checkpoints are toys of the published formats; the weights themselves aren't at hand.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cascade_checkpoints import write_text_model, write_whisper
from clap_checkpoint import as_sentence_transformers, write_clap
from published_checkpoint import Original
from tones import write_tone

from alm2vec_search.evaluation.runs import read_run

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine

    from alm2vec_search.evaluation.runs import Run

NOTES = ("low", "middle", "high")


@pytest.fixture(scope="module")
def clap(tmp_path_factory: pytest.TempPathFactory) -> str:
    plain, folder = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("clap")
    write_clap(plain, fused=False)
    return f"st:{as_sentence_transformers(plain, folder)}"


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> str:
    whisper = tmp_path_factory.mktemp("whisper")
    write_whisper(whisper, multilingual=False)
    return f"asr:{whisper}+{write_text_model(tmp_path_factory.mktemp('bert'))}"


@pytest.fixture(scope="module")
def alm2vec_toy(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(Original.make().save(tmp_path_factory.mktemp("toy")))


@pytest.fixture
def clotho(tmp_path: Path) -> Path:
    """Three clips, of which one is longer than a CLAP hears."""
    rows = ["file_name,caption_1,caption_2"]
    for note, duration_s in zip(NOTES, (1.0, 1.0, 12.0), strict=True):
        write_tone(tmp_path / f"clotho/evaluation/{note}.wav", note, duration_s)
        rows.append(f"{note}.wav,{note},a {note} tone")
    path = tmp_path / "clotho/clotho_captions_evaluation.csv"
    path.write_text("\n".join(rows) + "\n")
    return path.parent


def measured(alm2vec: CommandLine, out: Path, *words: str | Path) -> Run:
    """By the command, which has to succeed."""
    done = alm2vec("eval", *words, "-o", out)
    assert done.exit_code == 0, done.err
    return read_run(out)


def figure(run: Run, task: str, metric: str) -> float:
    (result,) = [result for result in run.tasks if result.name == task]
    (value,) = [f.value for f in result.figures if f.metric == metric and f.domain is None]
    return value


def test_clap_hears_the_start_of_a_clip_and_follows_no_instruction(
    alm2vec: CommandLine, clotho: Path, clap: str, tmp_path: Path
) -> None:
    run = measured(alm2vec, tmp_path / "run.json", "clotho", "--source", clotho, "--model", clap)
    assert (run.tasks[0].queries, run.tasks[0].pool) == (6, 3)
    assert (run.tasks[1].queries, run.tasks[1].pool) == (3, 6)
    assert run.cost.audio_s == pytest.approx(2 * (1 + 1 + 10), abs=0.1)  # both ways
    assert any("follows no instructions" in note for note in run.notes)
    assert any("takes no more than 10 s of a sound" in note for note in run.notes)
    assert run.system.embedding_dim == 12


def test_a_cascade_finds_what_is_said(
    alm2vec: CommandLine, clotho: Path, cascade: str, tmp_path: Path
) -> None:
    """The toy writes down which tone it hears, and that is the first caption of each clip."""
    run = measured(alm2vec, tmp_path / "run.json", "clotho", "--source", clotho, "--model", cascade)
    assert figure(run, "audio to text", "r@1") == 1
    assert figure(run, "text to audio", "r@1") >= 0.5
    assert run.system.name.startswith("asr:whisper")
    assert str(tmp_path.parent.parent) not in run.system.name


def test_a_cascade_can_be_searched_by(
    alm2vec: CommandLine, clotho: Path, cascade: str, tmp_path: Path
) -> None:
    labels = clotho / "evaluation/labels.csv"
    labels.write_text("path,text\n" + "".join(f"{note}.wav,{note}\n" for note in NOTES))
    asked = ("labels", labels, "--search", "--model", cascade)
    run = measured(alm2vec, tmp_path / "run.json", *asked)
    assert figure(run, "text to audio, by sound alone", "r@1") == 1


def test_a_checkpoint_of_the_published_format(
    alm2vec: CommandLine, clotho: Path, alm2vec_toy: str, tmp_path: Path
) -> None:
    asked = ("clotho", "--source", clotho, "--model", alm2vec_toy)
    run = measured(alm2vec, tmp_path / "run.json", *asked)
    assert run.notes == ()
    assert run.cost.audio_s == pytest.approx(2 * (1 + 1 + 12), abs=0.1)
    assert len(run.tasks[0].places) == 6


def test_words_and_a_sound_in_one_are_too_much_for_a_clap(
    alm2vec: CommandLine, clotho: Path, clap: str, tmp_path: Path
) -> None:
    sound = str(clotho / "evaluation/low.wav")
    line = {
        "query": {"audio": sound, "text": "what is it?"},
        "target": {"text": "low"},
        "hard_negative": {"text": "high"},
    }
    (tmp_path / "t.jsonl").write_text(json.dumps(line))
    done = alm2vec("eval", "triplets", tmp_path / "t.jsonl", "--model", clap)
    assert done.exit_code == 3
    assert "takes words or a sound, not both in one" in done.err

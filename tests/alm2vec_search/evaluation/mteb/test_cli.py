"""`alm2vec eval mteb`, with the bundled model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import typer
from cascade_checkpoints import write_text_model, write_whisper
from toy_mteb import CLIPS, tone_retrieval
from typer.testing import CliRunner

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.mteb import cli, tasks
from alm2vec_search.evaluation.mteb.tasks import AUDIO_TEXT_TO_AUDIO
from alm2vec_search.evaluation.runs import read_run

if TYPE_CHECKING:
    from pathlib import Path

    import mteb.abstasks
    from click.testing import Result


@pytest.fixture(autouse=True)
def _clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mteb has one task more, and a cache of its own."""
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path / "mteb-cache"))
    known: Any = sys.modules["mteb.get_tasks"]
    monkeypatch.setitem(known._TASKS_REGISTRY, "ClipRetrieval", clip_retrieval)


def clip_retrieval() -> mteb.abstasks.AbsTask:
    corpus = [{"id": f"of {text}", "audio": str(path)} for text, path in CLIPS.items()]
    queries = [{"id": text, "text": text} for text in CLIPS]
    relevant = {text: [f"of {text}"] for text in CLIPS}
    return tone_retrieval(queries, corpus, relevant, name="ClipRetrieval")


def run(*words: str | Path) -> Result:
    app = typer.Typer()
    app.command()(cli.mteb)
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize("way", [(), ("--search",), ("--instruction", "task")])
def test_a_task_is_measured(way: tuple[str, ...], tmp_path: Path) -> None:
    answer = run("ClipRetrieval", *way, "-o", tmp_path / "run.json")

    assert answer.exit_code == 0
    assert answer.stdout == "ClipRetrieval\tndcg@10\t1.0000\n"
    written = read_run(tmp_path / "run.json")
    assert written.system.name == "small"
    assert written.system.embedding_dim == 384
    assert ("through the index" in written.system.detail) == ("--search" in way)
    assert ("of the task" in written.system.detail) == ("task" in way)


def test_a_cascade_is_measured_and_given_no_instructions(tmp_path: Path) -> None:
    whisper = tmp_path / "whisper"
    write_whisper(whisper, multilingual=False)
    text_model = write_text_model(tmp_path / "bert").rename(tmp_path / "bge")
    asked = ("ClipRetrieval", "--model", f"asr:{whisper}+{text_model}")

    answer = run(*asked, "-o", tmp_path / "run.json")

    assert answer.exit_code == 0
    assert read_run(tmp_path / "run.json").system.name == "asr:whisper+bge"
    with pytest.raises(EvaluationError, match="follows no instructions"):
        run(*asked, "--instruction", "task")


def test_names_of_tasks_are_listed() -> None:
    lines = run("--list").stdout.splitlines()

    fields = [line.split("\t") for line in lines]
    assert {name for name, _, category in fields if category == "at2a"} == set(AUDIO_TEXT_TO_AUDIO)
    assert ["GTZANGenre", "AudioClassification", "a2c"] in fields


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("NoSuchRetrieval",), "mteb has no task NoSuchRetrieval"),
        ((), "no task was named"),
        (("ClothoA2TRetrieval.v2", "--search"), "its documents are text"),
        (("ClipRetrieval", "-o", "/"), "is a folder"),
    ],
)
def test_what_cannot_be_is_said(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        run(*words)


def test_without_mteb_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "find_spec", lambda _name: None)

    with pytest.raises(EvaluationError, match="isn't installed") as error:
        run("ClipRetrieval")

    assert "alm2vec-search[eval]" in str(error.value.hint)

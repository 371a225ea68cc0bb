"""Runs by vectors: what they say beside their figures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from tones import write_tone

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.datasets import labels, triplets
from alm2vec_search.evaluation.running import Recording, by_vectors
from alm2vec_search.testing import FakeEncoder

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.evaluation.runs import Run
    from alm2vec_search.evaluation.sets import EvaluationSet


def measured_by(measured: EvaluationSet, encoder: FakeEncoder, out: Path | None = None) -> Run:
    return by_vectors(
        measured,
        encoder,
        Recording(out, "alm2vec eval ..."),
        max_audio_s=30.0,
        plain=False,
        load_s=2.0,
        progress=lambda done, of: None,
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_tone(tmp_path / "sounds/low.wav", "low")
    (tmp_path / "sounds/high.wav").write_bytes(b"no sound")
    path = tmp_path / "sounds/labels.csv"
    path.write_text("path,text\nlow.wav,low\nhigh.wav,high\ngone.wav,middle\nlow.wav,\n")
    return path


def test_what_is_missing_unreadable_and_set_aside_is_named_from_the_run(
    table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs/run.json"
    run = measured_by(labels.read(table), FakeEncoder(), out)
    assert run.missing == ("gone.wav",)
    (unreadable,) = run.unreadable
    assert unreadable.startswith("../sounds/high.wav: ")
    assert run.set_aside == ("../sounds/labels.csv:5: the text is blank",)
    assert run.command == "alm2vec eval ..."
    assert run.cost.load_s == 2.0
    assert run.cost.total_s >= 2.0
    assert str(tmp_path) not in run.model_dump_json()


def test_a_models_folder_is_named_by_its_last_part(table: Path) -> None:
    encoder = FakeEncoder(name=str(table.parent / "my-model"))
    assert measured_by(labels.read(table), encoder).system.name == "my-model"


def test_instructions_that_were_left_out_are_told_of(table: Path, tmp_path: Path) -> None:
    side = {"audio": str(table.parent / "low.wav")}
    line = {
        "query": side | {"instruction": "what is it?"},
        "target": {"text": "low"},
        "hard_negative": {"text": "high"},
    }
    (tmp_path / "t.jsonl").write_text(json.dumps(line))
    asked = triplets.read(tmp_path / "t.jsonl")
    deaf_to_them = FakeEncoder(follows_instructions=False)
    assert measured_by(asked, FakeEncoder()).notes == ()
    (note,) = measured_by(asked, deaf_to_them).notes
    assert note == "fake follows no instructions: they were left out"


def test_nothing_can_be_read(table: Path) -> None:
    (table.parent / "low.wav").write_bytes(b"no sound")
    with pytest.raises(EvaluationError, match="no sound of it can be read") as caught:
        measured_by(labels.read(table), FakeEncoder())
    assert "low.wav" in str(caught.value.hint) or "high.wav" in str(caught.value.hint)

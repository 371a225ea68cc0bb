"""What a measurement shows: tables on a terminal, lines into a pipe, and what is missing."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from alm2vec_search.evaluation.runs import FORMAT, Cost, Figure, Run, System, TaskResult
from alm2vec_search.evaluation.talking import MeasuringProgress, print_run, say_run

if TYPE_CHECKING:
    import pytest

RUN = Run(
    format=FORMAT,
    key="triplets",
    set_name="asked",
    system=System(kind="vectors", name="small"),
    pool="60 triplets, each of 2",
    missing=tuple(f"{number}.wav" for number in range(8)),
    notes=("mind this",),
    tasks=(
        TaskResult(
            name="triplets",
            queries=60,
            figures=(
                Figure(metric="accuracy", value=0.75, low=0.6, high=0.875, n=60),
                Figure(metric="accuracy", value=0.5, n=20, domain="animal"),
            ),
        ),
        TaskResult(
            name="the words alone",
            queries=60,
            pool=7,
            figures=(Figure(metric="accuracy", value=1.0, n=60),),
        ),
    ),
    cost=Cost(audio_s=90, total_s=7.25, cores=2),
    made=datetime(2026, 1, 2, tzinfo=UTC),
    version="0.1.0",
)


def test_a_table_has_room_in_eighty_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    print_run(RUN)
    header, queries, pool, whole, animal = [
        line.rstrip() for line in capsys.readouterr().out.splitlines()
    ]
    assert header.split("  ")[-1].strip() == "the words alone"
    assert queries.split() == ["queries", "60", "60"]
    assert pool.split() == ["pool", "7"]
    assert whole.split("  ")[0] == "accuracy"
    assert "75.0 (60–88)" in whole
    assert animal.split() == ["accuracy,", "animal", "50.0"]


def test_lines_for_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_run(RUN)
    header, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert header == ["task", "domain", "metric", "value", "low", "high", "n"]
    assert rows[0] == ["triplets", "", "accuracy", "0.750000", "0.600000", "0.875000", "60"]
    assert rows[1] == ["triplets", "animal", "accuracy", "0.500000", "", "", "20"]


def test_what_is_said_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    say_run(RUN)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "asked: 60 triplets, each of 2; small, vectors"
    assert said[1] == "note: mind this"
    assert said[2:4] == ["no file: 8 clips", "  0.wav"]
    assert said[-2:] == ["  and 3 more", "7.2 s on 2 cores, for 1 min 30 s of sound"]


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with MeasuringProgress(quiet=True) as progress:
        progress(1, 2)
    assert capsys.readouterr().err == ""

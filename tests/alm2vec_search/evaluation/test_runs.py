"""The file of a run: whole, from anywhere, and clear about what it isn't."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.runs import (
    FORMAT,
    Figure,
    Run,
    System,
    TaskResult,
    read_run,
    relative_sound,
    require_writable,
    write_run,
)

if TYPE_CHECKING:
    from pathlib import Path

RUN = Run(
    format=FORMAT,
    key="labels",
    set_name="mine",
    system=System(kind="vectors", name="small"),
    pool="3 sounds",
    tasks=(
        TaskResult(
            name="text to audio",
            queries=3,
            figures=(Figure(metric="r@1", value=0.0, n=3),),
            places=(0, None, 2),
        ),
    ),
    made=datetime(2026, 1, 2, tzinfo=UTC),
    version="0.1.0",
)


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "runs/a.json"
    write_run(RUN, path)
    assert read_run(path) == RUN
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "a.json is no run: format: Field required"),
        ("nonsense", "a.json is no run: Invalid JSON"),
        (RUN.model_dump_json().replace('"format":1', '"format":2'), "is no run: format"),
        (RUN.model_dump_json()[:-1] + ',"new":1}', "is no run: new"),
    ],
)
def test_what_is_no_run(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(EvaluationError) as caught:
        read_run(path)
    assert message in str(caught.value)
    assert caught.value.hint is not None


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="can't be read"):
        read_run(tmp_path / "none.json")


def test_where_a_run_cannot_be_written_is_known_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    require_writable(tmp_path / "new/folder/run.json")
    assert not (tmp_path / "new").exists()
    for path in (tmp_path, tmp_path / "file/run.json"):
        with pytest.raises(EvaluationError):
            require_writable(path)
    with pytest.raises(EvaluationError, match="can't be written"):
        write_run(RUN, tmp_path / "file/run.json")


def test_sounds_are_named_from_the_run(tmp_path: Path) -> None:
    sound = tmp_path / "sounds/a.wav"
    assert relative_sound(sound, tmp_path / "runs/a.json") == "../sounds/a.wav"
    assert relative_sound(sound, None) == str(sound)

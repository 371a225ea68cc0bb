"""One's own labels: texts that many sounds have, sounds with many texts, and stretches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alm2vec_search.errors import EvaluationError, PairError
from alm2vec_search.evaluation.datasets.labels import read
from alm2vec_search.evaluation.sets import RetrievalTask

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.evaluation.sets import EvaluationSet


def written(folder: Path, csv: str) -> Path:
    for name in ("a", "b", "c"):
        (folder / f"{name}.wav").touch()
    path = folder / "sounds.csv"
    path.write_text(csv)
    return path


def both(measured: EvaluationSet) -> tuple[RetrievalTask, RetrievalTask]:
    by_text, by_sound = measured.tasks
    assert isinstance(by_text, RetrievalTask)
    assert isinstance(by_sound, RetrievalTask)
    return by_text, by_sound


def test_a_text_is_asked_once_and_has_all_its_sounds(tmp_path: Path) -> None:
    csv = "path,text\na.wav,rain\nb.wav,wind\nc.wav,rain\nb.wav,storm\n"
    by_text, by_sound = both(read(written(tmp_path, csv)))
    assert [query.text for query in by_text.queries] == ["rain", "storm", "wind"]
    assert by_text.relevant == (frozenset([0, 2]), frozenset([1]), frozenset([1]))
    assert by_sound.relevant == (frozenset([0]), frozenset([1, 2]), frozenset([0]))
    assert {side.instruction for side in (*by_text.queries, *by_text.documents)} == {None}
    assert by_text.groups == ("rain", "storm", "wind")
    assert by_sound.groups == ("a.wav", "b.wav", "c.wav")


def test_stretches_and_groups(tmp_path: Path) -> None:
    csv = (
        "path,text,start_s,end_s,group\n"
        "a.wav,an owl,1.5,3,tape 1\na.wav,a car,4,,tape 1\nb.wav,an owl,,,\n"
    )
    by_text, by_sound = both(read(written(tmp_path, csv)))
    spans = [
        (d.audio.path.name, d.audio.start_s, d.audio.end_s) for d in by_text.documents if d.audio
    ]
    assert spans == [("a.wav", 1.5, 3), ("a.wav", 4, None), ("b.wav", None, None)]
    assert by_sound.groups == ("tape 1", "tape 1", "b.wav")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.wav,x,1,1", "sounds.csv:3: no stretch of a sound: ends at 1.0 s"),
        ("a.wav,x,soon,2", "sounds.csv:3: start_s is no number of seconds: 'soon'"),
        ("a.wav,x,-1,2", "sounds.csv:3: no stretch of a sound"),
    ],
)
def test_what_is_no_stretch(tmp_path: Path, row: str, message: str) -> None:
    path = written(tmp_path, f"path,text,start_s,end_s\nb.wav,fine,,\n{row}\n")
    with pytest.raises(PairError) as caught:
        read(path)
    assert message in str(caught.value)


def test_names_and_what_is_missing(tmp_path: Path) -> None:
    path = written(tmp_path, "path,text\na.wav,rain\ngone.wav,sea\n")
    measured = read(path)
    assert (measured.name, measured.pool) == ("sounds", "1 sound, 1 text")
    assert measured.missing == ("gone.wav",)
    assert read(path, name="mine").name == "mine"


def test_nothing_is_there(tmp_path: Path) -> None:
    path = written(tmp_path, "path,text\ngone.wav,sea\n")
    with pytest.raises(EvaluationError, match="nothing to measure with"):
        read(path)

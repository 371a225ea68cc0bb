"""The whole application, measured: real files, the real pipeline, the real store and search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tones import write_tone, write_tones

from alm2vec_search.collection.base import CollectionInfo
from alm2vec_search.domain import TimeSpan
from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.datasets import labels
from alm2vec_search.evaluation.library import Making, indexed
from alm2vec_search.evaluation.metrics import Places
from alm2vec_search.evaluation.running import Recording, by_search
from alm2vec_search.evaluation.searching import (
    SearchedLibrary,
    _overlap,
    hit_places,
    searchable,
    sounds_of,
)
from alm2vec_search.evaluation.sets import ChoiceTask, EvaluationSet, RetrievalTask
from alm2vec_search.search import Searcher
from alm2vec_search.testing import FakeEncoder
from indexer.chunker import Chunking
from indexer.progress import NoProgress
from trainer.pairs import AudioRef, Side

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.collection.base import Collection
    from alm2vec_search.domain import Encoder
    from alm2vec_search.evaluation.runs import Run

CHUNKING = Chunking(window_s=2, hop_s=2)
MAKING = Making(
    factory=FakeEncoder(),
    info=CollectionInfo("fake-float32", CHUNKING.name, FakeEncoder().embedding_dim, "fake"),
    chunking=CHUNKING,
    n_workers=1,
    one_model=False,
)


def searcher_of(collection: Collection) -> tuple[Encoder, Searcher]:
    return FakeEncoder(), Searcher(FakeEncoder(), collection)


def measured_by(csv: Path, out: Path | None = None) -> Run:
    return by_search(
        labels.read(csv), MAKING, Recording(out), searcher_of=searcher_of, progress=NoProgress()
    )


def table(folder: Path, *rows: str, header: str = "path,text") -> Path:
    path = folder / "sounds.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def figure(run: Run, task: str, metric: str) -> float:
    (result,) = [result for result in run.tasks if result.name == task]
    (value,) = [f.value for f in result.figures if f.metric == metric and f.domain is None]
    return value


def test_tones_are_found_through_the_index(tmp_path: Path) -> None:
    for note in ("low", "middle", "high"):
        write_tone(tmp_path / f"rec/{note[0]}1.wav", note)
    run = measured_by(table(tmp_path, "rec/l1.wav,low", "rec/m1.wav,middle", "rec/h1.wav,high"))
    assert [task.name for task in run.tasks] == ["text to audio", "text to audio, by sound alone"]
    assert figure(run, "text to audio", "r@1") == 1
    assert run.system.kind == "search"
    assert run.cost.audio_s == pytest.approx(3)
    assert run.cost.index_s > 0


def test_a_part_of_a_long_file_is_found_by_its_chunk_not_by_the_whole(tmp_path: Path) -> None:
    """As one vector the long file would be more of a low tone than of a high one."""
    write_tones(tmp_path / "long.wav", ["low", "low", "low", "high"], 2.0)
    write_tone(tmp_path / "m.wav", "middle", 2.0)
    csv = table(
        tmp_path,
        "long.wav,high,6,8",
        "m.wav,middle,,",
        header="path,text,start_s,end_s",
    )
    run = measured_by(csv)
    assert figure(run, "text to audio, by sound alone", "r@1") == 1


def test_the_wrong_part_of_the_right_file_is_not_right(tmp_path: Path) -> None:
    write_tones(tmp_path / "long.wav", ["low", "high"], 2.0)
    csv = table(tmp_path, "long.wav,high,0,2", header="path,text,start_s,end_s")
    run = measured_by(csv)
    assert run.tasks[0].places == (None,)
    assert figure(run, "text to audio", "r@10") == 0


def test_names_count_and_are_told_apart_from_the_sound(tmp_path: Path) -> None:
    """Files that are called by what they aren't: found by name, lost by sound."""
    write_tone(tmp_path / "gong.wav", "low", 2.0)
    write_tone(tmp_path / "x2.wav", "middle", 2.0)
    write_tone(tmp_path / "x3.wav", "high", 2.0)
    run = measured_by(table(tmp_path, "gong.wav,gong", "x2.wav,middle", "x3.wav,high"))
    by_name = run.tasks[0]
    gong = [query.text for query in labels.read(tmp_path / "sounds.csv").tasks[0].queries].index(
        "gong"
    )
    assert by_name.places[gong] == 0
    assert figure(run, "text to audio, by sound alone", "r@1") >= 2 / 3


def test_copies_that_are_one_hit_count_where_the_hit_is(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", "low", 2.0)
    (tmp_path / "b.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    write_tone(tmp_path / "c.wav", "high", 2.0)
    run = measured_by(table(tmp_path, "b.wav,low", "a.wav,something else", "c.wav,high"))
    by_sound = run.tasks[1]
    queries = [query.text for query in labels.read(tmp_path / "sounds.csv").tasks[0].queries]
    assert by_sound.places[queries.index("low")] == 0


def test_notes_beside_the_sounds_are_indexed_too(tmp_path: Path) -> None:
    write_tone(tmp_path / "rec/1.wav", "low", 2.0)
    write_tone(tmp_path / "rec/2.wav", "high", 2.0)
    (tmp_path / "rec/alm2vec-notes.csv").write_text("file,notes\n2.wav,a xylophone\n")
    csv = table(tmp_path, "rec/1.wav,low", "rec/2.wav,xylophone")
    assert figure(measured_by(csv), "text to audio", "r@1") == 1


def test_what_cannot_be_read_is_in_no_pool_and_named_from_the_run(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", "low", 2.0)
    (tmp_path / "b.wav").write_bytes(b"no sound at all")
    run = measured_by(table(tmp_path, "a.wav,low", "b.wav,high"), tmp_path / "runs/run.json")
    assert [(task.queries, task.pool) for task in run.tasks] == [(1, 1), (1, 1)]
    (unreadable,) = run.unreadable
    assert unreadable.startswith("../b.wav: ")


def test_a_user_who_asks_in_words_types_no_instruction(tmp_path: Path) -> None:
    audio = AudioRef(path=write_tone(tmp_path / "a.wav", "low"))
    with indexed([audio.path], MAKING, NoProgress()) as library:
        _, searcher = searcher_of(library.collection)
        asking = SearchedLibrary(library, searcher)
        words = asking._question(Side(text="low", instruction="Retrieve a sound."))
        sound = asking._question(Side(audio=audio, instruction="what is it?"))
    assert (words.instruction, words.words) == (None, "low")
    assert (sound.instruction, sound.words) == ("what is it?", "")


def test_the_sounds_stay_as_they_are_and_the_index_goes(tmp_path: Path) -> None:
    sound = write_tone(tmp_path / "a.wav", "low", 2.0)
    before = sound.read_bytes()
    with indexed([sound], MAKING, NoProgress()) as library:
        (link,) = library.sounds
        assert link.resolve() == sound
        assert library.report.indexed == 1
    assert not link.exists()
    assert sound.read_bytes() == before


def test_only_tasks_that_ask_for_sounds_can_be_searched() -> None:
    sound, text = Side(audio=AudioRef(path="a.wav")), Side(text="a")  # type: ignore[arg-type]
    by_text = RetrievalTask("text to audio", (text,), (sound,), (frozenset([0]),), ("1",))
    by_sound = RetrievalTask("audio to text", (sound,), (text,), (frozenset([0]),), ("1",))
    choice = ChoiceTask("c", (sound,), ((text, text),), (0,), ("1",))
    assert searchable(EvaluationSet("k", "n", (by_sound, choice, by_text), "")) == [by_text]
    assert sounds_of([by_text, by_text]) == [sound.audio.path]  # type: ignore[union-attr]
    with pytest.raises(EvaluationError, match="no task that asks for sounds"):
        searchable(EvaluationSet("k", "n", (by_sound, choice), ""))


def test_places_of_hits() -> None:
    assert hit_places([], {1}) == Places((), 1)
    assert hit_places([[0], [1, 2]], {1, 2}) == Places((1,), 1)  # both by one hit
    assert hit_places([[1], [1], [2]], {1, 2}) == Places((0, 2), 2)
    assert hit_places([[], [3]], {3, 4}) == Places((1,), 2)


@pytest.mark.parametrize(
    ("start_s", "end_s", "covered", "alike"),
    [
        (0, 10, 1, 1),
        (2, 4, 1, 0.2),
        (5, 15, 0.5, 1 / 3),
        (5, 25, 0.5, 5 / 25),
        (12, 14, -1, -2 / 14),
    ],
)
def test_how_much_a_hit_covers(start_s: float, end_s: float, covered: float, alike: float) -> None:
    ref = AudioRef(path="a.wav", start_s=start_s, end_s=end_s)  # type: ignore[arg-type]
    assert _overlap(TimeSpan(0, 10), ref) == pytest.approx((covered, alike))

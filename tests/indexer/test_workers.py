"""Worker processes: that they do the work, and what happens when they can't."""

from __future__ import annotations

import multiprocessing
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from index_driver import CHUNKING, jobs_in, write_tone
from troubled_encoders import CannotLoad, DiesAtOnce, DiesOfHighNotes, FailsOddly

from alm2vec_search.errors import ModelError
from alm2vec_search.testing import FakeEncoder
from indexer import workers
from indexer.embedding import Advance, Embedded, Failed, Job
from indexer.workers import CRASHED, embed_in_processes

if TYPE_CHECKING:
    from pathlib import Path

    from indexer.workers import EncoderFactory


@pytest.fixture(autouse=True)
def _without_the_real_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PRELOADED", ())


def outcomes(units: list[list[Job]], factory: EncoderFactory, n: int = 2) -> dict[str, object]:
    given = embed_in_processes(iter(units), factory, CHUNKING, n)
    found = {o.file.path.name: o for o in given if not isinstance(o, Advance)}
    assert not multiprocessing.active_children()
    return found


def test_all_files_come_back_whatever_the_units(library: Path) -> None:
    for i in range(7):
        write_tone(library / f"{i}.wav", duration_s=1 + i)
    jobs = jobs_in(library)
    units = [jobs[:1], jobs[1:5], jobs[5:]]
    found = outcomes(units, FakeEncoder())
    assert sorted(found) == [f"{i}.wav" for i in range(7)]
    for name, outcome in found.items():
        assert isinstance(outcome, Embedded)
        duration_s = 1 + int(name[0])
        assert [chunk.span for chunk in outcome.chunks] == CHUNKING.spans(duration_s)
        assert outcome.content.duration_s == duration_s


def test_advances_add_up(library: Path) -> None:
    for i in range(3):
        write_tone(library / f"{i}.wav", duration_s=4)
    given = embed_in_processes([jobs_in(library)], FakeEncoder(), CHUNKING, 1)
    advances = [o for o in given if isinstance(o, Advance)]
    assert sum(a.n_chunks for a in advances) == 6
    assert sum(a.audio_s for a in advances) == pytest.approx(12)


def test_batches_span_units(library: Path) -> None:
    for i in range(5):
        write_tone(library / f"{i}.wav", duration_s=1)
    units = [[job] for job in jobs_in(library)]
    given = embed_in_processes(units, FakeEncoder(), CHUNKING, 1)
    assert [o.n_chunks for o in given if isinstance(o, Advance)] == [5]


def test_no_work_starts_no_process() -> None:
    assert outcomes([], DiesAtOnce()) == {}


def test_a_crash_costs_the_file_it_was_about_and_no_other(library: Path) -> None:
    for name in ("a", "b", "d"):
        write_tone(library / f"{name}.wav", "low")
    write_tone(library / "c.wav", "high")
    found = outcomes([jobs_in(library)], DiesOfHighNotes())
    assert isinstance(found["c.wav"], Failed)
    assert (found["c.wav"].reason, found["c.wav"].transient) == (CRASHED, False)
    assert all(isinstance(found[f"{name}.wav"], Embedded) for name in "abd")


def test_a_process_that_dies_while_loading_stops_the_run(library: Path) -> None:
    write_tone(library / "a.wav")
    with pytest.raises(ModelError, match=r"died while it loaded the model \(exit code -9\)"):
        outcomes([jobs_in(library)], DiesAtOnce())
    assert not multiprocessing.active_children()


def test_an_error_comes_home_whole(library: Path) -> None:
    write_tone(library / "a.wav")
    with pytest.raises(ModelError, match="the weights are gone") as caught:
        outcomes([jobs_in(library)], CannotLoad())
    assert caught.value.hint == "look behind the sofa"


def test_an_error_that_cannot_travel_is_told(library: Path) -> None:
    write_tone(library / "a.wav")
    with pytest.raises(RuntimeError, match="UnpicklableError: odd"):
        outcomes([jobs_in(library)], FailsOddly())


def test_stopping_early_stops_the_processes(library: Path) -> None:
    for i in range(6):
        write_tone(library / f"{i}.wav")
    units = [[job] for job in jobs_in(library)]
    with closing(embed_in_processes(units, FakeEncoder(), CHUNKING, 2)) as given:
        next(given)
        assert multiprocessing.active_children()
    assert not multiprocessing.active_children()

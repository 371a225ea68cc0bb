"""Questions to hits: what is embedded, what is shown."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from index_driver import SAMPLING_RATE, Index, write_tone

from alm2vec_search.domain import Query, Waveform
from alm2vec_search.errors import QueryError
from alm2vec_search.search import Searcher
from alm2vec_search.testing import NOTES_HZ, FakeEncoder, tone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def sound(*notes: str, duration_s: float = 4.0) -> Waveform:
    tones = [tone(NOTES_HZ[note], duration_s, SAMPLING_RATE) for note in notes]
    return Waveform(np.concatenate(tones), SAMPLING_RATE)


@pytest.fixture
def searcher(index: Index, library: Path) -> Iterator[Searcher]:
    for note in NOTES_HZ:
        write_tone(library / f"{note}.wav", note)
    index.run(library)
    with index.open() as (collection, _):
        yield Searcher(FakeEncoder(), collection, window_s=4.0)


@pytest.mark.parametrize("note", list(NOTES_HZ))
def test_words_and_sounds_meet_in_one_space(searcher: Searcher, note: str) -> None:
    assert searcher.search(Query(text=note))[0].path.stem == note
    assert searcher.search(Query(audio=sound(note)))[0].path.stem == note


def test_a_long_sound_is_the_mean_of_its_windows(searcher: Searcher) -> None:
    parts = [searcher.embed(Query(audio=sound(note))) for note in ("low", "high")]
    mean = np.mean(parts, axis=0)
    long = searcher.embed(Query(audio=sound("low", "high")))
    np.testing.assert_allclose(long, mean / np.linalg.norm(mean), atol=1e-6)


def test_words_and_a_sound_are_one_input(searcher: Searcher) -> None:
    both = searcher.embed(Query(text="low", audio=sound("high")))
    alone = [searcher.embed(Query(text="low")), searcher.embed(Query(audio=sound("high")))]
    assert all(0.1 < float(both @ one) < 0.99 for one in alone)


@pytest.mark.parametrize(
    "query",
    [Query(), Query(text=" \n"), Query(audio=Waveform(np.zeros(0, np.float32), SAMPLING_RATE))],
)
def test_an_empty_question(searcher: Searcher, query: Query) -> None:
    with pytest.raises(QueryError, match="the query is empty"):
        searcher.search(query)


def test_under_shows_the_copy_that_lies_there(index: Index, library: Path) -> None:
    write_tone(library / "a" / "x.wav")
    (library / "b").mkdir()
    shutil.copy(library / "a" / "x.wav", library / "b" / "y.wav")
    index.run(library)
    (hit,) = index.search("low", under=library.resolve() / "b")
    assert (hit.path.name, hit.copies) == ("y.wav", ())
    (hit,) = index.search("low")
    assert (hit.path.name, [copy.name for copy in hit.copies]) == ("x.wav", ["y.wav"])


def test_under_is_a_folder_not_a_prefix(index: Index, library: Path) -> None:
    write_tone(library / "a" / "x.wav")
    write_tone(library / "ab" / "y.wav", "high")
    index.run(library)
    assert [h.path.name for h in index.search("low", under=library.resolve() / "a")] == ["x.wav"]

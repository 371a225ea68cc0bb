"""Vectors under an instruction: filled in for what is there, for what comes, and after a kill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from index_driver import CHUNKING, Index, write_tone

from alm2vec_search.domain import Aspect
from indexer.aspects import AspectReport, fill_aspect
from indexer.embedding import embed_files
from indexer.progress import NoProgress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from alm2vec_search.domain import Embeddings
    from indexer.embedding import Advance, Job, Outcome

ASPECT = Aspect("upside", "what is it upside down?")


class Listener:
    """Turns its vectors around under the aspect's instruction, and notes each that it is given."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.instructions: list[str | None] = []

    def build(self) -> Listener:
        return self

    def encode_document(self, *, instruction: str | None = None, **others: Any) -> Embeddings:
        self.instructions.append(instruction)
        vectors = self.index.encoder.encode_document(**others)
        return -vectors if instruction == ASPECT.instruction else vectors

    def __getattr__(self, name: str) -> Any:
        return getattr(self.index.encoder, name)


def fill(index: Index, n_most: int = 99) -> AspectReport:
    def embed(units: Iterable[list[Job]], factory: Any) -> Generator[Outcome | Advance]:
        for unit in units:
            yield from embed_files(unit[:n_most], factory.build(), CHUNKING)

    with index.open() as (collection, _):
        collection.add_aspect(ASPECT)
        return fill_aspect(
            collection, ASPECT, factory=Listener(index), embed=embed, progress=NoProgress()
        )


def found(index: Index) -> set[str]:
    with index.open() as (collection, _):
        vector = -index.encoder.encoder.encode_query(text=["low"])[0]
        matches = collection.nearest(vector, limit=99, aspect=ASPECT.name)
    return {match.places[0].path.name for match in matches}


def test_what_is_indexed_is_filled_in_once(index: Index, library: Path) -> None:
    write_tone(library / "a.wav", "low", 5.0)
    write_tone(library / "b.wav", "high")
    index.run(library)
    assert fill(index) == AspectReport("upside", filled=2)
    n_sounds = index.encoder.n_sounds
    assert fill(index) == AspectReport("upside", filled=0)
    assert index.encoder.n_sounds == n_sounds
    with index.open() as (collection, _):
        plain = index.encoder.encoder.encode_query(text=["low"])[0]
        best = collection.nearest(-plain, limit=1, aspect="upside")[0]
        same = collection.nearest(plain, limit=1)[0]
        assert (best.places[0].path.name, same.places[0].path.name) == ("a.wav", "a.wav")
        np.testing.assert_allclose(
            collection.embeddings([best], "upside"), -collection.embeddings([best]), atol=1e-6
        )


def test_new_and_changed_files_are_filled_in_later(index: Index, library: Path) -> None:
    write_tone(library / "a.wav")
    write_tone(library / "b.wav", "middle")
    index.run(library)
    fill(index)
    write_tone(library / "a.wav", "high")
    write_tone(library / "c.wav", "low", 4.5)
    index.run(library)
    assert found(index) == {"b.wav"}
    assert fill(index).filled == 2
    assert found(index) == {"a.wav", "b.wav", "c.wav"}


def test_a_run_that_ended_halfway_goes_on(index: Index, library: Path) -> None:
    for name in ("low", "middle", "high"):
        write_tone(library / f"{name}.wav", name)
    index.run(library)
    assert fill(index, n_most=1).filled == 1
    assert fill(index).filled == 2


def test_a_file_that_is_gone_or_changed_is_told(index: Index, library: Path) -> None:
    gone, changed = write_tone(library / "gone.wav"), write_tone(library / "changed.wav", "high")
    index.run(library)
    gone.unlink()
    write_tone(changed, "middle")
    report = fill(index)
    assert report.filled == 0
    assert dict(report.skipped).keys() == {gone, changed}


def test_a_moved_file_keeps_its_aspect(index: Index, library: Path) -> None:
    path = write_tone(library / "a.wav")
    index.run(library)
    fill(index)
    path.rename(library / "b.wav")
    index.run(library)
    assert fill(index).filled == 0
    assert found(index) == {"b.wav"}


@pytest.mark.parametrize("text", ["", "speaker", "=who?", "Sp eaker=who?", "speaker= "])
def test_what_is_no_aspect(text: str) -> None:
    with pytest.raises(ValueError, match="aspect"):
        Aspect.parse(text)

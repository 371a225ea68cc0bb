"""One process with the model, many that decode."""

from __future__ import annotations

import multiprocessing
from contextlib import closing
from dataclasses import replace
from multiprocessing import AuthenticationError
from typing import TYPE_CHECKING

import numpy as np
import pytest
from index_driver import CHUNKING, jobs_in, write_tone
from troubled_encoders import (
    CannotLoad,
    DiesAtOnce,
    DiesOfWork,
    FailsOddly,
    SaysWhereItIs,
)

from alm2vec_search.errors import ModelError
from alm2vec_search.testing import FakeEncoder
from indexer import workers
from indexer.embedding import Advance, Embedded, Failed
from indexer.shared_model import SharedModel, embed_with_one_model
from indexer.workers import embed_in_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from indexer.embedding import Job, Outcome
    from indexer.workers import EncoderFactory

    Embed = Callable[..., Generator[Outcome | Advance]]


@pytest.fixture(autouse=True)
def _without_the_real_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PRELOADED", ())


def outcomes(
    units: list[list[Job]],
    factory: EncoderFactory,
    n_workers: int = 2,
    embed: Embed = embed_with_one_model,
) -> dict[str, Outcome]:
    given = embed(iter(units), factory, CHUNKING, n_workers)
    found = {o.file.path.name: o for o in given if not isinstance(o, Advance)}
    assert not multiprocessing.active_children()
    return found


def test_vectors_are_those_of_workers_with_models_of_their_own(library: Path) -> None:
    for i in range(5):
        write_tone(library / f"{i}.wav", ("low", "middle", "high")[i % 3], duration_s=1 + i)
    (library / "broken.wav").write_bytes(b"no sound")
    jobs = jobs_in(library)
    units = [jobs[:2], jobs[2:]]

    ours = outcomes(units, FakeEncoder())
    theirs = outcomes(units, FakeEncoder(), embed=embed_in_processes)

    assert sorted(ours) == sorted(theirs)
    assert isinstance(ours.pop("broken.wav"), Failed)
    for name, outcome in ours.items():
        expected = theirs[name]
        assert isinstance(outcome, Embedded)
        assert isinstance(expected, Embedded)
        for one, other in zip(outcome.chunks, expected.chunks, strict=True):
            assert one.span == other.span
            assert np.array_equal(one.embedding, other.embedding)


def test_the_model_is_loaded_once(library: Path) -> None:
    for i in range(6):
        write_tone(library / f"{i}.wav", duration_s=1)

    found = outcomes([[job] for job in jobs_in(library)], SaysWhereItIs(), n_workers=3)

    assert len(found) == 6
    pids = {float(o.chunks[0].embedding[0]) for o in found.values() if isinstance(o, Embedded)}
    assert len(pids) == 1


def test_the_stand_in_says_what_the_encoder_says() -> None:
    encoder = FakeEncoder(name="seven", sampling_rate=8_000, follows_instructions=False)
    with SharedModel(encoder) as shared:
        stand_in = shared.client.build()

        assert (stand_in.name, stand_in.sampling_rate) == ("seven", 8_000)
        assert not stand_in.follows_instructions
        assert (stand_in.fingerprint, stand_in.embedding_dim) == ("fake-float32", 32)
        assert np.array_equal(
            stand_in.encode_query(text=["low"]), encoder.encode_query(text=["low"])
        )
        with pytest.raises(ValueError, match="zip"):  # what the encoder raises comes through
            stand_in.encode_query(text=["low"], audio=[None, None])
        assert len(stand_in.encode_query(text=["low", "high"])) == 2  # and it goes on


def test_no_work_loads_no_model() -> None:
    assert outcomes([], DiesAtOnce()) == {}


def test_a_model_that_cannot_be_loaded_says_why(library: Path) -> None:
    write_tone(library / "a.wav")
    with pytest.raises(ModelError, match="the weights are gone") as caught:
        outcomes([jobs_in(library)], CannotLoad())
    assert caught.value.hint == "look behind the sofa"
    assert not multiprocessing.active_children()


def test_a_process_that_dies_of_loading_is_said(library: Path) -> None:
    write_tone(library / "a.wav")
    with pytest.raises(ModelError, match="died while it loaded it"):
        outcomes([jobs_in(library)], DiesAtOnce())
    assert not multiprocessing.active_children()


def test_a_model_that_dies_at_work_blames_no_file(library: Path) -> None:
    write_tone(library / "a.wav")
    write_tone(library / "b.wav")
    with pytest.raises(ModelError, match="the process that holds the model died"):
        outcomes([[job] for job in jobs_in(library)], DiesOfWork())
    assert not multiprocessing.active_children()


def test_errors_that_cannot_travel_are_told(library: Path) -> None:
    write_tone(library / "a.wav")
    with pytest.raises(RuntimeError, match="UnpicklableError: odd"):
        outcomes([jobs_in(library)], FailsOddly())
    assert not multiprocessing.active_children()


def test_who_stops_listening_leaves_nothing_running(library: Path) -> None:
    for i in range(8):
        write_tone(library / f"{i}.wav", duration_s=1)
    units = [[job] for job in jobs_in(library)]

    with closing(embed_with_one_model(units, FakeEncoder(), CHUNKING, 2)) as given:
        next(given)

    assert not multiprocessing.active_children()


def test_a_stranger_is_not_let_in() -> None:
    with SharedModel(FakeEncoder()) as shared:
        with pytest.raises((AuthenticationError, ModelError)):
            replace(shared.client, key=b"guess").build()
        assert len(shared.client.build().encode_query(text=["low"])) == 1

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alm2vec_search.domain import Waveform
from alm2vec_search.errors import ModelError
from alm2vec_search.model.batched import budgets, in_room
from alm2vec_search.model.batching import MOST_PADDING, Budget, batches
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import find_model

if TYPE_CHECKING:
    from collections.abc import Callable

BUDGET = Budget(rows=4, tokens=100)


@given(
    st.lists(st.integers(1, 200), max_size=60),
    st.builds(Budget, st.integers(1, 9), st.integers(1, 400), st.integers(0, 100)),
)
def test_batches_keep_their_promises(lengths: list[int], budget: Budget) -> None:
    found = list(batches(lengths, budget))

    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))
    for batch in found:
        longest = max(lengths[place] for place in batch)
        size = len(batch) * longest
        padding = size - sum(lengths[place] for place in batch)
        assert len(batch) <= budget.rows
        assert size <= budget.tokens or len(batch) == 1
        assert padding <= MOST_PADDING * size or size <= budget.free


def test_a_library_of_chunks_is_hardly_padded_on_a_gpu() -> None:
    """Most chunks have 10 s; each file's last one has anything less."""
    random = np.random.default_rng(0)
    n_audio = np.where(random.random(640) < 0.8, 50, random.integers(1, 50, 640))
    lengths = [int(n) + 25 for n in n_audio]  # with the prompt
    padded = real = n_batches = 0

    for start in range(0, 640, 64):  # so many are held at a time
        held = lengths[start : start + 64]
        for batch in batches(held, budgets("cuda", None)[1]):
            padded += len(batch) * max(held[place] for place in batch)
            real += sum(held[place] for place in batch)
            n_batches += 1

    assert (padded - real) / padded < 0.1
    assert n_batches <= 30  # and not a small one for each length


def test_batches_are_the_same_however_inputs_tie() -> None:
    assert list(batches([7, 7, 7, 7, 7], BUDGET)) == [[0, 1, 2, 3], [4]]
    assert list(batches([], BUDGET)) == []


def test_a_batch_size_is_heeded_and_the_rest_suits_the_device() -> None:
    assert [budget.rows for budget in budgets("cuda", 3)] == [3, 3]
    assert budgets("cuda", 3)[1].tokens == budgets("cuda", None)[1].tokens
    assert budgets("cpu", None)[0].rows == 8


# Out of memory.


def small_device(room: int) -> tuple[Callable[[list[int]], None], list[list[int]]]:
    """What runs batches of up to so many, and which it ran."""
    done: list[list[int]] = []

    def run(batch: list[int]) -> None:
        if len(batch) > room:
            raise torch.OutOfMemoryError(f"no room for {len(batch)}\nTried to allocate 1 GB.")
        done.append(batch)

    return run, done


def test_a_batch_without_room_is_halved(caplog: pytest.LogCaptureFixture) -> None:
    run, done = small_device(room=3)

    budget = in_room(list(range(10)), run, Budget(rows=64, tokens=1_000))

    assert done == [[0, 1], [2, 3, 4], [5, 6], [7, 8, 9]]
    assert budget.rows <= 3
    assert "out of memory: from now on 5 inputs at a time" in caplog.text


def test_a_batch_with_room_leaves_the_budget_as_it_is() -> None:
    run, done = small_device(room=10)

    assert in_room([1, 2, 3], run, BUDGET) is BUDGET
    assert done == [[1, 2, 3]]


def test_no_room_for_one_is_an_error_of_one_line() -> None:
    run, _ = small_device(room=0)

    with pytest.raises(ModelError, match="no room for one input: no room for 1 Tried") as caught:
        in_room([5, 6], run, BUDGET)
    assert "--dtype bfloat16" in str(caught.value.hint)


def test_other_errors_pass() -> None:
    def run(_: list[int]) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        in_room([1, 2], run, BUDGET)


def test_an_encoder_goes_on_after_running_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both halves of it, and the vectors are what they would have been."""
    encoder = ALM2VecEncoder(find_model("small"), dtype="float32")
    samples = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    inputs = {
        "text": ["rain", None, "a dog", None, None],
        "audio": [None, *[Waveform(samples[n:], 16_000) for n in (0, 5_000, 1_000, 9_000)]],
    }
    expected = encoder.encode_document(**inputs)
    model = encoder._model
    embed_audio, embed_sequences = model.embed_audio, model.embed_sequences
    failures: list[str] = []

    def hear(waveforms: torch.Tensor, lengths: torch.Tensor) -> object:
        if len(waveforms) > 1:
            failures.append("audio")
            raise torch.OutOfMemoryError("full")
        return embed_audio(waveforms, lengths)

    def read(input_ids: torch.Tensor, **rest: object) -> torch.Tensor:
        if len(input_ids) > 2:
            failures.append("text")
            raise torch.OutOfMemoryError("full")
        return embed_sequences(input_ids, **rest)

    monkeypatch.setattr(model, "embed_audio", hear)
    monkeypatch.setattr(model, "embed_sequences", read)

    assert np.abs(encoder.encode_document(**inputs) - expected).max() < 1e-5
    assert set(failures) == {"audio", "text"}
    n_failures = len(failures)
    encoder.encode_document(**inputs)
    assert len(failures) == n_failures  # it knows by now

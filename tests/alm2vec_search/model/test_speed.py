from __future__ import annotations

from itertools import count, pairwise
from typing import TYPE_CHECKING

import pytest
import torch
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

from alm2vec_search.errors import ModelError
from alm2vec_search.model.architectures import find_architecture, processor_of, random_model
from alm2vec_search.model.batched import BatchedModel
from alm2vec_search.model.processing_alm2vec import ModelInput
from alm2vec_search.model.speed import (
    RUNS,
    Speed,
    count_flops,
    made_up_clips,
    measure,
    padding_of,
    peak_rate,
    spread,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def toy() -> ALM2VecModel:
    torch.manual_seed(0)
    return random_model(find_architecture("toy"), torch.float32, "cpu")


def at(peak: float) -> Callable[[torch.device, torch.dtype], float]:
    """A device of that peak."""
    return lambda _device, _dtype: peak


def ticking(step_s: float = 1.0) -> Callable[[], float]:
    """A clock that is so much later whenever it is looked at."""
    ticks = count()
    return lambda: next(ticks) * step_s


# Counting.


def test_a_product_is_counted() -> None:
    assert count_flops(lambda: torch.ones(3, 5) @ torch.ones(5, 7)) == 2 * 3 * 5 * 7


def test_attention_is_counted_on_a_cpu_and_with_shared_keys() -> None:
    query, key, value = torch.ones(2, 4, 9, 8), torch.ones(2, 2, 9, 8), torch.ones(2, 2, 9, 8)

    with torch.inference_mode():
        counted = count_flops(
            lambda: F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
        )

    assert counted == 2 * (2 * 2 * 4 * 9 * 9 * 8)


def test_a_model_is_counted(toy: ALM2VecModel) -> None:
    """Three clips of 10 s: 250 patches, 50 tokens, and 21 of the prompt each."""
    processor = processor_of(toy)
    clips = made_up_clips(3, 10, 10, 16_000)
    instruction = toy.config.document_instruction
    length = len(processor.write(ModelInput(None, None, instruction), 50))

    found = measure(toy, processor, clips, rate=at(1e9), clock=ticking())

    wide, high, patches = 32, 48, 250
    mel = 2 * 1_001 * 257 * 64
    block = 2 * patches * 12 * wide * wide + 4 * patches * patches * wide
    projector = 2 * 50 * (5 * wide * high + high * high)
    encoder = mel + 2 * patches * 64 * 4 * wide + 2 * block + projector
    weights = 2 * high * high + 2 * high * (high // 2) + 3 * high * 96  # q, o; k, v; the MLP
    layer = 2 * length * weights + 4 * length * length * high
    positions = 2 * length * 6  # the angles are a product, too
    assert found.audio_encoder.flops == 3 * encoder
    assert found.language_model.flops == pytest.approx(3 * 2 * layer, abs=3 * positions)
    assert found.whole.flops == found.audio_encoder.flops + found.language_model.flops


# Timing.


def test_the_peak_is_the_best_rate_of_a_product() -> None:
    assert peak_rate(CPU, torch.float32, [10, 20], ticking()) == 2 * 20**3
    assert peak_rate(CPU, torch.float32, [64]) > 1e6


def test_speeds_by_a_clock_that_takes_a_second_for_everything(toy: ALM2VecModel) -> None:
    clips = made_up_clips(4, 2, 2, 16_000)

    found = measure(toy, processor_of(toy), clips, rate=at(1e6), clock=ticking())

    assert (found.audio_encoder.seconds, found.language_model.seconds) == (1, 1)
    assert found.whole.seconds == 2
    assert found.audio_encoder.clips_per_s == 4
    assert found.audio_encoder.times_real_time == 8
    assert found.audio_encoder.share == pytest.approx(found.audio_encoder.flops / 1e6)
    assert found.naive is None
    assert found.gain is None


def test_the_best_peak_counts(toy: ALM2VecModel) -> None:
    """One that was measured in a busy moment would make the share too large."""
    rates = iter([1e3, 1e6, 1e5])

    found = measure(
        toy, processor_of(toy), made_up_clips(1, 1, 1, 16_000), rate=lambda *_: next(rates)
    )

    assert found.peaks == {torch.float32: 1e6}
    assert found.whole.seconds_at_peak == pytest.approx(found.whole.flops / 1e6)


def test_the_median_run_counts(toy: ALM2VecModel) -> None:
    slow_once = iter([0, 1, 2, 10, 50, 52, 100, 101, 103])
    assert RUNS == 3

    found = measure(
        toy,
        processor_of(toy),
        made_up_clips(1, 1, 1, 16_000),
        rate=at(1e6),
        clock=lambda: next(slow_once),
    )

    assert (found.audio_encoder.seconds, found.language_model.seconds) == (1, 2)
    assert found.whole.seconds == 3


def test_one_at_a_time_is_measured_over_fewer(toy: ALM2VecModel) -> None:
    clips = made_up_clips(6, 1, 2, 16_000)

    found = measure(toy, processor_of(toy), clips, rate=at(1e6), n_naive=3, clock=ticking())

    assert found.naive is not None
    assert (found.whole.clips, found.naive.clips) == (6, 3)
    assert found.naive.audio_s == pytest.approx(1 + 1.4 + 2)
    assert found.gain == pytest.approx(found.whole.clips_per_s / found.naive.clips_per_s)


def test_a_part_is_held_against_the_peak_of_its_own_type() -> None:
    """As in the small model, where only the audio encoder computes in bfloat16."""
    config = find_architecture("toy")
    config.reduced = "audio_encoder"
    model = random_model(config, torch.bfloat16, "cpu")
    clips = made_up_clips(1, 1, 1, 16_000)
    peaks = {torch.bfloat16: 1e6, torch.float32: 1e3}

    found = measure(
        model, processor_of(model), clips, rate=lambda _, dtype: peaks[dtype], clock=ticking()
    )

    assert found.peaks == peaks

    assert found.audio_encoder.seconds_at_peak == pytest.approx(found.audio_encoder.flops / 1e6)
    assert found.language_model.seconds_at_peak == pytest.approx(found.language_model.flops / 1e3)
    assert found.whole.seconds_at_peak == pytest.approx(
        found.audio_encoder.seconds_at_peak + found.language_model.seconds_at_peak
    )


def test_a_real_measurement_is_within_reason(
    toy: ALM2VecModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alm2vec_search.model.speed.CPU_PRODUCTS", (256, 512))

    found = measure(toy, processor_of(toy), made_up_clips(8, 2, 2, 16_000), n_naive=4)

    assert set(found.peaks) == {torch.float32}
    assert found.naive is not None
    for speed in (found.audio_encoder, found.language_model, found.whole, found.naive):
        assert 0 < speed.share < 1.5
        assert speed.times_real_time == pytest.approx(2 * speed.clips_per_s)
    assert found.memory is not None
    assert found.memory > 50e6


def test_no_room_is_an_error_with_a_way_out(
    toy: ALM2VecModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("Tried to allocate 1 GB.")

    monkeypatch.setattr(torch, "mm", full)

    with pytest.raises(ModelError, match="ran out of memory: Tried to allocate") as caught:
        measure(toy, processor_of(toy), made_up_clips(1, 1, 1, 16_000))
    assert "fewer --clips" in str(caught.value.hint)
    assert "bfloat16" in str(caught.value.hint)


# What is measured with.


def test_padding_is_what_batches_hold_beyond_the_clips(toy: ALM2VecModel) -> None:
    processor = processor_of(toy)
    batched = BatchedModel(toy, processor, batch_size=2)
    inputs = [ModelInput(None, clip, "") for clip in made_up_clips(2, 9.5, 10, 16_000)]
    prompt = len(processor.write(inputs[0], 1)) - 1

    found = padding_of(batched, inputs)

    assert found.samples == pytest.approx(0.5 / 20)
    assert found.tokens == pytest.approx((50 - 47) / (2 * (prompt + 50)))
    assert padding_of(batched, inputs[:1]).tokens == 0


def test_clips_are_of_the_lengths_that_were_asked_for() -> None:
    clips = made_up_clips(5, 1, 3, 16_000)

    assert [clip.duration_s for clip in clips] == [1, 1.5, 2, 2.5, 3]
    assert all((left.samples[0] != right.samples[0]) for left, right in pairwise(clips))
    assert [len(clip.samples) for clip in made_up_clips(1, 1e-9, 1e-9, 16_000)] == [1]


def test_inputs_are_picked_from_all_over() -> None:
    inputs = [ModelInput(str(n), None, "") for n in range(9)]

    assert [item.text for item in spread(inputs, 3)] == ["0", "4", "8"]
    assert spread(inputs, 99) == inputs


def test_speed_is_relative_to_what_was_measured() -> None:
    speed = Speed(clips=20, audio_s=200, seconds=4, flops=8_000, seconds_at_peak=1)

    assert (speed.clips_per_s, speed.times_real_time) == (5, 50)
    assert (speed.flops_per_s, speed.share) == (2_000, 0.25)

"""How fast a model runs, and how much of what its device could do that is.

The device's peak is measured, too: the best rate of a plain matrix product in the numeric type that
a part computes in. A part's share is the time that its products would take at that rate, of the
time it took; the rest went to what isn't a product, to moving things, and to waiting. All that is
measured takes turns, so that a busy moment hits all of it.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from alm2vec_search.domain import Waveform
from alm2vec_search.errors import ModelError, one_line
from alm2vec_search.model.batched import BatchedModel
from alm2vec_search.model.batching import batches
from alm2vec_search.model.processing_alm2vec import ModelInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from alm2vec_search.model.batching import Budget
    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel, HeardAudio
    from alm2vec_search.model.processing_alm2vec import ALM2VecProcessor

RUNS = 3
PRODUCT_RUNS = 5
CPU_PRODUCTS = (512, 1_024, 2_048)  # rows and columns of the matrices
GPU_PRODUCTS = (4_096, 8_192, 16_384)

aten = torch.ops.aten
ATTENTION = (
    aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_cudnn_attention,
    aten._scaled_dot_product_flash_attention_for_cpu,  # which torch doesn't count
)

Peaks = dict[torch.dtype, float]  # operations a second
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Speed:
    """How long one part, or all, took over some clips."""

    clips: int
    audio_s: float  # of sound, in all of them
    seconds: float  # the median of the runs
    flops: int  # floating-point operations of products, padding included
    seconds_at_peak: float  # that these would take, were there nothing else to do

    @property
    def clips_per_s(self) -> float:
        return self.clips / self.seconds

    @property
    def times_real_time(self) -> float:
        return self.audio_s / self.seconds

    @property
    def flops_per_s(self) -> float:
        return self.flops / self.seconds

    @property
    def share(self) -> float:
        """Of the device's peak: 1 is all of it."""
        return self.seconds_at_peak / self.seconds


@dataclass(frozen=True, slots=True)
class Padding:
    """How much of what the batches hold is padding: 0 is none of it."""

    samples: float  # of the audio encoder's
    tokens: float  # of the language model's


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured of a model over some clips."""

    audio_encoder: Speed  # with the projector
    language_model: Speed
    whole: Speed
    naive: Speed | None  # the whole, one input at a time
    peaks: Peaks  # that the shares are of
    padding: Padding
    memory: int | None  # bytes, at the most: of the GPU's, or of this process

    @property
    def gain(self) -> float | None:
        """Clips a second in batches, by clips a second one at a time."""
        return None if self.naive is None else self.whole.clips_per_s / self.naive.clips_per_s


@contextmanager
def enough_room() -> Iterator[None]:
    """
    Raises:
        ModelError: the device has no room for what is done within.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"the device ran out of memory: {one_line(error)}",
            hint="use fewer --clips, or --dtype bfloat16",
        ) from error


@enough_room()
def measure(
    model: ALM2VecModel,
    processor: ALM2VecProcessor,
    clips: Sequence[Waveform],
    *,
    batch_size: int | None = None,
    n_naive: int = 0,
    rate: Callable[[torch.device, torch.dtype], float] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Measurement:
    """Embed clips as documents, batched as `BatchedModel` does it: first to warm up, then to count,
    then for time.

    Args:
        batch_size: clips at a time, at most; None is what suits the device.
        n_naive: how many of the clips to embed one at a time, too.
        rate: finds a device's peak in a numeric type; `peak_rate` by default.

    Raises:
        ModelError: the device has no room for one of them.
    """
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    inputs = [ModelInput(None, clip, model.config.document_instruction) for clip in clips]
    batched = BatchedModel(model, processor, batch_size)
    stopwatches = [Stopwatch(batched, [inputs], clock)]
    if n_naive:
        alone = [[item] for item in spread(inputs, n_naive)]
        stopwatches.append(Stopwatch(BatchedModel(model, processor, batch_size=1), alone, clock))
    for stopwatch in stopwatches:
        stopwatch.prepare()
    memory = most_memory(model.device)  # without the matrices of the peak
    peaks = dict.fromkeys(dtypes(model), 0.0)
    for _ in range(RUNS):
        for dtype, best in peaks.items():
            peaks[dtype] = max(best, (rate or peak_rate)(model.device, dtype))
        for stopwatch in stopwatches:
            stopwatch.run()
    together, *naive = (stopwatch.speeds(peaks) for stopwatch in stopwatches)
    return Measurement(
        *together,
        naive=naive[0][-1] if naive else None,
        peaks=peaks,
        padding=padding_of(batched, inputs),
        memory=memory,
    )


class Stopwatch:
    """Times the halves of a model, and counts what they compute.

    Args:
        batched: the model.
        groups: inputs, of which those of a group are handed over together.
        clock: in seconds.
    """

    def __init__(
        self,
        batched: BatchedModel,
        groups: Sequence[Sequence[ModelInput]],
        clock: Callable[[], float],
    ) -> None:
        self.batched = batched
        self.groups = groups
        self.clock = clock
        self.flops = (0, 0)  # of the audio encoder with the projector, and of the language model
        self.took: list[tuple[float, float]] = []  # seconds of each, in every run

    def prepare(self) -> None:
        """Let sizes of batches settle and kernels be chosen, and count operations."""
        for group in self.groups:
            self.batched.project(group)
        self.flops = _sums(map(self._count, self.groups))

    def run(self) -> None:
        """Once over all inputs."""
        self.took.append(_sums(map(self._time, self.groups)))

    def speeds(self, peaks: Peaks) -> tuple[Speed, Speed, Speed]:
        """Of the audio encoder with the projector, of the language model, and of both one after the
        other."""
        sounds = [sound for group in self.groups for sound in sounds_of(group)]
        audio_s = sum(sound.duration_s for sound in sounds)
        at_peak = [
            n / peaks[dtype]
            for n, dtype in zip(self.flops, dtypes(self.batched.model), strict=True)
        ]

        def speed(*halves: int) -> Speed:
            return Speed(
                clips=len(sounds),
                audio_s=audio_s,
                seconds=median(sum(took[half] for half in halves) for took in self.took),
                flops=sum(self.flops[half] for half in halves),
                seconds_at_peak=sum(at_peak[half] for half in halves),
            )

        return speed(0), speed(1), speed(0, 1)

    def _count(self, inputs: Sequence[ModelInput]) -> tuple[int, int]:
        """Operations of either half."""
        heard: dict[int, HeardAudio] = {}
        sounds = [item.audio for item in inputs]
        return (
            count_flops(lambda: heard.update(self.batched.hear(sounds))),
            count_flops(lambda: self.batched.read(inputs, heard)),
        )

    def _time(self, inputs: Sequence[ModelInput]) -> tuple[float, float]:
        """Seconds of either half."""
        self._wait()
        started = self.clock()
        heard = self.batched.hear([item.audio for item in inputs])
        self._wait()
        half_way = self.clock()
        self.batched.read(inputs, heard)
        self._wait()
        return half_way - started, self.clock() - half_way

    def _wait(self) -> None:
        """For what the device was told to do."""
        device = self.batched.model.device
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def _sums(pairs: Iterable[tuple[Number, Number]]) -> tuple[Number, Number]:
    """
    >>> _sums([(1, 10), (2, 20)])
    (3, 30)
    """
    left, right = zip(*pairs, strict=True)
    return sum(left), sum(right)


def dtypes(model: ALM2VecModel) -> tuple[torch.dtype, torch.dtype]:
    """What the audio encoder computes in, and the language model."""
    audio_encoder = next(model.audio_encoder.blocks.parameters()).dtype
    return audio_encoder, next(model.language_model.parameters()).dtype


def peak_rate(
    device: torch.device,
    dtype: torch.dtype,
    sizes: Sequence[int] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """The best rate of a product of two square matrices, in operations a second."""
    is_gpu = device.type == "cuda"
    best = 0.0
    for size in sizes or (GPU_PRODUCTS if is_gpu else CPU_PRODUCTS):
        left = torch.randn(size, size, device=device, dtype=dtype)
        right = torch.randn(size, size, device=device, dtype=dtype)
        torch.mm(left, right)
        for _ in range(PRODUCT_RUNS):
            if is_gpu:
                torch.cuda.synchronize(device)
            started = clock()
            torch.mm(left, right)
            if is_gpu:
                torch.cuda.synchronize(device)
            best = max(best, 2 * size**3 / (clock() - started))
    return best


def count_flops(run: Callable[[], object]) -> int:
    """Floating-point operations of the products, convolutions and attention in a run."""
    formulas = dict.fromkeys(ATTENTION, attention_flops)
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        run()
    return int(counter.get_total_flops())


def attention_flops(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_rest: Any, **_more: Any
) -> int:
    """Of shapes [B, heads, N, head dim], where several heads may share a key: every query against
    every key, as if none were masked.

    >>> attention_flops([1, 4, 10, 8], [1, 2, 20, 8], [1, 2, 20, 8])
    25600
    """
    n_rows, n_heads, n_queries, size = query
    return 2 * n_rows * n_heads * n_queries * key[2] * (size + value[3])


def padding_of(batched: BatchedModel, inputs: Sequence[ModelInput]) -> Padding:
    """Of the batches that these inputs are put in."""
    processor = batched.processor
    samples = [processor.num_samples(sound) for sound in sounds_of(inputs)]
    counts = iter(processor.count_audio_tokens(torch.tensor(samples)).tolist())
    tokens = [
        len(processor.write(item, 0 if item.audio is None else next(counts))) for item in inputs
    ]
    return Padding(
        padded_share(samples, batched.audio_budget), padded_share(tokens, batched.text_budget)
    )


def sounds_of(inputs: Sequence[ModelInput]) -> list[Waveform]:
    return [item.audio for item in inputs if isinstance(item.audio, Waveform)]


def padded_share(lengths: Sequence[int], budget: Budget) -> float:
    """
    >>> from alm2vec_search.model.batching import Budget
    >>> padded_share([100, 50], Budget(rows=2, tokens=1000, free=1000))
    0.25
    """
    size = sum(
        len(batch) * max(lengths[place] for place in batch) for batch in batches(lengths, budget)
    )
    return 1 - sum(lengths) / size if size else 0.0


def most_memory(device: torch.device) -> int | None:
    """The most bytes that were in use: of a GPU's memory by torch, since it was last asked to begin
    anew; else by this process, since it began. None where the system doesn't say."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1_024


def made_up_clips(
    n: int, shortest_s: float, longest_s: float, sampling_rate: int
) -> list[Waveform]:
    """Noise, of lengths evenly spread between two."""
    longest = round(longest_s * sampling_rate)
    noise = 0.1 * np.random.default_rng(0).standard_normal(longest + n, dtype=np.float32)
    lengths = np.linspace(shortest_s, longest_s, n) * sampling_rate
    return [  # all in the same memory, each a little further on
        Waveform(noise[place : place + max(1, round(length))], sampling_rate)
        for place, length in enumerate(lengths)
    ]


def spread(inputs: Sequence[ModelInput], n: int) -> list[ModelInput]:
    """So many of them, at even distances."""
    places = np.linspace(0, len(inputs) - 1, min(n, len(inputs)))
    return [inputs[round(place)] for place in places]

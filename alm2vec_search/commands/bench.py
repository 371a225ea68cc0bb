"""`alm2vec bench`: how fast a model of some size would run here."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
    from alm2vec_search.model.speed import Measurement, Speed

Lengths = tuple[float, float]  # seconds of the shortest clip, and of the longest
CPU_CLIPS, GPU_CLIPS = 16, 512
NAIVE_CLIPS = 8


def bench(
    architecture: Annotated[
        str, typer.Argument(metavar="ARCHITECTURE", help="7b, 0.6b, base, small or toy.")
    ],
    seconds: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LENGTH",
            help="Of a clip: 10, or 1-10 for anything between. May be given several times. "
            "[default: 10]",
            show_default=False,
        ),
    ] = None,
    clips: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"How many. [default: {GPU_CLIPS} on a GPU, {CPU_CLIPS} on a CPU]",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="As torch names it. [default: the GPU, if there is one]",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="float32 or bfloat16. [default: what is quickest on the device]",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Of a CPU. [default: one a core]", show_default=False),
    ] = None,
    naive: Annotated[
        bool, typer.Option("--naive", help="One clip at a time, too, for comparison.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object for each length.")
    ] = False,
) -> None:
    """Measure how fast a model of some size embeds sounds here, with random weights.

    Says clips a second, × real time, and which share of the device's peak that is: of the best rate
    of a plain matrix product in the same numeric type.

    alm2vec bench 7b --seconds 10 --seconds 30 --naive
    """
    import torch

    from alm2vec_search.model.architectures import find_architecture, processor_of, random_model
    from alm2vec_search.model.hardware import preferred_device, preferred_dtype, require_device
    from alm2vec_search.model.speed import made_up_clips, measure
    from alm2vec_search.settings import load_settings
    from alm2vec_search.terminal import say

    settings = load_settings(device=device, dtype=dtype)
    config = find_architecture(architecture)
    lengths = [parse_lengths(given, config.max_audio_s) for given in seconds or ["10"]]
    device = preferred_device() if settings.device == "auto" else settings.device
    require_device(device)
    dtype = preferred_dtype(device) if settings.dtype == "auto" else settings.dtype
    if threads is not None:
        torch.set_num_threads(threads)
    model = random_model(config, getattr(torch, dtype), device)
    facts = {"architecture": architecture, **describe(model, device, dtype)}
    say(heading(facts))
    n_clips = clips or (CPU_CLIPS if device == "cpu" else GPU_CLIPS)
    measured: list[tuple[Lengths, Measurement]] = []
    for shortest_s, longest_s in lengths:
        say(f"measuring {n_clips} clips of {written((shortest_s, longest_s))} s")
        found = measure(
            model,
            processor_of(model),
            made_up_clips(n_clips, shortest_s, longest_s, model.audio_encoder.sampling_rate),
            batch_size=settings.batch_size,
            n_naive=NAIVE_CLIPS if naive else 0,
        )
        measured.append(((shortest_s, longest_s), found))
        say(remarks(found))
    _write(facts, measured, as_json=as_json)


def parse_lengths(given: str, most_s: float | None) -> Lengths:
    """
    Args:
        most_s: what the model hears of a sound.

    Raises:
        ConfigError: it is no length, or more than the model hears.

    >>> parse_lengths("10", None), parse_lengths("1-7.5", 30.0)
    ((10.0, 10.0), (1.0, 7.5))
    """
    from alm2vec_search.errors import ConfigError

    shortest, hyphen, longest = given.partition("-")
    try:
        lengths = float(shortest), float(longest if hyphen else shortest)
    except ValueError:
        lengths = 0.0, 0.0
    if not 0 < lengths[0] <= lengths[1] < float("inf"):
        raise ConfigError(
            f"--seconds {given}: not a length", hint="give 10, or 1-10 for anything between"
        )
    if most_s is not None and lengths[1] > most_s:
        raise ConfigError(f"--seconds {given}: the model hears {most_s:g} s of a sound")
    return lengths


def written(lengths: Lengths) -> str:
    """
    >>> written((10.0, 10.0)), written((1.0, 7.5))
    ('10', '1-7.5')
    """
    return "-".join(dict.fromkeys(f"{length:g}" for length in lengths))


def describe(model: ALM2VecModel, device: str, dtype: str) -> dict[str, Any]:
    """What runs where, as JSON has it."""
    import torch

    from alm2vec_search.model.architectures import count_parameters
    from alm2vec_search.model.hardware import device_name

    return {
        "device": device,
        "device_name": device_name(device),
        "dtype": dtype,
        "threads": torch.get_num_threads() if device == "cpu" else None,
        "parameters": count_parameters(model),
    }


def heading(facts: dict[str, Any]) -> str:
    """What is going to be measured, in lines for people."""
    from alm2vec_search.terminal import counted

    threads = f", {counted(facts['threads'], 'thread')}" if facts["threads"] else ""
    parts = ", ".join(
        f"{name.replace('_', ' ')} {n:,}" for name, n in facts["parameters"].items() if n
    )
    return (
        f"{facts['architecture']} with random weights, on {facts['device']} "
        f"({facts['device_name']}{threads}), in {facts['dtype']}\nparameters: {parts}"
    )


def remarks(found: Measurement) -> str:
    """What isn't in the table, in a line for people."""
    from alm2vec_search.terminal import size

    said = [
        f"peak: {rate / 1e12:.3g} TFLOP/s of a plain product in {kind}"
        for kind, rate in peaks(found).items()
    ]
    padding = found.padding
    said.append(f"padding: {padding.samples:.1%} of samples, {padding.tokens:.1%} of tokens")
    if found.memory is not None:
        said.append(f"{size(found.memory)} of memory at the most")
    if found.gain is not None:
        said.append(f"{found.gain:.2g} times as fast as one at a time")
    return "; ".join(said)


def peaks(found: Measurement) -> dict[str, float]:
    """Operations a second, by the numeric type's name."""
    return {str(kind).removeprefix("torch."): rate for kind, rate in found.peaks.items()}


def speeds(found: Measurement) -> Iterator[tuple[str, Speed]]:
    """The rows of the table."""
    yield "audio encoder", found.audio_encoder
    yield "language model", found.language_model
    yield "whole", found.whole
    if found.naive is not None:
        yield "one at a time", found.naive


def _write(
    facts: dict[str, Any], measured: list[tuple[Lengths, Measurement]], *, as_json: bool
) -> None:
    from alm2vec_search.terminal import data_for_a_pipe

    with data_for_a_pipe():
        if as_json:
            for lengths, found in measured:
                print(json.dumps(record(facts, lengths, found)))
        elif sys.stdout.isatty():
            _write_table(measured)
        else:
            _write_lines(measured)


def _write_table(measured: list[tuple[Lengths, Measurement]]) -> None:
    from rich.table import Table

    from alm2vec_search.terminal import data

    table = Table(box=None, pad_edge=False)
    table.add_column("clips", justify="right")
    table.add_column("")
    for name in ("clips/s", "× real time", "TFLOP/s", "of the peak"):
        table.add_column(name, justify="right")
    for lengths, found in measured:
        for part, speed in speeds(found):
            table.add_row(
                f"{written(lengths)} s",
                part,
                f"{speed.clips_per_s:,.3g}",
                f"{speed.times_real_time:,.0f}",
                f"{speed.flops_per_s / 1e12:.3g}",
                f"{speed.share:.0%}",
            )
    data().print(table)


def _write_lines(measured: list[tuple[Lengths, Measurement]]) -> None:
    """Seconds of a clip, part, clips a second, × real time, operations a second, share of the
    peak."""
    for lengths, found in measured:
        for part, speed in speeds(found):
            print(
                f"{written(lengths)}\t{part}\t{speed.clips_per_s:.2f}\t{speed.times_real_time:.1f}"
                f"\t{speed.flops_per_s:.4g}\t{speed.share:.3f}"
            )


def record(facts: dict[str, Any], lengths: Lengths, found: Measurement) -> dict[str, Any]:
    """All of it, as JSON has it."""
    return facts | {
        "shortest_s": lengths[0],
        "longest_s": lengths[1],
        **{part.replace(" ", "_"): as_record(speed) for part, speed in speeds(found)},
        "gain": found.gain,
        "peak_flops_per_s": peaks(found),
        "padding": {"samples": found.padding.samples, "tokens": found.padding.tokens},
        "memory_bytes": found.memory,
    }


def as_record(speed: Speed) -> dict[str, float]:
    return {
        "clips": speed.clips,
        "seconds": speed.seconds,
        "clips_per_s": speed.clips_per_s,
        "times_real_time": speed.times_real_time,
        "flops": speed.flops,
        "flops_per_s": speed.flops_per_s,
        "share": speed.share,
    }

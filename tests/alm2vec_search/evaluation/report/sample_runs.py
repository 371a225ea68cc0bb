"""Runs as measurements write them, made up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from alm2vec_search.evaluation.runs import (
    FORMAT,
    Confusion,
    Content,
    Figure,
    Run,
    SoundRef,
    System,
    TaskResult,
    Worst,
    write_run,
)

if TYPE_CHECKING:
    from pathlib import Path

MADE = datetime(2026, 5, 4, 13, 30, tzinfo=UTC)


def recalls(first: float, n: int, **more: Any) -> tuple[Figure, ...]:
    """R@1, R@5 and R@10, each with an interval of ±2 %, and means of places."""
    at = {1: first, 5: min(1.0, first + 0.3), 10: min(1.0, first + 0.4)}
    shares = [
        Figure(metric=f"r@{k}", value=v, low=max(0, v - 0.02), high=min(1, v + 0.02), n=n, **more)
        for k, v in at.items()
    ]
    means = [Figure(metric=m, value=first + 0.1, n=n, **more) for m in ("mrr", "ndcg@10")]
    return (*shares, *means)


def retrieval(name: str, *, first: float = 0.4, n: int = 50, pool: int = 10) -> TaskResult:
    """Places go round: 0, 1, ..., 11, of which the last two were not found."""
    places = tuple(i % 12 if i % 12 < pool else None for i in range(n))
    return TaskResult(name=name, queries=n, pool=pool, figures=recalls(first, n), places=places)


def run(
    key: str = "audiocaps",
    set_name: str = "AudioCaps",
    *tasks: TaskResult,
    model: str = "small",
    **more: Any,
) -> Run:
    """With both ways of a captioned set where no tasks are given."""
    both = (
        retrieval("text to audio"),
        retrieval("audio to text", first=0.5, n=10, pool=50),
    )
    system = {"kind": "vectors", "name": model, **more.pop("system", {})}
    return Run(
        format=FORMAT,
        key=key,
        set_name=set_name,
        system=System(**system),
        tasks=tasks or both,
        made=MADE,
        version="0.1.0",
        **({"pool": "10 clips, 50 captions"} | more),
    )


def choices() -> TaskResult:
    """Of MMAU: a total and three domains."""
    domains = {None: (0.63, 1000), "music": (0.617, 334), "sound": (0.748, 333)}
    return TaskResult(
        name="multiple choice",
        queries=1000,
        figures=tuple(
            Figure(
                metric="accuracy", value=value, low=value - 0.03, high=value + 0.03, n=n, domain=d
            )
            for d, (value, n) in domains.items()
        ),
    )


def labels(sound: SoundRef | None = None) -> TaskResult:
    """A labelled folder: what is taken for what, and a query that goes wrong."""
    there = sound or SoundRef(path="sounds/rain.wav")
    return TaskResult(
        name="text to audio",
        queries=40,
        pool=40,
        figures=(*recalls(0.6, 40), Figure(metric="map@10", value=0.55, n=4, of="labels")),
        places=tuple(range(40)),
        worst=(
            Worst(
                query=Content(text="rain on a roof"),
                wanted=(Content(sound=there),),
                found=(
                    Content(sound=SoundRef(path="sounds/gone.wav", start_s=1.5, end_s=3)),
                    Content(text="frying | <b>fat</b>"),
                ),
                place=36,
            ),
            Worst(query=Content(sound=there, instruction="What is it?"), wanted=(), found=()),
        ),
        confusions=(
            Confusion(wanted="rain", found="sea waves", count=3, of=10),
            Confusion(wanted="sea waves", found="rain", count=5, of=10),
            Confusion(wanted="fire", found="rain", count=1, of=10),
        ),
    )


def written(found: Run, path: Path) -> Path:
    write_run(found, path)
    return path

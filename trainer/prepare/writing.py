"""Pairs → their file, and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alm2vec_search.audio import reason_of
from alm2vec_search.errors import TrainingError
from alm2vec_search.terminal import counted
from trainer.pairs import write_pairs
from trainer.prepare.data_set import is_same
from trainer.prepare.report import PrepareReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from trainer.pairs import Pair
    from trainer.prepare.data_set import DataSet
    from trainer.prepare.report import Findings


def write_prepared(
    pairs: Iterable[Pair], out: Path, *, data: DataSet, read: Sequence[Path], findings: Findings
) -> PrepareReport:
    """Write the pairs of a data set, whole or not at all.

    Args:
        pairs: are made, and noted in `findings`, as they are written.
        read: the files they come from.

    Raises:
        TrainingError: there are none, `out` is one of the files they come from, or it can't be
            written.
    """
    if any(is_same(path, out) for path in read):
        raise TrainingError(
            f"{out} is what the pairs are made from", hint="name another file by --output"
        )
    if out.is_dir():
        raise TrainingError(f"{out} is a folder", hint=f"name a file: {out / 'pairs.jsonl'}")
    clips: set[tuple[str | None, str | None]] = set()

    def noted() -> Iterator[Pair]:
        for pair in pairs:
            clips.add((pair.source, pair.clip))
            yield pair
        if not clips:
            raise _nothing(data, findings)

    try:
        written = write_pairs(noted(), out)
    except OSError as error:
        raise TrainingError(f"{out} can't be written: {reason_of(error)}") from error
    return PrepareReport(
        out=out,
        written=written,
        clips=len(clips),
        missing=tuple(findings.missing),
        set_aside=(*data.problems, *findings.set_aside),
    )


def _nothing(data: DataSet, findings: Findings) -> TrainingError:
    reasons = []
    hint = None
    if findings.missing:
        first = next(iter(findings.missing))
        reasons.append(f"no audio file of {counted(len(findings.missing), 'clip')}")
        hint = f"--audio names the folder of the audio; the first clip is {first}"
    if findings.set_aside:
        where, reason = findings.set_aside[0]
        reasons.append(f"{len(findings.set_aside):,} set aside, the first: {where}: {reason}")
    why = "; ".join(reasons) or "it lists nothing"
    return TrainingError(
        f"no pair can be made of {data.source}, with the audio in {data.audio.root}: {why}",
        hint=hint,
    )

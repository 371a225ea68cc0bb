"""What a preparation found, and what is missing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from alm2vec_search.terminal import counted, printable, shown

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SHOWN = 10  # of what is missing or set aside; the record has all


class SetAside(NamedTuple):
    """Something that was there, and no pair was made of."""

    where: str  # a row (`file:line`), or a path
    reason: str


@dataclass(frozen=True)
class PrepareReport:
    """What became of a data set."""

    out: Path
    written: int  # pairs, which are lines
    clips: int  # sounds that they are about
    missing: tuple[str, ...]  # clips without a file, each once
    set_aside: tuple[SetAside, ...]

    @property
    def is_clean(self) -> bool:
        """Whether all of the data set became pairs."""
        return not self.missing and not self.set_aside

    def lines(self) -> list[str]:
        """For people."""
        pairs, clips = counted(self.written, "pair"), counted(self.clips, "clip")
        said = [f"{shown(self.out)}: {pairs} of {clips}"]
        if self.missing:
            said.append(f"no audio file: {counted(len(self.missing), 'clip')}")
            said += _first(self.missing)
        if self.set_aside:
            said.append(f"set aside: {len(self.set_aside):,}")
            said += _first([f"{where}: {reason}" for where, reason in self.set_aside])
        return said

    def record(self) -> dict[str, Any]:
        """For machines: all of it, as JSON has it."""
        return asdict(self) | {
            "out": str(self.out),
            "set_aside": [aside._asdict() for aside in self.set_aside],
        }


@dataclass
class Findings:
    """What is come across on the way, for the report."""

    missing: dict[str, None] = field(default_factory=dict)  # clips, in order, each once
    set_aside: list[SetAside] = field(default_factory=list)

    def put_aside(self, where: str, reason: str) -> None:
        self.set_aside.append(SetAside(where, reason))

    def only(self, found: Sequence[Path], clip: str, where: str) -> Path | None:
        """The one file that a clip can be. None, and a note why, where there is none or more."""
        if len(found) == 1:
            return found[0]
        if found:
            paths = ", ".join(str(path) for path in found[:3])
            self.put_aside(where, f"{clip} could be any of {counted(len(found), 'file')}: {paths}")
        else:
            self.missing[clip] = None
        return None


def _first(items: Sequence[str]) -> list[str]:
    said = [f"  {printable(item)}" for item in items[:SHOWN]]
    if len(items) > SHOWN:
        said.append(f"  and {len(items) - SHOWN:,} more")
    return said

"""AudioSet's ontology: which sounds are kinds of which, and what they are called.

The file is `ontology.json` of AudioSet (Gemmeke et al. 2017; CC BY-SA 4.0).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Ontology:
    """Names by id, and ids of the kinds of each."""

    names: dict[str, str]
    kinds: dict[str, tuple[str, ...]]

    @classmethod
    def read(cls, path: Path) -> Ontology:
        entries = json.loads(path.read_bytes())
        return cls(
            {entry["id"]: entry["name"] for entry in entries},
            {entry["id"]: tuple(entry["child_ids"]) for entry in entries},
        )

    @cached_property
    def parents(self) -> dict[str, list[str]]:
        """Names of what each is a kind of, by name."""
        found: dict[str, list[str]] = {name: [] for name in self.names.values()}
        for parent, children in self.kinds.items():
            for child in children:
                found[self.names[child]].append(self.names[parent])
        return found

    def above(self, name: str) -> Iterator[str]:
        """All that it is a kind of, nearest first."""
        waiting = list(self.parents.get(name, ()))
        seen: set[str] = set()
        while waiting:
            parent = waiting.pop(0)
            if parent not in seen:
                seen.add(parent)
                yield parent
                waiting += self.parents[parent]

    def columns(self, names: Sequence[str], known: dict[str, int]) -> list[int]:
        """The detector's classes for these sounds: their own, or of the nearest they are kinds of;
        none for a sound of neither."""
        found = []
        for name in names:
            way = (known[one] for one in (name, *self.above(name)) if one in known)
            if (column := next(way, None)) is not None:
                found.append(column)
        return list(dict.fromkeys(found))


def called(name: str) -> list[str]:
    """The ways a sound's name can be said, plainest first.

    >>> called("Chicken, rooster")
    ['chicken', 'rooster']
    >>> called("Wind noise (microphone)")
    ['wind noise']
    """
    plain = name.split(" (")[0].lower()
    return [part.strip() for part in plain.split(",") if part.strip()]

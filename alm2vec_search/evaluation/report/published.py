"""What others have printed: the systems of the ALM2Vec paper, their figures, and how to run them.

The figures stand in `published.toml`, each with its source. One that is not known is absent there.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Percent = Annotated[float, Field(ge=0, le=100)]


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Value):
    """Where figures come from."""

    name: str  # short, for a table
    cite: str  # so that it can be found


class Column(_Value):
    """One figure that a set is compared by."""

    head: str  # "T2A R@1"
    task: str
    metric: str
    domain: str | None = None


class PublishedSet(_Value):
    """What is compared on a set, and what to know of the published side."""

    key: str
    columns: tuple[Column, ...]
    note: str


class Result(_Value):
    """Figures of one system on one task, from one source."""

    set: str
    task: str
    domain: str | None = None
    source: str  # a key of `Published.sources`
    percent: dict[str, Percent] = Field(min_length=1)  # by metric, as printed


class PublishedSystem(_Value):
    """A system that others have measured."""

    key: str
    name: str
    kind: Literal["vectors", "answers"]
    sets: tuple[str, ...] = Field(min_length=1)  # where it has a row
    runs: str | None = None  # the options of `alm2vec eval` that measure it here
    runs_not: str | None = None  # or why there are none
    licence: str | None = None  # of its weights, where known
    note: str = ""
    results: tuple[Result, ...] = ()

    @model_validator(mode="after")
    def _is_run_or_not(self) -> Self:
        if (self.runs is None) == (self.runs_not is None):
            raise ValueError(f"{self.key}: either how to run it, or why it can't be")
        return self

    def sources(self, set_key: str) -> tuple[str, ...]:
        """Whose figures of it there are on a set: each makes a row of its own."""
        return tuple(dict.fromkeys(r.source for r in self.results if r.set == set_key))

    def figure(self, set_key: str, column: Column, source: str) -> float | None:
        """In percent; None where it is not known."""
        for result in self.results:
            place = result.set, result.task, result.domain, result.source
            if place == (set_key, column.task, column.domain, source):
                return result.percent.get(column.metric)
        return None


class Published(_Value):
    """All of it."""

    sources: dict[str, Source]
    sets: tuple[PublishedSet, ...]
    systems: tuple[PublishedSystem, ...]

    @model_validator(mode="after")
    def _names_what_there_is(self) -> Self:
        places = {(s.key, c.task, c.domain, c.metric) for s in self.sets for c in s.columns}
        keys = {s.key for s in self.sets}
        for system in self.systems:
            if unknown := {*system.sets, *(r.set for r in system.results)} - keys:
                raise ValueError(f"{system.key}: no set is called {', '.join(sorted(unknown))}")
            if strays := {r.set for r in system.results} - set(system.sets):
                raise ValueError(f"{system.key}: figures without a row: {', '.join(strays)}")
            for result in system.results:
                if result.source not in self.sources:
                    raise ValueError(f"{system.key}: no source is called {result.source}")
                for metric in result.percent:
                    if (result.set, result.task, result.domain, metric) not in places:
                        raise ValueError(f"{system.key}: {result.set} has no column for {metric}")
        return self

    def find_set(self, key: str) -> PublishedSet | None:
        """None of a set that nobody has published figures on."""
        return next((found for found in self.sets if found.key == key), None)

    def systems_on(self, set_key: str) -> tuple[PublishedSystem, ...]:
        return tuple(system for system in self.systems if set_key in system.sets)


@cache
def published() -> Published:
    """What comes with the program."""
    text = files("alm2vec_search.evaluation.report").joinpath("published.toml").read_text("utf-8")
    return parse_published(text)


def parse_published(text: str) -> Published:
    """
    Raises:
        ValueError: it isn't TOML, or not of this shape.
    """
    return Published.model_validate(tomllib.loads(text))

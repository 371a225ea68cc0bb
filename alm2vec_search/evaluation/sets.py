"""What is measured with: queries, what is searched, and what of it is right.

A set is one or more tasks over the same sounds. There are two kinds: *retrieval*, where every query
ranks a whole pool, and *choice*, where each query has a few candidates of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.pairs import Side
    from trainer.prepare.report import SetAside


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """Every query ranks every document.

    Attributes:
        name: which way it goes, such as `text to audio`.
        queries: Q of them. Paths of sounds are absolute.
        documents: the pool, D of them, each content once.
        relevant: for each query, which rows of the pool are right; never none.
        groups: for each query, what was drawn when the set was made (its clip, its recording, its
            speaker): intervals draw these anew, not single queries.
        domains: for each query, the part of the set it is of; none, where there are no parts.
    """

    name: str
    queries: tuple[Side, ...]
    documents: tuple[Side, ...]
    relevant: tuple[frozenset[int], ...]
    groups: tuple[str, ...]
    domains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.queries) == len(self.relevant) == len(self.groups):
            raise ValueError(f"{self.name}: not as many queries as answers and groups")
        if self.domains and len(self.domains) != len(self.queries):
            raise ValueError(f"{self.name}: not as many domains as queries")
        if not all(self.relevant):
            raise ValueError(f"{self.name}: a query has no right document")

    def of(self, queries: Sequence[int], documents: Sequence[int]) -> RetrievalTask:
        """The same task with only these rows; each query needs a right document among them."""
        row_of = {row: new for new, row in enumerate(documents)}
        return replace(
            self,
            queries=tuple(self.queries[row] for row in queries),
            documents=tuple(self.documents[row] for row in documents),
            relevant=tuple(
                frozenset(row_of[right] for right in self.relevant[row] if right in row_of)
                for row in queries
            ),
            groups=tuple(self.groups[row] for row in queries),
            domains=tuple(self.domains[row] for row in queries) if self.domains else (),
        )


@dataclass(frozen=True, slots=True)
class ChoiceTask:
    """Every query has a few candidates, of which one is right.

    Attributes:
        name: such as `multiple choice`.
        queries: Q of them. Paths of sounds are absolute.
        choices: for each query its candidates, two at least.
        right: for each query, the row of the right one among its candidates.
        groups, domains: as `RetrievalTask`.
    """

    name: str
    queries: tuple[Side, ...]
    choices: tuple[tuple[Side, ...], ...]
    right: tuple[int, ...]
    groups: tuple[str, ...]
    domains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not len(self.queries) == len(self.choices) == len(self.right) == len(self.groups):
            raise ValueError(f"{self.name}: not as many queries as choices, answers and groups")
        if self.domains and len(self.domains) != len(self.queries):
            raise ValueError(f"{self.name}: not as many domains as queries")
        for choices, right in zip(self.choices, self.right, strict=True):
            if len(choices) < 2 or not 0 <= right < len(choices):
                raise ValueError(f"{self.name}: a question needs two choices, one of them right")

    def of(self, queries: Sequence[int]) -> ChoiceTask:
        """The same task with only these rows."""
        return replace(
            self,
            queries=tuple(self.queries[row] for row in queries),
            choices=tuple(self.choices[row] for row in queries),
            right=tuple(self.right[row] for row in queries),
            groups=tuple(self.groups[row] for row in queries),
            domains=tuple(self.domains[row] for row in queries) if self.domains else (),
        )


Task = RetrievalTask | ChoiceTask


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """A labelled set, as it could be read.

    Attributes:
        key: which protocol: `audiocaps`, `clotho`, `librisqa`, `mmau-mini`, `triplets`, `labels`.
        name: what it is called in reports.
        tasks: what is asked of it.
        pool: what the pool is, in words: `957 clips, 4,785 captions`.
        missing: clips that are listed, and have no file.
        set_aside: what else could not be used, and why.
        notes: what a reader of the figures has to know.
    """

    key: str
    name: str
    tasks: tuple[Task, ...]
    pool: str
    missing: tuple[str, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()

    def sides(self) -> Iterator[Side]:
        """All queries, documents and candidates, as often as they come up."""
        for task in self.tasks:
            yield from task.queries
            if isinstance(task, RetrievalTask):
                yield from task.documents
            else:
                for choices in task.choices:
                    yield from choices

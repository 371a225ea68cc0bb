"""A whole search as plain values: what a command line, a saved search or a request says."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveInt

from alm2vec_search.collection.base import SearchFilter
from alm2vec_search.domain import Verdict
from alm2vec_search.errors import QueryError
from alm2vec_search.queries import Asked, split_weight
from alm2vec_search.query_audio import names_a_file, parse_like
from alm2vec_search.search import WORDS_WEIGHT, SearchOptions, Together
from alm2vec_search.shaping import Shape
from alm2vec_search.where import parse_where

if TYPE_CHECKING:
    from alm2vec_search.collection.base import CollectionInfo
    from alm2vec_search.domain import Aspect, Hit, Question
    from alm2vec_search.search import Searcher


@dataclass(frozen=True, slots=True)
class Answer:
    """Hits, and which way the question went."""

    hits: list[Hit]
    question: Question
    aspect: Aspect | None

    @property
    def way(self) -> str | None:
        """For people: which way an instruction went, if there was one and something was found."""
        if not self.hits:
            return None
        if self.aspect is not None:
            return f"by the aspect {self.aspect.name}: {self.aspect.instruction}"
        if any(hit.reembedded for hit in self.hits):
            return "the best were heard again under the instruction"
        if self.question.instruction:
            return "only the question was read under the instruction, not the sounds"
        return None

    @property
    def nothing_matches(self) -> bool:
        """Whether all there is is weak."""
        return all(hit.verdict is Verdict.WEAK for hit in self.hits)


class SearchChoices(BaseModel):
    """What narrows and shapes an answer. Names and defaults are those of `alm2vec search`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: bool = False
    words: NonNegativeFloat = WORDS_WEIGHT
    aspect: str | None = None
    reembed: NonNegativeInt = 30
    where: str | None = None
    under: str | None = None
    min: Verdict = Verdict.WEAK
    per_folder: PositiveInt | None = None
    all_chunks: bool = False
    keep_copies: bool = False
    include_silent: bool = False
    explain: bool = False
    limit: PositiveInt = 10

    def options(self) -> SearchOptions:
        """
        Raises:
            WhereError: the condition can't be understood.
        """
        return SearchOptions(
            limit=self.limit,
            where=SearchFilter(
                under=None if self.under is None else _resolved(self.under),
                include_silent=self.include_silent,
                condition=None if self.where is None else parse_where(self.where),
            ),
            shape=Shape(self.per_folder, self.all_chunks),
            together=Together.RANKS if self.split else Together.VECTOR,
            words_weight=self.words,
            least=self.min,
            collapse=not self.keep_copies,
            reembed=self.reembed,
            explain=self.explain,
        )

    def aspect_of(self, info: CollectionInfo, instruction: str | None) -> Aspect | None:
        """The one that is named, or whose instruction this is.

        Raises:
            QueryError: there is no aspect of that name.
        """
        if self.aspect is None:
            return info.aspect_asked(instruction or "")
        if (aspect := info.aspect(self.aspect)) is None:
            known = ", ".join(a.name for a in info.aspects)
            raise QueryError(
                f"the index has no aspect {self.aspect}",
                hint=f"it has {known}" if known else "alm2vec index --aspect adds one",
            )
        return aspect

    def ask(self, searcher: Searcher, info: CollectionInfo, question: Question) -> Answer:
        """Ask a collection. An instruction that is that of an aspect uses the aspect.

        Raises:
            QueryError: the question can't be asked, or there is no such aspect.
        """
        aspect = self.aspect_of(info, question.instruction)
        hits = searcher.search(question, replace(self.options(), aspect=aspect))
        return Answer(hits, question, aspect)


class SearchRequest(SearchChoices):
    """A question as it is written down, and what narrows and shapes its answer."""

    asked: Asked

    def run(self, searcher: Searcher, info: CollectionInfo) -> Answer:
        """Ask a collection.

        Raises:
            QueryError: the question can't be asked, or there is no such aspect.
        """
        self.aspect_of(info, self.asked.instruction)  # before a sound is read
        question = self.asked.load(searcher.sampling_rate, split=self.split)
        return self.ask(searcher, info, question)

    def from_anywhere(self) -> SearchRequest:
        """The same with all its paths absolute, to be asked from another folder."""
        asked = self.asked.model_copy(
            update={
                "like": None if self.asked.like is None else _absolute_like(self.asked.like),
                "more": tuple(map(_absolute_if_a_file, self.asked.more)),
                "less": tuple(map(_absolute_if_a_file, self.asked.less)),
            }
        )
        under = None if self.under is None else str(_resolved(self.under))
        return self.model_copy(update={"asked": asked, "under": under})


def _resolved(path: str) -> Path:
    """As the index has it: with the links of its folders resolved."""
    return Path(os.path.realpath(Path(path).expanduser()))


def _absolute_like(text: str) -> str:
    path, span = parse_like(text)
    region = "" if span is None else f"@{span.start_s:g}-{span.end_s:g}"
    return f"{os.path.abspath(path)}{region}"


def _absolute_if_a_file(item: str) -> str:
    """`2:ref.wav` → `2:/home/ana/ref.wav`; words stay."""
    prefix, what = split_weight(item)
    return f"{prefix}{_absolute_like(what)}" if names_a_file(what) else item

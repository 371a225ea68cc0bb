"""Routes: a search, in all its forms."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query

from alm2vec_search.domain import Verdict
from alm2vec_search.errors import QueryError
from alm2vec_search.queries import Sound, question, weighed_words
from alm2vec_search.records import record
from alm2vec_search.serving.answers import AsciiJSON
from alm2vec_search.serving.schemas import SearchAnswer, SearchBody, Words, failures

if TYPE_CHECKING:
    from alm2vec_search.domain import Hit, Question
    from alm2vec_search.search_request import Answer
    from alm2vec_search.serving.engine import Engine
    from alm2vec_search.serving.gate import Gate
    from alm2vec_search.serving.sounds import Sounds


def search_routes(engine: Engine, gate: Gate, sounds: Sounds) -> APIRouter:
    """
    Args:
        gate: searches run in its threads.
        sounds: where the sounds of questions come from.
    """
    routes = APIRouter(tags=["search"])
    answers: dict[int | str, dict[str, Any]] = {
        200: {"model": SearchAnswer},
        **failures(404, 410, 413, 415),
    }

    async def answer(body: SearchBody) -> AsciiJSON:
        started = time.perf_counter()
        body.options()  # what is wrong with them is known before anything is read

        def ask(sampling_rate: int) -> Question:
            heard = None if body.like is None else sounds.hear(body.like, sampling_rate)
            return _question(body, heard)

        found = await gate(lambda: engine.search(body, ask))
        took_s = round(time.perf_counter() - started, 3)
        return AsciiJSON({**answer_record(found), "took_s": took_s})

    @routes.post("/v1/search", response_model=None, responses=answers)
    async def search(body: SearchBody) -> AsciiJSON:
        """By words, a sound or both; what is wanted more and less; conditions."""
        return await answer(body)

    @routes.get("/v1/search", response_model=None, responses=answers)
    async def search_by_words(
        text: Annotated[Words, Query(description="What to look for, in words.")],
        where: Annotated[str | None, Query(max_length=4000)] = None,
        min: Verdict = Verdict.WEAK,
        limit: Annotated[int, Query(ge=1, le=200)] = 10,
    ) -> AsciiJSON:
        """The same by an address: for words, a condition, and no more."""
        return await answer(SearchBody(text=text, where=where, min=min, limit=limit))

    return routes


def _question(body: SearchBody, like: Sound | None) -> Question:
    asked = question(
        text=body.text,
        like=like,
        more=[weighed_words(item) for item in body.more],
        less=[weighed_words(item) for item in body.less],
        instruction=body.instruction,
        split=body.split,
    )
    if not any(clause.weight > 0 for clause in asked.clauses):
        raise QueryError("the query is empty", hint="give text, like, or more")
    return asked


def answer_record(answer: Answer) -> dict[str, Any]:
    """Hits, and which way the question went."""
    return {
        "hits": [hit_record(hit, rank) for rank, hit in enumerate(answer.hits, start=1)],
        "way": answer.way,
        "nothing_matches": answer.nothing_matches,
    }


def hit_record(hit: Hit, rank: int) -> dict[str, Any]:
    """As everywhere, and the id by which its audio can be had."""
    assert hit.content is not None
    return {**record(hit, rank), "sound": hit.content.content_hash}

"""Asking a model that answers in words, wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.answers.prompting import picked
from alm2vec_search.evaluation.answers.questions import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from alm2vec_search.evaluation.answers.questions import Answerer, ChoiceQuestion

TRANSFORMERS = "transformers"


def ask(answerer: Answerer, question: ChoiceQuestion) -> Answer:
    """Ask, and read the answer.

    Raises:
        EvaluationError, ModelError: as `Answerer.answer`.
    """
    said = answerer.answer(question)
    return Answer(said, picked(said, question.options))


def build_answerer(
    where: str, model: str, *, device: str, dtype: str, announce: Callable[[str], None]
) -> Answerer:
    """The model that answers.

    Args:
        where: `transformers`, for a model on this machine, or the address of an OpenAI-compatible
            server.
        model: by its name there, or its folder.
        device, dtype: of a model on this machine; `auto` is what suits it.
        announce: is told what has to be fetched.

    Raises:
        EvaluationError: there is no such place, or a package is missing.
        ModelError: the model can't be loaded.
    """
    if where == TRANSFORMERS:
        from alm2vec_search.evaluation.answers.chat_model import ChatModel

        return ChatModel(model, device=device, dtype=dtype, announce=announce)
    if where.startswith(("http://", "https://")):
        from alm2vec_search.evaluation.answers.chat_server import ChatServer

        return ChatServer(where, model)
    raise EvaluationError(
        f"{where} is nowhere that answers",
        hint=f"use {TRANSFORMERS}, or a server's address: https://HOST/v1",
    )

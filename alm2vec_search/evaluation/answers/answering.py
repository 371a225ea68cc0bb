"""Models that answer: a question about a sound, with its options, → free text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.answers.prompting import LETTERS, picked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alm2vec_search.domain import Waveform
    from trainer.pairs import Side

TRANSFORMERS = "transformers"
WHICH = "Which of these fits the sound?"  # where a set asks nothing in words


@dataclass(frozen=True, slots=True, eq=False)
class ChoiceQuestion:
    """A question of which one option is the answer."""

    text: str
    options: tuple[str, ...]
    sound: Waveform | None = None

    def __post_init__(self) -> None:
        if not 2 <= len(self.options) <= len(LETTERS):
            raise ValueError(f"a question has 2 to {len(LETTERS)} options, not {len(self.options)}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and which option that is."""

    said: str
    option: int | None  # None: it can't be told


class Answerer(Protocol):
    """A model that answers questions in words."""

    @property
    def name(self) -> str:
        """What a person calls it."""
        ...

    @property
    def device(self) -> str:
        """Where it runs, as torch names it; of a server, its address."""
        ...

    @property
    def sampling_rate(self) -> int:
        """Of the sounds it takes, in Hz."""
        ...

    def answer(self, question: ChoiceQuestion) -> str:
        """What it says, as it says it.

        Raises:
            EvaluationError, ModelError: it can't be asked, or takes no sound.
        """
        ...


def ask(answerer: Answerer, question: ChoiceQuestion) -> Answer:
    """Ask, and read the answer.

    Raises:
        EvaluationError, ModelError: as `Answerer.answer`.
    """
    said = answerer.answer(question)
    return Answer(said, picked(said, question.options))


def question_of(query: Side, choices: Sequence[Side], sound: Waveform | None) -> ChoiceQuestion:
    """A question of a choice task, in words.

    Its text is the query's, or else its instruction: an embedding model is told by the one, by the
    other, or by both what is asked, a model that answers needs a question.

    Args:
        sound: the query's, decoded at the answerer's sampling rate.

    Raises:
        EvaluationError: a candidate is not in words.
    """
    options = tuple(choice.text for choice in choices if choice.text and choice.audio is None)
    if len(options) != len(choices):
        raise EvaluationError(
            "a model that answers in words can't choose between sounds",
            hint="measure an embedding model on this set: leave out --answers",
        )
    return ChoiceQuestion(query.text or query.instruction or WHICH, options, sound)


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

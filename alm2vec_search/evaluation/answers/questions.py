"""A question about a sound with options in words, and who answers it."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING, Protocol

from alm2vec_search.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.domain import Waveform
    from trainer.pairs import Side

LETTERS = ascii_uppercase  # of options, in their order
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

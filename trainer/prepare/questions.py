"""A question about a sound, and its answer, as a pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.pairs import AudioRef, Pair, Side
from trainer.prepare.choices import choose
from trainer.prepare.instructions import DOCUMENT, QUESTION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer.prepare.report import Findings


@dataclass(frozen=True)
class Question:
    """What a data set asks."""

    text: str
    answer: str
    options: Mapping[str, str]  # by their letters; none where the answer is free
    where: str

    def answers(self, findings: Findings) -> tuple[str, Sequence[str]] | None:
        """The right answer, and wrong ones. None, and a note why, if it can't be asked."""
        if not self.text or not self.answer:
            findings.put_aside(self.where, "no question" if self.answer else "no answer")
            return None
        if not self.options:
            return self.answer, ()
        choice = choose(self.options, self.answer)
        if choice is None:
            letters = ", ".join(self.options)
            findings.put_aside(self.where, f"the answer is none of the options {letters}")
            return None
        return choice.right, choice.wrong


def question_pair(
    question: str, sound: AudioRef, right: str, wrong: Sequence[str], *, clip: str, source: str
) -> Pair:
    """The question and the sound ask, the answer answers; wrong options are its negatives."""
    return Pair(
        query=Side(text=question, audio=sound, instruction=QUESTION),
        document=Side(text=right, instruction=DOCUMENT),
        negatives=tuple(Side(text=text, instruction=DOCUMENT) for text in wrong),
        source=source,
        clip=clip,
    )

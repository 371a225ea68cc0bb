"""Answers, kept as they come: an interrupted run goes on, and none is paid for twice."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from alm2vec_search.audio import reason_of
from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.answers.prompting import prompt_for

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.evaluation.answers.questions import Answerer, ChoiceQuestion


class KeptAnswers:
    """What one model has said, as JSON lines in a file.

    Args:
        path: is made with the first answer; None keeps nothing.
        answerer: whose answers they are; those of others stay where they are, and aren't used.

    Raises:
        EvaluationError: the file can't be read.
    """

    def __init__(self, path: Path | None, answerer: Answerer) -> None:
        self._path = path
        self._answerer = answerer
        self._said: dict[str, str] = {}
        try:
            lines = path.read_text(encoding="utf-8").splitlines() if path else []
        except FileNotFoundError:
            lines = []
        except (OSError, UnicodeDecodeError) as error:
            raise EvaluationError(f"{path} can't be read: {error}") from error
        for line in lines:
            try:
                kept = json.loads(line)
                self._said[kept["question"]] = kept["said"]
            except (ValueError, KeyError, TypeError):  # cut short when it was killed
                continue

    def __len__(self) -> int:
        return len(self._said)

    def answer(self, question: ChoiceQuestion) -> str:
        """What the model says, or said before.

        Raises:
            EvaluationError, ModelError: it can't be asked, or the answer can't be kept.
        """
        key = self._key(question)
        if key not in self._said:
            self._said[key] = said = self._answerer.answer(question)
            if self._path is not None:
                _append(self._path, json.dumps({"question": key, "said": said}))
        return self._said[key]

    def _key(self, question: ChoiceQuestion) -> str:
        """Of all that may change the answer."""
        told = [self._answerer.name, self._answerer.device, prompt_for(question)]
        key = hashlib.sha256(json.dumps(told).encode())
        if question.sound is not None:
            key.update(str(question.sound.sampling_rate).encode())
            key.update(question.sound.samples.tobytes())
        return key.hexdigest()


def _append(path: Path, line: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        raise EvaluationError(f"{path} can't be written: {reason_of(error)}") from error

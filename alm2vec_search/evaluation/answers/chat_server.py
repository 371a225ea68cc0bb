"""`ChatServer`: a model that answers, behind the chat completions of OpenAI or whoever speaks them.

Sounds are sent as base64 of 16-bit WAV, in `input_audio`. They leave this machine, unless the
server is on it.
"""

from __future__ import annotations

import base64
import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from alm2vec_search.audio.playing import wav_header
from alm2vec_search.errors import EvaluationError, one_line
from alm2vec_search.evaluation.answers.prompting import prompt_for

if TYPE_CHECKING:
    from alm2vec_search.domain import Waveform
    from alm2vec_search.evaluation.answers.questions import ChoiceQuestion

SAMPLING_RATE = 16_000  # Hz, that such models hear at, mostly
FULL_SCALE = 32_767
KEY = "OPENAI_API_KEY"  # in the environment
RETRIES = 4  # after what may pass: too many requests, a server that starts or restarts
TIMEOUT_S = 120.0
MAX_TOKENS = 1024  # of an answer, with what is thought before it
NO_SOUND = re.compile("audio|modal", re.IGNORECASE)  # in an error of a model that hears nothing


class ChatServer:
    """Meets `alm2vec_search.evaluation.answers.questions.Answerer`. Many threads may ask at once.

    Args:
        address: of the server, up to what its routes have in common: `https://api.openai.com/v1`.
        model: as the server calls it.
        key: what it lets one in by; None is OPENAI_API_KEY, or none where that isn't set.
        timeout_s: for one try.
        retries: after one that failed and may succeed later.

    Raises:
        EvaluationError: the package isn't installed.
    """

    sampling_rate = SAMPLING_RATE

    def __init__(
        self,
        address: str,
        model: str,
        *,
        key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        retries: int = RETRIES,
    ) -> None:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise EvaluationError(
                f"openai can't be imported: {one_line(error)}",
                hint="pip install 'alm2vec-search[eval]'",
            ) from error
        self.name = model
        self.device = address
        self._timeout_s = timeout_s
        self._client = OpenAI(
            base_url=address,
            api_key=key or os.environ.get(KEY) or "none",  # openai refuses to start without one
            timeout=timeout_s,
            max_retries=retries,
        )

    def answer(self, question: ChoiceQuestion) -> str:
        """What it says, without chance as far as the server can.

        Raises:
            EvaluationError: it can't be reached, lets nobody in, hasn't this model, hears nothing,
                or answers something else than chat completions.
        """
        content: list[dict[str, Any]] = [{"type": "text", "text": prompt_for(question)}]
        if question.sound is not None:
            data = base64.b64encode(wav_of(question.sound)).decode()
            sound = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
            content.insert(0, sound)
        messages: Any = [{"role": "user", "content": content}]
        try:
            completion = self._client.chat.completions.create(
                model=self.name, messages=messages, temperature=0, max_tokens=MAX_TOKENS
            )
        except Exception as error:  # of openai, and of the libraries below
            raise self._explained(error) from error
        try:
            return completion.choices[0].message.content or ""
        except (AttributeError, IndexError, TypeError) as error:
            raise EvaluationError(
                f"{self.device} answers, but not as chat completions do",
                hint="an address ends in /v1 mostly",
            ) from error

    def _explained(self, error: Exception) -> EvaluationError:
        import openai

        if isinstance(error, openai.APITimeoutError):
            return EvaluationError(f"{self.device} doesn't answer within {self._timeout_s:g} s")
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            return EvaluationError(
                f"{self.device} can't be reached: {one_line(cause)}",
                hint="check the address, and whether the server runs",
            )
        if not isinstance(error, openai.APIStatusError):
            return EvaluationError(f"{self.device} gives no answer: {one_line(error)}")
        said, status = one_line(error), error.status_code
        if status in (401, 403):
            return EvaluationError(
                f"{self.device} lets nobody in with this key: {said}", hint=f"set {KEY}"
            )
        if status == 404:
            return EvaluationError(
                f"{self.device} has no model {self.name}, or is no such server: {said}",
                hint="check --model; an address ends in /v1 mostly",
            )
        if status == 429:
            return EvaluationError(
                f"{self.device} has had too many requests: {said}",
                hint="try again later, or with another key",
            )
        name = rf"(?<!\w){re.escape(self.name)}(?!\w)"  # may have audio in it, and says nothing
        if status < 500 and NO_SOUND.search(re.sub(name, "", said, flags=re.IGNORECASE)):
            return EvaluationError(
                f"{self.name} takes no sound: {said}",
                hint="name a model that hears, such as gpt-4o-audio-preview",
            )
        verb = "refuses" if status < 500 else "fails"
        return EvaluationError(f"{self.device} {verb}: {said}")


def wav_of(sound: Waveform) -> bytes:
    """A mono WAV file of 16 bits."""
    samples = (np.clip(sound.samples, -1, 1) * FULL_SCALE).round().astype("<i2")
    return wav_header(sound.sampling_rate, 1, samples.nbytes) + samples.tobytes()

"""Whether an answer is one: how much more a sound belongs to the question than to a hundred others.

A cosine by itself says little: what is near differs from model to model, and from question to
question. So each answer is compared with `everyday_sounds.txt`, too: its score for the question, in
standard deviations above its scores for those. A logistic curve makes that a probability; it was
fitted on labelled sounds that the small model never heard, with questions that nothing answers
among them. `benchmarks/verdicts.py` measures how often it is right, and what was tried instead:
how far an answer rises above the rest of the collection tells much less.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from alm2vec_search.domain import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from alm2vec_search.domain import Embeddings, Encoder

STRONG, LIKELY = 0.7, 0.4  # probabilities, at least


@dataclass(frozen=True, slots=True)
class Curve:
    """A logistic curve over standard deviations."""

    slope: float
    intercept: float

    def __call__(self, deviations: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray(1 / (1 + np.exp(-(self.slope * deviations + self.intercept))))


WORDS = Curve(1.46, -6.48)  # for questions in words
SOUND = Curve(0.78, -4.07)  # for those with a sound in them


class Judge:
    """Judges answers.

    Args:
        encoder: of the questions.
        cache: a file to keep the vectors of the everyday sounds in; a large model takes minutes.
    """

    def __init__(self, encoder: Encoder, cache: Path | None = None) -> None:
        self._encoder = encoder
        self._cache = cache
        self._everyday: Embeddings | None = None

    def probabilities(
        self, embeddings: Embeddings, scores: NDArray[np.floating], curve: Curve
    ) -> NDArray[np.float64]:
        """That each answer is one [n], for their vectors [n, dim] and cosines [n]."""
        return curve(deviations(embeddings @ self.everyday().T, scores))

    def everyday(self) -> Embeddings:
        """The vectors of the everyday sounds [m, dim], as questions."""
        if self._everyday is None:
            self._everyday = self._load()
        return self._everyday

    def _load(self) -> Embeddings:
        texts = everyday_sounds()
        shape = (len(texts), self._encoder.embedding_dim)
        if self._cache is not None:
            kept = _kept(self._cache, shape)
            if kept is not None:
                return kept
        made = self._encoder.encode_query(text=texts)
        if self._cache is not None:
            _keep(self._cache, made)
        return made


def cache_name(fingerprint: str) -> str:
    """A file's name for the vectors that an encoder makes of the everyday sounds."""
    texts = hashlib.sha256("\n".join(everyday_sounds()).encode()).hexdigest()
    return f"{fingerprint}-{texts[:8]}.f32"


def verdict(probability: float) -> Verdict:
    """
    >>> verdict(0.9), verdict(0.5), verdict(0.1)
    (<Verdict.STRONG: 'strong'>, <Verdict.LIKELY: 'likely'>, <Verdict.WEAK: 'weak'>)
    """
    if probability >= STRONG:
        return Verdict.STRONG
    return Verdict.LIKELY if probability >= LIKELY else Verdict.WEAK


def deviations(
    everyday_scores: NDArray[np.floating], scores: NDArray[np.floating]
) -> NDArray[np.float64]:
    """How far each of n scores lies above the scores [n, m] for everyday sounds."""
    mean, spread = everyday_scores.mean(axis=1), everyday_scores.std(axis=1)
    return np.asarray((scores - mean) / np.maximum(spread, 1e-6), dtype=np.float64)


def everyday_sounds() -> list[str]:
    """A hundred descriptions of sounds."""
    text = files("alm2vec_search").joinpath("everyday_sounds.txt").read_text(encoding="utf-8")
    return text.split("\n")[:-1]


def _kept(path: Path, shape: tuple[int, int]) -> Embeddings | None:
    """Plain float32 numbers [n, dim]; None where they are not there, or not whole."""
    try:
        numbers = np.fromfile(path, dtype="<f4")
    except OSError:
        return None
    if numbers.size != shape[0] * shape[1]:
        return None
    vectors: Embeddings = numbers.reshape(shape)
    are_units = np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    return vectors if are_units else None


def _keep(path: Path, vectors: Embeddings) -> None:
    """Where it can't be kept, it is made anew the next time."""
    draft = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        vectors.astype("<f4").tofile(draft)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()

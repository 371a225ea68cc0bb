"""A stand-in for the model, and tones, for tests: ours, and those of programs built on this one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from alm2vec_search.domain import Embeddings, Samples, Waveform

BANDS = 32
NOTES_HZ = {"low": 200.0, "middle": 1000.0, "high": 4000.0}


@dataclass(frozen=True, slots=True)
class FakeEncoder:
    """Hears where the energy of a sound lies, and knows the words low, middle and high, or others.

    Small, quick and deterministic; `text` without one of its words lands anywhere, but always at
    the same place. It builds itself, so that it can stand for the factory of an encoder, too.

    Args:
        notes_hz: the words it knows, and the tone that each of them means.
    """

    fingerprint: str = "fake-float32"
    name: str = "fake"
    device: str = "cpu"
    sampling_rate: int = 16_000
    embedding_dim: int = BANDS
    follows_instructions: bool = True
    notes_hz: Mapping[str, float] = field(default_factory=lambda: NOTES_HZ, hash=False)

    def build(self) -> FakeEncoder:
        return self

    def encode_query(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        return self._encode(text, audio, instruction or "")

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        return self._encode(text, audio, instruction or "")

    def _encode(
        self,
        text: Sequence[str | None] | None,
        audio: Sequence[Waveform | None] | None,
        instruction: str,
    ) -> Embeddings:
        n = len(text or audio or ())
        rows = [
            self._words(words, instruction) + self._sound(sound)
            for words, sound in zip(text or [None] * n, audio or [None] * n, strict=True)
        ]
        vectors = np.array(rows, dtype=np.float32).reshape(n, self.embedding_dim)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _words(self, text: str | None, instruction: str) -> Samples:
        if not text:
            return np.zeros(self.embedding_dim, dtype=np.float32)
        meant_hz = {hz for word, hz in self.notes_hz.items() if word in text}
        heard = [tone(hz, 0.5, self.sampling_rate) for hz in sorted(meant_hz)]
        if heard:
            return self._spectrum(np.sum(heard, axis=0, dtype=np.float32))
        seed = hashlib.sha256(f"{instruction}\0{text}".encode()).digest()
        noise = np.random.default_rng(list(seed)).random(self.embedding_dim)
        return noise.astype(np.float32)

    def _sound(self, sound: Waveform | None) -> Samples:
        if sound is None:
            return np.zeros(self.embedding_dim, dtype=np.float32)
        return self._spectrum(sound.samples)

    def _spectrum(self, samples: Samples) -> Samples:
        power = np.abs(np.fft.rfft(samples, n=self.sampling_rate)) ** 2
        edges = np.geomspace(50, len(power), self.embedding_dim + 1).astype(int)
        bands = np.add.reduceat(power, edges[:-1])
        spectrum: Samples = (np.sqrt(bands) + 1e-3).astype(np.float32)
        return spectrum


def tone(hz: float, duration_s: float, sampling_rate: int, *, peak: float = 0.5) -> Samples:
    """A sine, float32 [n]."""
    t = np.arange(round(duration_s * sampling_rate)) / sampling_rate
    samples: Samples = (peak * np.sin(2 * np.pi * hz * t)).astype(np.float32)
    return samples

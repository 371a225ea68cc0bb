"""Encoders that do to their worker process what the world sometimes does."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alm2vec_search.errors import ModelError
from alm2vec_search.testing import FakeEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.domain import Embeddings, Waveform


@dataclass(frozen=True, slots=True)
class DiesOfHighNotes(FakeEncoder):
    """Its process is killed when it hears a high note: as by a decoder that crashes."""

    def build(self) -> DiesOfHighNotes:
        return self

    def encode_document(self, *, audio: Sequence[Waveform], **others: Any) -> Embeddings:
        for waveform in audio:
            spectrum = np.abs(np.fft.rfft(waveform.samples, n=16_000))
            if spectrum.argmax() > 3_000:
                os.kill(os.getpid(), signal.SIGKILL)
        return FakeEncoder.encode_document(self, audio=audio, **others)


@dataclass(frozen=True, slots=True)
class DiesAtOnce(FakeEncoder):
    """Its process is killed while the model loads: as by a machine short of memory."""

    def build(self) -> FakeEncoder:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")


@dataclass(frozen=True, slots=True)
class CannotLoad(FakeEncoder):
    def build(self) -> FakeEncoder:
        raise ModelError("the weights are gone", hint="look behind the sofa")


class UnpicklableError(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__("odd")


@dataclass(frozen=True, slots=True)
class FailsOddly(FakeEncoder):
    def build(self) -> FailsOddly:
        return self

    def encode_document(self, **inputs: Any) -> Embeddings:
        raise UnpicklableError(1, 2)


@dataclass(frozen=True, slots=True)
class SaysWhereItIs(FakeEncoder):
    """Its vectors are the number of the process that it lives in."""

    def build(self) -> SaysWhereItIs:
        return self

    def encode_document(self, *, audio: Sequence[Waveform], **_: Any) -> Embeddings:
        return np.full((len(audio), self.embedding_dim), os.getpid(), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class DiesOfWork(FakeEncoder):
    """Its process is killed as it embeds, as by a machine short of memory."""

    def build(self) -> DiesOfWork:
        return self

    def encode_document(self, **_: Any) -> Embeddings:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")

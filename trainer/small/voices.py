"""Two sounds that YAMNet has no name for, a man and a woman speaking, as classes of the detector.

A linear classifier over YAMNet's frames, fitted on the material's voices, alone and over other
sounds. Against all that isn't a voice, too, so that a dog is neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

from trainer.small.virtual import Detector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Voice:
    """What a voice is called."""

    label: str  # by AudioSet
    said: str  # to the language model


GENDERS = {
    "male": Voice("Male speech, man speaking", "man speaking"),
    "female": Voice("Female speech, woman speaking", "woman speaking"),
}
DECAY = 1e-3
ROUNDS = 60
NOT_SPOKEN = 0.2  # below this, by the detector's own "Speech", a frame of a voice says nothing


@dataclass(frozen=True, slots=True, eq=False)
class Voices:
    """Frames and what is known about who speaks in them."""

    frames: Tensor  # float32 [n, D]
    are: Tensor  # float32 [n, 2], 1 where a man, or a woman, speaks
    weights: Tensor  # float32 [n], each clip counts the same


def gather(
    frames: Mapping[str, Tensor], genders: Mapping[str, str | None], speech: Detector
) -> Voices:
    """
    Args:
        frames: of clips [T, D], by their names.
        genders: of whoever speaks in them; None where nobody does.
        speech: the detector's row for any speech.
    """
    rows, are, weights = [], [], []
    for name, gender in genders.items():
        if name not in frames:
            continue
        clip = frames[name].float()
        if gender is not None:
            clip = clip[torch.sigmoid(speech(clip)).squeeze(-1) > NOT_SPOKEN]
        if not len(clip):
            continue
        rows.append(clip)
        are.append(torch.tensor([[gender == one for one in GENDERS]]).float().expand(len(clip), -1))
        weights.append(torch.full((len(clip),), 1 / len(clip)))
    return Voices(torch.cat(rows), torch.cat(are), torch.cat(weights))


def fit(voices: Voices) -> Detector:
    """One row for each of `GENDERS`, by logistic regression."""
    mean, deviation = voices.frames.mean(dim=0), voices.frames.std(dim=0) + 0.05
    features = (voices.frames - mean) / deviation
    weight = torch.zeros(len(GENDERS), features.shape[1], requires_grad=True)
    bias = torch.zeros(len(GENDERS), requires_grad=True)
    balance = voices.weights / voices.weights.sum()  # [n]
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        odds = features @ weight.T + bias  # [n, 2]
        each = F.binary_cross_entropy_with_logits(odds, voices.are, reduction="none").sum(dim=1)
        total: Tensor = (each * balance).sum() + DECAY * (weight**2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        scaled = weight / deviation
        return Detector(scaled.detach(), (bias - scaled @ mean).detach())


def said_by(genders: Sequence[str | None]) -> str | None:
    """Who speaks in a mixture of clips; None if nobody does."""
    known = {gender for gender in genders if gender is not None}
    return known.pop() if len(known) == 1 else None

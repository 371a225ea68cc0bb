"""Virtual sounds: what the audio encoder might make of a clip with given classes in it.

There are many captions and label sets whose audio can't be had. A detector's scores of real clips
are a cloud of points, one axis a class; as log-odds it is near enough a Gaussian. A virtual frame
is drawn from it under the condition that the given classes are there: what often comes with them
comes too (a bark is an animal, mostly a pet, in a room or out of doors), and what is mistaken for
them does. The frame is the shortest vector that the detector gives these log-odds for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.random import Generator
    from torch import Tensor

FRAMES = 5  # of a virtual sound
DIGITAL_SILENCE = -20.0  # median log-odds of all classes; below it, a frame holds nothing
LOWEST, HIGHEST = -12.0, 8.0  # log-odds
ABSENT = -3.0  # the most that a class is by itself, on average
PRESENT, SPREAD = 0.3, 1.7  # log-odds of a class that is there: mean and deviation over clips
WAVERING = 0.7  # their deviation over the frames of one clip
SHARED = 0.8  # of the rest's deviation, what all frames of a clip have in common
LIVELINESS = 0.75  # of the rest's deviation, as part of what real clips have
SHRINKAGE = 0.3  # towards no correlation at all: fewer frames than a covariance would like
SLACK = 0.3  # variance that a class keeps when its value is given
SHORTEST, LONGEST = 0.25, 1.5  # how much of the clip a class is there for; beyond 1 is all


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """Frames [..., D] → log-odds of C classes [..., C]."""

    weight: Tensor  # float32 [C, D]
    bias: Tensor  # float32 [C]

    def __call__(self, frames: Tensor) -> Tensor:
        return frames.float() @ self.weight.T + self.bias

    def row(self, column: int) -> Detector:
        """Of one class alone."""
        return Detector(self.weight[column : column + 1], self.bias[column : column + 1])

    def joined(self, other: Detector) -> Detector:
        """Of the classes of both."""
        return Detector(torch.cat([self.weight, other.weight]), torch.cat([self.bias, other.bias]))


class VirtualFrames:
    """
    Args:
        frames: real ones [n, D], of many sounds. Digital silence among them is passed over.
        detector: of the classes.
    """

    def __init__(self, frames: Tensor, detector: Detector, rng: Generator) -> None:
        odds = detector(frames)  # [n, C]
        odds = odds[odds.median(dim=1).values > DIGITAL_SILENCE].clamp(LOWEST, HIGHEST)
        centred = odds - odds.mean(dim=0)
        covariance = centred.T @ centred / len(centred)
        variances = torch.diag(covariance.diagonal())
        self._covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * variances
        self._covariance += 0.01 * torch.eye(len(covariance))
        self._factor = torch.linalg.cholesky(self._covariance)
        self._mean = odds.mean(dim=0).clamp(max=ABSENT)
        self._inverse = torch.linalg.pinv(detector.weight)  # [D, C]
        self._bias = detector.bias
        self._rng = rng

    def draw(self, classes: Sequence[int], louder: dict[int, float] | None = None) -> Tensor:
        """A sound in which these classes are to be heard, float16 [FRAMES, D].

        Args:
            louder: of some classes, what is added to their log-odds.
        """
        odds = self._background()
        present = list(dict.fromkeys(classes))
        if present:
            levels = self._levels(present, louder or {})  # [FRAMES, k]
            missing = (levels - odds[:, present]).clamp(min=0)
            known = self._covariance[present][:, present] + SLACK * torch.eye(len(present))
            odds += missing @ torch.linalg.solve(known, self._covariance[present])
        frames: Tensor = (odds.clamp(LOWEST, HIGHEST) - self._bias) @ self._inverse.T
        return frames.half()

    def _background(self) -> Tensor:
        """Log-odds [FRAMES, C] of a clip of which nothing is known."""
        classes = len(self._mean)
        shared = self._normal(1, classes)
        own = self._normal(FRAMES, classes)
        mixed = SHARED * shared + (1 - SHARED**2) ** 0.5 * own
        odds: Tensor = self._mean + LIVELINESS * mixed @ self._factor.T
        return odds

    def _levels(self, present: Sequence[int], louder: dict[int, float]) -> Tensor:
        """What these classes are raised to [FRAMES, k]; minus infinity where they pause."""
        levels = PRESENT + SPREAD * self._normal(1, len(present))
        levels = levels + torch.tensor([louder.get(column, 0.0) for column in present])
        levels = levels + WAVERING * self._normal(FRAMES, len(present))
        for place in range(len(present)):
            n = round(FRAMES * self._rng.uniform(SHORTEST, LONGEST))
            n = min(FRAMES, max(1, n))
            start = int(self._rng.integers(FRAMES - n + 1))
            levels[:start, place] = levels[start + n :, place] = -torch.inf
        return levels

    def _normal(self, *shape: int) -> Tensor:
        return torch.from_numpy(self._rng.standard_normal(shape, dtype=np.float32))

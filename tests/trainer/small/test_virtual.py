from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.small.virtual import ABSENT, FRAMES, Detector, VirtualFrames

DOG, PET, RAIN, HUM = range(4)


@pytest.fixture(scope="module")
def detector() -> Detector:
    """Of four classes, from frames of ten numbers."""
    generator = torch.Generator().manual_seed(0)
    return Detector(torch.randn(4, 10, generator=generator), torch.tensor([0.0, 1.0, -1.0, 0.5]))


@pytest.fixture
def virtual(detector: Detector) -> VirtualFrames:
    """Made after frames in which pets are nearly always dogs, and none is ever loud."""
    generator = torch.Generator().manual_seed(1)
    odds = torch.randn(2_000, 4, generator=generator) - 6
    odds[:, PET] = odds[:, DOG] + 0.2 * odds[:, PET]
    frames = (odds - detector.bias) @ torch.linalg.pinv(detector.weight).T
    return VirtualFrames(frames, detector, np.random.default_rng(0))


def odds_of(virtual: VirtualFrames, detector: Detector, *classes: int) -> torch.Tensor:
    """Of a hundred sounds, what each class is at its highest [100, 4]."""
    sounds = torch.stack([virtual.draw(classes) for _ in range(100)])
    return detector(sounds).amax(dim=1)


def test_a_class_that_is_given_is_there(virtual: VirtualFrames, detector: Detector) -> None:
    odds = odds_of(virtual, detector, RAIN)

    assert odds[:, RAIN].median() > -1
    assert odds[:, [DOG, PET, HUM]].median() < ABSENT


def test_what_comes_along_comes(virtual: VirtualFrames, detector: Detector) -> None:
    odds = odds_of(virtual, detector, DOG)

    assert odds[:, PET].median() > odds[:, HUM].median() + 1.5


def test_nothing_given_is_nothing_there(virtual: VirtualFrames, detector: Detector) -> None:
    assert odds_of(virtual, detector).median() < ABSENT


def test_louder_is_louder(virtual: VirtualFrames, detector: Detector) -> None:
    plain = odds_of(virtual, detector, RAIN)[:, RAIN].median()
    louder = torch.stack([virtual.draw([RAIN], {RAIN: 3.0}) for _ in range(100)])

    assert detector(louder).amax(dim=1)[:, RAIN].median() > plain + 1


def test_digital_silence_teaches_nothing(detector: Detector) -> None:
    odds = torch.full((50, 4), -300.0)
    silence = (odds - detector.bias) @ torch.linalg.pinv(detector.weight).T
    real = torch.randn(500, 10, generator=torch.Generator().manual_seed(2))

    with_silence = VirtualFrames(torch.cat([real, silence]), detector, np.random.default_rng(3))
    without = VirtualFrames(real, detector, np.random.default_rng(3))

    assert torch.equal(with_silence.draw([DOG]), without.draw([DOG]))


def test_a_sound_is_frames_as_the_cache_has_them(virtual: VirtualFrames) -> None:
    sound = virtual.draw([DOG, DOG, RAIN])

    assert sound.dtype == torch.float16
    assert sound.shape == (FRAMES, 10)
    assert sound.isfinite().all()

from __future__ import annotations

import pytest
import torch

from trainer.small.virtual import Detector
from trainer.small.voices import fit, gather, said_by

SPEECH = Detector(torch.tensor([[0.0, 0.0, 5.0]]), torch.tensor([0.0]))
MAN, WOMAN, DOG = torch.tensor([1.0, 0, 1]), torch.tensor([0, 1.0, 1]), torch.tensor([0.3, 0.3, -1])
PAUSE = torch.tensor([0.3, 0.3, -1])  # of somebody who speaks


def clips(kind: torch.Tensor, n: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [kind + 0.2 * torch.randn(4, 3, generator=generator) for _ in range(n)]


def test_voices_are_told_from_each_other_and_from_other_sounds() -> None:
    frames, genders = {}, {}
    for name, kind, gender in (("m", MAN, "male"), ("f", WOMAN, "female"), ("d", DOG, None)):
        for number, clip in enumerate(clips(kind, 20, seed=len(frames))):
            frames[f"{name}{number}"] = clip
            genders[f"{name}{number}"] = gender

    detector = fit(gather(frames, genders, SPEECH))

    odds = detector(torch.stack([MAN, WOMAN, DOG]))  # of a man, and of a woman
    assert (odds > 0).tolist() == [[True, False], [False, True], [False, False]]


def test_the_pauses_of_a_voice_are_nobody() -> None:
    frames = {"m": torch.stack([MAN, PAUSE, MAN]), "d": torch.stack([DOG, DOG])}

    voices = gather(frames, {"m": "male", "d": None}, SPEECH)

    assert voices.are.tolist() == [[1, 0], [1, 0], [0, 0], [0, 0]]
    assert voices.weights.tolist() == [0.5, 0.5, 0.5, 0.5]


def test_a_voice_that_never_speaks_is_left_out() -> None:
    voices = gather({"m": PAUSE[None], "d": DOG[None]}, {"m": "male", "d": None}, SPEECH)

    assert voices.are.tolist() == [[0, 0]]


@pytest.mark.parametrize(
    ("genders", "expected"),
    [([None, None], None), (["male", None], "male"), (["male", "female"], None)],
)
def test_who_speaks_in_a_mixture(genders: list[str | None], expected: str | None) -> None:
    assert said_by(genders) == expected

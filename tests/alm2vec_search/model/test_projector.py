from __future__ import annotations

import pytest
import torch

from alm2vec_search.model.projector import SoftWordProjector, build_projector

PRESENCE = torch.tensor([0.81, 0.01, 0.36, 0.25])  # of four classes, whatever is heard


@pytest.fixture
def projector() -> SoftWordProjector:
    """Frames of one number, tokens of three; the class's and the piece's numbers in the words."""
    projector = SoftWordProjector(
        frame_size=1, hidden_size=3, num_classes=4, num_words=2, pieces_per_word=2
    )
    torch.nn.init.zeros_(projector.detector.weight)
    projector.detector.bias.data = torch.logit(PRESENCE)
    classes, pieces = torch.meshgrid(torch.arange(4), torch.arange(2), indexing="ij")
    projector.words.data = torch.stack([classes, pieces, torch.ones(4, 2)], dim=-1).float()
    projector.words_used[2, 1] = 0
    return projector


FRAMES, MASK = torch.zeros(1, 3, 1), torch.ones(1, 3, dtype=torch.bool)


def test_the_most_present_are_said_piece_by_piece(projector: SoftWordProjector) -> None:
    tokens, weights = projector(FRAMES, MASK)

    assert tokens.tolist() == [[[0, 0, 1], [0, 1, 1], [2, 0, 1], [2, 1, 1]]]
    # The roots 0.9, 0.9, 0.6, relative to their mean of 0.8; the last slot isn't used.
    torch.testing.assert_close(weights, torch.tensor([[1.125, 1.125, 0.75, 0.0]]))


def test_the_mean_weight_of_the_used_slots_is_1(projector: SoftWordProjector) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        projector.detector.bias.data = 3 * torch.randn(4, generator=generator) - 4
        _, weights = projector(FRAMES, MASK)
        used = weights[weights > 0]
        assert len(used) in (3, 4)
        torch.testing.assert_close(used.mean(), torch.tensor(1.0))


def test_presence_is_the_mean_over_the_frames_that_are_there(projector: SoftWordProjector) -> None:
    torch.nn.init.ones_(projector.detector.weight)
    torch.nn.init.zeros_(projector.detector.bias)
    frames = torch.logit(torch.tensor([[0.2, 0.6, 0.9], [0.3, 0.5, 0.7]])).unsqueeze(-1)
    mask = torch.tensor([[True, True, False], [True, True, True]])

    presence = projector.presence(frames, mask)

    torch.testing.assert_close(presence, torch.tensor([[0.4] * 4, [0.5] * 4]))


def test_frames_past_the_end_change_nothing(projector: SoftWordProjector) -> None:
    torch.nn.init.ones_(projector.detector.weight)
    frames = torch.tensor([[[0.3], [1.2], [99.0]]])
    mask = torch.tensor([[True, True, False]])

    tokens, weights = projector(frames, mask)
    expected_tokens, expected_weights = projector(frames[:, :2], mask[:, :2])

    assert torch.equal(tokens, expected_tokens)
    assert torch.equal(weights, expected_weights)


def test_presence_too_small_for_a_number_gives_weights_of_0(projector: SoftWordProjector) -> None:
    projector.detector.bias.data.fill_(-200)

    tokens, weights = projector(FRAMES, MASK)

    assert projector.presence(FRAMES, MASK).max() == 0
    assert tokens.isfinite().all()
    assert weights.tolist() == [[0, 0, 0, 0]]


def test_any_clip_is_the_same_number_of_tokens(projector: SoftWordProjector) -> None:
    assert projector.count_tokens(torch.tensor([1, 16_000, 1_000_000])).tolist() == [4, 4, 4]
    assert projector(FRAMES, MASK)[0].shape[1] == 4


def test_words_and_detector_learn(projector: SoftWordProjector) -> None:
    tokens, weights = projector(torch.ones(1, 3, 1), MASK)
    # Weights are relative: their plain sum is constant, so the slots have to count differently.
    (tokens * weights.unsqueeze(-1) * torch.arange(4).view(1, 4, 1)).sum().backward()

    for parameter in (projector.words, projector.detector.weight, projector.detector.bias):
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any()


def test_a_projector_is_built_by_its_kind() -> None:
    config = {"kind": "soft_words", "num_classes": 7, "num_words": 2, "pieces_per_word": 3}

    projector = build_projector(config, frame_size=5, hidden_size=4)

    assert projector.words.shape == (7, 3, 4)
    assert projector.num_tokens == 6
    assert config["kind"] == "soft_words"


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"no projector is called 'q_former'; there are soft_words, subsample"
    ):
        build_projector({"kind": "q_former"}, frame_size=5, hidden_size=4)

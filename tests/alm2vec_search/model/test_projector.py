from __future__ import annotations

import pytest
import torch

from alm2vec_search.model.projector import FAINT, Questions, SoftWordProjector, build_projector

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
    torch.nn.init.zeros_(projector.shade[2].weight)
    torch.nn.init.zeros_(projector.shade[2].bias)
    torch.nn.init.zeros_(projector.relevance.turn.weight)
    return projector


FRAMES, MASK = torch.zeros(1, 3, 1), torch.ones(1, 3, dtype=torch.bool)


def said(
    projector: SoftWordProjector, questions: Questions | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    return projector.say(projector.hear(FRAMES, MASK).flatten(0, 1), questions)


def test_the_most_present_are_said_piece_by_piece(projector: SoftWordProjector) -> None:
    tokens, _ = said(projector)

    assert tokens.tolist() == [[[0, 0, 1], [0, 1, 1], [2, 0, 1], [2, 1, 1]]]


def test_words_weigh_as_they_rise_above_the_first_that_is_not_said(
    projector: SoftWordProjector,
) -> None:
    _, weights = said(projector)

    # The roots 0.9, 0.9, 0.6 above 0.5, relative to their mean of 0.3; the last slot isn't used.
    level = 0.3 + FAINT
    torch.testing.assert_close(weights, torch.tensor([[0.4, 0.4, 0.1, 0.0]]) / level)


def test_a_tie_for_the_last_word_changes_nothing(projector: SoftWordProjector) -> None:
    """Which of two equals is said would otherwise depend on a rounding."""
    above, below = torch.tensor([0.8, 0.1, 0.300001, 0.3]), torch.tensor([0.8, 0.1, 0.3, 0.300001])
    means = []
    for presence in (above, below):
        projector.detector.bias.data = torch.logit(presence)
        tokens, weights = said(projector)
        means.append((tokens * weights.unsqueeze(-1)).sum(dim=1) / weights.sum())

    torch.testing.assert_close(means[0], means[1], atol=1e-4, rtol=0)


def test_clips_are_worded_alike_however_loud(projector: SoftWordProjector) -> None:
    sums = []
    for presence in (0.9, 0.09):
        projector.detector.bias.data = torch.logit(torch.tensor([presence, 0.001, 0.001, 0.001]))
        sums.append(said(projector)[1].sum().item())

    assert sums[0] == pytest.approx(sums[1], rel=0.1)


def test_the_words_of_a_clip_with_nothing_in_it_fade(projector: SoftWordProjector) -> None:
    projector.detector.bias.data = torch.logit(torch.tensor([1.1e-6, 1e-6, 1e-6, 1e-6]))

    assert said(projector)[1].sum() < 0.05


def test_presence_is_the_mean_over_the_frames_that_are_there(projector: SoftWordProjector) -> None:
    torch.nn.init.ones_(projector.detector.weight)
    torch.nn.init.zeros_(projector.detector.bias)
    frames = torch.logit(torch.tensor([[0.2, 0.6, 0.9], [0.3, 0.5, 0.7]])).unsqueeze(-1)
    mask = torch.tensor([[True, True, False], [True, True, True]])

    presence = projector.hear(frames, mask)

    torch.testing.assert_close(presence, torch.tensor([[[0.4] * 4], [[0.5] * 4]]))


def test_silent_frames_count_for_little(projector: SoftWordProjector) -> None:
    projector.silence = 3
    projector.detector.weight.data = torch.tensor([[1.0], [0.0], [0.0], [-1.0]])
    projector.detector.bias.data = torch.tensor([0.0, -9.0, -9.0, 0.0])
    frames = torch.tensor([[[2.0], [-20.0], [-20.0]]])  # a sound, and two frames of silence

    presence = projector.hear(frames, MASK)[0, 0]

    torch.testing.assert_close(presence[0], torch.sigmoid(torch.tensor(2.0)), atol=1e-4, rtol=0)
    # Where all is silence, that's what is heard.
    assert projector.hear(frames[:, 1:], MASK[:, 1:])[0, 0, 3] > 0.99


def test_frames_past_the_end_change_nothing(projector: SoftWordProjector) -> None:
    torch.nn.init.ones_(projector.detector.weight)
    frames = torch.tensor([[[0.3], [1.2], [99.0]]])
    mask = torch.tensor([[True, True, False]])

    assert torch.equal(projector.hear(frames, mask), projector.hear(frames[:, :2], mask[:, :2]))


def test_presence_too_small_for_a_number_gives_weights_of_0(projector: SoftWordProjector) -> None:
    projector.detector.bias.data.fill_(-200)

    tokens, weights = said(projector)

    assert projector.hear(FRAMES, MASK).max() == 0
    assert tokens.isfinite().all()
    assert weights.tolist() == [[0, 0, 0, 0]]


def test_any_clip_is_the_same_number_of_tokens(projector: SoftWordProjector) -> None:
    assert projector.count_tokens(torch.tensor([1, 16_000, 1_000_000])).tolist() == [4, 4, 4]
    assert said(projector)[0].shape[1] == 4


def asking(projector: SoftWordProjector, *wanted: int) -> Questions:
    """A question that is near the names of these classes, and far from the others."""
    gate = projector.relevance
    gate.names.data = torch.eye(3)[torch.tensor([0 if c in wanted else 1 for c in range(4)])]
    gate.strength.bias.data.fill_(20)
    return Questions(torch.eye(3)[:1], torch.tensor([True]))


def test_a_question_is_answered_with_what_belongs_to_it(projector: SoftWordProjector) -> None:
    """Two classes are louder than either that is asked for."""
    tokens, weights = said(projector, asking(projector, 1, 3))

    heaviest = tokens[0, weights[0].argmax()]
    assert heaviest[0] == 3  # 0.25 of it, and of the other 0.01
    assert set(tokens[0, :, 0].tolist()) == {1, 3}


def test_a_clip_without_a_question_is_as_if_nobody_asked(projector: SoftWordProjector) -> None:
    questions = Questions(asking(projector, 1).vectors, torch.tensor([False]))

    for found, expected in zip(said(projector, questions), said(projector), strict=True):
        assert torch.equal(found, expected)


def test_what_asks_for_nothing_in_particular_narrows_nothing(projector: SoftWordProjector) -> None:
    questions = asking(projector, 1)
    projector.relevance.strength.bias.data.fill_(-20)

    for found, expected in zip(said(projector, questions), said(projector), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_question_can_be_turned_into_another(projector: SoftWordProjector) -> None:
    """What isn't near to it by itself, training can make belong to it."""
    questions = asking(projector, 0)
    names = torch.nn.functional.normalize(projector.relevance.names, dim=-1)
    projector.relevance.turn.weight.data = torch.outer(names[1] - names[0], names[0])

    _, before = said(projector, asking(projector, 1))
    _, turned = said(projector, questions)

    assert torch.allclose(before, turned, atol=1e-4)


def test_how_present_a_sound_is_shades_its_word(projector: SoftWordProjector) -> None:
    torch.nn.init.ones_(projector.shade[2].weight)
    tokens, _ = said(projector)
    shades = (tokens - projector.words[[0, 0, 2, 2], [0, 1, 0, 1]])[0]  # [4, H]

    assert torch.equal(shades[0], shades[1])  # both pieces of a word
    assert not torch.allclose(shades[0], shades[2])


def test_all_of_it_learns(projector: SoftWordProjector) -> None:
    questions = asking(projector, 0, 2)
    projector.relevance.strength.bias.data.zero_()
    torch.nn.init.normal_(projector.shade[2].weight, generator=torch.Generator().manual_seed(0))
    tokens, weights = said(projector, questions)
    # Weights are relative: their plain sum is nearly constant, so slots have to count differently.
    (tokens * weights.unsqueeze(-1) * torch.arange(4).view(1, 4, 1)).sum().backward()

    for name, parameter in projector.named_parameters():
        if name == "detector.weight":
            continue  # frames of zeros
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_a_presence_of_nothing_has_gradients(projector: SoftWordProjector) -> None:
    projector.detector.bias.data.fill_(-200)
    tokens, weights = said(projector)
    (tokens.sum() + weights.sum()).backward()

    for parameter in (projector.words, projector.detector.bias):
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


def test_one_class_at_least_stays_unsaid() -> None:
    with pytest.raises(ValueError, match="4 words of 4 classes"):
        SoftWordProjector(1, 3, num_classes=4, num_words=4, pieces_per_word=2)


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

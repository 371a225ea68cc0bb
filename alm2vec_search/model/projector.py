"""From audio frames to inputs of the language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 1e-6  # presence; below it, a sound isn't there
ODDS = 7.0  # half the range of the log-odds of presences
FAINT = 0.01  # where the words of a clip have faded by half
SHADES = 16  # hidden units between how present a sound is and how its word is shaded


@dataclass(frozen=True, slots=True, eq=False)
class Questions:
    """What is asked about some clips, as the language model reads it."""

    vectors: Tensor  # float32 [A, H]
    are_asked: Tensor  # bool [A]; the vectors of clips that come without a question mean nothing


class SoftWordProjector(nn.Module):
    """Say what is heard, in words of the language model; asked about something, say that of it.

    A detector finds how present each of C named sounds is in the clip. The K that matter most are
    written as the word pieces of their names, each piece a learnable embedding that starts as the
    language model's own. What matters is what is present; under a question, what is present and
    belongs to the question, which is judged by the names' and the question's own vectors.

    How present a sound is isn't lost: it shades the embeddings of its word, and in the pooled
    vector a word weighs as the square root of its presence. The weights of a clip's words are
    levelled, so that a faint clip and a loud one are worded alike, but where nothing that matters
    is there, they fade. A word comes into the mean as it rises above the first that isn't said;
    to the other words' attention it comes at once. (`docs/log.md` has the variants.)

    frames [B, T, D] → presences [B, 1, C] → tokens [B, K·M, H] and their weights [B, K·M]; weight
    0 is an unused slot.

    Args:
        silence: the class that says a frame is silent; such frames count for little. None: none.
    """

    reads_questions = True
    words_used: Tensor

    def __init__(
        self,
        frame_size: int,
        hidden_size: int,
        num_classes: int,
        num_words: int,
        pieces_per_word: int,
        silence: int | None = None,
    ) -> None:
        super().__init__()
        if num_words >= num_classes:
            raise ValueError(
                f"{num_words} words of {num_classes} classes: one at least stays unsaid"
            )
        self.num_words = num_words
        self.num_tokens = num_words * pieces_per_word
        self.silence = silence
        self.detector = nn.Linear(frame_size, num_classes)
        self.words = nn.Parameter(torch.zeros(num_classes, pieces_per_word, hidden_size))
        self.register_buffer("words_used", torch.ones(num_classes, pieces_per_word))
        self.shade = nn.Sequential(nn.Linear(1, SHADES), nn.GELU(), nn.Linear(SHADES, hidden_size))
        self.relevance = Relevance(num_classes, hidden_size)

    def hear(self, frames: Tensor, mask: Tensor) -> Tensor:
        """How present each sound is: frames [B, T, D], mask [B, T] → [B, 1, C], each in [0, 1]."""
        scores = torch.sigmoid(self.detector(frames))  # [B, T, C]
        weights = mask.to(scores.dtype)  # [B, T]
        if self.silence is not None:
            weights = weights * (1 - scores[..., self.silence]).clamp(min=LEAST)
        heard = (scores * weights.unsqueeze(-1)).sum(dim=1, keepdim=True)
        return heard / weights.sum(dim=1)[:, None, None]

    def say(self, heard: Tensor, questions: Questions | None) -> tuple[Tensor, Tensor]:
        """Word them: presences of each clip [B, C], and what is asked about it, if anything is."""
        odds = torch.logit(heard.float(), eps=LEAST).unsqueeze(-1) / ODDS  # [B, C, 1], about ±1
        mattering = 0.5 * heard.float().clamp(min=LEAST).log()  # [B, C]
        if questions is not None:
            mattering = mattering + self.relevance(questions)
        best, chosen = mattering.topk(self.num_words + 1, dim=-1)
        weights, chosen = best.exp(), chosen[:, :-1]  # [B, K + 1] and [B, K]
        weights = (weights[:, :-1] - weights[:, -1:]).unsqueeze(-1) * self.words_used[chosen]
        n_used = self.words_used[chosen].sum(dim=(1, 2), keepdim=True)
        level = weights.sum(dim=(1, 2), keepdim=True) / n_used + FAINT
        shades = self.shade(odds.gather(1, chosen.unsqueeze(-1)).to(self.words.dtype))  # [B, K, H]
        words = self.words[chosen] + shades.unsqueeze(2)  # [B, K, M, H]
        return words.flatten(1, 2), (weights / level).flatten(1, 2)

    def count_tokens(self, n_frames: Tensor) -> Tensor:
        """Tokens of clips of so many frames [B]: the same for all."""
        return torch.full_like(n_frames, self.num_tokens)


class Relevance(nn.Module):
    """How much each named sound belongs to a question, as a logarithm to be added to its own.

    What belongs is near to the question, or to what training has learnt to turn it into: "what
    plays in the background?" is near to no more than music. A question narrows as much as
    `strength` reads from it: "what animal is it?" nearly all the way, "at night" hardly.
    """

    def __init__(self, num_classes: int, hidden_size: int) -> None:
        super().__init__()
        self.names = nn.Parameter(torch.zeros(num_classes, hidden_size))
        self.sharpness = nn.Parameter(torch.tensor(12.0))
        self.threshold = nn.Parameter(torch.tensor(0.35))
        self.turn = nn.Linear(hidden_size, hidden_size, bias=False)
        self.strength = nn.Linear(hidden_size, 1)

    def forward(self, questions: Questions) -> Tensor:
        """Questions of B clips → [B, C], at most 0."""
        asked = F.normalize(questions.vectors, dim=-1)  # [B, H]
        nearness = (asked + self.turn(asked)) @ F.normalize(self.names, dim=-1).T  # [B, C]
        belongs = torch.sigmoid(self.sharpness * (nearness - self.threshold))
        strength = torch.sigmoid(self.strength(questions.vectors))  # [B, 1]
        narrowed: Tensor = (1 - strength + strength * belongs).clamp(min=LEAST).log()
        return narrowed * questions.are_asked.unsqueeze(-1)


class SubsampleProjector(nn.Module):
    """Join so many frames end to end, and map them into the language model: MiDashengLM's own.

    Frames that don't fill a group are dropped, but for a clip that has no whole group. Key names
    are those of the published checkpoints: both layers have biases, which some ports drop.

    frames [B, T, D] → tokens [B, K, H]; their weights are all 1, whatever is asked.
    """

    reads_questions = False

    def __init__(self, frame_size: int, hidden_size: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.net = nn.Sequential(
            nn.Linear(factor * frame_size, hidden_size),
            nn.GELU(),
            nn.Linear(hidden_size, hidden_size),
        )

    def hear(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Tokens [B, K, H]. Frames of padding are the caller's to leave out, by `count_tokens`."""
        n_tokens = max(1, frames.shape[1] // self.factor)
        filling = max(0, self.factor - frames.shape[1])
        frames = nn.functional.pad(frames, (0, 0, 0, filling))[:, : n_tokens * self.factor]
        groups = frames.reshape(len(frames), n_tokens, -1)  # [B, K, factor · D], frame by frame
        tokens: Tensor = self.net(groups)
        return tokens

    def say(self, heard: Tensor, questions: Questions | None) -> tuple[Tensor, Tensor]:
        """Tokens [n, H] of any clips → the same, each of weight 1."""
        return heard.unsqueeze(0), heard.new_ones(1, len(heard), dtype=torch.float32)

    def count_tokens(self, n_frames: Tensor) -> Tensor:
        """Tokens of clips of so many frames [B]."""
        return (n_frames // self.factor).clamp(min=1)


Projector = SoftWordProjector | SubsampleProjector
PROJECTORS = {"soft_words": SoftWordProjector, "subsample": SubsampleProjector}


def build_projector(config: dict[str, Any], frame_size: int, hidden_size: int) -> Projector:
    """The projector that `config["kind"]` names.

    Raises:
        ValueError: there is none of that name.
    """
    fields = dict(config)
    kind = fields.pop("kind", None)
    if kind not in PROJECTORS:
        raise ValueError(f"no projector is called {kind!r}; there are {', '.join(PROJECTORS)}")
    projector: Projector = PROJECTORS[kind](frame_size, hidden_size, **fields)
    return projector

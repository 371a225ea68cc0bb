"""From audio frames to inputs of the language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class SoftWordProjector(nn.Module):
    """Say what is heard, in words of the language model.

    A detector finds how present each of C named sounds is in the clip, the mean over its frames.
    The K most present are written as the word pieces of their names, each piece a learnable
    embedding that starts as the language model's own. In the pooled vector a word weighs as the
    square root of its presence, relative to the clip's other words, so that what is barely there
    colours the vector and doesn't fill it. (`docs/log.md` has the variants this was chosen from.)

    frames [B, T, D] → tokens [B, K·M, H] and their weights [B, K·M]; weight 0 is an unused slot.
    """

    words_used: Tensor

    def __init__(
        self,
        frame_size: int,
        hidden_size: int,
        num_classes: int,
        num_words: int,
        pieces_per_word: int,
    ) -> None:
        super().__init__()
        self.num_words = num_words
        self.num_tokens = num_words * pieces_per_word
        self.detector = nn.Linear(frame_size, num_classes)
        self.words = nn.Parameter(torch.zeros(num_classes, pieces_per_word, hidden_size))
        self.register_buffer("words_used", torch.ones(num_classes, pieces_per_word))

    def presence(self, frames: Tensor, mask: Tensor) -> Tensor:
        """How present each sound is: frames [B, T, D], mask [B, T] → [B, C], each in [0, 1]."""
        scores = torch.sigmoid(self.detector(frames)) * mask.unsqueeze(-1)  # [B, T, C]
        return scores.sum(dim=1) / mask.sum(dim=1, keepdim=True)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        presence, heard = self.presence(frames, mask).topk(self.num_words, dim=-1)  # [B, K]
        used = self.words_used[heard]  # [B, K, M]
        weights = presence.sqrt().unsqueeze(-1) * used  # [B, K, M]
        mean = weights.sum(dim=(1, 2), keepdim=True) / used.sum(dim=(1, 2), keepdim=True)
        weights = weights / mean.clamp(min=torch.finfo(weights.dtype).tiny)
        return self.words[heard].flatten(1, 2), weights.flatten(1, 2)

    def count_tokens(self, n_frames: Tensor) -> Tensor:
        """Tokens of clips of so many frames [B]: the same for all."""
        return torch.full_like(n_frames, self.num_tokens)


class SubsampleProjector(nn.Module):
    """Join so many frames end to end, and map them into the language model: MiDashengLM's own.

    Frames that don't fill a group are dropped, but for a clip that has no whole group. Key names
    are those of the published checkpoints: both layers have biases, which some ports drop.

    frames [B, T, D] → tokens [B, K, H] and their weights [B, K], which are all 1.
    """

    def __init__(self, frame_size: int, hidden_size: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.net = nn.Sequential(
            nn.Linear(factor * frame_size, hidden_size),
            nn.GELU(),
            nn.Linear(hidden_size, hidden_size),
        )

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        n_tokens = max(1, frames.shape[1] // self.factor)
        filling = max(0, self.factor - frames.shape[1])
        frames = nn.functional.pad(frames, (0, 0, 0, filling))[:, : n_tokens * self.factor]
        groups = frames.reshape(len(frames), n_tokens, -1)  # [B, K, factor · D], frame by frame
        return self.net(groups), mask.new_ones(groups.shape[:2], dtype=torch.float32)

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

"""Dasheng, the audio encoder of MiDashengLM: waveforms in, one frame every 40 ms out.

A ViT over log-mel patches, trained as a masked autoencoder (Dinkel et al., arXiv 2406.06992), and
part of MiDashengLM (arXiv 2508.03983). Input is 16 kHz mono in [-1, 1]. Key names are those of the
published checkpoints. Sizes: base (768 wide, 12 blocks, 12 heads), 0.6B (1280, 32, 16) and 1.2B
(1536, 40, 24).

A clip's frames are what it gives alone, whoever its batch mates are: it is mirrored at its own end,
its decibels are clamped by its own maximum, and it never attends to padding. (Batches of the
original package differ in the first two.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)
from transformers.audio_utils import mel_filter_bank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from torch import Tensor

SAMPLING_RATE = 16_000  # Hz
FEWEST_SAMPLES = 3_200  # shorter clips are filled up with zeros, so that each has a token

FFT = 512  # samples, and the length of the window
HOP = 160  # samples
MEL_BANDS = 64
MEL_HIGHEST_HZ = 8_000.0
LEAST_POWER = 1e-10
TOP_DB = 120.0

PATCH_FRAMES = 4  # mel frames, all bands of them
PATCH_SAMPLES = PATCH_FRAMES * HOP
TARGET_LENGTH = 1_008  # mel frames, after which positions start again: 10.08 s
BATCH_NORM_EPS = 1e-5
LAYER_NORM_EPS = 1e-6

PATCHES_AT_A_TIME = 64 * TARGET_LENGTH // PATCH_FRAMES


class DashengModel(nn.Module):
    """Waveforms [B, L] → frames [B, P, D], of consecutive stretches of 10.08 s that don't see
    each other.

    Args:
        embed_dim: D.
        depth: blocks.
        num_heads: of each block's attention.
        target_length: mel frames of a stretch.
    """

    sampling_rate = SAMPLING_RATE

    def __init__(
        self, embed_dim: int, depth: int, num_heads: int, target_length: int = TARGET_LENGTH
    ) -> None:
        super().__init__()
        self.hidden_size = embed_dim
        self.patches_at_a_time = PATCHES_AT_A_TIME  # what the blocks see at once, at most
        self.front_end = LogMel()
        self.init_bn = MelNorm(MEL_BANDS)
        self.patch_embed = PatchEmbedding(embed_dim)
        self.time_pos_embed = nn.Parameter(
            torch.randn(1, embed_dim, 1, target_length // PATCH_FRAMES) * 0.02
        )
        self.freq_pos_embed = nn.Parameter(torch.randn(1, embed_dim, 1, 1) * 0.02)
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads) for _ in range(depth))
        self.norm = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.register_load_state_dict_pre_hook(_as_published)  # type: ignore[no-untyped-call]

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch of clips padded on the right.

        Args:
            waveforms: float32 [B, L], 16 kHz.
            lengths: int64 [B], samples of each clip.

        Returns:
            frames [B, P, D], zero past the end of a clip, and their mask, bool [B, P].
        """
        waveforms = silence_after(waveforms, lengths)
        lengths = lengths.clamp(min=FEWEST_SAMPLES)
        log_mel = self.init_bn(self.front_end(waveforms, lengths))  # [B, F, 64]
        return self.encode_mel(log_mel, lengths)

    def encode_mel(self, log_mel: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised log-mel frames [B, F, 64] of clips of so many samples → as `forward`."""
        patches = self.patch_embed(log_mel.to(self.patch_embed.proj.weight.dtype))  # [B, P, D]
        n_frames = self.num_frames(lengths)  # [B]
        mask = torch.arange(patches.shape[1], device=n_frames.device) < n_frames[:, None]  # [B, P]
        longest = self.time_pos_embed.shape[-1]
        stretches = split(patches, longest)  # [B, S, T, D]
        queries, keys = self._counts(lengths, stretches.shape[1], longest)  # [B, S] each
        frames = torch.zeros_like(stretches)
        for rows in self._batches(queries.flatten()):
            n_patches = int(queries.flatten()[rows].max())
            x = stretches.flatten(0, 1)[rows, :n_patches]  # [R, N, D]
            frames.flatten(0, 1)[rows, :n_patches] = self._encode(x, keys.flatten()[rows])
        frames = frames.flatten(1, 2)[:, : mask.shape[1]]  # [B, P, D]
        return frames.masked_fill(~mask.unsqueeze(-1), 0), mask

    def _encode(self, x: Tensor, n_keys: Tensor) -> Tensor:
        """One stretch a row: patches [R, N, D], of which the first few [R] are attended to."""
        n_patches = x.shape[1]
        positions = self.time_pos_embed[:, :, 0, :n_patches] + self.freq_pos_embed[:, :, 0]
        x = x + positions.transpose(1, 2).to(x.dtype)  # [R, N, D]
        attended: Tensor | None = None  # all of them: what the quickest kernels want to hear
        if int(n_keys.min()) < n_patches:
            attended = torch.arange(n_patches, device=x.device) < n_keys[:, None]  # [R, N]
            attended = attended[:, None, None]  # [R, 1, 1, N]
        for block in self.blocks:
            x = block(x, attended)
        encoded: Tensor = self.norm(x)
        return encoded

    @staticmethod
    def _counts(lengths: Tensor, n_stretches: int, longest: int) -> tuple[Tensor, Tensor]:
        """How many patches each stretch of each clip has, and attends to: int64 [B, S] each.

        A clip's last patch may be half filled: then it is encoded but not attended to, unless it is
        the only one of its stretch (clips of 323,040 to 323,199 samples), which attends to itself.
        """
        starts = torch.arange(n_stretches, device=lengths.device) * longest  # [S]
        queries = (DashengModel.num_frames(lengths)[:, None] - starts).clamp(0, longest)
        keys = (lengths[:, None] // PATCH_SAMPLES - starts).clamp(1, longest)
        return queries, torch.minimum(keys, queries)

    def _batches(self, n_patches: Tensor) -> Iterator[Tensor]:
        """Rows that aren't empty [R], those of like length together, as many as fit."""
        order = n_patches.argsort(descending=True, stable=True)
        order = order[: int((n_patches > 0).sum())]
        start = 0
        while start < len(order):
            longest = int(n_patches[order[start]])
            end = start + max(1, self.patches_at_a_time // longest)
            yield order[start:end]
            start = end

    def compute_in(self, dtype: torch.dtype) -> None:
        """Have all after the front end and its norm compute in `dtype`."""
        for part in (self.patch_embed, self.blocks, self.norm):
            part.to(dtype)
        for positions in (self.time_pos_embed, self.freq_pos_embed):
            positions.data = positions.data.to(dtype)

    @staticmethod
    def num_frames(lengths: Tensor) -> Tensor:
        """Frames of clips of so many samples [B]: whole patches of mel frames, centred windows."""
        mel_frames: Tensor = 1 + lengths.clamp(min=FEWEST_SAMPLES) // HOP
        return mel_frames // PATCH_FRAMES


class LogMel(nn.Module):
    """Waveforms [B, L] → log-mel frames in dB [B, F, 64], always in float32.

    Hann windows of 32 ms every 10 ms, power, HTK mel bands from 0 to 8 kHz, and at most 120 dB
    below the clip's own maximum.
    """

    window: Tensor
    mel_weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        window = torch.empty(FFT, dtype=torch.float32)
        weights = torch.empty(FFT // 2 + 1, MEL_BANDS, dtype=torch.float32)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("mel_weights", weights, persistent=False)
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """Compute the window and the filterbank; they aren't stored with the weights."""
        self.window.copy_(torch.hann_window(FFT, periodic=True, dtype=torch.float32))
        self.mel_weights.copy_(torch.from_numpy(mel_weights()))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LogMel:
        """Go where the model goes, but stay in float32: a window of fewer digits leaks, and what is
        quiet beside a loud tone comes out some 10 dB too loud."""

        def moved(tensor: Tensor) -> Tensor:
            applied = fn(tensor)
            return applied if applied.dtype == tensor.dtype else tensor.to(applied.device)

        super()._apply(moved, recurse)  # type: ignore[no-untyped-call]  # torch's own
        return self

    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        with torch.autocast(waveforms.device.type, enabled=False):
            padded = mirrored(waveforms.float(), lengths, FFT // 2)  # [B, L + 512]
            spectrum = torch.stft(
                padded,
                FFT,
                HOP,
                window=self.window,
                center=False,
                return_complex=True,
            )  # [B, 257, F]
            power = spectrum.abs().square().transpose(1, 2)  # [B, F, 257]
            decibels = 10 * (power @ self.mel_weights).clamp(min=LEAST_POWER).log10()
            return self._clamped(decibels, 1 + lengths // HOP)

    @staticmethod
    def _clamped(decibels: Tensor, n_frames: Tensor) -> Tensor:
        """Nothing in a clip [B, F, 64] is more than 120 dB below its maximum."""
        is_sound = torch.arange(decibels.shape[1], device=decibels.device) < n_frames[:, None]
        loudest = decibels.amax(dim=2).masked_fill(~is_sound, -torch.inf).amax(dim=1)  # [B]
        return torch.maximum(decibels, loudest[:, None, None] - TOP_DB)


class MelNorm(nn.BatchNorm1d):
    """Batch norm over the mel bands of frames [B, F, 64], by what was learnt, in float32."""

    def __init__(self, num_bands: int) -> None:
        super().__init__(num_bands, eps=BATCH_NORM_EPS, momentum=0.01)

    def forward(self, frames: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        normalised = F.batch_norm(
            frames.flatten(0, 1),
            self.running_mean.float(),
            self.running_var.float(),
            self.weight.float(),
            self.bias.float(),
            training=False,
            eps=self.eps,
        )
        return normalised.view_as(frames)


class PatchEmbedding(nn.Module):
    """Log-mel frames [B, F, 64] → patches of four of them [B, P, D]."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, embed_dim, (MEL_BANDS, PATCH_FRAMES), (MEL_BANDS, PATCH_FRAMES))

    def forward(self, log_mel: Tensor) -> Tensor:
        # Patches don't overlap, so the convolution is one matrix product.
        patches = log_mel.unfold(1, PATCH_FRAMES, PATCH_FRAMES)  # [B, P, 64, 4]
        return F.linear(patches.flatten(2), self.proj.weight.flatten(1), self.proj.bias)


class Block(nn.Module):
    """Attention and an MLP, each after a layer norm and beside a shortcut: [R, N, D] → the same."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.attn = Attention(embed_dim, num_heads)
        self.norm2 = nn.LayerNorm(embed_dim, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(embed_dim, 4 * embed_dim)

    def forward(self, x: Tensor, attended: Tensor | None) -> Tensor:
        x = x + self.attn(self.norm1(x), attended)
        mixed: Tensor = x + self.mlp(self.norm2(x))
        return mixed


class Attention(nn.Module):
    """Each patch attends to all of its stretch, before and after it."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(embed_dim, 3 * embed_dim)
        self.proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, x: Tensor, attended: Tensor | None) -> Tensor:
        qkv = self.qkv(x).unflatten(2, (3, self.num_heads, -1))  # [R, N, 3, heads, head dim]
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # [R, heads, N, head dim] each
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=attended)
        projected: Tensor = self.proj(seen.transpose(1, 2).flatten(2))
        return projected


class Mlp(nn.Module):
    """Two layers with an exact GELU between."""

    def __init__(self, embed_dim: int, hidden_size: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, hidden_size)
        self.fc2 = nn.Linear(hidden_size, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        expanded: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return expanded


def _as_published(
    _module: nn.Module, state: dict[str, Tensor], prefix: str, *_rest: object
) -> None:
    """Names as in the stand-alone package, which wraps the norm and stores the front end, too."""
    for name in [name for name in state if name.startswith(prefix)]:
        if name.startswith(f"{prefix}front_end."):
            del state[name]
        elif name.startswith(f"{prefix}init_bn.1."):
            state[name.replace("init_bn.1.", "init_bn.")] = state.pop(name)


def mel_weights() -> NDArray[np.float32]:
    """Triangles in the HTK mel domain from 0 to 8 kHz, none normalised by its width [257, 64]."""
    weights = mel_filter_bank(
        num_frequency_bins=FFT // 2 + 1,
        num_mel_filters=MEL_BANDS,
        min_frequency=0.0,
        max_frequency=MEL_HIGHEST_HZ,
        sampling_rate=SAMPLING_RATE,
        norm=None,
        mel_scale="htk",
    )
    return np.asarray(weights, dtype=np.float32)


def silence_after(waveforms: Tensor, lengths: Tensor) -> Tensor:
    """Clips [B, L], silent after their own end: as long as the longest, or as the fewest allow."""
    waveforms = waveforms[:, : int(lengths.max())]
    is_sound = torch.arange(waveforms.shape[1], device=waveforms.device) < lengths[:, None]
    waveforms = waveforms * is_sound
    return F.pad(waveforms, (0, max(0, FEWEST_SAMPLES - waveforms.shape[1])))


def mirrored(waveforms: Tensor, lengths: Tensor, margin: int) -> Tensor:
    """Clips [B, L] with so many samples more on either side, mirrored at the clip's own ends.

    >>> mirrored(torch.tensor([[1.0, 2, 3, 4, 0], [5, 6, 7, 8, 9]]), torch.tensor([4, 5]), 2)
    tensor([[3., 2., 1., 2., 3., 4., 3., 2., 0.],
            [7., 6., 5., 6., 7., 8., 9., 8., 7.]])
    """
    last = lengths[:, None] - 1  # [B, 1]
    where = torch.arange(-margin, waveforms.shape[1] + margin, device=waveforms.device)  # [N]
    source = last - (last - where.abs()).abs()  # [B, N], back from the end, and from the start
    sound = waveforms.gather(1, source.clamp(min=0))
    return sound.masked_fill(where > last + margin, 0)


def split(patches: Tensor, longest: int) -> Tensor:
    """Patches [B, P, D] → stretches [B, S, T, D] of that many, the last filled up with zeros."""
    filling = -patches.shape[1] % longest
    padded = F.pad(patches, (0, 0, 0, filling))
    return padded.view(len(patches), -1, longest, patches.shape[2])

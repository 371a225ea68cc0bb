"""The original Dasheng, PyPI's `dasheng` 0.0.9, for `DashengModel` to be compared with.

The package takes two things from torchaudio, and no more: `transforms.MelSpectrogram` and
`transforms.AmplitudeToDB`. torchaudio is no dependency of this project, so where it is missing two
stand-ins take its place while the package is imported. They hold torchaudio's definitions, for the
arguments that the package gives, and share nothing with our own front end; the functions of
torchaudio 2.11 give the same, bit for bit. All that comes after them, from the batch norm to the
last layer norm, is the package's own.

Its weights are random, but such that each of them is heard: as they are initialised, biases are
zero, layer norms do nothing, and attention is nearly even.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

IS_INSTALLED = all(importlib.util.find_spec(name) for name in ("dasheng", "einops"))
HOW_TO_INSTALL = "pip install --no-deps dasheng==0.0.9 einops==0.8.2"


class MelSpectrogram(nn.Module):
    """Waveforms [..., N] → power in mel bands [..., bands, F]: HTK scale, no norm, centred frames,
    mirrored ends, periodic Hann windows."""

    fb: Tensor
    window: Tensor

    def __init__(
        self,
        *,
        sample_rate: int,
        n_fft: int,
        win_length: int,
        hop_length: int,
        f_min: float,
        f_max: float,
        n_mels: int,
        center: bool,
    ) -> None:
        super().__init__()
        self.n_fft, self.win_length, self.hop_length = n_fft, win_length, hop_length
        self.center = center
        self.register_buffer("window", torch.hann_window(win_length))
        self.register_buffer("fb", triangles(n_fft // 2 + 1, sample_rate, f_min, f_max, n_mels))

    def forward(self, waveforms: Tensor) -> Tensor:
        spectrum = torch.stft(
            waveforms,
            self.n_fft,
            self.hop_length,
            self.win_length,
            self.window,
            center=self.center,
            pad_mode="reflect",
            return_complex=True,
        )  # [..., bins, F]
        return (spectrum.abs().pow(2).mT @ self.fb).mT


class AmplitudeToDB(nn.Module):
    """Power → decibels, none of them more than `top_db` below the greatest of the last three axes:
    of the whole batch, if a batch has no axis for its channels."""

    def __init__(self, *, top_db: float) -> None:
        super().__init__()
        self.top_db = top_db

    def forward(self, power: Tensor) -> Tensor:
        decibels = 10 * torch.log10(power.clamp(min=1e-10))
        axes = tuple(range(max(-3, -decibels.ndim), 0))
        return decibels.maximum(decibels.amax(dim=axes, keepdim=True) - self.top_db)


def triangles(n_bins: int, sample_rate: int, f_min: float, f_max: float, n_mels: int) -> Tensor:
    """Peaks evenly apart in HTK's mel, slopes straight in Hz; in float32, as torchaudio has it
    [bins, bands]."""
    hz = torch.linspace(0, sample_rate / 2, n_bins)[:, None]
    lowest, highest = (2595 * math.log10(1 + edge / 700) for edge in (f_min, f_max))
    edges = 700 * (10 ** (torch.linspace(lowest, highest, n_mels + 2) / 2595) - 1)
    lower, peak, upper = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hz - lower) / (peak - lower), (upper - hz) / (upper - peak)
    return torch.minimum(rising, falling).clamp(min=0)


def reference_encoder(
    embed_dim: int = 768, depth: int = 12, num_heads: int = 12, *, seed: int = 0, **options: Any
) -> nn.Module:
    """The package's encoder, ready to encode: `encoder(waveforms [B, N], x_length=lengths [B])`."""
    with torchaudio_or_stand_ins():
        pretrained = importlib.import_module("dasheng.pretrained.pretrained")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder: nn.Module = pretrained.Dasheng(
            embed_dim=embed_dim, depth=depth, num_heads=num_heads, **options
        )
        make_heard(encoder)
    return encoder.eval()


@torch.no_grad()
def make_heard(encoder: nn.Module) -> None:
    """Give weights that are neutral some effect, be they of the package or ours; log-mel frames are
    taken to be some -30 ± 17 dB."""
    for name, module in encoder.named_modules():
        if isinstance(module, nn.LayerNorm | nn.BatchNorm1d | nn.BatchNorm2d):
            module.weight.normal_(mean=1, std=0.2)
            module.bias.normal_(std=0.1)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(mean=-30, std=5)
            module.running_var.uniform_(200, 400)
        if isinstance(module, nn.Linear):
            module.bias.normal_(std=0.1)
        if name.endswith("qkv"):
            module.weight.mul_(2)  # attention is uneven


def published_state_dict(encoder: nn.Module) -> dict[str, Tensor]:
    """Its tensors by the names that MiDashengLM's checkpoints give them, without the front end's,
    which can be computed."""
    return {
        name.replace("init_bn.1.", "init_bn."): tensor
        for name, tensor in encoder.state_dict().items()
        if not name.startswith("front_end.")
    }


@contextmanager
def torchaudio_or_stand_ins() -> Iterator[None]:
    """In here `import torchaudio.transforms` works, with or without torchaudio."""
    if "torchaudio" in sys.modules or importlib.util.find_spec("torchaudio"):
        yield
        return
    torchaudio, transforms = ModuleType("torchaudio"), ModuleType("torchaudio.transforms")
    vars(torchaudio).update(transforms=transforms)
    vars(transforms).update(MelSpectrogram=MelSpectrogram, AmplitudeToDB=AmplitudeToDB)
    stand_ins = {module.__name__: module for module in (torchaudio, transforms)}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]

"""YAMNet's frozen body as an audio encoder: waveforms in, one 1024-d frame every 0.48 s out.

MobileNet-v1 trained on AudioSet (Plakal and Ellis; tensorflow/models, research/audioset/yamnet).
Input is 16 kHz mono in [-1, 1]. Each frame looks at a patch of 0.975 s; a clip is padded with
zeros on the right until its last sample lies in a patch. What happens to a clip doesn't depend on
its batch mates: patches of padding are never computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  (torch's own convention)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

SAMPLING_RATE = 16_000  # Hz
HIDDEN_SIZE = 1024

WINDOW = 400  # samples, periodic Hann
HOP = 160  # samples
FFT = 512
MEL_BANDS = 64
MEL_LOWEST_HZ, MEL_HIGHEST_HZ = 125.0, 7500.0
LOG_OFFSET = 0.001
PATCH_FRAMES = 96
PATCH_HOP_FRAMES = 48
PATCH_SAMPLES = (PATCH_FRAMES - 1) * HOP + WINDOW  # 15,600
PATCH_HOP_SAMPLES = PATCH_HOP_FRAMES * HOP  # 7,680

STEM_CHANNELS = 32
BLOCKS = (  # stride, channels out
    (1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512), (1, 512),
    (1, 512), (1, 512), (1, 512), (1, 512), (2, 1024), (1, 1024),
)  # fmt: skip
NORM_EPS = 1e-4

PATCHES_AT_A_TIME = 16  # fits the cache: 2 to 3 times as fast as a whole batch at once


class YamnetModel(nn.Module):
    """Waveforms [B, L] → frames [B, T, 1024]. Key names are those of the converted weights."""

    hidden_size = HIDDEN_SIZE
    sampling_rate = SAMPLING_RATE

    def __init__(self) -> None:
        super().__init__()
        self.front_end = LogMel()
        self.stem = ConvNorm(1, STEM_CHANNELS, stride=2)
        self.blocks = nn.ModuleList()
        channels = STEM_CHANNELS
        for stride, channels_out in BLOCKS:
            self.blocks.append(SeparableConv(channels, channels_out, stride))
            channels = channels_out

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch of clips padded on the right.

        Args:
            waveforms: float32 [B, L], 16 kHz.
            lengths: int64 [B], samples of each clip.

        Returns:
            frames [B, T, 1024], zero past the end of a clip, and their mask, bool [B, T].
        """
        counts = self.num_frames(lengths)  # [B]
        n_frames = int(counts.max())
        mask = torch.arange(n_frames, device=counts.device) < counts[:, None]  # [B, T]
        needed = PATCH_SAMPLES + (n_frames - 1) * PATCH_HOP_SAMPLES
        waveforms = F.pad(waveforms, (0, needed - waveforms.shape[1]))  # [B, needed]
        log_mel = self.front_end(waveforms)  # [B, mel frames, 64]
        patches = log_mel.unfold(1, PATCH_FRAMES, PATCH_HOP_FRAMES)  # [B, T, 64, 96]
        patches = patches.transpose(2, 3)[mask]  # [P, 96, 64]
        hidden = self.encode_patches(patches)  # [P, 1024]
        frames = hidden.new_zeros(*mask.shape, HIDDEN_SIZE)
        frames[mask] = hidden
        return frames, mask

    def encode_patches(self, patches: Tensor) -> Tensor:
        """Log-mel patches [P, 96, 64] → [P, 1024].

        They go through in groups of one size, the last filled up with zeros: the shapes that the
        kernels see never change, so neither does a patch's result with its neighbours.
        """
        filling = -len(patches) % PATCHES_AT_A_TIME
        x = F.pad(patches, (0, 0, 0, 0, 0, filling)).unsqueeze(1)  # [P', 1, 96, 64]
        x = x.to(self.stem.conv.weight.dtype).contiguous(memory_format=torch.channels_last)
        groups = [self._encode_group(group) for group in torch.split(x, PATCHES_AT_A_TIME)]
        return torch.cat(groups)[: len(patches)]

    def _encode_group(self, x: Tensor) -> Tensor:
        x = self.stem(x)  # [16, 32, 48, 32]
        for block in self.blocks:
            x = block(x)
        return x.mean(dim=(2, 3))  # [16, 1024]

    def compute_in(self, dtype: torch.dtype) -> None:
        """Fold the norms into the convolutions and compute these in `dtype`: for encoding only."""
        for module in list(self.modules()):
            if isinstance(module, ConvNorm):
                module.norm = fold(module.norm, into=module.conv)
            elif isinstance(module, SeparableConv):
                module.depthwise_norm = fold(module.depthwise_norm, into=module.depthwise)
                module.pointwise_norm = fold(module.pointwise_norm, into=module.pointwise)
        for part in (self.stem, self.blocks):  # the front end stays in float32
            part.to(dtype)
            for convolution in part.modules():
                if isinstance(convolution, nn.Conv2d):
                    weight = convolution.weight.data
                    convolution.weight.data = weight.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def num_frames(lengths: Tensor) -> Tensor:
        """Frames of clips of so many samples: enough for the last sample to be seen, at least 1."""
        beyond_first = (lengths - PATCH_SAMPLES).clamp(min=0)
        return 1 + (beyond_first + PATCH_HOP_SAMPLES - 1) // PATCH_HOP_SAMPLES


class LogMel(nn.Module):
    """Waveforms [B, L] → log-mel frames [B, F, 64], always in float32."""

    window: Tensor
    mel_weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.empty(WINDOW), persistent=False)
        self.register_buffer("mel_weights", torch.empty(FFT // 2 + 1, MEL_BANDS), persistent=False)
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """Compute the window and the filterbank; they aren't stored with the weights."""
        self.window.copy_(torch.hann_window(WINDOW, periodic=True))
        self.mel_weights.copy_(torch.from_numpy(mel_filterbank()))

    def forward(self, waveforms: Tensor) -> Tensor:
        frames = waveforms.unfold(1, WINDOW, HOP)  # [B, F, 400]
        spectrum = torch.fft.rfft(frames * self.window, n=FFT).abs()  # [B, F, 257]
        return torch.log(spectrum @ self.mel_weights + LOG_OFFSET)  # [B, F, 64]


class ConvNorm(nn.Module):
    """Convolution, batch norm without gain, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, *, stride: int) -> None:
        super().__init__()
        self.conv = SameConv(channels_in, channels_out, stride=stride)
        self.norm: nn.Module = ShiftNorm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class SeparableConv(nn.Module):
    """Depthwise 3×3, then pointwise 1×1, each normalised and rectified."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.depthwise = SameConv(channels_in, channels_in, stride=stride, groups=channels_in)
        self.depthwise_norm: nn.Module = ShiftNorm(channels_in)
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1, bias=False)
        self.pointwise_norm: nn.Module = ShiftNorm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.depthwise_norm(self.depthwise(x)))
        return F.relu(self.pointwise_norm(self.pointwise(x)))


class SameConv(nn.Conv2d):
    """3×3 convolution with TensorFlow's SAME padding: an odd row or column goes right or bottom."""

    def __init__(
        self, channels_in: int, channels_out: int, *, stride: int, groups: int = 1
    ) -> None:
        super().__init__(
            channels_in,
            channels_out,
            3,
            stride,
            padding=int(stride == 1),
            groups=groups,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 2:  # every size on the way is even, so all padding is right and bottom
            x = F.pad(x, (0, 1, 0, 1))
        return super().forward(x)


class ShiftNorm(nn.Module):
    """Batch norm in eval mode, without a gain: TensorFlow's `scale=False`."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, bias=self.bias, training=False, eps=NORM_EPS
        )


def fold(norm: nn.Module, *, into: nn.Conv2d) -> nn.Identity:
    """Give a convolution without a bias the weights and the bias that do a `ShiftNorm`'s work."""
    if not isinstance(norm, ShiftNorm):
        raise TypeError(f"{type(norm).__name__} can't be folded: was it folded before?")
    gain = torch.rsqrt(norm.running_var + NORM_EPS)  # [C]
    into.weight.data = into.weight.data * gain[:, None, None, None]
    into.bias = nn.Parameter(norm.bias.data - norm.running_mean * gain)
    return nn.Identity()


def mel_filterbank() -> NDArray[np.float32]:
    """Triangles in the mel domain, HTK scale, [257, 64]; the DC bin is zero."""
    bins = _mel(np.linspace(0.0, SAMPLING_RATE / 2, FFT // 2 + 1))[:, None]
    lowest, highest = _mel(np.array([MEL_LOWEST_HZ, MEL_HIGHEST_HZ]))
    edges = np.linspace(lowest, highest, MEL_BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    weights: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return weights.astype(np.float32)


def _mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 1127.0 * np.log1p(hz / 700.0)
    return mel

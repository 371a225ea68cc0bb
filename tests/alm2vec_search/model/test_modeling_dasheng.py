"""Dasheng, against the original package on each clip alone.

Both have the same random weights (`dasheng_reference.py`), at the size of `dasheng_base` where that
matters, else narrow. Frames come out of a layer norm, so they are about 1; the greatest difference
measured is 1e-5.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch
from torch import nn

from alm2vec_search.model.modeling_dasheng import MEL_BANDS, DashengModel, LogMel

from .dasheng_reference import (
    HOW_TO_INSTALL,
    IS_INSTALLED,
    make_heard,
    published_state_dict,
    reference_encoder,
)

if TYPE_CHECKING:
    from torch import Tensor

SECOND = 16_000
STRETCH = 161_280  # samples, after which positions start again
PATCHES = 252  # of a stretch
LONE_PATCH = 323_100  # samples: the third stretch has one patch, and it is half filled


class Pair(NamedTuple):
    """The package's encoder and ours, with the same weights."""

    theirs: nn.Module
    ours: DashengModel


def pair(embed_dim: int, depth: int, num_heads: int, target_length: int = 1008) -> Pair:
    if not IS_INSTALLED:
        pytest.skip(f"to compare with the original: {HOW_TO_INSTALL}")
    theirs = reference_encoder(embed_dim, depth, num_heads, target_length=target_length)
    ours = DashengModel(embed_dim, depth, num_heads, target_length).eval()
    ours.load_state_dict(published_state_dict(theirs))
    return Pair(theirs, ours)


@pytest.fixture(scope="module")
def base() -> Pair:
    return pair(768, 12, 12)


@pytest.fixture(scope="module")
def narrow() -> Pair:
    return pair(64, 2, 4)


@pytest.fixture(scope="module")
def model() -> DashengModel:
    """Ours alone."""
    torch.manual_seed(0)
    model = DashengModel(64, 2, 4)
    make_heard(model)
    return model.eval()


def sound(n_samples: int, seed: int = 0) -> Tensor:
    """Noise, a rising tone, pauses; loud up to its last sample [N]."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(n_samples - 1, -1, -1) / SECOND  # back from the end
    pulse = (torch.cos(2 * torch.pi * 1.7 * t) > -0.5).float()
    tone = torch.sin(2 * torch.pi * (3000 * t - 40 * t**2))
    return pulse * (0.1 * torch.randn(n_samples, generator=generator) + 0.3 * tone)


def tone(n_samples: int, hz: float = 1000, amplitude: float = 1) -> Tensor:
    """A cosine [N]. At 1000 Hz, all its windows hold the same, and its start mirrors itself."""
    t = torch.arange(n_samples, dtype=torch.float64) / SECOND
    return (amplitude * torch.cos(2 * torch.pi * hz * t)).float()


@torch.inference_mode()
def encode(model: DashengModel, *clips: Tensor) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(clip) for clip in clips])
    return model.forward(nn.utils.rnn.pad_sequence(list(clips), batch_first=True), lengths)


@torch.inference_mode()
def encode_theirs(encoder: nn.Module, clip: Tensor) -> Tensor:
    frames: Tensor = encoder(clip[None], x_length=torch.tensor([len(clip)]))[0]  # [P, D]
    return frames


def assert_same(frames: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(frames, expected, atol=1e-4, rtol=0)


def difference(frames: Tensor, others: Tensor) -> float:
    return float((frames - others).abs().max())


@pytest.mark.parametrize("n_samples", [SECOND, 10 * SECOND, 30 * SECOND, 60 * SECOND, LONE_PATCH])
def test_frames_are_the_packages(base: Pair, n_samples: int) -> None:
    clip = sound(n_samples)
    frames, mask = encode(base.ours, clip)

    assert mask.all()
    assert_same(frames[0], encode_theirs(base.theirs, clip))


@pytest.mark.parametrize(
    "n_samples",
    [
        3_200, 3_201, 3_679, 3_680, 16_001,
        161_279, 161_280, 161_281, 161_759, 161_760, 161_919, 161_920,
        323_039, 323_040, 323_100, 323_199, 323_200,
    ],
)  # fmt: skip
def test_odd_lengths_are_the_packages(narrow: Pair, n_samples: int) -> None:
    clip = sound(n_samples)
    frames, _ = encode(narrow.ours, clip)

    assert frames.isfinite().all()
    assert_same(frames[0], encode_theirs(narrow.theirs, clip))


@pytest.mark.parametrize("n_samples", [1, 160, 1_600, 3_199])
def test_a_short_clip_is_filled_up_with_silence(narrow: Pair, n_samples: int) -> None:
    clip = sound(n_samples)
    filled = nn.functional.pad(clip, (0, 3_200 - n_samples))
    frames, mask = encode(narrow.ours, clip)

    assert mask.tolist() == [[True] * 5]
    assert_same(frames[0], encode_theirs(narrow.theirs, filled))


@pytest.mark.parametrize("target_length", [80, 1012])
def test_stretches_of_another_length(target_length: int) -> None:
    narrow = pair(64, 2, 4, target_length)
    clip = sound(11 * SECOND)

    assert_same(encode(narrow.ours, clip)[0][0], encode_theirs(narrow.theirs, clip))


def test_a_batch_is_the_package_on_each_clip(narrow: Pair) -> None:
    lengths = [16_001, LONE_PATCH, 3_200, 161_760, 480_000, 161_281, 50_000, 3_679]
    clips = [sound(n_samples, seed) for seed, n_samples in enumerate(lengths)]
    frames, mask = encode(narrow.ours, *clips)

    assert mask.sum(dim=1).tolist() == [25, 505, 5, 253, 750, 252, 78, 5]
    for row, clip in enumerate(clips):
        assert_same(frames[row, mask[row]], encode_theirs(narrow.theirs, clip))
    assert not frames[~mask].any()


def test_groups_of_any_size_give_the_same(narrow: Pair) -> None:
    clips = [sound(n_samples) for n_samples in (16_001, LONE_PATCH, 200_000, 3_200)]
    expected, _ = encode(narrow.ours, *clips)
    one_by_one = copy.deepcopy(narrow.ours)
    one_by_one.patches_at_a_time = 1
    a_few = copy.deepcopy(narrow.ours)
    a_few.patches_at_a_time = 600

    assert_same(encode(one_by_one, *clips)[0], expected)
    assert_same(encode(a_few, *clips)[0], expected)


def test_a_batch_of_equals_is_the_packages_batch(narrow: Pair) -> None:
    """Tones of one loudness, with digital silence before or behind: one clamp fits all of them."""
    beep, pause = tone(2 * SECOND), torch.zeros(2 * SECOND)
    clips = [torch.cat([beep, pause]), torch.cat([pause, beep]), torch.cat([pause, beep, beep])]
    clips = [clip[: 4 * SECOND] for clip in clips]
    waveforms, lengths = torch.stack(clips), torch.full((3,), 4 * SECOND)
    with torch.inference_mode():
        log_mel = narrow.theirs.front_end(waveforms)
        expected = narrow.theirs(waveforms, x_length=lengths)

    assert log_mel.amin(dim=(1, 2)).tolist() == pytest.approx([-77.2] * 3, abs=0.1)  # clamped
    assert_same(encode(narrow.ours, *clips)[0], expected)


@pytest.mark.parametrize("quiet_amplitude", [0.0, 1e-6])
def test_a_quiet_clip_is_not_clamped_by_a_loud_one(narrow: Pair, quiet_amplitude: float) -> None:
    loud, quiet = tone(2 * SECOND), quiet_amplitude * sound(2 * SECOND)
    frames, _ = encode(narrow.ours, loud, quiet)
    expected = encode_theirs(narrow.theirs, quiet)
    with torch.inference_mode():
        together = narrow.theirs(
            torch.stack([loud, quiet]), x_length=torch.tensor([2 * SECOND, 2 * SECOND])
        )

    assert difference(together[1], expected) > 0.1  # the package has one clamp for a batch
    assert_same(frames[1], expected)
    assert_same(frames[0], encode_theirs(narrow.theirs, loud))


def test_the_clamp_hears_only_the_clip_itself(narrow: Pair) -> None:
    """A beep at its very end is loudest in a window that lies beyond it, with its mirror image."""
    clip = torch.zeros(SECOND + 159)
    clip[-100:] = tone(100)
    long = 1e-3 * sound(2 * SECOND)
    frames, mask = encode(narrow.ours, clip, long)

    assert_same(frames[0, mask[0]], encode_theirs(narrow.theirs, clip))


def test_digital_silence(narrow: Pair) -> None:
    silence = torch.zeros(2 * SECOND)
    with torch.inference_mode():
        log_mel = narrow.ours.front_end(silence[None], torch.tensor([2 * SECOND]))

    assert log_mel.unique().tolist() == [-100]
    assert_same(encode(narrow.ours, silence)[0][0], encode_theirs(narrow.theirs, silence))


def test_a_full_scale_sine_is_clamped(narrow: Pair) -> None:
    sine = tone(2 * SECOND)
    with torch.inference_mode():
        log_mel = narrow.ours.front_end(sine[None], torch.tensor([2 * SECOND]))

    assert log_mel.min() == log_mel.max() - 120
    assert log_mel.min() > -100  # of digital silence
    assert_same(encode(narrow.ours, sine)[0][0], encode_theirs(narrow.theirs, sine))


def test_positions_start_again_every_stretch(model: DashengModel) -> None:
    frames, _ = encode(model, tone(2 * STRETCH + SECOND))
    first, second, third = frames[0].split(PATCHES)

    assert_same(second, first)
    assert difference(first[0], first[1]) > 0.01  # the sound is the same, the position isn't
    assert len(third) == 25
    assert difference(third, first[:25]) > 0.01  # what they attend to isn't the same


def test_stretches_do_not_hear_each_other(model: DashengModel) -> None:
    clip = sound(2 * STRETCH + SECOND)
    expected, _ = encode(model, clip)
    clip[STRETCH + SECOND : 2 * STRETCH - SECOND] *= 0.1
    frames, _ = encode(model, clip)

    changed = (frames - expected).abs().amax(dim=(0, 2)) > 1e-4  # [P]
    assert not changed[:PATCHES].any()
    assert changed[PATCHES : 2 * PATCHES].all()
    assert not changed[2 * PATCHES :].any()


def test_a_half_filled_patch_is_encoded_but_not_attended_to(model: DashengModel) -> None:
    clip = sound(25 * 640 + 600)
    expected, _ = encode(model, clip)
    clip[25 * 640 + 96 :] *= 0.1  # no window of the patch before reaches as far
    frames, mask = encode(model, clip)

    assert mask.shape == (1, 26)
    assert_same(frames[0, :25], expected[0, :25])
    assert difference(frames[0, 25], expected[0, 25]) > 0.01


def test_padding_is_never_heard(narrow: Pair) -> None:
    clips = [sound(n_samples) for n_samples in (1_000, 16_001, 161_760, LONE_PATCH)]
    expected, _ = encode(narrow.ours, *clips)
    waveforms = torch.randn(4, LONE_PATCH + 50_000, generator=torch.Generator().manual_seed(0))
    for row, clip in enumerate(clips):
        waveforms[row, : len(clip)] = clip
    with torch.inference_mode():
        frames, mask = narrow.ours(waveforms, torch.tensor([len(clip) for clip in clips]))

    assert mask.shape == (4, 505)
    assert_same(frames, expected)


@pytest.mark.parametrize(
    ("n_samples", "mel_frames", "n_frames"),
    [
        (1, 21, 5), (3_199, 21, 5), (3_200, 21, 5), (3_679, 23, 5), (3_680, 24, 6),
        (16_000, 101, 25), (16_479, 103, 25), (16_480, 104, 26),
        (161_279, 1_008, 252), (161_280, 1_009, 252), (161_759, 1_011, 252),
        (161_760, 1_012, 253), (323_039, 2_019, 504), (323_040, 2_020, 505),
        (323_200, 2_021, 505), (480_000, 3_001, 750), (960_000, 6_001, 1_500),
    ],
)  # fmt: skip
def test_frames_of_so_many_samples(
    model: DashengModel, n_samples: int, mel_frames: int, n_frames: int
) -> None:
    lengths = torch.tensor([n_samples, 1])
    frames, mask = encode(model, torch.zeros(n_samples), torch.zeros(1))
    counted = max(n_samples, 3_200)
    log_mel = model.front_end(torch.zeros(1, counted), torch.tensor([counted]))

    assert log_mel.shape == (1, mel_frames, MEL_BANDS)
    assert model.num_frames(lengths).tolist() == [n_frames, 5]
    assert model.num_frames(lengths).dtype == torch.int64
    assert frames.shape == (2, n_frames, model.hidden_size)
    assert mask.dtype == torch.bool
    assert mask.sum(dim=1).tolist() == [n_frames, 5]
    assert mask[:, :5].all()


@pytest.mark.parametrize("part", ["norm1", "norm2", "norm"])
def test_layer_norms_are_as_exact_as_the_packages(part: str) -> None:
    """Where there is little variance, an epsilon of 1e-5 for one of 1e-6 is another result."""
    narrow = pair(64, 2, 4)
    with torch.no_grad():
        for name, parameter in narrow.theirs.named_parameters():
            if name.startswith("patch_embed") or name.endswith("pos_embed"):
                parameter *= 1e-3
            if name.endswith(("attn.proj.weight", "attn.proj.bias", "fc2.weight", "fc2.bias")):
                parameter *= 1e-3
    narrow.ours.load_state_dict(published_state_dict(narrow.theirs))
    clip = sound(SECOND)
    expected = encode_theirs(narrow.theirs, clip)
    for name, module in narrow.theirs.named_modules():
        if isinstance(module, nn.LayerNorm) and name.split(".")[-1] == part:
            module.eps = 1e-5

    assert difference(encode_theirs(narrow.theirs, clip), expected) > 0.01
    assert_same(encode(narrow.ours, clip)[0][0], expected)


def test_the_batch_norm_is_as_exact_as_the_packages() -> None:
    narrow = pair(64, 2, 4)
    norm = narrow.theirs.init_bn[1]
    norm.running_var.fill_(1e-4)
    narrow.ours.load_state_dict(published_state_dict(narrow.theirs))
    clip, lengths = sound(SECOND)[None], torch.tensor([SECOND])
    with torch.inference_mode():
        expected = narrow.theirs.forward_to_spec(clip)[:, 0].mT  # [1, F, 64]
        log_mel = narrow.ours.init_bn(narrow.ours.front_end(clip, lengths))
        norm.eps = 1e-6
        others = narrow.theirs.forward_to_spec(clip)[:, 0].mT

    torch.testing.assert_close(log_mel, expected, rtol=1e-5, atol=0.02)
    assert difference(others, expected) > 100


def test_log_mel_frames_are_the_packages(narrow: Pair) -> None:
    clip = sound(5 * SECOND)[None]
    with torch.inference_mode():
        log_mel = narrow.ours.front_end(clip, torch.tensor([5 * SECOND]))
        expected = narrow.theirs.front_end(clip).mT

    torch.testing.assert_close(log_mel, expected, rtol=0, atol=1e-3)  # measured 2e-4


def test_front_end_is_what_checkpoints_keep_of_theirs(narrow: Pair) -> None:
    spectrogram = narrow.theirs.front_end[0]
    ours = narrow.ours.front_end

    torch.testing.assert_close(ours.window, spectrogram.window, rtol=0, atol=1e-7)
    torch.testing.assert_close(ours.mel_weights, spectrogram.fb, rtol=0, atol=1e-5)


def test_log_mel_of_a_sine() -> None:
    """1 kHz is bin 32 of 512. Hann's window gives it half its length, and a quarter to either
    neighbour; band 22 has its peak at 1006.8 Hz."""
    sine = tone(SECOND, amplitude=0.5)[None]
    log_mel = LogMel()(sine, torch.tensor([SECOND]))[0]  # [101, 64]

    edge_mel = [(22 + i) * 2595 * math.log10(1 + 8000 / 700) / 65 for i in range(3)]
    lower, peak, upper = [700 * (10 ** (mel / 2595) - 1) for mel in edge_mel]
    power = sum(
        (0.5 * share * 512 / 2) ** 2
        * min((hz - lower) / (peak - lower), (upper - hz) / (upper - peak))
        for hz, share in ((968.75, 0.25), (1000, 0.5), (1031.25, 0.25))
    )
    assert log_mel[:99].argmax(dim=1).tolist() == [22] * 99
    torch.testing.assert_close(
        log_mel[:99, 22], torch.full((99,), 10 * math.log10(power)), rtol=0, atol=1e-3
    )


def test_front_end_stays_in_float32(narrow: Pair) -> None:
    half = copy.deepcopy(narrow.ours).to(torch.bfloat16)
    clip = tone(2 * SECOND) + 1e-4 * sound(2 * SECOND)
    lengths = torch.tensor([2 * SECOND])
    with torch.inference_mode():
        expected = narrow.ours.front_end(clip[None], lengths)
        log_mel = half.front_end(clip[None], lengths)
    frames, mask = encode(half, clip)

    assert log_mel.dtype == torch.float32
    assert torch.equal(log_mel, expected)  # a window in bfloat16 is some 10 dB off
    assert frames.dtype == torch.bfloat16
    assert mask.all()
    assert difference(frames.float(), encode(narrow.ours, clip)[0]) < 0.1  # measured 0.04


def test_front_end_is_made_in_float32() -> None:
    """As transformers makes a model that it loads in bfloat16."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        front_end = DashengModel(64, 1, 4).front_end
    finally:
        torch.set_default_dtype(before)

    assert torch.equal(front_end.window, torch.hann_window(512))
    assert torch.equal(front_end.mel_weights, LogMel().mel_weights)


def test_keys_are_the_published_ones(base: Pair) -> None:
    ours = {name: tensor.shape for name, tensor in base.ours.state_dict().items()}
    theirs = {name: tensor.shape for name, tensor in published_state_dict(base.theirs).items()}

    assert ours == theirs
    assert base.ours.hidden_size == 768
    assert base.ours.sampling_rate == SECOND


def test_midashenglm_has_630_million_parameters() -> None:
    with torch.device("meta"):
        model = DashengModel(1280, 32, 16)

    assert sum(parameter.numel() for parameter in model.parameters()) == 630_333_568
    assert len(model.state_dict()) == 395  # published are two more, of the front end

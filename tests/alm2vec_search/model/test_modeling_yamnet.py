"""YAMNet in PyTorch, against what TensorFlow computed for the same signal.

`yamnet_reference.npz` holds TensorFlow's log-mel frames, embeddings and scores for `chirps()`, from
YAMNet's own float32 weights. Tolerances are about twice what was measured. Most of them is the half
precision of the bundled weights: with float32 weights the embeddings (up to 5.9) differ by 0.0005.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from alm2vec_search.model.hub import BUNDLED_FOLDER
from alm2vec_search.model.modeling_yamnet import (
    HIDDEN_SIZE,
    LogMel,
    SameConv,
    YamnetModel,
    mel_filterbank,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from alm2vec_search.domain import Waveform
    from alm2vec_search.model.encoder import ALM2VecEncoder


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[np.float32]]:
    with np.load(Path(__file__).parent / "yamnet_reference.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def yamnet(encoder32: ALM2VecEncoder) -> YamnetModel:
    """With the bundled weights, in float32, as it encodes: fused."""
    return encoder32._model.audio_encoder


def load_yamnet() -> YamnetModel:
    """The same, not fused."""
    stored = load_file(BUNDLED_FOLDER / "base-audio-encoder.safetensors")
    model = YamnetModel()
    model.load_state_dict(
        {key.removeprefix("audio_encoder."): value.float() for key, value in stored.items()}
    )
    return model.eval()


def chirps() -> torch.Tensor:
    """3 s of rising tones with pauses [1, 48000]."""
    t = np.arange(48_000) / 16_000
    sweep = 0.5 * np.sin(2 * np.pi * (200 * t + 400 * t**2))
    return torch.from_numpy((sweep * (np.sin(2 * np.pi * 3 * t) > 0)).astype(np.float32))[None]


def noise(n_samples: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_samples, generator=generator) * 0.1


@torch.inference_mode()
def encode(model: YamnetModel, *clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(clip) for clip in clips])
    waveforms = torch.nn.utils.rnn.pad_sequence(list(clips), batch_first=True)
    return model.forward(waveforms, lengths)


def test_log_mel_is_tensorflows(reference: dict[str, NDArray[np.float32]]) -> None:
    log_mel = LogMel()(chirps())[0].numpy()

    assert log_mel.shape == reference["log_mel"].shape == (298, 64)
    difference = np.abs(log_mel - reference["log_mel"])
    # Where it is quiet beside a loud tone, both are as far from a float64 transform: 0.0046.
    assert difference.max() < 0.01
    assert np.median(difference) < 2e-6


def test_embeddings_are_tensorflows(
    yamnet: YamnetModel, reference: dict[str, NDArray[np.float32]]
) -> None:
    frames, mask = encode(yamnet, chirps()[0])

    # TensorFlow leaves out the tail that doesn't fill a patch; here it is seen, in one more frame.
    assert frames.shape == (1, 6, HIDDEN_SIZE)
    assert mask.all()
    assert np.abs(frames[0, :5].numpy() - reference["embeddings"]).max() < 0.04  # measured 0.018


@pytest.mark.parametrize(("name", "most"), [("encoder32", 0.013), ("encoder16", 0.035)])
def test_scores_are_tensorflows(
    request: pytest.FixtureRequest,
    reference: dict[str, NDArray[np.float32]],
    name: str,
    most: float,
) -> None:
    encoder: ALM2VecEncoder = request.getfixturevalue(name)
    detector = encoder._model.audio_projector.detector

    frames, _ = encode(encoder._model.audio_encoder, chirps()[0])
    with torch.inference_mode():
        scores = torch.sigmoid(detector(frames.float()))[0, :5, :521].numpy()  # YAMNet's own

    assert np.abs(scores - reference["scores"]).max() < most  # measured 0.0065 and 0.018, of 0.43
    loudest = reference["scores"].max(axis=1)  # of several that tie, any may come out first
    chosen = reference["scores"][np.arange(5), scores.argmax(axis=1)]
    assert (loudest - chosen < most).all()


def test_mel_filterbank_is_a_row_of_triangles() -> None:
    weights = mel_filterbank()  # [257, 64]
    hz = np.linspace(0, 8000, 257)
    sums = weights.sum(axis=1)

    assert weights.shape == (257, 64)
    assert not weights[hz <= 125].any()
    assert not weights[hz >= 7500].any()
    # Between the first and the last peak, two neighbours share each frequency, and leave nothing.
    peaks = hz[weights.argmax(axis=0)]
    between = (hz > peaks[0] + 32) & (hz < peaks[-1] - 32)
    np.testing.assert_allclose(sums[between], 1, atol=1e-5)


def test_same_padding_goes_right_and_bottom() -> None:
    ones = torch.ones(1, 1, 4, 4)
    strided, plain = SameConv(1, 1, stride=2), SameConv(1, 1, stride=1)
    torch.nn.init.ones_(strided.weight)
    torch.nn.init.ones_(plain.weight)

    with torch.inference_mode():
        assert strided(ones)[0, 0].tolist() == [[9, 6], [6, 4]]
        assert plain(ones)[0, 0].tolist() == [
            [4, 6, 6, 4],
            [6, 9, 9, 6],
            [6, 9, 9, 6],
            [4, 6, 6, 4],
        ]


@pytest.mark.parametrize(
    ("n_samples", "n_frames"), [(1, 1), (15_600, 1), (15_601, 2), (23_280, 2), (23_281, 3)]
)
def test_a_clip_has_frames_until_its_last_sample(
    yamnet: YamnetModel, n_samples: int, n_frames: int
) -> None:
    frames, mask = encode(yamnet, noise(n_samples))

    assert yamnet.num_frames(torch.tensor([n_samples])).tolist() == [n_frames]
    assert frames.shape == (1, n_frames, HIDDEN_SIZE)
    assert mask.shape == (1, n_frames)
    assert mask.all()
    assert frames.isfinite().all()


@pytest.mark.parametrize("n_samples", [15_601, 23_281])
def test_a_sample_beyond_a_patch_is_heard(yamnet: YamnetModel, n_samples: int) -> None:
    clip = noise(n_samples)
    expected, _ = encode(yamnet, clip)
    clip[-1] += 10

    frames, _ = encode(yamnet, clip)

    torch.testing.assert_close(frames[0, :-1], expected[0, :-1])
    assert (frames[0, -1] - expected[0, -1]).abs().max() > 0.1


def test_fuse_changes_nothing(yamnet: YamnetModel) -> None:
    frames, _ = encode(load_yamnet(), chirps()[0])
    difference = (encode(yamnet, chirps()[0])[0] - frames).abs().max()

    assert difference < 5e-5  # measured 1e-5, of 5.9


def test_fuse_happens_once() -> None:
    model = YamnetModel()
    model.compute_in(torch.float32)

    with pytest.raises(TypeError, match="folded before"):
        model.compute_in(torch.float32)


def test_a_clip_is_the_same_in_company(yamnet: YamnetModel) -> None:
    clips = [noise(9_000, 1), chirps()[0], noise(31_000, 2)]
    alone = [encode(yamnet, clip)[0][0] for clip in clips]
    frames, mask = encode(yamnet, *clips)

    assert mask.sum(dim=1).tolist() == [1, 6, 4]
    for row, expected in enumerate(alone):
        torch.testing.assert_close(frames[row, mask[row]], expected, atol=1e-5, rtol=1e-5)
    assert not frames[~mask].any()


def test_padding_beyond_the_longest_clip_is_cut_off(yamnet: YamnetModel) -> None:
    clip = chirps()
    padded = torch.nn.functional.pad(clip, (0, 50_000))
    with torch.inference_mode():
        frames, mask = yamnet(padded, torch.tensor([48_000]))

    assert mask.shape == (1, 6)
    torch.testing.assert_close(frames, encode(yamnet, clip[0])[0], atol=1e-5, rtol=1e-5)


def test_real_sounds_are_heard(encoder32: ALM2VecEncoder, sounds: dict[str, Waveform]) -> None:
    """The class that is most present, in the words of AudioSet."""
    expected = {
        "REC_0042.wav": "Animal",
        "R07_0113.wav": "Crow",
        "creek.ogg": "Water",
        "counting.flac": "Speech",
    }
    model = encoder32._model
    heard = {}
    for name in expected:
        frames, mask = encode(model.audio_encoder, torch.from_numpy(sounds[name].samples))
        with torch.inference_mode():
            best = int(model.audio_projector.hear(frames, mask).argmax())
        heard[name] = model.config.id2label[best]

    assert heard == expected

"""Retrieval in closed form, and of a model that is being trained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
import torch
from toy_model import SAMPLING_RATE, noise, toy_model, toy_processor

from alm2vec_search.errors import PairError, TrainingError
from trainer.data import Line
from trainer.evaluation import Evaluator, HeldOut, first_places, measures, retrieval
from trainer.frame_cache import FrameCache
from trainer.pairs import Pair

if TYPE_CHECKING:
    from torch import Tensor

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel


def held_out(*pairs: dict[str, Any], folder: Path | None = None) -> HeldOut:
    parsed = [Pair.model_validate(pair) for pair in pairs]
    if folder is not None:
        parsed = [pair.located(folder) for pair in parsed]
    lines = [(pair, Line(Path(__file__), 0)) for pair in parsed]
    return HeldOut(lines, query_instruction="find", document_instruction="")


def unit(*angles: float) -> Tensor:
    """Unit vectors [n, 2] at angles in degrees."""
    radians = torch.tensor(angles) * math.pi / 180
    return torch.stack([radians.cos(), radians.sin()], dim=1)


# ---- measures ----


def test_a_place_counts_what_is_as_high_and_not_ones_own() -> None:
    scores = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [5.0, 1.0, 4.0]])
    relevant = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 1]]).bool()

    assert first_places(scores, relevant).tolist() == [0, 2, 2, 1]


def test_giving_all_the_same_score_finds_nothing() -> None:
    places = first_places(torch.ones(20, 20), torch.eye(20).bool())
    assert places.tolist() == [19] * 20
    assert measures(places) == {"r@1": 0, "r@5": 0, "r@10": 0, "mrr": pytest.approx(1 / 20)}


def test_what_is_no_number_is_an_error_and_no_success() -> None:
    scores = torch.tensor([[float("nan"), 1.0]])
    with pytest.raises(TrainingError, match="aren't finite"):
        first_places(scores, torch.tensor([[True, False]]))


def test_measures_of_places() -> None:
    found = measures(torch.tensor([0, 0, 3, 9, 10]))
    assert found == {
        "r@1": pytest.approx(2 / 5),
        "r@5": pytest.approx(3 / 5),
        "r@10": pytest.approx(4 / 5),
        "mrr": pytest.approx((1 + 1 + 1 / 4 + 1 / 10 + 1 / 11) / 5),
    }


def test_several_captions_of_a_clip_as_published() -> None:
    """Three captions of two clips: each caption asks; a clip finds the best of its own."""
    captions, clips = unit(0, 80, 100), unit(10, 90)
    relevant = torch.tensor([[1, 0], [1, 0], [0, 1]]).bool()

    found = retrieval(captions, clips, relevant)

    # the second caption, at 80°, is nearer to the other clip, at 90°
    assert found["r@1_q2d"] == pytest.approx(2 / 3)
    assert found["mrr_q2d"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    # the first clip finds its first caption; the second's caption is as near as a wrong one
    assert found["r@1_d2q"] == pytest.approx(1 / 2)
    assert found["mrr_d2q"] == pytest.approx((1 + 1 / 2) / 2)


def test_many_queries_are_compared_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, documents = torch.randn(2, 23, 4, generator=generator)
    whole = retrieval(queries, documents, torch.eye(23).bool())
    monkeypatch.setattr("trainer.evaluation.QUERIES_AT_A_TIME", 5)
    assert retrieval(queries, documents, torch.eye(23).bool()) == whole


# ---- what is searched ----


def test_each_content_counts_once_and_each_direction_by_itself() -> None:
    pairs = held_out(
        {"query": {"text": "a dog"}, "document": {"audio": "1.wav"}, "source": "s"},
        {"query": {"text": " A  DOG "}, "document": {"audio": "1.wav"}, "source": "s"},
        {"query": {"text": "barking"}, "document": {"audio": "1.wav"}, "source": "s"},
        {"query": {"audio": "1.wav"}, "document": {"text": "a dog"}, "source": "s"},
        {"query": {"audio": "1.wav"}, "document": {"text": "barking"}, "source": "s"},
        {"query": {"text": "who?", "audio": "1.wav"}, "document": {"text": "a dog"}},
    )

    counts = {pool.name: (len(pool.queries), len(pool.documents)) for pool in pairs.pools}
    assert counts == {
        "s_text_to_audio": (2, 1),
        "s_audio_to_text": (1, 2),
        "both_to_text": (1, 1),
    }
    assert len(pairs.inputs) == 2 + 1 + 1 + 2 + 1, "contents that are known are embedded once"
    assert pairs.pools[1].relevant().tolist() == [[True, True]]


def test_an_instruction_makes_another_query() -> None:
    pairs = held_out(
        {"query": {"text": "a dog"}, "document": {"text": "x"}},
        {"query": {"text": "a dog", "instruction": "find"}, "document": {"text": "y"}},
        {"query": {"text": "a dog", "instruction": "other"}, "document": {"text": "y"}},
    )
    (pool,) = pairs.pools
    assert pool.relevant().tolist() == [[True, True], [False, True]]
    assert [asked.instruction for asked in pairs.inputs] == ["find", "", "", "other"]


def test_means_are_over_pools_and_each_pool_has_its_own_numbers() -> None:
    pairs = held_out(
        {"query": {"text": "a"}, "document": {"audio": "1.wav"}},
        {"query": {"text": "b"}, "document": {"audio": "2.wav"}},
        {"query": {"audio": "1.wav"}, "document": {"text": "a"}},
        {"query": {"audio": "2.wav"}, "document": {"text": "b"}},
    )
    # queries a, b and documents 1, 2 fit; queries 1, 2 and documents a, b are crossed
    rows = {"a": 0, "1": 0, "b": 90, "2": 90}
    crossed = {"1": 90, "a": 0, "2": 0, "b": 90}
    angles = []
    for place, asked in enumerate(pairs.inputs):
        name = asked.side.text or asked.side.audio.path.stem  # type: ignore[union-attr]
        angles.append((rows if place < 4 else crossed)[name])

    found = pairs.measure(unit(*angles))

    assert found["r@1_text_to_audio"] == 1
    assert found["r@1_audio_to_text"] == 0
    assert found["r@1_q2d"] == found["r@1_d2q"] == 0.5
    assert found["mrr_q2d"] == 0.75
    alone = held_out({"query": {"text": "a"}, "document": {"text": "b"}}).measure(unit(0, 0))
    assert set(alone) == {f"{n}_{w}" for n in ("r@1", "r@5", "r@10", "mrr") for w in ("q2d", "d2q")}


# ---- a model ----


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for number in range(3):
        sound = noise(number, 0.3 + 0.2 * number)
        soundfile.write(tmp_path / f"{number}.wav", sound.samples, SAMPLING_RATE)
    return tmp_path


def pairs_of(sounds: Path) -> HeldOut:
    words = ("wind", "rain", "a dog far away")
    return held_out(
        *({"query": {"text": w}, "document": {"audio": f"{n}.wav"}} for n, w in enumerate(words)),
        folder=sounds,
    )


def evaluator(model: ALM2VecModel, pairs: HeldOut, **options: Any) -> Evaluator:
    processor = toy_processor(model)
    return Evaluator(pairs, processor, 2, sampling_rate=SAMPLING_RATE, **options)


def test_it_measures_without_gradients_and_leaves_the_model_as_it_was(sounds: Path) -> None:
    model = toy_model(dropout=0.5).train()
    calls = []
    seen: list[tuple[bool, bool]] = []
    model.register_forward_pre_hook(
        lambda module, _: seen.append((module.training, torch.is_grad_enabled()))
    )
    measure = evaluator(model, pairs_of(sounds), progress=lambda done, of: calls.append((done, of)))

    first, second = measure(model), measure(model)

    assert first == second, "dropout is off"
    assert set(seen) == {(False, False)}
    assert model.training
    assert calls[:5] == [(0, 6), (1, 6), (3, 6), (4, 6), (6, 6)]  # texts, then sounds
    assert not any(weights.grad is not None for weights in model.parameters())


def test_frames_measure_what_their_sounds_do(sounds: Path) -> None:
    model = toy_model()
    pairs = pairs_of(sounds)

    def encode(waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return model.audio_encoder(waveforms, lengths)[0], model.audio_encoder.num_frames(lengths)

    cache = FrameCache(sounds / "cache", encode, "toy", sampling_rate=SAMPLING_RATE, frame_size=16)
    refs = [asked.side.audio for asked in pairs.inputs if asked.side.audio is not None]
    assert cache.fill(refs).encoded == 3
    of_sounds = evaluator(model, pairs).embed(model)
    of_frames = evaluator(model, pairs, frame_cache=cache).embed(model)
    torch.testing.assert_close(of_sounds, of_frames, atol=2e-3, rtol=0)  # kept as float16
    assert of_sounds.norm(dim=1).tolist() == pytest.approx([1] * 6)


def test_a_long_sound_is_heard_from_its_start(sounds: Path) -> None:
    model = toy_model()
    pairs = pairs_of(sounds)
    heard: list[int] = []
    whole = toy_processor(model)

    def processor(inputs: Any) -> Any:
        heard.extend(len(i.audio.samples) for i in inputs if i.audio is not None)
        return whole(inputs)

    Evaluator(pairs, processor, 2, SAMPLING_RATE, max_audio_s=0.4)(model)

    assert heard == [4800, 6400, 6400]


def test_a_sound_that_is_gone_is_named_with_its_line(sounds: Path) -> None:
    model = toy_model().train()
    pairs = pairs_of(sounds)
    (sounds / "1.wav").unlink()
    with pytest.raises(PairError, match=r"test_evaluation\.py:1: .*1\.wav"):
        evaluator(model, pairs)(model)
    assert model.training

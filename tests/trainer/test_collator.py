"""Pairs → batches of tensors, from real files of sound, with the real classes of the model."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from toy_model import toy_model, toy_processor

from alm2vec_search.errors import PairError, TrainingError
from alm2vec_search.model.processing_alm2vec import Frames, ModelInput
from trainer.collator import Collator, clip_id, document_id, query_id, raise_error
from trainer.data import Line, LocatedPair, PairDataset, PairFile, sounds_of
from trainer.frame_cache import FrameCache
from trainer.hearing import hear
from trainer.mixture import Draw, Mixture
from trainer.pairs import AudioRef, Pair, Side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

RATE = 16_000  # Hz
OPEN_FILES = Path("/proc/self/fd")


class Recorder:
    """A processor that keeps what it was given, and gives one number for each input."""

    def __init__(self) -> None:
        self.inputs: list[ModelInput] = []

    def __call__(self, inputs: Sequence[ModelInput]) -> dict[str, Tensor]:
        self.inputs += inputs
        return {"numbers": torch.arange(len(inputs))}


def collator(processor: Any, **changes: Any) -> Collator:
    fields: dict[str, Any] = {
        "max_audio_s": None,
        "mini_batch_size": 4,
        "seed": 3,
        "query_instruction": "find",
        "document_instruction": "",
        "sampling_rate": RATE,
    }
    return Collator(processor, **(fields | changes))


def located(
    query: dict[str, Any] | str, document: dict[str, Any] | str = "d", row: int = 0, **rest: Any
) -> LocatedPair:
    sides = [{"text": side} if isinstance(side, str) else side for side in (query, document)]
    pair = Pair.model_validate({"query": sides[0], "document": sides[1], **rest})
    return LocatedPair(pair, Line(Path("p.jsonl"), 0), Draw(0, 0, row))


def write_ramp(path: Path, seconds: float = 10) -> Path:
    """It rises by 0.1 a second: a sample says where it comes from."""
    n_samples = round(seconds * RATE)
    soundfile.write(path, np.arange(n_samples, dtype=np.float32) / (10 * RATE), RATE, "PCM_24")
    return path


def starts(inputs: Sequence[ModelInput]) -> list[float]:
    """Where ramps were cut, in seconds."""
    return [float(i.audio.samples[0]) * 10 for i in inputs if i.audio]  # type: ignore[union-attr]


def test_a_batch_has_all_that_was_agreed() -> None:
    recorder = Recorder()
    pairs = [
        located("a", "b", 0, negatives=[{"text": "n1"}, {"text": "n2"}]),
        located("c", "d", 1),
        located({"text": "e", "instruction": "answer"}, "f", 2, negatives=[{"text": "n3"}]),
    ]
    batch = collator(recorder, mini_batch_size=2)(pairs)
    assert set(batch) == {
        "mini_batches",
        "rows",
        "query_ids",
        "document_ids",
        "clip_ids",
        "negative_owners",
    }
    assert [len(mini["numbers"]) for mini in batch["mini_batches"]] == [1, 2, 2, 2, 2]
    texts = [(i.text, i.instruction) for i in recorder.inputs]  # as the mini-batches have them
    asked = [("a", "find"), ("c", "find"), ("e", "answer")]
    answers = [(text, "") for text in ("b", "d", "f", "n1", "n2", "n3")]
    assert [texts[row] for row in batch["rows"]] == [*asked, *answers]
    assert batch["negative_owners"].tolist() == [0, 0, 2]
    assert batch["query_ids"].shape == batch["clip_ids"].shape == (3,)
    assert batch["document_ids"].shape == (6,)
    for name in ("query_ids", "document_ids", "clip_ids", "negative_owners"):
        assert batch[name].dtype == torch.int64


def test_without_hard_negatives() -> None:
    batch = collator(Recorder())([located("a")])
    assert batch["negative_owners"].shape == (0,)
    assert batch["negative_owners"].dtype == torch.int64


def test_ids_are_equal_where_the_content_is() -> None:
    def side(text: str | None = None, **audio: Any) -> Side:
        return Side(text=text, audio=AudioRef(**audio) if audio else None)

    assert document_id(side("A  Blackbird\n")) == document_id(side("a blackbird"))
    assert document_id(side("a", path="x")) == document_id(side("A", path="x", start_s=0))
    different = [
        side("a"),
        side("b"),
        side(path="a"),
        side("a", path="a"),
        side(path="b"),
        side(path="a", start_s=1),
        side(path="a", end_s=1),
        side(path="a", frames="1"),
        side(path="a", frames="2"),
    ]
    assert len({document_id(each) for each in different}) == len(different)
    assert len({query_id(each, "find") for each in different}) == len(different)


def test_an_instruction_counts_for_queries_only() -> None:
    plain, own = Side(text="a"), Side(text="a", instruction="answer")
    assert document_id(plain) == document_id(own)
    assert query_id(plain, "find") != query_id(plain, "answer")
    pairs = [located("a", "b", 0), located({"text": "A", "instruction": "find"}, "b", 1)]
    pairs.append(located({"text": "a", "instruction": "answer"}, "b", 2))
    batch = collator(Recorder())(pairs)
    first, second, third = batch["query_ids"].tolist()
    assert first == second  # one is the default, and the other says the same
    assert first != third
    assert len(set(batch["document_ids"].tolist())) == 1


def test_clips_are_of_a_source_or_else_of_a_file() -> None:
    one = located("a", clip="7", source="s")
    assert clip_id(one) == clip_id(located("b", row=5, clip="7", source="s"))
    others = [located("a", clip="8", source="s"), located("a", clip="7", source="t")]
    nameless = located("a", clip="7")
    elsewhere = replace(nameless, line=Line(Path("q.jsonl"), 0))
    assert clip_id(nameless) == clip_id(located("b", row=5, clip="7"))
    assert len({clip_id(pair) for pair in (one, *others, nameless, elsewhere)}) == 5
    assert all(clip_id(pair) >= 0 for pair in (one, *others, nameless, elsewhere))


def test_what_has_no_clip_is_alone() -> None:
    pairs = [
        replace(located("a"), draw=Draw(source, epoch, group))
        for source in range(3)
        for epoch in range(3)
        for group in range(50)
    ]
    ids = collator(Recorder())(pairs)["clip_ids"]
    assert (ids < 0).all()
    assert len(set(ids.tolist())) == len(pairs)


def test_ids_are_the_same_everywhere() -> None:
    """Processes compare them: they must not depend on Python's own hash, which is salted."""
    assert document_id(Side(text="A blackbird")) == 8_898_411_669_550_430_205
    assert query_id(Side(audio=AudioRef(path=Path("a.wav"))), "find") == 8_215_910_206_852_409_872


def test_sounds_are_cut_by_seed_draw_and_side(tmp_path: Path) -> None:
    audio = {"audio": str(write_ramp(tmp_path / "a.wav"))}

    def cuts(seed: int, draw: Draw) -> list[float]:
        recorder = Recorder()
        pair = replace(located(audio, audio, negatives=[audio, audio]), draw=draw)
        collator(recorder, max_audio_s=1.0, seed=seed)([pair])
        assert {i.audio.duration_s for i in recorder.inputs} == {1.0}  # type: ignore[union-attr]
        return starts(recorder.inputs)

    first = cuts(1, Draw(0, 0, 0))
    assert first == cuts(1, Draw(0, 0, 0))
    others = [
        *cuts(2, Draw(0, 0, 0)),
        *cuts(1, Draw(1, 0, 0)),
        *cuts(1, Draw(0, 1, 0)),
        *cuts(1, Draw(0, 0, 1)),
    ]
    assert len({*first, *others}) == 20  # each side by itself


def test_sounds_are_decoded_at_the_models_rate(tmp_path: Path) -> None:
    for name, rate in (("a.wav", 44_100), ("b.flac", 8_000), ("c.ogg", 48_000)):
        soundfile.write(tmp_path / name, np.zeros((rate, 2), np.float32), rate)
        recorder = Recorder()
        collator(recorder)([located({"audio": str(tmp_path / name)})])
        (_, heard) = recorder.inputs  # texts come first
        assert heard.audio is not None
        assert heard.audio.sampling_rate == RATE  # type: ignore[union-attr]
        assert len(heard.audio.samples) == RATE  # type: ignore[union-attr]


@pytest.fixture
def file(tmp_path: Path) -> PairFile:
    """Pairs of sounds and words, in three formats."""
    lines = []
    for n in range(12):
        path = tmp_path / f"{n}.{('wav', 'flac', 'ogg')[n % 3]}"
        samples = np.random.default_rng(n).normal(size=4000 + 800 * n) * 0.1
        soundfile.write(path, samples.astype(np.float32), RATE)
        pair: dict[str, Any] = {
            "query": {"text": f"number {n}"},
            "document": {"audio": path.name},
            "clip": str(n // 2),
        }
        if n % 4 == 0:
            pair["negatives"] = [{"audio": {"path": "0.wav", "start_s": 0.05}}, {"text": "no"}]
        lines.append(json.dumps(pair))
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    return PairFile(tmp_path / "p.jsonl")


def same(left: Any, right: Any) -> bool:
    """Whether two batches are equal, tensor by tensor."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return len(left) == len(right) and all(map(same, left, right))


def test_a_batch_is_what_the_model_takes(file: PairFile) -> None:
    model = toy_model()
    dataset = PairDataset([file], seed=0)
    pairs = [dataset[Draw(0, 0, group)] for group in range(12)]
    batch = collator(toy_processor(model), max_audio_s=0.5)(pairs)
    assert [len(mini["input_ids"]) for mini in batch["mini_batches"]] == [3, 4, 4, 4] * 2
    assert ["waveforms" in mini for mini in batch["mini_batches"]] == [False] * 4 + [True] * 4
    assert batch["negative_owners"].tolist() == [0, 0, 4, 4, 8, 8]
    longest = max(mini["waveform_lengths"].max() for mini in batch["mini_batches"][4:])
    assert int(longest) == RATE // 2
    with torch.no_grad():
        embeddings = torch.cat([model(**mini) for mini in batch["mini_batches"]])
    vectors = embeddings[batch["rows"][12:]]  # of the documents
    assert vectors.shape == (18, 24)
    sound = hear(AudioRef(path=file.path.parent / "1.flac"), RATE, 0.5, 0.0)
    alone = toy_processor(model)([ModelInput(None, sound, "")])
    with torch.no_grad():
        torch.testing.assert_close(model(**alone)[0], vectors[1], atol=1e-5, rtol=1e-5)
    ids = batch["document_ids"].tolist()
    assert ids[12] == ids[14] == ids[16]
    assert ids[13] == ids[15] == ids[17]
    assert len(set(ids)) == 14
    assert len(set(batch["clip_ids"].tolist())) == 6


def cache_for(model: Any, folder: Path, max_audio_s: float | None = None) -> FrameCache:
    def encode(waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        frames, mask = model.audio_encoder(waveforms, lengths)
        return frames, mask.sum(dim=1)

    return FrameCache(
        folder, encode, "toy", sampling_rate=RATE, frame_size=16, max_audio_s=max_audio_s
    )


def test_a_batch_of_frames_means_the_same(file: PairFile, tmp_path: Path) -> None:
    model = toy_model()
    dataset = PairDataset([file], seed=0)
    pairs = [dataset[Draw(0, 0, group)] for group in range(12)]
    cache = cache_for(model, tmp_path / "cache")
    cache.fill(sound for pair, _ in file.pairs() for sound in sounds_of(pair))
    heard = collator(toy_processor(model))(pairs)
    cached = collator(toy_processor(model), frame_cache=cache)(pairs)
    assert "frames" in cached["mini_batches"][-1]
    assert "waveforms" not in cached["mini_batches"][-1]
    for name in ("rows", "query_ids", "document_ids", "clip_ids", "negative_owners"):
        assert torch.equal(heard[name], cached[name])
    with torch.no_grad():
        for left, right in zip(heard["mini_batches"], cached["mini_batches"], strict=True):
            torch.testing.assert_close(model(**left), model(**right), atol=5e-3, rtol=0)


def test_frames_of_the_users_own_go_with_sounds(file: PairFile, tmp_path: Path) -> None:
    model = toy_model()
    own = torch.randn(5, 16)
    save_file({"x": own}, tmp_path / "own.safetensors")
    cache = cache_for(model, tmp_path / "cache")
    sound = AudioRef(path=tmp_path / "0.wav")
    cache.fill([sound])
    recorder = Recorder()
    frames = {"audio": {"path": str(tmp_path / "own.safetensors"), "frames": "x"}}
    collator(recorder, frame_cache=cache)([located(frames, {"audio": str(sound.path)})])
    document, query = (i.audio for i in recorder.inputs)  # what has no words comes first
    assert isinstance(query, Frames)
    assert isinstance(document, Frames)
    assert torch.equal(query.values, own)
    assert torch.equal(document.values, cache.get(sound))


def test_frames_need_a_cache(tmp_path: Path) -> None:
    pair = located({"audio": {"path": str(tmp_path / "own.safetensors"), "frames": "x"}})
    (tmp_path / "p.jsonl").write_text("")
    pair = replace(pair, line=Line(tmp_path / "p.jsonl", 0))
    with pytest.raises(PairError, match="no frame cache is used") as caught:
        collator(Recorder())([pair])
    assert caught.value.hint


def write_bad(folder: Path) -> PairFile:
    """The third line names a sound that can't be heard."""
    write_ramp(folder / "good.wav", 0.2)
    (folder / "bad.wav").write_text("no sound at all")
    lines = [
        json.dumps({"query": {"audio": f"{name}.wav"}, "document": {"text": "d"}})
        for name in ("good", "good", "bad")
    ]
    (folder / "p.jsonl").write_text("\n\n".join(lines))
    return PairFile(folder / "p.jsonl")


@pytest.mark.parametrize("cached", [False, True])
def test_a_sound_that_can_t_be_heard_is_named_by_its_line(tmp_path: Path, cached: bool) -> None:
    bad = write_bad(tmp_path)
    cache = cache_for(toy_model(), tmp_path / "cache") if cached else None
    collate = collator(Recorder(), frame_cache=cache)
    with pytest.raises(PairError) as caught:
        collate([PairDataset([bad], 0)[Draw(0, 0, 2)]])
    assert (caught.value.file, caught.value.line) == (bad.path, 5)
    assert str(caught.value).startswith(f"{bad.path}:5: {tmp_path / 'bad.wav'}")
    assert caught.value.hint


def loader(files: list[PairFile], mix: Mixture, workers: int, **changes: Any) -> Any:
    collate = collator(toy_processor(toy_model()), max_audio_s=0.3, **changes)
    return DataLoader(
        PairDataset(files, seed=3),  # type: ignore[arg-type]  # it needn't be torch's own class
        batch_sampler=mix,
        collate_fn=collate,
        num_workers=workers,
    )


def test_workers_make_the_same_batches(file: PairFile) -> None:
    mix = Mixture([len(file)], 5, 6, seed=3)
    here = list(loader([file], mix, 0))
    assert same(here, [raise_error(batch) for batch in loader([file], mix, 2)])


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="the system doesn't tell")
def test_a_batch_from_a_worker_keeps_no_files_open(file: PairFile) -> None:
    mix = Mixture([len(file)], 12, 1, seed=3)
    before = len(list(OPEN_FILES.iterdir()))
    (batch,) = loader([file], mix, 1, mini_batch_size=1)
    assert len(batch["mini_batches"]) == 30  # of some tensors each
    assert len(list(OPEN_FILES.iterdir())) < before + 30


def test_it_can_be_sent_to_a_process_that_starts_from_nothing(
    file: PairFile, tmp_path: Path
) -> None:
    model = toy_model()
    cache = cache_for(model, tmp_path / "cache")
    cache.fill(sound for pair, _ in file.pairs() for sound in sounds_of(pair))
    dataset = PairDataset([file], seed=0)
    collate = collator(toy_processor(model), frame_cache=cache)
    draws = Mixture([len(file)], 5, 1, seed=3).batch(0)
    there: tuple[PairDataset, Collator] = pickle.loads(pickle.dumps((dataset, collate)))
    assert same(collate(dataset.__getitems__(draws)), there[1](there[0].__getitems__(draws)))


def test_a_run_resumes_with_the_batch_that_was_next(file: PairFile) -> None:
    mix = Mixture([len(file)], 5, 6, seed=3)
    straight = list(loader([file], mix, 0))
    resumed = Mixture([len(PairFile(file.path))], 5, 6, seed=3)
    dataset = PairDataset([PairFile(file.path)], seed=3)
    collate = collator(toy_processor(toy_model()), max_audio_s=0.3)
    for t in range(3, 6):
        assert same(collate(dataset.__getitems__(resumed.batch(t))), straight[t])
    assert not same(straight[0], straight[1])


def test_errors_come_whole_out_of_a_worker(tmp_path: Path) -> None:
    bad = write_bad(tmp_path)
    batches = loader([bad], Mixture([3], 3, 1, seed=0), 1)
    with pytest.raises(PairError) as caught:
        list(map(raise_error, batches))
    assert (caught.value.file, caught.value.line) == (bad.path, 5)
    assert str(caught.value).startswith(f"{bad.path}:5: {tmp_path / 'bad.wav'}: ")
    assert caught.value.hint


def test_also_those_of_the_data_set(file: PairFile) -> None:
    batches = loader([file], Mixture([len(file)], 3, 1, seed=0), 1)
    file.path.write_text("{}\n")
    with pytest.raises(TrainingError, match="was changed while it was in use"):
        list(map(raise_error, batches))

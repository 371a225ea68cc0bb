"""Whole runs of the toy model: what they leave, how they stop and go on, and what stops them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import load_file
from toy_run import ToyRun, Watched, write_lines, write_tones

from alm2vec_search.errors import PairError, TrainingError
from alm2vec_search.model.hub import find_model
from trainer import plan as planning
from trainer.adapter import trainable_parameters
from trainer.base import find_base, load_base, skeleton
from trainer.export import export
from trainer.frame_cache import weights_fingerprint
from trainer.losses import AbsoluteMask, NoMask, RelativeMask
from trainer.machine import num_workers
from trainer.plan import plan
from trainer.run import read_metrics, read_record
from trainer.training import RunReport, similarity_mask, train

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

Trained = tuple[ToyRun, RunReport]


def nobody(_: str) -> None: ...


def measured(run: Path) -> list[dict[str, float]]:
    """All that a run measured, but for how fast it was."""
    return [{k: v for k, v in m.items() if k != "pairs_per_s"} for m in read_metrics(run)]


def adapter(folder: Path) -> dict[str, Tensor]:
    files = ("adapter_model.safetensors", "trained_modules.safetensors")
    return {name: tensor for file in files for name, tensor in load_file(folder / file).items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(tensor, second[name]) for name, tensor in first.items()
    )


def at_end(toy: ToyRun) -> tuple[Any, ...]:
    run = toy.folder / "run"
    return measured(run), adapter(run / "best"), adapter(run / "last")


# ---- what a run leaves ----


def test_it_learns_and_says_so(trained: Trained) -> None:
    toy, report = trained
    losses = [m["loss"] for m in read_metrics(toy.folder / "run") if "loss" in m]

    assert report.is_finished
    assert (report.first, report.step, report.steps) == (0, 12, 12)
    assert losses[-1] < losses[0]
    assert report.best is not None
    assert report.before is not None
    assert report.best[1] > report.before
    done, best, try_it = report.lines()
    assert done.startswith("done: 12 steps in ")
    assert best.startswith(f"best: mrr_q2d {report.best[1]:.3f} at step {report.best[0]}")
    assert try_it.endswith("run/best")


def test_it_leaves_metrics_for_people_and_machines(trained: Trained) -> None:
    run = trained[0].folder / "run"
    metrics = read_metrics(run)

    # logs every 2 steps, and whenever there may be a checkpoint: every 3, and after measuring
    assert [m["step"] for m in metrics if "loss" in m] == [2, 3, 4, 5, 6, 8, 9, 10, 12]
    assert [m["step"] for m in metrics if "held_out/mrr_q2d" in m] == [0, 5, 10, 12]
    last = next(m for m in reversed(metrics) if "loss" in m)
    assert last.keys() >= {"learning_rate", "temperature", "masked_by_similarity", "accuracy"}
    assert last["learning_rate"] == pytest.approx(1e-4)
    assert "epoch" not in last
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_finds_the_same(trained: Trained) -> None:
    accumulator: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    run = trained[0].folder / "run"
    events = accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()

    losses = [(m["step"], m["loss"]) for m in read_metrics(run) if "loss" in m]
    found = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert found == [(step, pytest.approx(loss)) for step, loss in losses]
    assert [event.step for event in events.Scalars("held_out/mrr_q2d")] == [0, 5, 10, 12]


def test_it_writes_down_where_all_is_from(trained: Trained) -> None:
    toy, report = trained
    record = read_record(toy.folder / "run")

    assert record["seed"] == 0
    assert record["base"]["weights_hash"] == find_model(str(toy.folder / "model")).weights_hash
    assert [(d["pairs"], d["lines"], d["groups"], d["sounds"]) for d in record["data"]] == [
        (str(toy.folder / "train.jsonl"), 72, 18, 18),
        (str(toy.folder / "questions.jsonl"), 18, 18, 18),
    ]
    assert len(record["held_out"]["sha256"]) == 64
    assert record["data"][0]["share"] == 0.5
    assert (record["device"], record["precision"], record["processes"]) == ("cpu", "float32", 1)
    assert record["started"] <= record["ended"]
    assert record["steps_done"] == 12
    assert record["best"] == {"step": report.best[0], "metric": "mrr_q2d", "value": report.best[1]}  # type: ignore[index]
    assert set(record["trained"]) == {"audio_projector", "language_model", "projection"}


def test_it_keeps_the_best_and_the_last_checkpoint(trained: Trained) -> None:
    toy, report = trained
    assert report.best is not None
    kept = {path.name for path in (toy.folder / "run").glob("checkpoint-*")}
    assert {f"checkpoint-{report.best[0]}", "checkpoint-12"} <= kept
    assert len(kept) == 2


def test_it_says_what_it_does(trained: Trained, watched: Watched) -> None:
    assert watched.said[0] == "started at 0 of 12"
    assert watched.said[1:] == ["measured 0", "measured 5", "measured 10", "measured 12"]
    assert watched.steps == list(range(1, 13))


# ---- stopping and going on ----


def test_a_killed_run_goes_on_as_if_nothing_had_been(trained: Trained, toy: ToyRun) -> None:
    """Killed for good, by the system, between two checkpoints."""
    run = toy.folder / "run"
    command = [sys.executable, "-m", "trainer", "--config", str(toy.file), "-q"]
    process = subprocess.Popen(command, env=one_thread())
    until(lambda: any(m["step"] >= 8 for m in read_metrics(run)), process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')

    watched = Watched()
    report = train(toy.config(), resume=True, progress=watched)

    assert report.first in (5, 6, 9, 10)
    assert watched.said[0] == f"started at {report.first} of 12"
    assert read_record(run)["resumed"][0]["step"] == report.first
    expected, found = at_end(trained[0]), at_end(toy)
    assert found[0] == expected[0]
    assert same(found[1], expected[1])
    assert same(found[2], expected[2])


def one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def until(done: Any, process: subprocess.Popen[bytes], timeout_s: float = 60) -> None:
    stop_at = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < stop_at
        assert process.poll() is None, "it ended by itself"
        time.sleep(0.02)


class Interrupting(Watched):
    """Presses Ctrl-C after a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.at = step

    def stepped(self, step: int) -> None:
        super().stepped(step)
        if step == self.at:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_ends_a_run_after_its_step_with_a_checkpoint(toy: ToyRun) -> None:
    before = signal.getsignal(signal.SIGINT)
    interrupting = Interrupting(4)

    report = train(toy.config(held_out=False), progress=interrupting)

    assert signal.getsignal(signal.SIGINT) is before
    assert not report.is_finished
    assert (toy.folder / "run" / f"checkpoint-{report.step}").is_dir()
    assert report.step in (4, 5)
    assert interrupting.steps[-1] == report.step
    assert "go on with --resume" in list(report.lines())
    assert any("stopping after this step" in line for line in interrupting.said)


def test_adapters_that_a_killed_run_left_behind_are_put_right(
    trained: Trained, toy: ToyRun
) -> None:
    run = toy.folder / "run"
    shutil.copytree(trained[0].folder / "run", run)
    expected = adapter(run / "best"), adapter(run / "last")
    record = json.loads((run / "run.json").read_text())
    shutil.rmtree(run / "best")
    shutil.move(run / "last", run / "best")
    record["base"]["weights_hash"] = find_model(str(toy.folder / "model")).weights_hash
    config = (run / "config.toml").read_text().replace(str(trained[0].folder), str(toy.folder))
    (run / "config.toml").write_text(config)

    report = train(toy.config(), resume=True)

    assert report.first == report.step == 12
    assert same(adapter(run / "best"), expected[0])
    assert same(adapter(run / "last"), expected[1])


def finished_run(trained: Trained, toy: ToyRun) -> Path:
    """A copy of the finished run, as if it had been made in the toy's folder."""
    run = toy.folder / "run"
    shutil.copytree(trained[0].folder / "run", run)
    for name in ("config.toml", "run.json"):
        text = (run / name).read_text().replace(str(trained[0].folder), str(toy.folder))
        (run / name).write_text(text)
    return run


def test_pairs_that_were_changed_meanwhile_are_told_of(trained: Trained, toy: ToyRun) -> None:
    finished_run(trained, toy)
    with (toy.folder / "train.jsonl").open("a") as file:
        file.write('{"query": {"text": "x"}, "document": {"text": "y"}}\n')

    planned = plan(toy.config(), resume=True)

    assert [w for w in planned.warnings if "was changed since the run was started" in w]
    assert list(planned.changed) == [str(toy.folder / "train.jsonl")]


def test_another_base_or_number_of_devices_is_refused(
    trained: Trained, toy: ToyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(trained, toy)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="was started on 1 device, and would go on on 2"):
        plan(toy.config(), resume=True)
    monkeypatch.delenv("WORLD_SIZE")
    record = json.loads((run / "run.json").read_text())
    record["base"]["weights_hash"] = "another"
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(TrainingError, match=r"isn't what the run in .* was started from"):
        plan(toy.config(), resume=True)


# ---- sounds ----


def test_frames_are_encoded_once_and_learnt_from_alike(trained: Trained, toy: ToyRun) -> None:
    settings = ("audio.cache_frames=cache", "optimiser.steps=2")
    train(toy.config(*settings, held_out=False))
    (shard,) = (toy.folder / "cache").glob("*.safetensors")
    train(toy.config(*settings, out="again", held_out=False))

    assert [shard] == list((toy.folder / "cache").glob("*.safetensors"))
    first, again = measured(toy.folder / "run"), measured(toy.folder / "again")
    assert first == again
    decoded = [m["loss"] for m in measured(trained[0].folder / "run") if "loss" in m]
    assert first[0]["loss"] == pytest.approx(decoded[0], abs=0.01)


def test_sounds_that_cannot_be_read_are_named_before_training_or_left_out(toy: ToyRun) -> None:
    lines = [json.loads(line) for line in (toy.folder / "train.jsonl").read_text().splitlines()]
    (toy.folder / "noise.wav").write_bytes(b"no sound")
    broken = {"query": {"text": "x"}, "document": {"audio": "noise.wav"}}
    write_lines(toy.folder / "train.jsonl", [*lines, broken])
    settings = ("audio.cache_frames=cache", "optimiser.steps=1")

    with pytest.raises(TrainingError, match=r"1 sound can't be had: .*noise\.wav: not audio"):
        train(toy.config(*settings, held_out=False))
    assert not (toy.folder / "run" / "config.toml").exists()
    watched = Watched()
    train(toy.config(*settings, "data.0.missing=skip", held_out=False), progress=watched)

    assert watched.said[0].startswith("left out: ")
    assert read_record(toy.folder / "run")["data"][0]["groups"] == 18
    with pytest.raises(PairError, match=r"train\.jsonl:73: .*noise\.wav: not audio"):
        train(toy.config("optimiser.steps=20", out="decoding", held_out=False))


def test_frames_need_a_cache(toy: ToyRun) -> None:
    write_lines(
        toy.folder / "train.jsonl",
        [
            {"query": {"text": "a"}, "document": {"text": "b"}},
            {"query": {"text": "a"}, "document": {"audio": {"path": "run.toml", "frames": "x"}}},
        ],
    )
    with pytest.raises(PairError, match=r"train\.jsonl:2: frames, where no frame cache") as caught:
        plan(toy.config())
    assert caught.value.hint == "name a folder for one: [audio] cache_frames"


def test_a_fingerprint_is_of_numbers_types_and_names() -> None:
    one = torch.nn.Linear(2, 2)
    found = {weights_fingerprint(one)}
    with torch.no_grad():
        one.weight[0, 0] += 1
    found.add(weights_fingerprint(one))
    found.add(weights_fingerprint(one.to(torch.bfloat16)))
    found.add(weights_fingerprint(torch.nn.Sequential(one)))
    assert len(found) == 4
    assert weights_fingerprint(one) == weights_fingerprint(one)


# ---- before anything is loaded ----


def test_a_plan_says_what_would_be(toy: ToyRun) -> None:
    planned = plan(toy.config())
    said = "\n".join(planned.lines())

    for part in (
        "9,024 of 46,448 parameters (19 %): 2,112 of audio_projector, 6,144 of language_model",
        "train.jsonl: 72 pairs in 18 groups, 18 sounds: 50 % of each batch, 2.67 times round",
        "questions.jsonl: 18 pairs, 18 sounds",
        "12 steps of 8 pairs, 4 inputs at a time",
    ):
        assert part in said
    assert planned.warnings == ()
    assert not (toy.folder / "run").exists()


def test_missing_audio_is_counted_and_named(toy: ToyRun) -> None:
    (toy.folder / "red-rain.wav").unlink()
    with pytest.raises(TrainingError, match=r"1 of 18 audio files aren't there: .*red-rain\.wav"):
        plan(toy.config())
    skipping = plan(toy.config("data.0.missing=skip", "data.1.missing=skip"))
    assert "4 pairs left out, since 1 audio file of 18 is missing" in skipping.warnings[0]


def test_a_warm_up_as_long_as_the_run_is_warned_of(tmp_path: Path) -> None:
    toy = ToyRun.make(tmp_path)

    (warning,) = plan(toy.config("optimiser.steps=3")).warnings

    assert "3 steps and a warm-up of 3: the full rate is never reached" in warning
    assert not plan(toy.config("optimiser.steps=4")).warnings


def test_sounds_that_are_learnt_from_and_held_out_are_told_of(toy: ToyRun) -> None:
    shutil.copy(toy.folder / "held_out.jsonl", toy.folder / "questions.jsonl")
    (warning,) = plan(toy.config()).warnings
    assert "questions.jsonl: 24 pairs of sounds that are held out, too" in warning


def test_lines_that_are_no_pairs_are_named(toy: ToyRun) -> None:
    write_lines(toy.folder / "train.jsonl", [{"query": {"text": "x"}}])
    with pytest.raises(PairError, match=r"train\.jsonl:1: document: Field required"):
        plan(toy.config())
    with pytest.raises(TrainingError, match=r"nix\.jsonl: no such file"):
        plan(toy.config("data.0.pairs=nix.jsonl"))


def test_a_batch_is_shared_by_all_devices(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert plan(toy.config()).mixture.batch_size == 4
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(TrainingError, match="a batch of 8 can't be shared by 3 devices"):
        plan(toy.config())


def test_what_draws_is_asked_for_first(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "find_spec", lambda name: None)
    with pytest.raises(TrainingError, match="needs tensorboard and matplotlib") as caught:
        plan(toy.config("model.base=nowhere"))
    assert caught.value.hint == "pip install 'alm2vec-search[train]'"


def test_a_folder_that_holds_a_run_is_left_alone(trained: Trained) -> None:
    before = sorted((trained[0].folder / "run").rglob("*"))
    with pytest.raises(TrainingError, match="holds a run already"):
        plan(trained[0].config())
    assert sorted((trained[0].folder / "run").rglob("*")) == before


def test_the_detector_is_trained_only_where_it_is_asked_for(toy: ToyRun) -> None:
    def trained_parts(*changes: str) -> set[str]:
        config = toy.config("model.base=small", *changes)
        model = skeleton(find_base(config, nobody), config)
        names = {name for name, weights in model.named_parameters() if weights.requires_grad}
        assert all(weights.is_meta for weights in model.parameters())
        return {".".join(name.split(".")[:2]) for name in names if "lora" not in name}

    assert trained_parts("model.projector=frozen") == set()
    assert trained_parts("model.projector=frozen", "model.detector=trained") == set()
    frozen = trained_parts()
    assert {"audio_projector.words", "audio_projector.relevance"} <= frozen
    assert "audio_projector.detector" not in frozen
    assert trained_parts("model.detector=trained") == frozen | {"audio_projector.detector"}


def test_masks(toy: ToyRun) -> None:
    def mask(*changes: str) -> Any:
        return similarity_mask(toy.config(*changes).loss)

    assert mask() == RelativeMask(0.1)
    assert mask("loss.margin=0.3") == RelativeMask(0.3)
    assert mask("loss.mask=absolute", "loss.threshold=0.9") == AbsoluteMask(0.9)
    assert mask("loss.mask=none") == NoMask()


def test_workers(toy: ToyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.machine.usable_cores", lambda: 6)
    assert num_workers(toy.config(), on_cpu=True) == 0
    assert num_workers(toy.config(), on_cpu=False) == 6
    assert num_workers(toy.config("audio.cache_frames=x"), on_cpu=False) == 0
    assert num_workers(toy.config("run.workers=3"), on_cpu=True) == 3
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert num_workers(toy.config(), on_cpu=False) == 1


# ---- an adapter that goes on ----


@pytest.fixture
def first_stage(trained: Trained, tmp_path: Path) -> Path:
    folder = tmp_path / "first"
    export(trained[0].folder / "run", folder, checkpoint="last")
    return folder


def test_an_adapter_goes_on_where_it_was(trained: Trained, toy: ToyRun, first_stage: Path) -> None:
    config = toy.config(
        f"model.base={first_stage}", "optimiser.steps=2", "optimiser.warmup_steps=0"
    )
    base = find_base(config, nobody)

    model = load_base(base, config, torch.float32, "cpu")

    assert base.under.folder == trained[0].folder / "model"
    parameters = dict(model.named_parameters())
    inherited = base.inherited()
    assert len(inherited) == len(adapter(first_stage))
    assert all(torch.equal(parameters[name], tensor) for name, tensor in inherited.items())
    assert trainable_parameters(model).trained == sum(t.numel() for t in inherited.values())
    report = train(config)
    last = toy.folder / "run" / "last"
    said = json.loads((last / "adapter_config.json").read_text())
    assert said["base_model_name_or_path"] == str(trained[0].folder / "model")
    assert report.before == pytest.approx(
        next(m for m in reversed(read_metrics(trained[0].folder / "run")))["held_out/mrr_q2d"]
    )
    moved = [not torch.equal(t, adapter(first_stage)[n]) for n, t in adapter(last).items()]
    assert all(moved)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("lora.r=8", "has r 16, and the run would have 8"),
        ("lora.alpha=8", "has lora_alpha 32, and the run would have 8"),
        ("model.projector=frozen", r"don't train the same: audio_projector\.net\.0\.bias, .* more"),
    ],
)
def test_an_adapter_goes_on_as_it_was_or_not_at_all(
    toy: ToyRun, first_stage: Path, change: str, complaint: str
) -> None:
    with pytest.raises(TrainingError, match=complaint) as caught:
        plan(toy.config(f"model.base={first_stage}", change))
    assert caught.value.hint is not None
    assert "--merged" in caught.value.hint


def test_longer_sounds_are_cut(toy: ToyRun) -> None:
    """As the settings say; the toy would run out of positions."""
    for noun in ("dog", "rain", "bell", "train"):
        for colour in ("red", "old", "wet"):
            write_tones(toy.folder / f"{colour}-{noun}.wav", 400, seconds=20)
    report = train(toy.config("audio.max_audio_s=0.5", "optimiser.steps=1", held_out=False))
    assert report.is_finished
    assert report.best is None
    assert list(report.lines())[-1].endswith("run/last")

"""Training of the toy model: that it learns, goes on where it stopped, and on two devices as on
one."""

from __future__ import annotations

import math
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch
import training_work
from devices import on_devices
from torch import nn
from toy_model import inputs, toy_model
from toy_training import (
    ADJECTIVES,
    ToyBatches,
    ToyPair,
    ToyPairs,
    mixed_pairs,
    text_pairs,
    toy_trainer,
)
from transformers import TrainerCallback

from alm2vec_search.errors import PairError, TrainingError
from trainer.adapter import add_lora
from trainer.contrastive_trainer import (
    DeviceBatches,
    is_complete,
    last_checkpoint,
    warmup_then_cosine,
)
from trainer.losses import ContrastiveLoss

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
    from trainer.contrastive_trainer import ContrastiveTrainer

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """What LoRA starts with is drawn."""
    torch.manual_seed(0)


def trained(trainer: ContrastiveTrainer) -> dict[str, torch.Tensor]:
    """Copies of all that is trained."""
    weights = {
        name: parameter.detach().clone()
        for name, parameter in trainer.model.named_parameters()
        if parameter.requires_grad
    }
    return weights | {"log_scale": trainer.loss.log_scale.detach().clone()}


def losses(trainer: ContrastiveTrainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


class StopAt(TrainerCallback):  # type: ignore[misc]
    """Ends a run before its time, after the checkpoint of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            control.should_save = control.should_training_stop = True


# ---- learning ----


def test_it_learns_sixty_four_pairs_by_heart(tmp_path: Path) -> None:
    pairs = text_pairs(64)
    model = toy_model(dropout=0.0)
    add_lora(model, dropout=0.0)
    trainer = toy_trainer(
        tmp_path,
        pairs,
        batch_size=64,
        model=model,
        learning_rate=1e-2,
        warmup_steps=5,
        max_steps=35,
    )

    trainer.train()

    fallen = losses(trainer)
    assert fallen[-1] < fallen[0] / 10
    with torch.no_grad():
        queries = model.eval()(**inputs(model, [pair.query for pair in pairs.pairs]))
        documents = model(**inputs(model, [pair.document for pair in pairs.pairs]))
    assert torch.equal((queries @ documents.T).argmax(dim=1), torch.arange(64))


def test_mixed_precision_is_close_and_trains_in_full_precision(tmp_path: Path) -> None:
    options: dict[str, Any] = {"mini_batch_size": 4, "dropout": 0.0, "max_steps": 3}
    whole = toy_trainer(tmp_path, mixed_pairs(8), **options)
    whole.train()

    mixed = toy_trainer(tmp_path, mixed_pairs(8), bf16=True, **options)
    mixed.train()

    assert losses(mixed) == pytest.approx(losses(whole), rel=0.05)
    assert losses(mixed) != losses(whole)
    assert all(weights.dtype == torch.float32 for weights in trained(mixed).values())


def test_what_is_logged(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, mixed_pairs(16), max_steps=4, logging_steps=2)

    trainer.train()

    first, second = (entry for entry in trainer.state.log_history if "loss" in entry)
    assert first.keys() == {
        "loss", "grad_norm", "learning_rate", "epoch", "step", "accuracy", "masked_by_similarity",
        "masked_by_identity", "without_negatives", "temperature", "pairs_per_s",
    }  # fmt: skip
    assert 0 < second["accuracy"] <= 1
    assert second["temperature"] == pytest.approx(1 / trainer.loss.scale.item())
    assert second["temperature"] != first["temperature"] != 0.07
    assert second["pairs_per_s"] > 0


def test_the_temperature_is_learnt_at_the_rate_of_the_rest(tmp_path: Path) -> None:
    loss = ContrastiveLoss()
    start = loss.log_scale.item()
    options: dict[str, Any] = {"learning_rate": 1e-2, "max_steps": 1, "warmup_steps": 1}
    trainer = toy_trainer(tmp_path, text_pairs(8), loss=loss, **options)

    trainer.train()

    # AdamW's first step is as long as the rate
    assert abs(loss.log_scale.item() - start) == pytest.approx(1e-2, rel=1e-3)
    fixed = ContrastiveLoss(0.05, learn_temperature=False)
    toy_trainer(tmp_path, text_pairs(8), loss=fixed, **options).train()
    assert fixed.scale.item() == pytest.approx(20)


def test_the_temperature_is_kept_in_its_bounds(tmp_path: Path) -> None:
    alike = ToyPairs([ToyPair(word, word) for word in ADJECTIVES])  # it wants to be sure of these
    loss = ContrastiveLoss(0.012)

    toy_trainer(
        tmp_path,
        alike,
        loss=loss,
        dropout=0.0,
        learning_rate=1.0,
        max_steps=1,
        warmup_steps=1,
    ).train()

    assert loss.log_scale.item() == pytest.approx(math.log(100))


def test_norms_biases_and_the_temperature_do_not_decay(tmp_path: Path) -> None:
    model = toy_model()
    model.language_model.requires_grad_(True)
    trainer = toy_trainer(tmp_path, text_pairs(8), model=model, weight_decay=0.1)

    trainer.create_optimizer()

    groups = trainer.optimizer.param_groups
    assert {group["lr"] for group in groups} == {1e-3}
    names = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    without = {
        names[id(weights)]
        for group in groups
        for weights in group["params"]
        if group["weight_decay"] == 0
    }
    assert {group["weight_decay"] for group in groups} == {0.0, 0.1}
    assert sum(len(group["params"]) for group in groups) == len(names)
    assert (
        without
        == {name for name in names.values() if name.endswith("bias") or "norm" in name.lower()}
        | {"audio_encoder.init_bn.weight"} & without
    )
    assert trainer.loss_optimizer.param_groups[0]["weight_decay"] == 0.0


def test_the_projector_can_have_a_rate_of_its_own(tmp_path: Path) -> None:
    """And the first step of AdamW is as long as the rate, for each number."""
    trainer = toy_trainer(
        tmp_path,
        mixed_pairs(8),
        train_projector=True,
        projector_learning_rate=1e-2,
        max_steps=1,
        warmup_steps=1,
        max_grad_norm=0.0,
    )
    before = trained(trainer)

    trainer.train()

    longest = {
        name: (weights - before[name]).abs().max().item()
        for name, weights in trained(trainer).items()
    }
    assert longest["audio_projector.net.0.weight"] == pytest.approx(1e-2, rel=1e-2)
    assert longest["projection.weight"] == pytest.approx(1e-3, rel=1e-2)
    assert longest["log_scale"] == pytest.approx(1e-3, rel=1e-2)
    assert trainer.state.log_history[0]["learning_rate"] == 1e-3


def test_the_rate_goes_up_in_a_line_and_down_in_a_cosine() -> None:
    rates = [
        warmup_then_cosine(step, warmup_steps=4, total_steps=12, lowest=0.2) for step in range(12)
    ]

    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[7] == pytest.approx(0.6)  # half the way
    assert rates[-1] == pytest.approx(0.2)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert warmup_then_cosine(20, warmup_steps=4, total_steps=12, lowest=0.2) == pytest.approx(0.2)
    assert warmup_then_cosine(0, warmup_steps=0, total_steps=1, lowest=0.2) == pytest.approx(0.2)


def test_the_optimiser_goes_by_that_rate(tmp_path: Path) -> None:
    trainer = toy_trainer(
        tmp_path,
        text_pairs(8),
        max_steps=4,
        warmup_steps=2,
        learning_rate=1e-2,
        min_learning_rate=1e-3,
    )

    trainer.train()

    logged = [entry["learning_rate"] for entry in trainer.state.log_history if "loss" in entry]
    expected = [warmup_then_cosine(n, warmup_steps=2, total_steps=4, lowest=0.1) for n in range(4)]
    assert logged == pytest.approx([1e-2 * factor for factor in expected])


# ---- checkpoints ----


@pytest.mark.parametrize("stop", [3, 4], ids=["inside an epoch", "between two"])
def test_a_resumed_run_is_the_one_that_was_never_stopped(tmp_path: Path, stop: int) -> None:
    """Bit for bit, with dropout, through the cache, and with batches of each epoch's own."""
    pairs = mixed_pairs(16)
    options: dict[str, Any] = {
        "batch_size": 4,
        "mini_batch_size": 3,
        "max_steps": 6,
        "warmup_steps": 2,
        "train_projector": True,
        "learning_rate": 1e-2,
        "eval_strategy": "steps",
        "eval_steps": 1,
    }
    straight = toy_trainer(tmp_path / "straight", pairs, evaluator=lambda _: {}, **options)
    straight.train()
    expected = trained(straight)

    first = toy_trainer(
        tmp_path / "halves",
        pairs,
        evaluator=lambda _: {"drawn": torch.rand(1).item()},
        callbacks=[StopAt(stop)],
        **options,
    )
    first.train()
    assert first.state.global_step == stop
    torch.manual_seed(99)
    second = toy_trainer(tmp_path / "halves", pairs, evaluator=lambda _: {}, **options)
    second.train(resume_from_checkpoint=True)

    assert second.state.global_step == 6
    assert losses(second) == losses(straight)
    found = trained(second)
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        assert torch.equal(found[name], weights), name
    assert expected["log_scale"] != ContrastiveLoss().log_scale


def test_a_checkpoint_holds_what_is_trained_and_no_more(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, text_pairs(8), max_steps=1, save_strategy="steps", save_steps=1)
    trainer.train()

    files = {path.name: path.stat().st_size for path in (tmp_path / "checkpoint-1").iterdir()}

    assert files.keys() == {
        "trained.safetensors", "loss.pt", "optimizer.pt", "scheduler.pt", "rng_state.pth",
        "trainer_state.json",
    }  # fmt: skip
    n_trained = sum(weights.numel() for weights in trained(trainer).values())
    assert files["trained.safetensors"] < 4 * n_trained + 6_000


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    trainer = toy_trainer(tmp_path, text_pairs(8), max_steps=1, save_strategy="steps", save_steps=1)
    trainer.train()
    whole = tmp_path / "checkpoint-1"
    shutil.copytree(whole, tmp_path / "checkpoint-9")
    shutil.copytree(whole, tmp_path / "checkpoint-10")
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"  # not by the alphabet

    (tmp_path / "checkpoint-10" / "trainer_state.json").write_text('{"global')
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-9"
    (tmp_path / "checkpoint-9" / "trained.safetensors").unlink()
    assert last_checkpoint(tmp_path) == whole
    assert not is_complete(tmp_path / "checkpoint-9")


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_steps": 1, "save_strategy": "steps", "save_steps": 1}
    pairs = text_pairs(8)
    toy_trainer(tmp_path, pairs, **options).train()
    checkpoint = tmp_path / "checkpoint-1"

    with pytest.raises(TrainingError, match="trained something else"):
        toy_trainer(tmp_path, pairs, train_projector=True, **options).train(checkpoint)
    with pytest.raises(TrainingError, match="is no checkpoint, or was not written to its end"):
        toy_trainer(tmp_path, pairs, **options).train(tmp_path / "nowhere")
    with pytest.raises(TrainingError, match="has no checkpoint to resume from"):
        toy_trainer(tmp_path / "new", pairs, **options).train(resume_from_checkpoint=True)
    (checkpoint / "trained.safetensors").write_bytes(b"cut")
    with pytest.raises(TrainingError, match="checkpoint-1 can't be read: "):
        toy_trainer(tmp_path, pairs, **options).train(checkpoint)


def test_a_full_disk_ends_the_run_and_leaves_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = toy_trainer(tmp_path, text_pairs(8), max_steps=3, save_strategy="steps", save_steps=1)
    save = torch.save

    def until_full(what: object, where: Any, *rest: Any) -> None:
        if "checkpoint-2" in str(where) and "optimizer" in str(where):
            raise OSError(28, os.strerror(28))
        save(what, where, *rest)

    monkeypatch.setattr(torch, "save", until_full)
    with pytest.raises(TrainingError, match=r"of step 2 can't be written: .*No space left"):
        trainer.train()
    monkeypatch.undo()

    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-1"
    again = toy_trainer(tmp_path, text_pairs(8), max_steps=3, save_strategy="steps", save_steps=1)
    again.train(resume_from_checkpoint=True)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-3"


# ---- stopping ----


class Breaking(TrainerCallback):  # type: ignore[misc]
    """Makes a weight no number after so many steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        if state.global_step == self.step:
            nn.init.constant_(model.projection.weight, math.nan)
            control.should_save = False


def test_a_loss_that_is_no_number_stops_the_run_by_its_step(tmp_path: Path) -> None:
    trainer = toy_trainer(
        tmp_path,
        text_pairs(8),
        batch_size=2,
        max_steps=4,
        save_strategy="steps",
        save_steps=1,
        callbacks=[Breaking(2)],
    )

    with pytest.raises(TrainingError, match=r"stopped at step 3: the loss isn't finite: what the"):
        trainer.train()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1"]
    assert is_complete(tmp_path / "checkpoint-1")


def test_gradients_that_are_no_numbers_change_nothing(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, text_pairs(8), max_steps=1)
    before = trained(trainer)
    weights = trainer.model.projection.weight
    weights.register_hook(lambda gradient: gradient * math.inf)

    with pytest.raises(TrainingError, match="stopped at step 1: the loss is finite, its gradients"):
        trainer.train()

    assert all(torch.equal(trained(trainer)[name], weights) for name, weights in before.items())


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ({"gradient_accumulation_steps": 2}, "can't be accumulated", "set mini_batch_size"),
        ({"fsdp": "full_shard"}, "each device holds the whole model", "torchrun alone"),
        ({"min_learning_rate": 1.0}, "can't go from 0.001 down to 1", "min_learning_rate is"),
        ({"eval_strategy": "steps", "eval_steps": 1}, "nothing to evaluate with", "evaluator"),
        ({"batch_size": 9}, "0 batches aren't enough for 1 devices", "smaller batches"),
    ],
)
def test_what_is_not_possible_is_refused(
    tmp_path: Path, arguments: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        toy_trainer(tmp_path, text_pairs(8), **arguments)
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_what_went_wrong_in_a_worker_process_is_said_as_it_is(tmp_path: Path) -> None:
    """torch would make a text of it, with a traceback."""
    trainer = toy_trainer(tmp_path, text_pairs(8), max_steps=1)
    wrong = PairError("no sound", file=tmp_path / "pairs.jsonl", line=3)
    trainer.data_collator = lambda _: {"error": wrong}

    with pytest.raises(PairError, match=r"pairs\.jsonl:3: no sound"):
        trainer.train()


# ---- evaluating ----


def test_the_evaluator_says_which_checkpoint_is_best(tmp_path: Path) -> None:
    recalls = iter([0.2, 0.7, 0.4])
    kept: dict[int, dict[str, torch.Tensor]] = {}
    modes: list[bool] = []

    def evaluator(model: ALM2VecModel) -> dict[str, float]:
        modes.append(model.training or torch.is_grad_enabled())
        kept[trainer.state.global_step] = trained(trainer)
        torch.rand(3)
        return {"recall": next(recalls)}

    trainer = toy_trainer(
        tmp_path,
        text_pairs(8),
        evaluator=evaluator,
        min_learning_rate=1e-3,
        max_steps=3,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="recall",
        greater_is_better=True,
    )
    trainer.train()

    assert modes == [False] * 3
    measured = [
        entry["eval_recall"] for entry in trainer.state.log_history if "eval_recall" in entry
    ]
    assert measured == [0.2, 0.7, 0.4]
    assert trainer.state.best_model_checkpoint == str(tmp_path / "checkpoint-2")
    assert all(torch.equal(weights, kept[2][name]) for name, weights in trained(trainer).items())
    assert not torch.equal(kept[2]["log_scale"], kept[3]["log_scale"])


# ---- devices ----


def test_devices_take_turns_and_leave_what_is_left_over() -> None:
    batches = [[0], [1], [2], [3], [4]]

    of_devices = [DeviceBatches(batches, device, 2) for device in (0, 1)]

    assert [list(one) for one in of_devices] == [[[0], [2]], [[1], [3]]]
    assert [len(one) for one in of_devices] == [2, 2]
    by_epoch = ToyBatches(8, 2)
    DeviceBatches(by_epoch, 0, 1).set_epoch(3)
    assert by_epoch.epoch == 3


def test_reading_draws_no_random_numbers_that_dropout_would_draw(tmp_path: Path) -> None:
    loader = toy_trainer(tmp_path, text_pairs(8)).get_train_dataloader()
    before = torch.get_rng_state()

    next(iter(loader))

    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("two-devices")
    return on_devices(training_work.on_half_the_batch, str(folder), folder=folder / "results")


@pytest.mark.parametrize(
    ("kind", "pairs", "train_projector"),
    [
        ("mixed", mixed_pairs(16), True),
        ("mixed at once", mixed_pairs(16), True),
        ("texts", text_pairs(16), False),
    ],
    ids=["mixed", "mixed at once", "texts"],
)
def test_two_devices_with_half_the_batch_each_are_one_with_all_of_it(
    two_devices: list[dict[str, Any]],
    tmp_path: Path,
    kind: str,
    pairs: Any,
    train_projector: bool,
) -> None:
    expected = training_work.two_steps(pairs, tmp_path, 8, 64, train_projector=train_projector)

    for device in two_devices:
        found = device[kind]
        assert found["wrapped"] == "DistributedDataParallel"
        assert found["losses"] == pytest.approx(expected["losses"], abs=1e-5)
        assert found["masked"] == pytest.approx(expected["masked"])
        assert found["norms"] == pytest.approx(expected["norms"], rel=1e-4)
        assert found["gradients"].keys() == expected["gradients"].keys()
        for name, gradient in expected["gradients"].items():
            torch.testing.assert_close(found["gradients"][name], gradient, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            found["of_log_scale"], expected["of_log_scale"], rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(found["log_scale"], expected["log_scale"], rtol=0, atol=1e-5)
    assert expected["gradients"]["projection.weight"].abs().max() > 1e-3
    assert any("audio_projector" in name for name in expected["gradients"]) == train_projector


def test_two_devices_stay_the_same_to_the_last_bit(two_devices: list[dict[str, Any]]) -> None:
    for kind in ("mixed", "mixed at once", "texts"):
        one, other = (device[kind] for device in two_devices)
        assert torch.equal(one["log_scale"], other["log_scale"])
        for name, weights in one["weights"].items():
            assert torch.equal(weights, other["weights"][name]), name


def test_all_devices_say_what_is_no_number_on_one(two_devices: list[dict[str, Any]]) -> None:
    for device in two_devices:
        assert device["nan"] == (
            "stopped at step 1: the loss isn't finite: what the model makes of queries 6 of the "
            "batch isn't"
        )

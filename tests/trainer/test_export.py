"""What a run has trained, as a model's folder."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from published_checkpoint import Original
from safetensors import safe_open
from safetensors.torch import load_file
from toy_model import noise
from toy_run import ToyRun

from alm2vec_search.errors import ModelError, TrainingError
from alm2vec_search.model.encoder import ALM2VecEncoder
from alm2vec_search.model.hub import find_model
from trainer import export as exporting
from trainer.base import find_base, put_in, save_over, skeleton
from trainer.export import export
from trainer.training import RunReport, train

if TYPE_CHECKING:
    from pathlib import Path

    from command_line import CommandLine

    from alm2vec_search.domain import Embeddings

Trained = tuple[ToyRun, RunReport]


def embed(folder: Path) -> Embeddings:
    encoder = ALM2VecEncoder(find_model(str(folder)), dtype="float32")
    return np.concatenate(
        [
            encoder.encode_query(text=["a red dog", "rain"]),
            encoder.encode_document(audio=[noise(1), noise(2, 0.7)]),
        ]
    )


def test_an_adapter_is_what_the_run_keeps_as_its_best(trained: Trained, tmp_path: Path) -> None:
    toy, report = trained
    done = export(toy.folder / "run", tmp_path / "out")

    assert report.best is not None
    assert done.step == report.best[0]
    assert done.weights_hash == find_model(str(tmp_path / "out")).weights_hash != done.base_hash
    kept = toy.folder / "run" / "best"
    assert {p.name: p.read_bytes() for p in kept.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()
    }


def test_merged_weights_are_the_adapter_over_its_base(trained: Trained, tmp_path: Path) -> None:
    toy = trained[0]
    export(toy.folder / "run", tmp_path / "adapter")
    export(toy.folder / "run", tmp_path / "merged", merged=True)
    merged = find_model(str(tmp_path / "merged"))

    assert merged.base is None
    np.testing.assert_array_equal(embed(tmp_path / "merged"), embed(tmp_path / "adapter"))
    assert np.abs(embed(tmp_path / "merged") - embed(toy.folder / "model")).max() > 0.01
    assert not list(tmp_path.glob("*.unfinished"))


def test_what_was_not_trained_stays_as_it_was(trained: Trained, tmp_path: Path) -> None:
    """The small model, whose weights are float16; and in several files."""
    toy = trained[0]
    config = toy.config("model.base=small", "model.projector=frozen")
    base = find_base(config, lambda line: None)
    model = skeleton(base, config)
    fresh = {
        name: torch.full(weights.shape, 0.01)
        for name, weights in model.named_parameters()
        if weights.requires_grad
    }
    put_in(model, fresh)
    save_over(base, model, tmp_path / "adapter")
    (tmp_path / "merged").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "SHARD_BYTES", 20_000_000)
        exporting.write_merged(find_model(str(tmp_path / "adapter")), tmp_path / "merged")

    merged, small = find_model(str(tmp_path / "merged")), find_model("small")
    assert len(list((tmp_path / "merged").glob("*.safetensors"))) > 1
    assert merged.tensors.keys() == small.tensors.keys()
    changed = set()
    for name, tensor in merged.tensors.items():
        with safe_open(tensor.file, "pt") as ours, safe_open(small.tensors[name].file, "pt") as was:
            if not torch.equal(ours.get_tensor(name), was.get_tensor(name)):
                changed.add(name.rpartition(".")[0].rpartition(".")[2])
                assert tensor.dtype == "F32"
            else:
                assert tensor.dtype == small.tensors[name].dtype
    assert changed == {"query", "key", "value"}
    assert (tmp_path / "merged" / "NOTICE").read_bytes() == (small.folder / "NOTICE").read_bytes()
    np.testing.assert_array_equal(embed(tmp_path / "merged"), embed(tmp_path / "adapter"))


def test_a_published_model_is_trained_and_merged(toy: ToyRun, tmp_path: Path) -> None:
    """In the layout of MiDashengLM: other names, another language model, a front end kept."""
    Original.make().save(tmp_path / "midasheng")
    config = toy.config(f"model.base={tmp_path / 'midasheng'}", "optimiser.steps=2", held_out=False)
    train(config)

    export(toy.folder / "run", tmp_path / "adapter")
    export(toy.folder / "run", tmp_path / "merged", merged=True)

    found = embed(tmp_path / "merged")
    np.testing.assert_array_equal(found, embed(tmp_path / "adapter"))
    assert np.abs(found - embed(tmp_path / "midasheng")).max() > 1e-4


def test_a_checkpoint_can_be_chosen(trained: Trained, tmp_path: Path) -> None:
    run = trained[0].folder / "run"
    last = export(run, tmp_path / "last", checkpoint="last")
    assert last.step == 12
    assert export(run, tmp_path / "twelve", checkpoint=12).weights_hash == last.weights_hash
    kept = load_file(run / "last" / "adapter_model.safetensors")
    found = load_file(tmp_path / "last" / "adapter_model.safetensors")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in found.items())
    with pytest.raises(TrainingError, match="no checkpoint of step 5") as caught:
        export(run, tmp_path / "five", checkpoint=5)
    assert caught.value.hint is not None
    assert "12" in caught.value.hint


def test_without_held_out_pairs_the_last_is_all_there_is(trained: Trained, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[0].folder / "run", run)
    state = json.loads((run / "checkpoint-12" / "trainer_state.json").read_text())
    state["best_global_step"] = None
    (run / "checkpoint-12" / "trainer_state.json").write_text(json.dumps(state))

    assert export(run, tmp_path / "out").step == 12
    with pytest.raises(TrainingError, match="has no best checkpoint"):
        export(run, tmp_path / "best", checkpoint="best")
    for checkpoint in run.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    with pytest.raises(TrainingError, match="has no checkpoint yet"):
        export(run, tmp_path / "none")


def test_nothing_is_overwritten(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name in ("full", "file"):
        with pytest.raises(TrainingError, match="is there already"):
            export(trained[0].folder / "run", tmp_path / name)
    export(trained[0].folder / "run", tmp_path / "empty")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["x"]
    with pytest.raises(TrainingError, match="is no run's folder"):
        export(tmp_path / "full", tmp_path / "out")


def test_an_export_that_fails_leaves_nothing(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "save_file", full)
    with pytest.raises(TrainingError, match="can't be written: No space left"):
        export(trained[0].folder / "run", tmp_path / "out", merged=True)
    assert list(tmp_path.iterdir()) == []


def test_another_base_is_noticed(trained: Trained, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained[0].folder / "run", run)
    record = json.loads((run / "run.json").read_text())
    record["base"]["weights_hash"] = "another"
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(TrainingError, match=r"isn't what the run in .* was started from"):
        export(run, tmp_path / "out")


def test_tensors_that_do_not_fit_are_named(trained: Trained) -> None:
    config = trained[0].config()
    model = skeleton(find_base(config, lambda line: None), config)
    with pytest.raises(ModelError, match=r"nonsense \[2\] has no place"):
        put_in(model, {"nonsense": torch.zeros(2)})
    with pytest.raises(ModelError, match=r"projection\.weight \[2\] has no place"):
        put_in(model, {"projection.weight": torch.zeros(2)})


def test_what_was_trained_can_be_searched_with(
    trained: Trained, tmp_path: Path, alm2vec: CommandLine
) -> None:
    """Through the command line; and the index takes no other model's vectors."""
    toy = trained[0]
    library = tmp_path / "library"
    library.mkdir()
    for name in ("red-dog", "wet-rain", "tall-bell"):
        shutil.copy(toy.folder / f"{name}.wav", library)
    run, store = str(toy.folder / "run"), str(tmp_path / "store")
    for kind, flags in {"adapter": [], "merged": ["--merged"]}.items():
        done = alm2vec("train", "export", run, "-o", str(tmp_path / kind), *flags)
        assert done.exit_code == 0, done.err
    common = ["--store", store, "--workers", "1", "-q"]
    model = str(tmp_path / "merged")
    assert alm2vec("index", str(library), "--model", model, *common).exit_code == 0

    found = alm2vec("search", "a red dog", "--store", store, "--json")
    assert found.exit_code == 0, found.err
    assert len(found.records) == 3
    for other in ("adapter", str(toy.folder / "model")):
        answer = alm2vec("index", str(library), "--model", str(tmp_path / other), *common)
        assert answer.exit_code == 3
        assert "was made by" in answer.err

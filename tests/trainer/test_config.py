"""The file of a run: defaults, what wins over what, and what is said of mistakes."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import torch

from alm2vec_search.errors import ConfigError
from trainer.config import Metric, read_config
from trainer.evaluation import retrieval

CONFIGS = Path(__file__).parents[2] / "configs" / "train"
SHORTEST = """
[model]
base = "small"
[[data]]
pairs = "pairs.jsonl"
[optimiser]
steps = 10
batch_size = 4
[run]
out = "../runs/x"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings" / "run.toml"
    path.parent.mkdir()
    path.write_text(SHORTEST)
    return path


def test_defaults_are_those_of_the_paper_or_of_what_fills_its_gaps(file: Path) -> None:
    config = read_config(file)

    assert (config.lora.r, config.lora.alpha, config.lora.dropout) == (16, 32, 0.05)
    assert (config.loss.temperature, config.loss.margin, config.loss.mask) == (
        0.07,
        0.1,
        "relative",
    )
    optimiser = config.optimiser
    assert (optimiser.learning_rate, optimiser.min_learning_rate) == (1e-4, 1e-5)
    assert optimiser.weight_decay == 0.001
    assert config.model.projector == "frozen"
    assert config.held_out is None


@pytest.mark.parametrize(("steps", "warmup"), [(10, 1), (4_000, 400), (20_000, 500), (1, 0)])
def test_the_warm_up_ends_in_time(file: Path, steps: int, warmup: int) -> None:
    assert read_config(file, [f"optimiser.steps={steps}"]).optimiser.warmup_steps == warmup


def test_paths_are_from_the_file_and_names_of_models_stay(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    folder = file.parent
    (folder / "small").mkdir()
    (folder / "mine").mkdir()

    config = read_config(file, ["audio.cache_frames=cache"])

    assert config.data[0].pairs == folder / "pairs.jsonl"
    assert config.run.out == folder.parent / "runs" / "x"
    assert config.audio.cache_frames == folder / "cache"
    assert config.model.base == "small"
    for name, found in {
        "mine": str(folder / "mine"),
        "./elsewhere": str(folder / "elsewhere"),
        "owner/name": "owner/name",
    }.items():
        assert read_config(file, [f"model.base={name}"]).model.base == found


def test_what_is_said_on_the_command_line_wins(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent.parent)
    changes = [
        "optimiser.steps=7",
        "data.0.weight = 2.5",
        "loss.learn_temperature=false",
        'held_out.pairs="test.jsonl"',
    ]

    config = read_config(file, changes, out=Path("here"))

    assert config.optimiser.steps == 7
    assert config.data[0].weight == 2.5
    assert config.loss.learn_temperature is False
    assert config.held_out is not None
    assert config.held_out.pairs == file.parent / "test.jsonl"
    assert config.run.out == file.parent.parent / "here"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("optimiser.steps", "no key=value"),
        ("=3", "no key=value"),
        ("data.1.weight=3", r"there is no data\.1"),
        ("model.base.x=3", r"there is no model\.base\.x"),
        ("optimiser.steps=0", r"run\.toml: optimiser\.steps: .*greater than 0 \(given: 0\)"),
        ("optimiser.steps=1.5", r"optimiser\.steps: .*integer"),
        ("optimiser.steps=many", r"optimiser\.steps: .*integer \(given: 'many'\)"),
        ("optimiser.batch_size=1", r"optimiser\.batch_size: .*equal to 2"),
        ("optimiser.learning_rate=true", r"optimiser\.learning_rate: .*number"),
        ("optimiser.learning_rate=inf", r"optimiser\.learning_rate: .*finite"),
        ("optimiser.learning_rate=1e-6", "min_learning_rate, 1e-05, is above learning_rate, 1e-06"),
        ("lora.dropout=1", r"lora\.dropout: .*less than 1"),
        ("loss.mask=absolute", "loss: the mask \"absolute\" and a threshold go together"),
        ("loss.threshold=0.9", "loss: the mask \"absolute\" and a threshold go together"),
        ("loss.temperature=0.001", "a temperature of 0.001 is not from 0.01 to 1"),
        ("held_out.every=3", r"held_out\.pairs: is needed"),
        ("optimiser.step=3", r"optimiser\.step: there is no such setting"),
    ],
)  # fmt: skip
def test_mistakes_are_named(file: Path, change: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_config(file, [change])
    assert caught.value.hint


@pytest.mark.parametrize(
    ("place", "known"),
    [("optimiser", "steps, batch_size"), ("data.0", "pairs, weight"), ("held_out", "pairs, every")],
)
def test_a_setting_that_there_is_not_brings_those_that_there_are(
    file: Path, place: str, known: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(file, ["held_out.pairs=x", f"{place}.bacth_size=3"])
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(f"there are {known}")


def test_weights_are_for_all_files_or_for_none(file: Path) -> None:
    file.write_text(SHORTEST + '[[data]]\npairs = "more.jsonl"\nweight = 2\n')
    with pytest.raises(ConfigError, match="give a weight to all files of pairs, or to none"):
        read_config(file)


def test_without_a_place_to_go_the_way_out_is_said(file: Path) -> None:
    file.write_text(SHORTEST.partition("[run]")[0])
    with pytest.raises(ConfigError, match="run: is needed") as caught:
        read_config(file)
    assert caught.value.hint == "--out names the folder of a run"
    assert read_config(file, out=file.parent).run.out == file.parent


def test_files_that_cannot_be_read(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml can't be read: No such file"):
        read_config(tmp_path / "nowhere.toml")
    file.write_text("[model")
    with pytest.raises(ConfigError, match=r"run\.toml is no TOML: Expected ']'"):
        read_config(file)
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"run\.toml is no TOML"):
        read_config(file)


def test_it_can_be_written_down_and_read_elsewhere(file: Path, tmp_path: Path) -> None:
    odd = 'a "quoted" \\ naïve 🎵 \x7f name\n.jsonl'
    config = read_config(file, ["held_out.pairs=x.jsonl", "audio.max_audio_s=1e-7"])
    config = config.model_copy(
        update={"data": (config.data[0].model_copy(update={"pairs": tmp_path / odd}),) * 2}
    )
    elsewhere = tmp_path / "elsewhere.toml"

    elsewhere.write_text(config.to_toml(), encoding="utf-8")

    assert read_config(elsewhere) == config
    assert tomllib.loads(config.to_toml())["data"][1]["pairs"] == str(tmp_path / odd)


def test_what_may_differ_when_a_run_goes_on(file: Path) -> None:
    before = read_config(file)

    free = ["run.workers=3", "run.keep=9", "run.save_every=1"]
    assert before.differences(read_config(file, free, out=Path("other"))) == []
    changes = ["optimiser.steps=11", "audio.max_audio_s=3", "data.0.weight=1.0"]
    changed = read_config(file, changes)
    keys = {"data.0.weight", "optimiser.steps", "audio.max_audio_s"}
    assert set(before.differences(changed)) == set(changed.differences(before)) == keys


@pytest.mark.parametrize("name", ["alm2vec-pt.toml", "alm2vec-ft.toml"])
def test_the_files_that_come_with_it_can_be_read(name: str) -> None:
    config = read_config(CONFIGS / name)

    assert config.run.out == CONFIGS.parents[1] / "runs" / name.removesuffix(".toml")
    for field in ("lora", "loss"):  # each number that counts is in the file, not left to defaults
        written = tomllib.loads((CONFIGS / name).read_text(encoding="utf-8"))[field]
        assert written == getattr(config, field).model_dump(exclude_none=True)


def test_the_two_stages_have_the_numbers_of_the_paper() -> None:
    first, second = (read_config(CONFIGS / f"alm2vec-{stage}.toml") for stage in ("pt", "ft"))

    assert (first.optimiser.steps, first.optimiser.batch_size) == (4000, 256)
    assert (second.optimiser.steps, second.optimiser.batch_size) == (2000, 64)
    assert (first.audio.max_audio_s, second.audio.max_audio_s) == (15, 30)
    assert first.lora == second.lora
    captions = sum(source.weight or 0 for source in second.data[:2])
    assert captions / sum(source.weight or 0 for source in second.data) == pytest.approx(0.6)


def test_the_metrics_that_can_be_named_are_those_that_are_measured() -> None:
    one = torch.ones(1, 1)
    assert set(get_args(Metric)) == set(retrieval(one, one, one.bool()))


def test_reading_it_takes_no_deep_learning() -> None:
    code = (
        "import sys, trainer.config, trainer.cli;"
        "print(*sorted({'torch', 'transformers', 'peft', 'accelerate'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"

"""What a run has trained → a model's folder: an adapter, or weights that stand for themselves."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from safetensors.torch import save_file

from alm2vec_search.errors import TrainingError
from alm2vec_search.model.checkpoint import INDEX, read_json
from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.hub import Layout, find_model
from alm2vec_search.model.loading import explained, opened
from alm2vec_search.model.processing_alm2vec import load_tokenizer
from trainer.adapter import CONFIG as ADAPTER_CONFIG
from trainer.base import find_base, put_in, read_trained, save_over, skeleton
from trainer.config import read_config
from trainer.contrastive_trainer import TRAINED, is_complete, last_checkpoint
from trainer.run import CONFIG, read_record, state_of
from trainer.whole import whole_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from alm2vec_search.model.hub import ModelFiles
    from trainer.base import Base
    from trainer.config import TrainConfig

SHARD_BYTES = 4_000_000_000
TERMS = ("LICENSE*", "NOTICE*", "LICENCE*")  # of the base, which what is merged is made from

Choice = str | int | None  # "best", "last", a step; None is the best, if anything was held out


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    folder: Path
    step: int
    weights_hash: str  # of the model in that folder
    base_hash: str  # of the one that was trained


def export(
    run: Path,
    out: Path,
    *,
    merged: bool = False,
    checkpoint: Choice = None,
    announce: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Write what a run has trained as a folder that is a model, for `--model OUT`.

    Args:
        run: its folder; it may still be going on.
        out: a folder that isn't there yet, or is empty.
        merged: weights that stand for themselves, in our own layout. Else an adapter, which needs
            the model that was trained beside it. Tensors that weren't trained keep their numeric
            type, those that were are float32.
        checkpoint: `best`, `last`, or a step that has a checkpoint.
        announce: is told what is fetched.

    Raises:
        TrainingError: there is no such run or checkpoint, or `out` holds something or can't be
            written.
        ModelError: the model that was trained isn't here any more, or isn't what it was.
    """
    if not (run / CONFIG).is_file():
        raise TrainingError(
            f"{run} is no run's folder", hint="it holds a config.toml and a run.json"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"{out} is there already", hint="name another folder by --output")
    config = read_config(run / CONFIG)
    chosen = choose_checkpoint(run, checkpoint)
    base = find_base(config, announce)
    require_same_base(run, base)
    with whole_folder(out) as unfinished:
        if merged:
            adapter = unfinished / "adapter"
            write_adapter(chosen, base, config, adapter)
            write_merged(find_model(str(adapter)), unfinished)
            shutil.rmtree(adapter)
        else:
            write_adapter(chosen, base, config, unfinished)
    return Exported(
        folder=out,
        step=int(state_of(chosen)["global_step"]),
        weights_hash=find_model(str(out)).weights_hash,
        base_hash=base.files.weights_hash,
    )


def choose_checkpoint(run: Path, choice: Choice) -> Path:
    """The folder of a checkpoint.

    Raises:
        TrainingError: there is none, or not the one that was asked for.
    """
    last = last_checkpoint(run)
    if last is None:
        raise TrainingError(
            f"{run} has no checkpoint yet", hint="the first comes after run.save_every steps"
        )
    if choice == "last":
        return last
    step = choice
    if choice in (None, "best"):
        step = state_of(last).get("best_global_step")
        if step is None and choice == "best":
            raise TrainingError(
                f"{run} has no best checkpoint: nothing was held out, or nothing measured yet",
                hint="--checkpoint last",
            )
    chosen = last if step is None else run / f"checkpoint-{step}"
    if not is_complete(chosen):
        there = sorted(int(path.name.partition("-")[2]) for path in run.glob("checkpoint-*[0-9]"))
        raise TrainingError(
            f"{run} has no checkpoint of step {step}",
            hint=f"there are: {', '.join(map(str, there))}",
        )
    return chosen


def require_same_base(run: Path, base: Base) -> None:
    """
    Raises:
        TrainingError: the run was started from something else.
    """
    then = read_record(run).get("base", {}).get("weights_hash")
    if then not in (None, base.files.weights_hash):
        raise TrainingError(
            f"{base.files.name} isn't what the run in {run} was started from: its fingerprint was "
            f"{then}, and is {base.files.weights_hash}",
            hint="put back the files that it was started from",
        )


def write_adapter(checkpoint: Path, base: Base, config: TrainConfig, out: Path) -> None:
    """The adapter of a checkpoint; no weights of the base are read.

    Raises:
        TrainingError: the checkpoint can't be read, or the adapter can't be written.
        ModelError: they don't fit.
    """
    model = skeleton(base, config)
    put_in(model, read_trained(checkpoint / TRAINED))
    save_over(base, model, out)


def write_merged(files: ModelFiles, out: Path) -> None:
    """A model with its adapter merged in, in our own layout; a few of its tensors at a time are in
    memory.

    Args:
        files: an adapter over a model.
        out: a folder.
    """
    assert files.layout is Layout.ADAPTER
    under = files.base or files
    with explained(files):
        config: ALM2VecConfig = ALM2VecConfig.from_dict(files.description.fields)
        config.architectures = ["ALM2VecModel"]
        config.save_pretrained(out)
        load_tokenizer(files.tokenizer_folder).save(str(out / "tokenizer.json"), pretty=False)
    _write_shards(_merged_tensors(files), out)
    for pattern in TERMS:
        for path in under.folder.glob(pattern):
            shutil.copyfile(path, out / path.name)


def _merged_tensors(files: ModelFiles) -> Iterator[tuple[str, Tensor]]:
    description = files.description
    said = read_json(files.folder / ADAPTER_CONFIG)
    scale = said["lora_alpha"] / said["r"]
    with opened(description.tensors) as weights, opened(description.lora) as lora:
        for name, view in weights.items():
            module = name.removesuffix(".weight")
            yield name, _merged(view[...], module, lora, scale)


def _merged(weights: Tensor, module: str, lora: Mapping[str, Tensor], scale: float) -> Tensor:
    """W → W + scale · B · A, where the module has such."""
    down, up = lora.get(f"{module}.lora_A.weight"), lora.get(f"{module}.lora_B.weight")
    if down is None or up is None:
        return weights
    change = (up[...].float() @ down[...].float()) * scale  # [out, r] · [r, in]
    return weights.float() + change


def _write_shards(tensors: Iterator[tuple[str, Tensor]], out: Path) -> None:
    """Tensors in files of some size, and the index that finds them."""
    weight_map: dict[str, str] = {}
    total = 0
    for number, shard in enumerate(_shards(tensors), 1):
        name = f"model-{number:05d}.safetensors"
        save_file(shard, out / name, metadata={"format": "pt"})
        (out / name).chmod(0o644)
        weight_map |= dict.fromkeys(shard, name)
        total += sum(tensor.nbytes for tensor in shard.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (out / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")


def _shards(tensors: Iterator[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    n_bytes = 0
    for name, tensor in tensors:
        if shard and n_bytes + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard, n_bytes = {}, 0
        shard[name] = tensor.contiguous()
        n_bytes += tensor.nbytes
    yield shard

"""A model's files → a model ready to embed; or one line that says what is wrong with them."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from transformers.utils import logging as transformers_logging

from alm2vec_search.errors import ModelError, one_line
from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.hardware import require_device
from alm2vec_search.model.hub import Layout
from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
from alm2vec_search.model.published import published_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from alm2vec_search.model.checkpoint import StoredTensor
    from alm2vec_search.model.hub import ModelFiles

NAMED = 3  # of tensors that don't fit, before the rest is only counted
SAME_FRONT_END = 1e-5


def load_model(files: ModelFiles, dtype: torch.dtype, device: str) -> ALM2VecModel:
    """The model, ready to embed, in `dtype` as far as its config says (`reduced`).

    Tensors go one by one from the shards to the device: beside what the device holds, host memory
    holds a few of them at a time.

    Raises:
        ModelError: the weights can't be read or don't fit the config, or the device isn't there or
            has no room for them.
    """
    require_device(device)
    with explained(files):
        description = files.description
        config = ALM2VecConfig.from_dict(description.fields)
        with opened(description.tensors) as views, room_on(device):
            model, report = ALM2VecModel.from_pretrained(
                None,
                config=config,
                state_dict=views,
                dtype=dtype if config.reduced == "all" else torch.float32,
                device_map={"": device},
                ignore_mismatched_sizes=True,  # they are in the report
                output_loading_info=True,
            )
        wrong = "; ".join(_wrong(report, files))
        if wrong:
            raise ModelError(f"the weights in {files.folder} don't fit its config.json: {wrong}")
        with opened(description.front_end) as kept:
            _check_front_end(model, {name: view[...] for name, view in kept.items()}, files)
        if description.lora:
            from alm2vec_search.model.adapter import merge_lora  # peft takes its time

            with opened(description.lora) as lora:
                merge_lora(model, files.folder, {name: view[...] for name, view in lora.items()})
    model.audio_encoder.compute_in(dtype)
    loaded: ALM2VecModel = model.eval().requires_grad_(False)
    return loaded


@contextmanager
def room_on(device: str) -> Iterator[None]:
    """
    Raises:
        ModelError: what is done within doesn't fit into the device's memory.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"the device {device} has no room for the model: {one_line(error)}",
            hint="alm2vec model info says what it needs; --dtype bfloat16 halves it",
        ) from error


@contextmanager
def opened(tensors: dict[str, StoredTensor]) -> Iterator[dict[str, Any]]:
    """Views of tensors on disk, read when they are sliced."""
    with ExitStack() as stack:
        files: dict[Path, Any] = {}
        for tensor in tensors.values():
            if tensor.file not in files:
                files[tensor.file] = stack.enter_context(safe_open(tensor.file, framework="pt"))
        yield {name: files[tensor.file].get_slice(tensor.name) for name, tensor in tensors.items()}


def _check_front_end(model: ALM2VecModel, kept: dict[str, torch.Tensor], files: ModelFiles) -> None:
    """What a checkpoint keeps of its front end must be what ours computes.

    Raises:
        ModelError: it was made for another front end.
    """
    for name, theirs in kept.items():
        ours = getattr(model.audio_encoder.front_end, name).float().cpu()
        if ours.shape != theirs.shape or (ours - theirs.float()).abs().max() > SAME_FRONT_END:
            raise ModelError(
                f"the model in {files.folder} was made for another audio front end: its {name} is "
                "not what 64 HTK mel bands of 32 ms windows at 16 kHz have"
            )


def _wrong(report: dict[str, Any], files: ModelFiles) -> Iterator[str]:
    """What transformers' loading report says against the weights, a part for each kind."""

    def as_stored(name: str) -> str:
        if name in files.description.tensors:
            return files.description.tensors[name].name
        return published_name(name) if files.layout is Layout.PUBLISHED else name

    kinds = {
        "missing": sorted(map(as_stored, report["missing_keys"])),
        "unknown": sorted(report["unexpected_keys"]),
        "of another shape": [
            f"{as_stored(name)} ({list(found)}, not {list(expected)})"
            for name, found, expected in sorted(report["mismatched_keys"])
        ],
    }
    for kind, names in kinds.items():
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            yield f"{kind}: {', '.join(names[:NAMED])}{more}"


@contextmanager
def explained(files: ModelFiles) -> Iterator[None]:
    """What goes wrong within becomes one `ModelError` of one line, without transformers' talk.

    Raises:
        ModelError: something went wrong.
    """
    try:
        with without_talk():
            yield
    except ModelError:
        raise
    except Exception as error:  # what a wrong file makes three libraries raise is any of them
        raise ModelError(
            f"the model in {files.folder} can't be loaded: {one_line(error)}"
        ) from error


@contextmanager
def without_talk() -> Iterator[None]:
    """transformers says nothing meanwhile."""
    verbosity = transformers_logging.get_verbosity()
    progress_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if progress_bar:
            transformers_logging.enable_progress_bar()

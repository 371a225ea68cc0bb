"""A model's files → a model ready to embed; or one line that says what is wrong with them."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from transformers.utils import logging as transformers_logging

from alm2vec_search.errors import ModelError
from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.modeling_alm2vec import ALM2VecModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alm2vec_search.model.hub import ModelFiles

NAMED = 3  # of tensors that don't fit, before the rest is only counted


def load_model(files: ModelFiles, dtype: torch.dtype, device: str) -> ALM2VecModel:
    """The model, ready to embed: weights in float32, the audio encoder fused and in `dtype`.

    Raises:
        ModelError: the weights can't be read or don't fit the config, or the device isn't there.
    """
    with explained(files):
        _check_shards(files)
        config = ALM2VecConfig.from_pretrained(files.folder, local_files_only=True)
        model, report = ALM2VecModel.from_pretrained(
            files.folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are in the report
            output_loading_info=True,
        )
    wrong = "; ".join(_wrong(report))
    if wrong:
        raise ModelError(f"the weights in {files.folder} don't fit its config.json: {wrong}")
    model.audio_encoder.fuse(dtype)
    try:
        loaded: ALM2VecModel = model.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"the device {device} can't be used: {_one_line(error)}",
            hint="--device cpu works everywhere",
        ) from error
    return loaded


def _check_shards(files: ModelFiles) -> None:
    """Name the shard that is damaged: transformers doesn't."""
    for path in sorted(files.folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt"):
                pass
        except SafetensorError as error:
            raise ModelError(
                f"{path} can't be read: {_one_line(error)}", hint="it may be cut off: copy it again"
            ) from error


def _wrong(report: dict[str, Any]) -> Iterator[str]:
    """What transformers' loading report says against the weights, a part for each kind."""
    kinds = {
        "missing": sorted(report["missing_keys"]),
        "unknown": sorted(report["unexpected_keys"]),
        "of another shape": [
            f"{name} ({list(found)}, not {list(expected)})"
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
    verbosity = transformers_logging.get_verbosity()
    progress_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # what a wrong file makes three libraries raise is any of them
        raise ModelError(
            f"the model in {files.folder} can't be loaded: {_one_line(error)}"
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
        if progress_bar:
            transformers_logging.enable_progress_bar()


def _one_line(error: Exception) -> str:
    return shorten(str(error) or type(error).__name__, width=200, placeholder=" …")

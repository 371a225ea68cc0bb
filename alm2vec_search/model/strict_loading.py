"""Other people's checkpoints → models, by libraries that are less strict than we are.

A model's files are trusted as data and not as code: no code of theirs is run, no pickle is read,
and no tensor that is missing is made up.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from alm2vec_search.errors import ModelError, one_line
from alm2vec_search.model.loading import explained

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PICKLES = ("pytorch_model*.bin", "adapter_model*.bin")
MISFITS = {"MISSING": "missing", "MISMATCH": "of another shape", "CONVERSION": "of another kind"}
MISFIT = rf"^(\S.*?) *\|.*({'|'.join(MISFITS)})"  # a row of transformers' loading report
NAMED = 3  # of tensors that don't fit, before the rest is only counted


def load_sentence_transformer(folder: Path, dtype: torch.dtype) -> Any:
    """The model on the CPU, casting what it is fed to the type of its weights.

    Raises:
        ModelError: sentence-transformers isn't installed, or the files don't make a model.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ModelError(
            f"sentence-transformers can't be imported: {one_line(error)}",
            hint="pip install 'alm2vec-search[st]'",
        ) from error
    refuse_pickles(folder)
    files: Any = SimpleNamespace(folder=folder)
    with explained(files), fitting_weights(folder):
        model = SentenceTransformer(
            str(folder),
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": dtype, "use_safetensors": True},
        )

    def cast(_module: torch.nn.Module, args: tuple[dict[str, Any]]) -> dict[str, Any]:
        (features,) = args
        return {key: _cast(value, dtype) for key, value in features.items()}

    model.register_forward_pre_hook(cast)
    return model


def _cast(value: Any, dtype: torch.dtype) -> Any:
    floating = isinstance(value, torch.Tensor) and value.is_floating_point()
    return value.to(dtype) if floating else value


def refuse_pickles(folder: Path) -> None:
    """sentence-transformers reads a pickle where it finds no safetensors, in some of its modules.

    Raises:
        ModelError: some weights, or all, are there as a pickle only.
    """
    safe = {path.parent for path in folder.rglob("*.safetensors")}
    pickled = {path.parent for pattern in PICKLES for path in folder.rglob(pattern)}
    for bare in sorted(pickled - safe) or ([] if safe else [folder]):
        raise ModelError(
            f"{bare} has no *.safetensors, and pickled weights are never loaded",
            hint="use a model that is published as safetensors",
        )


@contextmanager
def fitting_weights(folder: Path) -> Iterator[None]:
    """Refuse weights that leave a part of the model to chance. Nothing is shown of what is logged.

    What is missing is drawn at random; transformers says so in its log and nowhere else.

    Raises:
        ModelError: some are missing, or of another shape.
    """
    reports: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        reports.append(record.getMessage())
        return False

    reporting = logging.getLogger("transformers.modeling_utils")
    talking = logging.getLogger("sentence_transformers")
    levels = reporting.level, talking.level
    reporting.addFilter(keep)
    reporting.setLevel(logging.WARNING)
    talking.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        reporting.removeFilter(keep)
        reporting.setLevel(levels[0])
        talking.setLevel(levels[1])
        wrong = [
            f"{tensor} is {MISFITS[status]}"
            for report in reports
            for tensor, status in re.findall(MISFIT, report, re.MULTILINE)
        ]
        if wrong:
            more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
            raise ModelError(
                f"the weights in {folder} don't fit its config.json: "
                f"{', '.join(wrong[:NAMED])}{more}"
            )

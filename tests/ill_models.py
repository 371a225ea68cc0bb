"""Models that load and can't be searched by."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from safetensors.numpy import load_file, save_file

from alm2vec_search.model.hub import BUNDLED_FOLDER

if TYPE_CHECKING:
    from pathlib import Path


def deaf(folder: Path) -> Path:
    """The small model with a detector that hears the same in all sounds."""
    return without(folder, "adapter.safetensors", "audio_projector.detector.weight")


def wordless(folder: Path) -> Path:
    """The small model with one vector for all words."""
    return without(
        folder,
        "base-language-model.safetensors",
        "language_model.embeddings.word_embeddings.weight",
    )


def without(folder: Path, shard: str, tensor: str) -> Path:
    """The small model in a folder of its own, with zeros in one of its tensors."""
    shutil.copytree(BUNDLED_FOLDER, folder)
    tensors = load_file(folder / shard)
    tensors[tensor] *= 0
    save_file(tensors, folder / shard, metadata={"format": "pt"})
    return folder

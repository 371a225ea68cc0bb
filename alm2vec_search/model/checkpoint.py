"""What a model's folder holds, by its headers: no tensor is read, and torch isn't imported."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from alm2vec_search.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
INDEX = "model.safetensors.index.json"
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I8": 1, "U8": 1}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor on disk."""

    file: Path
    name: str  # in that file
    shape: tuple[int, ...]
    dtype: str  # as safetensors writes it: F32, BF16, ...

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        total = 1
        for n in self.shape:
            total *= n
        return total


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is no such file.

    Raises:
        ModelError: it can't be read, or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} can't be read: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object")
    return content


def read_headers(folder: Path) -> dict[str, StoredTensor]:
    """The tensors of a folder's safetensors files, by their stored names.

    Where an index names the shards, these are read and no other.

    Raises:
        ModelError: a shard is missing or damaged; it is named. Or the weights are pickles.
    """
    tensors: dict[str, StoredTensor] = {}
    for path in shards(folder):
        try:
            with safe_open(path, framework="numpy") as file:
                for name in file.keys():
                    view = file.get_slice(name)
                    tensors[name] = StoredTensor(
                        path, name, tuple(view.get_shape()), view.get_dtype()
                    )
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{path} can't be read: {error}", hint="it may be cut off: copy or pull it again"
            ) from error
    return tensors


def shards(folder: Path) -> list[Path]:
    """The files that hold the weights of a folder.

    Raises:
        ModelError: there are none, or the index names one that isn't there.
    """
    index = read_json(folder / INDEX).get("weight_map")
    if isinstance(index, dict):
        found = [folder / name for name in sorted({str(name) for name in index.values()})]
        for path in found:
            if path.parent != folder:
                raise ModelError(f"{folder / INDEX} leads out of its folder, to {path}")
            if not path.is_file():
                raise ModelError(
                    f"{path} is missing", hint="copy it again, or alm2vec model pull goes on"
                )
        return found
    found = sorted(folder.glob("*.safetensors"))
    if not found:
        raise ModelError(f"{folder} has no *.safetensors", hint=instead_of_pickles(folder))
    return found


def instead_of_pickles(folder: Path) -> str:
    pickles = [path.name for pattern in PICKLES for path in sorted(folder.glob(pattern))]
    if pickles:
        return f"{pickles[0]} is a pickle, which can run code, and never loaded: convert it"
    return "a model's folder holds config.json, tokenizer.json and safetensors files"

"""Where a model's name leads, and what identifies the vectors it makes. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from alm2vec_search.errors import ModelError

BUNDLED = "small"
BUNDLED_FOLDER = Path(__file__).parent / "small"

# Moves when code changes what vectors come out of the same weights, and at no other time.
PIPELINE_REVISION = 1


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk, in the layout of transformers: config, tokenizer, safetensors shards."""

    name: str
    folder: Path

    @cached_property
    def weights_hash(self) -> str:
        """sha256 of all that shapes the vectors, hex, 16 digits: config, tokenizer, tensors.

        Raises:
            ModelError: a file can't be read.
        """
        digest = hashlib.sha256(f"pipeline {PIPELINE_REVISION}\n".encode())
        shaping = [self.folder / "config.json", self.folder / "tokenizer.json"]
        for path in [*shaping, *sorted(self.folder.glob("*.safetensors"))]:
            try:
                digest.update(f"{path.name} {path.stat().st_size}\n".encode())
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise ModelError(f"{path} can't be read: {error.strerror}") from error
        return digest.hexdigest()[:16]

    @cached_property
    def embedding_dim(self) -> int:
        """Of its vectors.

        Raises:
            ModelError: its config doesn't say.
        """
        try:
            config = json.loads((self.folder / "config.json").read_bytes())
            if config["model_type"] != "alm2vec":
                raise ValueError(config["model_type"])
            return int(config.get("embedding_dim") or config["text_config"]["hidden_size"])
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(
                f"{self.folder / 'config.json'} doesn't describe an ALM2Vec model",
                hint=f"use {BUNDLED}, or the folder of a model that alm2vec wrote",
            ) from error

    def fingerprint(self, dtype: str) -> str:
        """The identity of the vectors this model makes in a numeric type.

        >>> files = find_model("small")
        >>> files.fingerprint("float32") == f"{files.weights_hash}-float32"
        True
        """
        return f"{self.weights_hash}-{dtype}"


def dtype_of(fingerprint: str) -> str:
    """The numeric type a fingerprint was made for.

    >>> dtype_of("0f3a9c-bfloat16")
    'bfloat16'
    """
    return fingerprint.rpartition("-")[2]


def find_model(name: str) -> ModelFiles:
    """The model of that name: `small`, which comes with the package, or a folder.

    Raises:
        ModelError: there is no such model, or the folder holds something else.
    """
    folder = BUNDLED_FOLDER if name == BUNDLED else Path(name).expanduser()
    if not folder.is_dir():
        raise ModelError(
            f"no model is called {name}", hint=f"use {BUNDLED}, or the folder of a model"
        )
    missing = [part for part in ("config.json", "tokenizer.json") if not (folder / part).is_file()]
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        raise ModelError(
            f"{folder} is not a model: it has no {', '.join(missing)}",
            hint="a model's folder holds config.json, tokenizer.json and safetensors files",
        )
    return ModelFiles(name=name if name == BUNDLED else str(folder.absolute()), folder=folder)

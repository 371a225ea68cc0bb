"""Where a model's name leads, and what identifies the vectors it makes. Imports no torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from alm2vec_search.errors import ModelError
from alm2vec_search.model.checkpoint import (
    StoredTensor,
    instead_of_pickles,
    read_headers,
    read_json,
)
from alm2vec_search.model.description import (
    Description,
    describe_adapter,
    describe_ours,
    describe_published,
)
from alm2vec_search.model.file_hashes import sha256_of
from alm2vec_search.model.published import PublishedCheckpoint, is_published
from alm2vec_search.model.repositories import Repository

BUNDLED = "small"
BUNDLED_FOLDER = Path(__file__).parent / "small"
SENTENCE_TRANSFORMERS = "st:"
HINT = f"use {BUNDLED}, a model's folder, or owner/name of a hub"

# Moves when code changes what vectors come out of the same weights, and at no other time.
PIPELINE_REVISION = 3

LARGE = 1_000_000_000  # bytes
TOKENIZERS = ("tokenizer.json", "vocab.json")  # one of them is enough
SHAPING = {  # beside the tensors, what shapes the vectors of each layout, where it is there
    "ours": ("config.json", "tokenizer.json"),
    "published": (
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
        "merges.txt",
        "added_tokens.json",
        "special_tokens_map.json",
    ),
    "adapter": ("adapter_config.json", "config.json"),
}


class Layout(Enum):
    """How a folder says what its model is."""

    OURS = "ours"
    PUBLISHED = "published"  # as MiDashengLM and ALM2Vec are
    ADAPTER = "adapter"  # LoRA weights, as peft writes them, over another model
    SENTENCE_TRANSFORMERS = "sentence-transformers"
    REMOTE_CODE = "remote code"  # whatever the code that lies beside the weights makes of them


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk."""

    name: str  # finds it again, from anywhere on this machine
    folder: Path
    layout: Layout = Layout.OURS
    base: ModelFiles | None = None  # of an adapter

    @cached_property
    def weights_hash(self) -> str:
        """sha256 of all that shapes the vectors, hex, 16 digits: config, tokenizer, tensors.

        Raises:
            ModelError: a file can't be read.
        """
        digest = hashlib.sha256(f"pipeline {PIPELINE_REVISION}\n".encode())
        if self.base is not None:
            digest.update(f"over {self.base.weights_hash}\n".encode())
        for path in self._shaping():
            try:
                name = path.relative_to(self.folder).as_posix()
                digest.update(f"{name} {path.stat().st_size}\n".encode())
                digest.update(sha256_of(path))
            except OSError as error:
                raise ModelError(f"{path} can't be read: {error.strerror}") from error
        return digest.hexdigest()[:16]

    def _shaping(self) -> list[Path]:
        if self.layout in (Layout.SENTENCE_TRANSFORMERS, Layout.REMOTE_CODE):
            patterns = ("*.json", "*.txt", "*.model", "*.py", "*.safetensors")
            return sorted(path for pattern in patterns for path in self.folder.rglob(pattern))
        beside = [self.folder / name for name in SHAPING[self.layout.value]]
        if self.layout is not Layout.OURS:
            beside = [path for path in beside if path.is_file()]
        return [*beside, *sorted(self.folder.glob("*.safetensors"))]

    @cached_property
    def config(self) -> dict[str, Any]:
        """Its config.json."""
        return read_json(self.folder / "config.json")

    @cached_property
    def tensors(self) -> dict[str, StoredTensor]:
        """By their stored names.

        Raises:
            ModelError: a shard is missing or damaged.
        """
        return read_headers(self.folder)

    @cached_property
    def description(self) -> Description:
        """What our classes need to know to load it.

        Raises:
            ModelError: it is damaged, or something else than it should be.
        """
        try:
            if self.base is not None:
                return describe_adapter(self.base.description, self.config, self.tensors)
            if self.layout is Layout.PUBLISHED:
                said = read_json(self.folder / "tokenizer_config.json")
                return describe_published(PublishedCheckpoint(self.config, said, self.tensors))
            return describe_ours(self.config, self.tensors)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"the model in {self.folder} can't be loaded: {error}") from error

    @cached_property
    def embedding_dim(self) -> int:
        """Of its vectors.

        Raises:
            ModelError: its config doesn't say.
        """
        if self.layout is not Layout.OURS:
            return self.description.embedding_dim
        try:
            if self.config["model_type"] != "alm2vec":
                raise ValueError(self.config["model_type"])
            hidden_size = self.config["text_config"]["hidden_size"]
            return int(self.config.get("embedding_dim") or hidden_size)
        except (ModelError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(
                f"{self.folder / 'config.json'} doesn't describe an ALM2Vec model", hint=HINT
            ) from error

    @property
    def max_audio_s(self) -> float | None:
        """The most it hears of a sound, in seconds; None where it doesn't say, or hears all."""
        if self.layout is Layout.OURS:
            return self.config.get("max_audio_s")
        if self.layout in (Layout.SENTENCE_TRANSFORMERS, Layout.REMOTE_CODE):
            return None
        return self.description.fields.get("max_audio_s")

    @cached_property
    def num_bytes(self) -> int:
        """Of its weights, on disk."""
        below = 0 if self.base is None else self.base.num_bytes
        return below + sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))

    @property
    def is_large(self) -> bool:
        """Whether it wants a GPU, and a process of its own."""
        return self.num_bytes > LARGE

    @property
    def tokenizer_folder(self) -> Path:
        """Where its tokenizer is: an adapter speaks as its base does."""
        return self.folder if self.base is None else self.base.folder

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
    """The model of that name, on this machine.

    `small`, which comes with the package; a folder; `owner/name`, optionally `@revision`, of a hub,
    if it was fetched; and `st:` before one of these for a model of sentence-transformers.

    Raises:
        ModelNotHere: it is one of a hub, and was not fetched yet.
        ModelError: there is no such model, or the folder holds something else.
    """
    plain = name.removeprefix(SENTENCE_TRANSFORMERS)
    prefix = name[: len(name) - len(plain)]
    if name == BUNDLED:
        return ModelFiles(BUNDLED, BUNDLED_FOLDER)
    folder = Path(plain).expanduser()
    found_as = str(folder.absolute())
    if not folder.is_dir():
        repository = Repository.parse(plain)
        if repository is None:
            raise ModelError(f"no model is called {name}", hint=HINT)
        folder = repository.local()
        found_as = str(repository.pinned(folder))
    if prefix:
        return ModelFiles(prefix + found_as, folder, Layout.SENTENCE_TRANSFORMERS)
    return _examined(found_as, folder)


def _examined(name: str, folder: Path) -> ModelFiles:
    """A folder with its layout, if it is one of ours."""
    if (folder / "adapter_config.json").is_file():
        return ModelFiles(name, folder, Layout.ADAPTER, _base_of(folder))
    if (folder / "modules.json").is_file():
        raise ModelError(
            f"{folder} is a model of sentence-transformers", hint=f"use --model st:{name}"
        )
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any((folder / tokenizer).is_file() for tokenizer in TOKENIZERS):
        missing.append("tokenizer.json")
    if not any(folder.glob("*.safetensors")):
        missing.append("*.safetensors")
    if missing:
        raise ModelError(
            f"{folder} is not a model: it has no {', '.join(missing)}",
            hint=instead_of_pickles(folder),
        )
    files = ModelFiles(name, folder)
    if files.config.get("model_type") == "alm2vec" and "audio_config" in files.config:
        return files
    if is_published(files.config, files.tensors):
        return ModelFiles(name, folder, Layout.PUBLISHED)
    return files  # what is wrong with it is said when it is described


def _base_of(folder: Path) -> ModelFiles:
    """The model that an adapter's folder says it was trained on.

    Raises:
        ModelError: it says none, or that isn't here.
    """
    said = read_json(folder / "adapter_config.json")
    base = said.get("base_model_name_or_path")
    if not base:
        raise ModelError(
            f"{folder / 'adapter_config.json'} doesn't say what it was trained on",
            hint="set base_model_name_or_path in it to a model's name or folder",
        )
    beside = folder / str(base)
    revision = said.get("revision")
    name = str(beside) if beside.is_dir() else f"{base}@{revision}" if revision else str(base)
    found = find_model(name)
    if found.base is not None:
        raise ModelError(
            f"the adapter in {folder} lies over another adapter, in {found.folder}",
            hint="merge that one into its base first",
        )
    return found

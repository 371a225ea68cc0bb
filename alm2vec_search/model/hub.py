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
CASCADE = "asr:"
HINT = f"use {BUNDLED}, a model's folder, or owner/name of a hub"
HALVES_HINT = (
    f"a cascade is {CASCADE}SPEECH+TEXT, each a folder or owner/name of a hub: "
    f"{CASCADE}openai/whisper-small+BAAI/bge-small-en-v1.5"
)

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
    SPEECH = "speech"  # one of the Whisper family, half of a cascade
    CASCADE = "cascade"  # speech to text, and that to vectors: two models


UNDESCRIBED = {Layout.SENTENCE_TRANSFORMERS, Layout.REMOTE_CODE, Layout.SPEECH, Layout.CASCADE}


@dataclass(frozen=True)
class ModelFiles:
    """A model on disk."""

    name: str  # finds it again, from anywhere on this machine
    folder: Path
    layout: Layout = Layout.OURS
    base: ModelFiles | None = None  # of an adapter
    halves: tuple[ModelFiles, ...] = ()  # of a cascade: what hears, and what embeds its words

    @property
    def is_described(self) -> bool:
        """Whether its files say what it is made of, so that our own classes can load it."""
        return self.layout not in UNDESCRIBED

    @cached_property
    def weights_hash(self) -> str:
        """sha256 of all that shapes the vectors, hex, 16 digits: config, tokenizer, tensors.

        Raises:
            ModelError: a file can't be read.
        """
        digest = hashlib.sha256(f"pipeline {PIPELINE_REVISION}\n".encode())
        if self.base is not None:
            digest.update(f"over {self.base.weights_hash}\n".encode())
        for half in self.halves:
            digest.update(f"half {half.weights_hash}\n".encode())
        for path in self._shaping():
            try:
                name = path.relative_to(self.folder).as_posix()
                digest.update(f"{name} {path.stat().st_size}\n".encode())
                digest.update(sha256_of(path))
            except OSError as error:
                raise ModelError(f"{path} can't be read: {error.strerror}") from error
        return digest.hexdigest()[:16]

    def _shaping(self) -> list[Path]:
        if self.layout is Layout.CASCADE:
            return []  # all of it is in its halves
        if not self.is_described:
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
        if not self.is_described:
            return None
        return self.description.fields.get("max_audio_s")

    @cached_property
    def num_bytes(self) -> int:
        """Of its weights, on disk."""
        if self.halves:
            return sum(half.num_bytes for half in self.halves)
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
    if it was fetched; `st:` before one of these for a model of sentence-transformers; and
    `asr:SPEECH+TEXT`, each half one of these, for a cascade.

    Raises:
        ModelNotHere: it is one of a hub, and was not fetched yet.
        ModelError: there is no such model, or the folder holds something else.
    """
    if name == BUNDLED:
        return ModelFiles(BUNDLED, BUNDLED_FOLDER)
    if name.startswith(CASCADE):
        return _cascade(name)
    plain = name.removeprefix(SENTENCE_TRANSFORMERS)
    found_as, folder = _located(plain, name)
    if plain != name:
        return _of_sentence_transformers(found_as, folder)
    return _examined(found_as, folder)


def repositories(name: str) -> tuple[Repository, ...]:
    """What of a hub a model's name stands for: one, the halves of a cascade, or nothing.

    >>> [str(repository) for repository in repositories("asr:openai/whisper-tiny+./mine")]
    ['openai/whisper-tiny']
    """
    cascade = name.startswith(CASCADE)
    parts = _halves(name) if cascade else (name.removeprefix(SENTENCE_TRANSFORMERS),)
    found = (Repository.parse(part) for part in parts if not (cascade and _is_folder(part)))
    return tuple(repository for repository in found if repository is not None)


def _located(plain: str, name: str) -> tuple[str, Path]:
    """What finds a model from anywhere on this machine, and its folder.

    Args:
        plain: a folder or a hub's name.
        name: what was asked for.
    """
    if _is_folder(plain):
        folder = Path(plain).expanduser()
        return str(folder.absolute()), folder
    repository = Repository.parse(plain)
    if repository is None:
        raise ModelError(f"no model is called {name}", hint=HINT)
    folder = repository.local()
    return str(repository.pinned(folder)), folder


def _is_folder(plain: str) -> bool:
    return Path(plain).expanduser().is_dir()


def _of_sentence_transformers(found_as: str, folder: Path) -> ModelFiles:
    return ModelFiles(SENTENCE_TRANSFORMERS + found_as, folder, Layout.SENTENCE_TRANSFORMERS)


def _cascade(name: str) -> ModelFiles:
    """A speech model, and one of sentence-transformers for its words.

    Raises:
        ModelNotHere: a half is one of a hub, and was not fetched yet.
        ModelError: the name is not two models with a plus between, or the first hears no speech.
    """
    hearing, reading = (_located(half, half) for half in _halves(name))
    speech = ModelFiles(*hearing, Layout.SPEECH)
    kind = speech.config.get("model_type")
    if kind != "whisper":
        raise ModelError(
            f"{speech.folder} is no speech model of the Whisper family, but {kind}",
            hint=HALVES_HINT,
        )
    return ModelFiles(
        f"{CASCADE}{speech.name}+{reading[0]}",
        speech.folder,
        Layout.CASCADE,
        halves=(speech, _of_sentence_transformers(*reading)),
    )


def _halves(name: str) -> tuple[str, str]:
    """The two models of a cascade. A folder's name may have a plus in it, a hub's has none.

    Raises:
        ModelError: there aren't two.
    """
    said = name.removeprefix(CASCADE)
    pluses = [place for place, letter in enumerate(said) if letter == "+"]
    splits = [(said[:place], said[place + 1 :]) for place in pluses]
    likely = [halves for halves in splits if all(map(_could_be_found, halves))]
    for halves in likely or splits:
        if all(halves):
            return halves
    raise ModelError(f"{name} doesn't name two models", hint=HALVES_HINT)


def _could_be_found(plain: str) -> bool:
    return _is_folder(plain) or Repository.parse(plain) is not None


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

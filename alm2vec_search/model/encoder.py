"""`ALM2VecEncoder`: words and sounds in, vectors out, as numpy."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from transformers.utils import logging as transformers_logging

from alm2vec_search.errors import ModelError
from alm2vec_search.model.configuration_alm2vec import ALM2VecConfig
from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
from alm2vec_search.model.processing_alm2vec import ALM2VecProcessor, ModelInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alm2vec_search.domain import Embeddings, Waveform
    from alm2vec_search.model.hub import ModelFiles

DTYPES = ("float32", "bfloat16")
NAMED = 3  # of tensors that don't fit, before the rest is only counted


class ALM2VecEncoder:
    """Batched, without gradients, deterministic. Meets `alm2vec_search.domain.Encoder`.

    The audio encoder computes in `dtype`; everything after it in float32.

    Args:
        files: the model.
        dtype: `float32` or `bfloat16`.
        device: as torch names it.
        batch_size: inputs at a time. On a CPU more than about 8 is slower, not faster.

    Raises:
        ModelError: the model can't be loaded, or the device isn't there.
    """

    def __init__(
        self, files: ModelFiles, *, dtype: str, device: str = "cpu", batch_size: int = 8
    ) -> None:
        if dtype not in DTYPES:
            raise ModelError(
                f"{dtype} is no numeric type of ours", hint=f"use {' or '.join(DTYPES)}"
            )
        self.name = files.name
        self.fingerprint = files.fingerprint(dtype)
        self.embedding_dim = files.embedding_dim
        self.device = device
        self._batch_size = batch_size
        self._model = load_model(files, getattr(torch, dtype), device)
        self._config = self._model.config
        self.sampling_rate: int = self._model.audio_encoder.sampling_rate
        with _explained(files):
            self._processor = ALM2VecProcessor.from_folder(
                files.folder, self._config, self._model.audio_projector.count_tokens
            )

    def encode_query(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        """Embed what is asked: text, audio or both, index-aligned → float32 [n, dim]."""
        return self._encode(text, audio, instruction, self._config.query_instruction)

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        """Embed what is searched: text, audio or both, index-aligned → float32 [n, dim]."""
        return self._encode(text, audio, instruction, self._config.document_instruction)

    def _encode(
        self,
        text: Sequence[str | None] | None,
        audio: Sequence[Waveform | None] | None,
        instruction: str | None,
        default_instruction: str,
    ) -> Embeddings:
        instruction = default_instruction if instruction is None else instruction
        inputs = [
            ModelInput(words, sound, instruction) for words, sound in self._align(text, audio)
        ]
        embeddings = np.empty((len(inputs), self.embedding_dim), dtype=np.float32)
        by_length = sorted(range(len(inputs)), key=lambda i: _length(inputs[i]))
        for start in range(0, len(inputs), self._batch_size):
            rows = by_length[start : start + self._batch_size]
            batch = self._processor([inputs[row] for row in rows])
            batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
            with torch.inference_mode():
                embeddings[rows] = self._model(**batch).cpu().numpy()
        return embeddings

    def _align(
        self, text: Sequence[str | None] | None, audio: Sequence[Waveform | None] | None
    ) -> list[tuple[str | None, Waveform | None]]:
        """Pair the two halves of each input.

        Raises:
            ValueError: there is neither, they differ in number, or a sound is empty or at another
                rate than the model's.
        """
        if text is None and audio is None:
            raise ValueError("give text, audio, or both")
        n = len(text if text is not None else audio if audio is not None else ())
        pairs = list(zip(text or [None] * n, audio or [None] * n, strict=True))
        for words, sound in pairs:
            if words is None and sound is None:
                raise ValueError("an input is text, audio, or both")
            if sound is not None and sound.sampling_rate != self.sampling_rate:
                raise ValueError(f"sound at {sound.sampling_rate} Hz, not {self.sampling_rate}")
            if sound is not None and not len(sound.samples):
                raise ValueError("a sound without samples")
        return pairs


def load_model(files: ModelFiles, dtype: torch.dtype, device: str) -> ALM2VecModel:
    """The model, ready to embed: weights in float32, the audio encoder fused and in `dtype`.

    Raises:
        ModelError: the weights can't be read or don't fit the config, or the device isn't there.
    """
    with _explained(files):
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
def _explained(files: ModelFiles) -> Iterator[None]:
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


def preferred_dtype(device: str) -> str:
    """What is quickest on this device without being worse: bfloat16 where it is native.

    On a CPU with AVX-512 BF16 or AMX the small model's encoder is twice as fast in it. A collection
    remembers the type it was made in, so that another machine can still search it.
    """
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    if device != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # an older torch has none
        return "float32"
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bfloat16" if native else "float32"


def _length(item: ModelInput) -> tuple[int, int]:
    """What inputs are sorted by, so that a batch holds little padding."""
    return (len(item.audio.samples) if item.audio else 0, len(item.text or ""))

"""`SentenceTransformersEncoder`: CLAP and its kin, run by sentence-transformers.

It is an extra, and imported when a model is loaded. A model's files are trusted as data and not as
code: no code of theirs is run, and no pickle is read.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from alm2vec_search.errors import ModelError
from alm2vec_search.model.encoder import aligned
from alm2vec_search.model.hardware import require_device
from alm2vec_search.model.loading import room_on
from alm2vec_search.model.strict_loading import load_sentence_transformer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from alm2vec_search.domain import Embeddings, Waveform

    Modality = str | tuple[str, ...]  # as sentence-transformers names them, parts sorted
    Pair = tuple[str | None, Waveform | None]  # the two halves of one input

TEXT, AUDIO, BOTH = "text", "audio", ("audio", "text")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class SentenceTransformersEncoder:
    """Batched, without gradients, deterministic. Meets `alm2vec_search.domain.Encoder`.

    Without an instruction the prompts that the model brings for queries and documents are used.
    With one, a model that takes messages gets it as the system's; to any other it goes in front of
    the words, and with a sound it is refused.

    Args:
        folder: the model, in the layout of sentence-transformers, or a plain CLAP of transformers.
        name: what a person calls it.
        fingerprint: of its vectors.
        dtype: `float32` or `bfloat16`, of the weights and of the arithmetic.
        device: as torch names it.
        batch_size: inputs at a time.

    Raises:
        ModelError: sentence-transformers isn't installed, the model can't be loaded or takes no
            sound, or the device isn't there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        fingerprint: str,
        dtype: str,
        device: str,
        batch_size: int = 8,
    ) -> None:
        require_dtype(dtype)
        self.name = name
        self.fingerprint = fingerprint
        self.device = device
        self._batch_size = batch_size
        self._model = load_sentence_transformer(folder, DTYPES[dtype])
        if not any(self._takes(modality) for modality in (AUDIO, BOTH)):
            raise ModelError(
                f"{name} takes no sound", hint="use a model that takes audio and text, as CLAP does"
            )
        extractor = _audio_extractor(self._model)
        dim = self._model.get_embedding_dimension()
        if extractor is None or dim is None:
            unsaid = "sampling rate of its sounds" if dim else "size of its vectors"
            raise ModelError(f"{name} doesn't say the {unsaid}")
        self.sampling_rate = int(extractor.sampling_rate)
        self.embedding_dim = int(dim)
        self.follows_instructions = self._takes("message")  # as words in front, they are no task
        self._longest = _longest(extractor)
        self._draws_lots = getattr(extractor, "truncation", None) == "fusion"
        require_device(device)
        with room_on(device):
            self._model.to(device)

    @property
    def max_audio_s(self) -> float | None:
        """The longest sound that it takes; None, if there is no limit."""
        return None if self._longest is None else self._longest / self.sampling_rate

    def encode_query(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        """Embed what is asked: text, audio or both, index-aligned → float32 [n, dim].

        Raises:
            ModelError: the model can't take such an input, or not with an instruction.
        """
        return self._encode(self._model.encode_query, text, audio, instruction)

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        """Embed what is searched: text, audio or both, index-aligned → float32 [n, dim].

        Raises:
            ModelError: the model can't take such an input, or not with an instruction.
        """
        return self._encode(self._model.encode_document, text, audio, instruction)

    def _encode(
        self,
        encode: Callable[..., Embeddings],
        text: Sequence[str | None] | None,
        audio: Sequence[Waveform | None] | None,
        instruction: str | None,
    ) -> Embeddings:
        pairs = aligned(text, audio, self.sampling_rate)
        for pair in pairs:
            self._refuse(pair, instruction)
        embeddings = np.empty((len(pairs), self.embedding_dim), dtype=np.float32)
        for modality, rows in _batches(pairs):
            embeddings[rows] = encode(
                [_as_input(*pairs[row]) for row in rows],
                prompt=self._prompt(instruction),
                batch_size=1 if self._draws_lots and modality != TEXT else self._batch_size,
                show_progress_bar=False,
            )
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        return embeddings

    def _refuse(self, pair: Pair, instruction: str | None) -> None:
        """What the model would ignore a part of.

        Raises:
            ModelError: it can't take the input, or not with the instruction.
        """
        modality, sound = _modality(*pair), pair[1]
        if not self._takes(modality):
            if modality == BOTH:
                raise ModelError(
                    f"{self.name} takes words or a sound, not both in one",
                    hint="ask for one of the two, or use an ALM2Vec model",
                )
            raise ModelError(f"{self.name} takes no {'words' if modality == TEXT else 'sound'}")
        if instruction and sound is not None and not self._takes("message"):
            raise ModelError(
                f"{self.name} takes no instruction with a sound",
                hint="leave the instruction out, or use an ALM2Vec model",
            )
        if self._longest is not None and sound is not None and len(sound.samples) > self._longest:
            longest_s = self._longest / self.sampling_rate
            raise ModelError(
                f"{self.name} hears {longest_s:g} s at a time, not {sound.duration_s:g} s",
                hint=f"index with --window {longest_s:g}, or name a region: FILE@START-END",
            )

    def _takes(self, modality: Modality) -> bool:
        return bool(self._model.supports(modality))

    def _prompt(self, instruction: str | None) -> str | None:
        return instruction if self._takes("message") else in_front(instruction)


def require_dtype(dtype: str) -> None:
    """
    Raises:
        ModelError: it is none of `DTYPES`.
    """
    if dtype not in DTYPES:
        raise ModelError(f"{dtype} is no numeric type of ours", hint=f"use {' or '.join(DTYPES)}")


def in_front(instruction: str | None) -> str | None:
    """An instruction, kept apart from the words that it is put right in front of.

    >>> in_front("find")
    'find '
    """
    apart = not instruction or instruction[-1].isspace()
    return instruction if apart else f"{instruction} "


def _modality(words: str | None, sound: Waveform | None) -> Modality:
    if sound is None:
        return TEXT
    return AUDIO if words is None else BOTH


def _as_input(words: str | None, sound: Waveform | None) -> dict[str, Any]:
    """An input that says what it is. Bare words that name a file or an address would be opened."""
    halves: dict[str, Any] = {}
    if words is not None:
        halves["text"] = words
    if sound is not None:
        halves["audio"] = {"array": sound.samples, "sampling_rate": sound.sampling_rate}
    return halves


def _batches(pairs: Sequence[Pair]) -> Iterator[tuple[Modality, list[int]]]:
    """The rows of one kind. Sounds of one length only: not every model knows padding from sound."""
    rows: dict[tuple[Modality, int], list[int]] = defaultdict(list)
    for row, (words, sound) in enumerate(pairs):
        n_samples = 0 if sound is None else len(sound.samples)
        rows[_modality(words, sound), n_samples].append(row)
    for (modality, _), members in rows.items():
        yield modality, members


def _audio_extractor(model: Any) -> Any:
    """What turns samples into features, wherever the model has it; None if nowhere."""
    for module in model.modules():
        processor = getattr(module, "processor", None)
        extractor = getattr(processor, "feature_extractor", processor)
        if getattr(extractor, "sampling_rate", None):
            return extractor
    return None


def _longest(extractor: Any) -> int | None:
    """How many samples it takes; of a longer sound CLAP picks a stretch by lot, Whisper the start.

    None if there is no limit.
    """
    for field in ("nb_max_samples", "n_samples"):
        if getattr(extractor, field, None):
            return int(getattr(extractor, field))
    return None

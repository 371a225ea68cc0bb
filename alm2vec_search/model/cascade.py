"""`CascadeEncoder`: sound → what is said in it → the vector of these words.

What research compares models that hear with: a Whisper, and a text model such as BGE. Of a sound
only its speech counts, and of that only the words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from alm2vec_search.errors import ModelError
from alm2vec_search.model.encoder import aligned
from alm2vec_search.model.hardware import require_device
from alm2vec_search.model.loading import explained, room_on
from alm2vec_search.model.st_encoder import DTYPES, in_front, require_dtype
from alm2vec_search.model.strict_loading import load_sentence_transformer
from alm2vec_search.model.transcribing import Transcriber

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from alm2vec_search.domain import Embeddings, Waveform
    from alm2vec_search.model.hub import ModelFiles


class CascadeEncoder:
    """Batched, without gradients, deterministic. Meets `alm2vec_search.domain.Encoder`.

    Words and a sound in one input are the words, a line break, and what is said in the sound. A
    sound in which nothing is said is an empty text, and has the vector of one. The text model reads
    as much of a long transcript as it reads of any text. Without an instruction, the prompts that
    it brings for queries and documents are used; with one, that goes in front of the words, and
    with a sound it is refused.

    Args:
        files: the cascade, of two halves.
        dtype: `float32` or `bfloat16`, of the weights and of the arithmetic of both.
        device: as torch names it.
        batch_size: texts at a time, and windows of sound; None is what suits the device.

    Raises:
        ModelError: sentence-transformers isn't installed, a half can't be loaded, or the device
            isn't there.
    """

    follows_instructions = False

    def __init__(
        self, files: ModelFiles, *, dtype: str, device: str, batch_size: int | None = None
    ) -> None:
        require_dtype(dtype)
        require_device(device)
        speech, text = files.halves
        self.name = files.name
        self.fingerprint = files.fingerprint(dtype)
        self.device = device
        self._batch_size = batch_size or 8
        self._text_model = load_sentence_transformer(text.folder, DTYPES[dtype])
        if not self._text_model.supports("text"):
            raise ModelError(f"{text.name} takes no words")
        with room_on(device):
            self._text_model.to(device)
        self._transcriber = Transcriber(
            speech.folder, dtype=DTYPES[dtype], device=device, batch_size=batch_size
        )
        self.sampling_rate = self._transcriber.sampling_rate
        with explained(text):
            silence = self._embed(self._text_model.encode_document, [""], None)  # [1, dim]
        if not np.linalg.norm(silence) > 0:  # as models without a context have it
            raise ModelError(
                f"{text.name} has no vector for a sound without words: that of no words is zero",
                hint="use a text model of the BERT kind, as BAAI/bge-small-en-v1.5 is",
            )
        self.embedding_dim = silence.shape[1]

    def encode_query(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        """Embed what is asked: text, audio or both, index-aligned → float32 [n, dim].

        Raises:
            ModelError: there is an instruction with a sound.
        """
        return self._encode(self._text_model.encode_query, text, audio, instruction)

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        """Embed what is searched: text, audio or both, index-aligned → float32 [n, dim].

        Raises:
            ModelError: there is an instruction with a sound.
        """
        return self._encode(self._text_model.encode_document, text, audio, instruction)

    def transcribe(self, sounds: Sequence[Waveform]) -> list[str]:
        """What is said in each, as it is embedded."""
        return self._transcriber.transcribe(sounds)

    def _encode(
        self,
        encode: Callable[..., Any],
        text: Sequence[str | None] | None,
        audio: Sequence[Waveform | None] | None,
        instruction: str | None,
    ) -> Embeddings:
        pairs = aligned(text, audio, self.sampling_rate)
        sounds = [sound for _, sound in pairs if sound is not None]
        if instruction and sounds:
            raise ModelError(
                f"{self.name} takes no instruction with a sound",
                hint="leave the instruction out, or use an ALM2Vec model",
            )
        said = iter(self.transcribe(sounds))
        texts = [
            "\n".join(filter(None, (words, None if sound is None else next(said))))
            for words, sound in pairs
        ]
        embeddings = self._embed(encode, texts, instruction)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        return embeddings

    def _embed(
        self, encode: Callable[..., Any], texts: Sequence[str], instruction: str | None
    ) -> Embeddings:
        """As long as the text model makes them, [n, dim]."""
        if not texts:
            return np.empty((0, self.embedding_dim), dtype=np.float32)
        vectors = encode(
            [{"text": text} for text in texts],  # bare words that name a file would be opened
            prompt=in_front(instruction),
            batch_size=self._batch_size,
            show_progress_bar=False,
        )
        return np.asarray(vectors, dtype=np.float32)

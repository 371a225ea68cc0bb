"""A repository's own `encode()`, for those who trust its code: it runs with all their rights.

Nothing else in this project runs code that comes with weights. The method is the one that ALM2Vec's
authors publish: `encode(text=, audio=, task=, instruction=, normalize=, device=)`, audio as paths.
"""

from __future__ import annotations

import tempfile
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from alm2vec_search.errors import ModelError
from alm2vec_search.model.encoder import aligned, normalised
from alm2vec_search.model.hardware import require_device
from alm2vec_search.model.loading import explained, room_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alm2vec_search.domain import Embeddings, Waveform
    from alm2vec_search.model.hub import ModelFiles

SAMPLING_RATE = 16_000  # Hz, of all published models
FULL_SCALE = 32_767
PROBE = "a dog barks"  # embedded once, to see how long vectors are


class RemoteCodeEncoder:
    """Meets `alm2vec_search.domain.Encoder` by calling the model's own `encode`.

    Sounds are handed over as 16-bit wav files in a temporary folder.

    Args:
        files: the model; its config.json names the code (`auto_map`).
        dtype: what the whole of it is loaded in.
        device: as torch names it.

    Raises:
        ModelError: it brings no code, has no `encode`, or can't be loaded.
    """

    sampling_rate = SAMPLING_RATE
    follows_instructions = True

    def __init__(self, files: ModelFiles, *, dtype: str, device: str) -> None:
        self.name = files.name
        self.fingerprint = files.fingerprint(dtype)
        self.device = device
        require_device(device)
        if "AutoModel" not in files.config.get("auto_map", {}):
            raise ModelError(
                f"the model in {files.folder} brings no code of its own",
                hint="leave out --trust-remote-code: our own classes load it",
            )
        with explained(files), room_on(device):
            self._model = load_with_its_code(files.folder, getattr(torch, dtype), device)
        if not callable(getattr(self._model, "encode", None)):
            raise ModelError(
                f"the model in {files.folder} has no encode()",
                hint="leave out --trust-remote-code: our own classes load it",
            )
        self.embedding_dim = int(self.encode_document(text=[PROBE]).shape[1])

    def encode_query(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        """Embed what is asked: text, audio or both, index-aligned → float32 [n, dim]."""
        return self._encode("query", text, audio, instruction)

    def encode_document(
        self,
        *,
        text: Sequence[str | None] | None = None,
        audio: Sequence[Waveform | None] | None = None,
        instruction: str | None = None,
    ) -> Embeddings:
        """Embed what is searched: text, audio or both, index-aligned → float32 [n, dim]."""
        return self._encode("document", text, audio, instruction)

    def _encode(
        self,
        task: str,
        text: Sequence[str | None] | None,
        audio: Sequence[Waveform | None] | None,
        instruction: str | None,
    ) -> Embeddings:
        pairs = aligned(text, audio, self.sampling_rate)
        vectors: dict[int, Any] = {}
        said = {} if instruction is None else {"instruction": instruction}
        with tempfile.TemporaryDirectory(prefix="alm2vec-") as folder:
            for row, (words, sound) in enumerate(pairs):
                path = None if sound is None else write_wav(Path(folder) / f"{row}.wav", sound)
                with torch.inference_mode():
                    vectors[row] = self._model.encode(
                        text=None if words is None else [words],
                        audio=None if path is None else [str(path)],
                        task=task,
                        normalize=True,
                        device=self.device,
                        **said,
                    )[0]
        if not vectors:
            return np.empty((0, self.embedding_dim), dtype=np.float32)
        rows = [torch.as_tensor(vectors[row]).float().cpu().numpy() for row in sorted(vectors)]
        return normalised(np.stack(rows))


def load_with_its_code(folder: Path, dtype: torch.dtype, device: str) -> Any:
    """Run a repository's code, which loads its weights; with its tokenizer, where it has none."""
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(
        folder,
        trust_remote_code=True,
        use_safetensors=True,
        local_files_only=True,
        dtype=dtype,
        device_map={"": device},
    ).eval()
    if getattr(model, "tokenizer", None) is None:
        model.tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=True, local_files_only=True
        )
    return model


def write_wav(path: Path, sound: Waveform) -> Path:
    """Mono, 16 bits."""
    samples = np.clip(sound.samples, -1, 1) * FULL_SCALE
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.sampling_rate)
        file.writeframes(samples.round().astype("<i2").tobytes())
    return path

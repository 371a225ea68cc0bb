"""What a run would do, and how large the index would become. Nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alm2vec_search.audio import probe
from alm2vec_search.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from alm2vec_search.domain import AudioFile
    from indexer.chunker import Chunking

BYTES_A_NUMBER = 4
CODES = 1.125  # a vector and its 4-bit code, in vectors
BYTES_A_CHUNK = 1200  # beside its vector: payload and indexes
LOG_BYTES = 64 << 20  # the store's log holds all of it again, up to this


@dataclass(slots=True)
class Estimate:
    """Of the files that would be read. Durations are what the files declare."""

    n_files: int = 0
    n_chunks: int = 0
    audio_s: float = 0.0
    unknown: int = 0  # files that don't say how long they are
    unreadable: list[tuple[Path, str]] = field(default_factory=list)

    def index_bytes(self, n_chunks_before: int, embedding_dim: int) -> int:
        """About how large the index would be with them; `benchmarks/growth.py` measures it."""
        n_chunks = n_chunks_before + self.n_chunks
        vector = embedding_dim * BYTES_A_NUMBER
        log = min(LOG_BYTES, n_chunks * (vector + BYTES_A_CHUNK))
        return round(n_chunks * (vector * CODES + BYTES_A_CHUNK)) + log


def estimate(files: Sequence[AudioFile], chunking: Chunking) -> Estimate:
    """Look at the headers of files."""
    result = Estimate(n_files=len(files))
    for file in files:
        try:
            duration_s = probe(file.path).duration_s
        except AudioError as error:
            result.unreadable.append((file.path, error.reason))
            continue
        if duration_s is None:
            result.unknown += 1
            continue
        result.audio_s += duration_s
        result.n_chunks += chunking.estimate(duration_s)
    return result

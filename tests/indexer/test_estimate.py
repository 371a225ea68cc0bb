"""What a dry run promises is near what a run then does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from index_driver import CHUNKING, Index, write_tone

from alm2vec_search.audio import AUDIO_SUFFIXES
from alm2vec_search.domain import AudioFile
from indexer.estimate import estimate
from indexer.walker import walk

if TYPE_CHECKING:
    from pathlib import Path


def test_an_estimate_is_what_then_happens(index: Index, library: Path) -> None:
    for i in range(300):
        write_tone(library / f"{i}.wav", duration_s=1 + i % 9, peak=0.2 + i / 1000)
    (library / "text.wav").write_text("not audio at all")
    files = [f for f in walk(library, suffixes=AUDIO_SUFFIXES) if isinstance(f, AudioFile)]
    outlook = estimate(files, CHUNKING)
    report = index.run(library)
    assert outlook.n_files == 301
    assert outlook.unreadable == [(library / "text.wav", "not audio")]
    assert outlook.n_chunks == report.chunks
    assert 0 <= outlook.audio_s - report.audio_s <= 300  # tails of up to a second are left out
    n_bytes = sum(p.stat().st_blocks * 512 for p in index.folder.rglob("*") if p.is_file())
    expected = outlook.index_bytes(0, index.encoder.embedding_dim)
    assert 0.4 < n_bytes / expected < 2.5

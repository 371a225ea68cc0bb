"""Files to embedded chunks: batches that span files, and files that fail between others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from index_driver import CHUNKING, CountingEncoder, write_tone

from alm2vec_search.audio import AUDIO_SUFFIXES
from alm2vec_search.domain import AudioFile
from indexer.embedding import CHUNKS_HELD, Advance, Embedded, Failed, Job, embed_files, hash_file
from indexer.walker import walk

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def embed(library: Path, encoder: Any = None) -> dict[str, Embedded | Failed]:
    jobs = [Job(f) for f in walk(library, suffixes=AUDIO_SUFFIXES) if isinstance(f, AudioFile)]
    given = embed_files(jobs, encoder or CountingEncoder(), CHUNKING)
    return {o.file.path.name: o for o in given if not isinstance(o, Advance)}


def test_batches_span_files(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    for i in range(CHUNKS_HELD + 6):
        write_tone(library / f"{i:03}.wav", duration_s=0.1)
    encoder = CountingEncoder()
    encode = encoder.encode_document
    monkeypatch.setattr(
        encoder, "encode_document", lambda audio: sizes.append(len(audio)) or encode(audio=audio)
    )
    assert len(embed(library, encoder)) == CHUNKS_HELD + 6
    assert sizes == [CHUNKS_HELD, 6]


def test_each_chunk_has_the_vector_of_its_own_sound(library: Path) -> None:
    for i, note in enumerate(["low", "middle", "high"] * 30):
        write_tone(library / f"{note}-{i}.wav", note, duration_s=1.5 + i % 4)
    encoder = CountingEncoder()
    words = encoder.encode_query(text=["low", "middle", "high"])
    for name, outcome in embed(library, encoder).items():
        assert isinstance(outcome, Embedded)
        for chunk in outcome.chunks:
            nearest = ["low", "middle", "high"][int(np.argmax(words @ chunk.embedding))]
            assert name.startswith(nearest)


def test_a_file_that_fails_takes_nothing_with_it(library: Path) -> None:
    write_tone(library / "a.wav")
    (library / "b.wav").write_text("not audio at all")
    write_tone(library / "c.wav")
    found = embed(library)
    assert isinstance(found["b.wav"], Failed)
    assert all(isinstance(found[name], Embedded) for name in ("a.wav", "c.wav"))


def test_a_long_file_is_not_held(library: Path) -> None:
    write_tone(library / "long.wav", duration_s=2 * (3 * CHUNKS_HELD + 1))
    advances = [
        o
        for o in embed_files(
            [Job(f) for f in walk(library, suffixes=AUDIO_SUFFIXES) if isinstance(f, AudioFile)],
            CountingEncoder(),
            CHUNKING,
        )
        if isinstance(o, Advance)
    ]
    assert [a.n_chunks for a in advances] == [CHUNKS_HELD] * 3 + [1]


def test_content_is_named_by_its_bytes(library: Path) -> None:
    path = write_tone(library / "a.wav", duration_s=2.5)
    (outcome,) = embed(library).values()
    assert isinstance(outcome, Embedded)
    content = outcome.content
    assert content.content_hash == hash_file(path)
    assert (content.size, content.duration_s) == (path.stat().st_size, 2.5)
    assert (content.sampling_rate, content.channels) == (16_000, 1)

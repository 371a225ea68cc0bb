"""What decoding and encoding a library cost alone: one process, one thread, nothing in between.

    python benchmarks/parts.py FOLDER

Decodes every file of a folder to its end, and throws the sound away. Then decodes again, and
encodes the chunks as `indexer.embedding` does: windows of as many chunks, sorted by length, in
batches of the same size and numeric type; only encoding is timed. Prints CPU seconds as JSON, those
of starting (interpreter and imports, loading the model, the first call) apart. It is the yardstick
of `throughput.py`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alm2vec_search.domain import Encoder, Waveform
    from indexer.chunker import Chunking

# They are imported when they are first needed: here, before anything is timed.
IMPORTED = (
    "alm2vec_search.model.encoder",
    "alm2vec_search.audio.av_decoder",
    "alm2vec_search.audio.resampling",
    "alm2vec_search.audio.soundfile_decoder",
    "indexer.embedding",
)


def audio_files(folder: Path) -> list[Path]:
    """What `alm2vec index` would read, the largest first, as there."""
    from alm2vec_search.audio import AUDIO_SUFFIXES

    paths = (path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    return sorted(paths, key=lambda path: (-path.stat().st_size, path))


def build_encoder(num_threads: int | None) -> Encoder:
    """The one that `alm2vec index` would use for a new index."""
    from alm2vec_search.settings import load_settings
    from alm2vec_search.wiring import encoder_spec

    return replace(encoder_spec(load_settings()), num_threads=num_threads).build()


def warm_up(encoder: Encoder) -> None:
    """What is made when it is first needed is made now."""
    import numpy as np

    from alm2vec_search.domain import Waveform

    second = np.zeros(encoder.sampling_rate, np.float32)
    encoder.encode_document(audio=[Waveform(second, encoder.sampling_rate)])


def decode_cpu_s(paths: list[Path], sampling_rate: int) -> float:
    from alm2vec_search.audio import open_audio

    started = time.process_time()
    for path in paths:
        with open_audio(path, sampling_rate) as sound:
            for _ in sound:
                pass
    return time.process_time() - started


def encode_cpu_s(waveforms: Iterator[Waveform], encoder: Encoder) -> float:
    from indexer.embedding import CHUNKS_HELD

    spent_s = 0.0
    held: list[Waveform] = []

    def encode_held() -> float:
        started = time.process_time()
        encoder.encode_document(audio=held)
        return time.process_time() - started

    for waveform in waveforms:
        held.append(waveform)
        if len(held) == CHUNKS_HELD:
            spent_s += encode_held()
            held.clear()
    if held:
        spent_s += encode_held()
    return spent_s


def cut_files(paths: list[Path], sampling_rate: int, chunking: Chunking) -> Iterator[Waveform]:
    from alm2vec_search.audio import open_audio
    from indexer.chunker import cut

    for path in paths:
        with open_audio(path, sampling_rate) as sound:
            for chunk in cut(sound, sampling_rate, chunking):
                yield chunk.waveform


def noting_lengths(waveforms: Iterator[Waveform], lengths: list[float]) -> Iterator[Waveform]:
    """Pass sounds on, and note how long they are."""
    for waveform in waveforms:
        lengths.append(waveform.duration_s)
        yield waveform


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a folder of audio")
    args = parser.parse_args()

    for module in IMPORTED:
        importlib.import_module(module)
    from indexer.chunker import Chunking

    marks = [time.process_time()]  # since the process began
    encoder = build_encoder(num_threads=1)
    marks.append(time.process_time())
    warm_up(encoder)
    marks.append(time.process_time())
    paths = audio_files(args.folder)
    decode_s = decode_cpu_s(paths, encoder.sampling_rate)
    lengths: list[float] = []
    waveforms = cut_files(paths, encoder.sampling_rate, Chunking())
    encode_s = encode_cpu_s(noting_lengths(waveforms, lengths), encoder)
    print(
        json.dumps(
            {
                "imports_s": marks[0],
                "load_model_s": marks[1] - marks[0],
                "first_call_s": marks[2] - marks[1],
                "decode_s": decode_s,
                "encode_s": encode_s,
                "files": len(paths),
                "chunks": len(lengths),
                "audio_s": sum(lengths),
            }
        )
    )


if __name__ == "__main__":
    main()

"""The script that anyone would write first: the yardstick of what the pipeline is good for.

    python benchmarks/naive.py FOLDER STORE

One file after the other is decoded whole and resampled by FFmpeg (PyAV and its swresample), every
chunk of 10 s goes through the model alone, with torch's default threads, and into the store alone.
Prints seconds by the clock as JSON, those of starting (imports, loading the model, the first call)
apart.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from parts import audio_files, build_encoder, warm_up

if TYPE_CHECKING:
    from alm2vec_search.domain import Samples

WINDOW_S = 10


def load(path: Path, sampling_rate: int) -> Samples:
    """A whole file, mono."""
    import av
    import numpy as np

    resampler = av.AudioResampler(format="flt", layout="mono", rate=sampling_rate)
    pieces = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    samples: Samples = np.concatenate(pieces)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a folder of audio")
    parser.add_argument("store", type=Path, help="where the index is made")
    args = parser.parse_args()

    started = time.monotonic()
    from alm2vec_search.collection.base import CollectionInfo
    from alm2vec_search.collection.edge import EdgeCollection
    from alm2vec_search.domain import Content, EmbeddedChunk, Place, TimeSpan, Waveform

    encoder = build_encoder(num_threads=None)
    warm_up(encoder)
    start_s = time.monotonic() - started
    n_chunks, audio_s = 0, 0.0
    info = CollectionInfo(encoder.fingerprint, "10s/10s", encoder.embedding_dim, encoder.name)
    rate = encoder.sampling_rate
    with EdgeCollection.create(args.store, info) as collection:
        for path in audio_files(args.folder):
            samples = load(path, rate)
            duration_s = len(samples) / rate
            content = Content(str(path), path.stat().st_size, duration_s, rate, 1)
            place = Place(path, args.folder, path.stat().st_mtime_ns)
            for start in range(0, len(samples), WINDOW_S * rate):
                chunk = samples[start : start + WINDOW_S * rate]
                [embedding] = encoder.encode_document(audio=[Waveform(chunk, rate)])
                span = TimeSpan(start / rate, (start + len(chunk)) / rate)
                collection.upsert(content, [place], [EmbeddedChunk(span, embedding, False)])
                n_chunks += 1
            audio_s += duration_s
    print(
        json.dumps(
            {
                "start_s": start_s,
                "work_s": time.monotonic() - started - start_s,
                "chunks": n_chunks,
                "audio_s": audio_s,
            }
        )
    )


if __name__ == "__main__":
    main()

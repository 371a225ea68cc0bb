"""A stretch of a file as a file of its own, as it sounds there: all channels, at its own rate."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

from alm2vec_search.audio.choosing import open_decoder
from alm2vec_search.audio.decoder import NativeBlock
from alm2vec_search.audio.source import open_source
from alm2vec_search.errors import EmptyAudio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from alm2vec_search.audio.decoder import Decoder
    from alm2vec_search.domain import TimeSpan


def cut_clip(path: Path, span: TimeSpan, out: Path) -> None:
    """Write a stretch of a file to a new WAV file, 24 bits, shorter where the file ends within it.

    `out` is there whole, or not at all.

    Raises:
        DecodeError: the file can't be read.
        EmptyAudio: it has no sound in that stretch.
        OSError: `out` can't be written.
    """
    draft = out.with_name(f".{out.name}.part")
    try:
        with closing(open_source(path)) as source, closing(open_decoder(source)) as decoder:
            if not _write(_up_to_the_seam(decoder, span), draft, decoder):
                raise EmptyAudio(path, f"there is no sound at {span.start_s:.1f} s")
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


def stretch(decoder: Decoder, span: TimeSpan) -> Iterator[NativeBlock]:
    """The blocks of a stretch, the last one cut where it ends; fewer where the file ends first.

    Raises:
        DecodeError: the file system can't read the file.
    """
    rate = decoder.info.sampling_rate
    start = round(span.start_s * rate)
    left = round(span.end_s * rate) - start
    for block in decoder.blocks(start):
        if block.sampling_rate != rate:
            left = round(left * block.sampling_rate / rate)
            rate = block.sampling_rate
        frames = block.frames[:left]
        if len(frames):
            yield NativeBlock(frames, rate)
        left -= len(frames)
        if left <= 0:
            return


def _up_to_the_seam(decoder: Decoder, span: TimeSpan) -> Iterator[NDArray[np.float32]]:
    """Frames [n, channels] of the stretch, up to where a file is glued to another kind of sound."""
    rate, channels = decoder.info.sampling_rate, decoder.info.channels
    for block in stretch(decoder, span):
        if block.sampling_rate != rate or block.frames.shape[1] != channels:
            return
        yield block.frames


def _write(blocks: Iterator[NDArray[np.float32]], out: Path, decoder: Decoder) -> int:
    """How many frames were written.

    Raises:
        OSError: they can't be.
    """
    import soundfile

    rate, channels, n_frames = decoder.info.sampling_rate, decoder.info.channels, 0
    # By descriptor: libsndfile is given no names that aren't text.
    descriptor = os.open(out, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o666)
    try:
        with soundfile.SoundFile(
            descriptor, "w", rate, channels, "PCM_24", format="WAV", closefd=True
        ) as file:
            for frames in blocks:
                file.write(frames)
                n_frames += len(frames)
    except soundfile.LibsndfileError as error:
        raise OSError(f"{out.name} can't be written: {error.error_string}") from error
    return n_frames

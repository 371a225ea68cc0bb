"""A stretch of a file as a file of its own, as it sounds there: all channels, at its own rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alm2vec_search.audio.choosing import open_decoder
from alm2vec_search.audio.source import open_source
from alm2vec_search.errors import DecodeError, EmptyAudio

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.domain import TimeSpan


def cut_clip(path: Path, span: TimeSpan, out: Path) -> None:
    """Write a stretch of a file to a new WAV file, 24 bits, shorter where the file ends within it.

    `out` is there whole, or not at all.

    Raises:
        DecodeError: the file can't be read.
        EmptyAudio: it has no sound in that stretch.
        OSError: `out` can't be written.
    """
    import soundfile

    source = open_source(path)
    try:
        decoder = open_decoder(source)
        try:
            rate, channels = decoder.info.sampling_rate, decoder.info.channels
            start, end = round(span.start_s * rate), round(span.end_s * rate)
            draft = out.with_name(f".{out.name}.part")
            try:
                with soundfile.SoundFile(
                    str(draft), "w", rate, channels, "PCM_24", format="WAV"
                ) as file:
                    left = end - start
                    for block in decoder.blocks(start):
                        if block.sampling_rate != rate or block.frames.shape[1] != channels:
                            break  # a file glued together from several: up to the seam
                        file.write(block.frames[:left])
                        left -= len(block.frames[:left])
                        if left <= 0:
                            break
                if left == end - start:
                    raise EmptyAudio(path, f"there is no sound at {span.start_s:.1f} s")
                draft.replace(out)
            finally:
                draft.unlink(missing_ok=True)
        finally:
            decoder.close()
    except soundfile.LibsndfileError as error:
        raise DecodeError(path, f"{out} can't be written: {error}") from error
    finally:
        source.close()

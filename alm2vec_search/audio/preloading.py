"""The decoders with all that they load when they are first used: for a process that will not be
able to open files any more."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing
from pathlib import Path

_RATES = (11_025, 16_000)  # Hz, of the file and of what it becomes
_HALF_A_SECOND = bytes(22_050)  # of silence, in two channels of 16 bits


def load_decoders() -> None:
    """A little silence goes through both of them."""
    import av.subtitles.stream  # FFmpeg's other kinds of streams: asked for when it finds one
    import av.video.stream  # noqa: F401

    from alm2vec_search.audio.av_decoder import AvDecoder
    from alm2vec_search.audio.playing import PlayableSound, read_while_playing, wav_header
    from alm2vec_search.audio.resampling import MonoResampler
    from alm2vec_search.audio.source import source_of

    descriptor = nameless_file()
    os.write(descriptor, wav_header(_RATES[0], 2, len(_HALF_A_SECOND)) + _HALF_A_SECOND)
    with closing(source_of(descriptor, Path("silence"))) as source:
        reader, _ = read_while_playing(source, _RATES[1], lambda _: None, highest_rate=8_000)
        for _ in reader:
            pass
        reader.close_decoder()
        with closing(AvDecoder(source)) as decoder:
            sound, mono = PlayableSound(decoder.info), MonoResampler(_RATES[1])
            for block in decoder.blocks():
                sound.feed(block)
                mono.feed(block)


def nameless_file() -> int:
    """The descriptor of an empty file that is gone when it is closed."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sound")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

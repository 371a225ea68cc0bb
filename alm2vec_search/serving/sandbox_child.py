"""What runs in the sandbox: one upload in, its samples out, and that was it.

Started fresh by `sandbox.py`, without the model or anything else that is slow to load. It imports
all that decoding takes first, because afterwards it can't open a file any more.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alm2vec_search.audio import source_of
from alm2vec_search.audio.preloading import load_decoders, nameless_file
from alm2vec_search.errors import AudioError, DecodeError
from alm2vec_search.serving import sandbox_messages as messages
from alm2vec_search.serving.lockdown import limit_resources, shut_in
from alm2vec_search.serving.uploads import HIGHEST_PLAYED_RATE

if TYPE_CHECKING:
    from typing import BinaryIO

    from alm2vec_search.audio import Source

_NAME = Path("upload")
_COPIED_AT_ONCE = 1 << 20  # bytes


def main(limits: dict[str, Any]) -> None:
    """Wait for an upload on stdin, and answer on stdout."""
    load_decoders()
    upload = nameless_file()
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # libraries that print don't spoil the answer
    limit_resources(
        cpu_s=limits["cpu_s"],
        memory_bytes=limits["memory_bytes"],
        file_bytes=limits["upload_bytes"],
    )
    shut_in()
    wanted = sys.stdin.buffer.readline()
    if not wanted:  # not needed after all
        return
    fields = messages.fields_of(wanted)
    _copy(sys.stdin.buffer, upload, fields["n_bytes"])
    failed = partial(messages.send_json, answer, messages.FAILED)
    try:
        with closing(source_of(upload, _NAME)) as source:
            _decode(source, fields["sampling_rate"], limits["duration_s"], answer)
    except _TooLongError:
        failed(why=messages.TOO_LONG)
    except MemoryError:
        failed(why=messages.TOO_MUCH_MEMORY)
    except AudioError as error:
        failed(why=messages.UNREADABLE, reason=error.reason)
    except OSError:
        raise  # nobody listens any more
    except Exception:  # a library stumbled: that is what the sandbox is for
        failed(why=messages.UNREADABLE, reason="damaged, its decoder gave up")


class _TooLongError(Exception):
    pass


def _decode(source: Source, sampling_rate: int, most_s: float, answer: BinaryIO) -> None:
    from alm2vec_search.audio.playing import read_while_playing

    reader, played = read_while_playing(
        source,
        sampling_rate,
        partial(messages.send, answer, messages.PLAYED),
        highest_rate=HIGHEST_PLAYED_RATE,
    )
    messages.send_json(
        answer,
        messages.INFO,
        sampling_rate=reader.info.sampling_rate,
        channels=reader.info.channels,
        played_rate=played.sampling_rate,
        played_channels=played.channels,
    )
    most_samples = round(most_s * sampling_rate)
    n_samples = 0
    for samples in reader:
        n_samples += len(samples)
        if n_samples > most_samples:
            raise _TooLongError
        messages.send(answer, messages.MONO, samples.astype("<f4").tobytes())
    report = reader.report
    if not n_samples:
        raise DecodeError(_NAME, "shorter than one sample")
    messages.send_json(answer, messages.END, note=report.note)


def _copy(source: BinaryIO, target: int, n_bytes: int) -> None:
    while n_bytes > 0:
        piece = source.read(min(n_bytes, _COPIED_AT_ONCE))
        if not piece:
            sys.exit(1)  # the server went away
        n_bytes -= len(piece)
        while piece:
            piece = piece[os.write(target, piece) :]

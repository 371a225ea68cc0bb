"""How much of a file could be read, said in a phrase that fits a report line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alm2vec_search.audio.container import is_cut_off, last_ogg_page, sound_extent

if TYPE_CHECKING:
    from alm2vec_search.audio.decoder import Decoder
    from alm2vec_search.audio.resampling import MonoResampler
    from alm2vec_search.audio.source import Source

# Codecs add and drop a frame or two at either end, and not every container subtracts them.
_TOLERANCE_S = 0.1
_TOLERANCE_FRAMES = 2048


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """What came of reading one file."""

    sampling_rate: int  # Hz, of the file itself
    channels: int  # of the file itself
    decoded_s: float
    declared_s: float | None  # how long it should have been, where that is known
    n_errors: int  # pieces that no decoder could make sense of
    note: str | None  # what is wrong with it: "41.2 of 60.0 s could be read"; None: nothing is

    @property
    def damaged(self) -> bool:
        """Whether it isn't all that it was meant to be. It was read as far as it could be."""
        return self.note is not None


def report_on(source: Source, decoder: Decoder, resampler: MonoResampler) -> DecodeReport:
    """Compares what was decoded with what the file says of itself.

    Raises:
        DecodeError: the file system couldn't read the file's header again.
    """
    decoded_s, declared_s, n_errors = resampler.decoded_s, decoder.vouched_s, decoder.n_errors
    tolerance_s = _TOLERANCE_S + _TOLERANCE_FRAMES / decoder.info.sampling_rate
    notes = []
    if declared_s is None and (extent := sound_extent(source)) is not None:
        if extent.start == extent.end < source.size:
            notes.append("its header was never finished")
        elif extent.start and is_cut_off(source):
            present = max(1, source.size - extent.start)
            declared_s = decoded_s * (extent.end - extent.start) / present
            tolerance_s = 0.0
    if declared_s is not None and decoded_s < declared_s - tolerance_s:
        notes.append(f"{_part(decoded_s, declared_s)} could be read")
    elif (declared_s is None and is_cut_off(source)) or _lacks_ogg_end(source):
        notes.append(f"cut off after {decoded_s:.1f} s")
    elif n_errors and (declared_s is None or decoded_s < declared_s):
        # decoders stumble over junk behind the sound, too: no harm where all of it was read
        notes.append(f"{_counted(n_errors, 'piece')} of it could not be read")
    if n := resampler.n_not_numbers:
        notes.append("1 sample was not a number" if n == 1 else f"{n} samples were not numbers")
    return DecodeReport(
        sampling_rate=decoder.info.sampling_rate,
        channels=decoder.info.channels,
        decoded_s=decoded_s,
        declared_s=declared_s,
        n_errors=n_errors,
        note="; ".join(notes) or None,
    )


def _lacks_ogg_end(source: Source) -> bool:
    """An Ogg stream ends with a page that says so; nothing else tells that it was cut off."""
    if not source.read_at(0, 4) == b"OggS":
        return False
    page = last_ogg_page(source)
    return page is None or not page.is_last


def _part(decoded_s: float, declared_s: float) -> str:
    """With as many digits as it takes to see the difference.

    >>> _part(41.23, 60), _part(59.97, 60)
    ('41.2 of 60.0 s', '59.97 of 60.00 s')
    """
    for digits in (1, 2, 3):
        decoded, declared = f"{decoded_s:.{digits}f}", f"{declared_s:.{digits}f}"
        if decoded != declared:
            break
    return f"{decoded} of {declared} s"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"

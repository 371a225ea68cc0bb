"""The doorway to the decoders: any file with sound in it becomes float32 mono at one sampling rate.

    with open_audio(path, sampling_rate) as sound:   # DecodeError, EmptyAudio
        for samples in sound:                        # flat memory, however long the file
            ...
    sound.report                                     # what was read, and what was not

Nothing else in the project imports `soundfile`, `av` or `soxr`, and importing this package imports
none of them yet.
"""

from __future__ import annotations

from alm2vec_search.audio.cutting import cut_clip
from alm2vec_search.audio.decoder import AudioInfo
from alm2vec_search.audio.notes import read_notes, split_tags, to_notes
from alm2vec_search.audio.reader import AudioReader, decode, open_audio, probe, read_source
from alm2vec_search.audio.report import DecodeReport
from alm2vec_search.audio.source import AUDIO_SUFFIXES, Source, reason_of, source_of

__all__ = [
    "AUDIO_SUFFIXES",
    "AudioInfo",
    "AudioReader",
    "DecodeReport",
    "Source",
    "cut_clip",
    "decode",
    "open_audio",
    "probe",
    "read_notes",
    "read_source",
    "reason_of",
    "source_of",
    "split_tags",
    "to_notes",
]

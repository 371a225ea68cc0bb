"""The sounds of mteb's data sets, by our own decoders.

`datasets` decodes by torchcodec, and mteb resamples by torchaudio. Neither is needed here: while
`our_decoders` lasts, a row's sound is a `StoredSound`, which is decoded when somebody looks into
it.
"""

from __future__ import annotations

import io
import tempfile
import wave
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from alm2vec_search.audio import AUDIO_SUFFIXES, decode, probe
from alm2vec_search.audio.decoder import NativeBlock
from alm2vec_search.domain import Waveform
from alm2vec_search.errors import AudioError, EvaluationError

KEYS = ("array", "sampling_rate")


class Undecodable(EvaluationError, RuntimeError):
    """A sound of a data set can't be read. Tasks that leave out what torchcodec can't read expect a
    `RuntimeError`."""


class StoredSound(Mapping[str, Any]):
    """A sound as a data set has it: the bytes of a file, or the path of one.

    As a mapping it is what mteb hands out: `array`, float32 [n], mono, and its `sampling_rate` in
    Hz.

    Args:
        path: of a file on this machine; beside `data`, only what it was called.
        data: the bytes of a file.
        sampling_rate: of `array`; None is the file's own.

    Raises:
        Undecodable: neither is here.
    """

    def __init__(
        self, path: str | None, data: bytes | None, sampling_rate: int | None = None
    ) -> None:
        if data is None and (path is None or not Path(path).is_file()):
            raise Undecodable(f"{path or 'a sound'} isn't on this machine")
        self.path = path
        self.data = data
        self._sampling_rate = sampling_rate

    def __getitem__(self, key: str) -> Any:
        if key not in KEYS:
            raise KeyError(key)
        with self.file() as file:
            rate = self._sampling_rate or self._native_rate(file)
            return rate if key == "sampling_rate" else self._decoded(file, rate).samples

    def __iter__(self) -> Iterator[str]:
        return iter(KEYS)

    def __len__(self) -> int:
        return len(KEYS)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.path or "a sound without a name"

    @property
    def suffix(self) -> str:
        """How a file of it should end."""
        suffix = Path(self.path or "").suffix.lower()
        return suffix if suffix in AUDIO_SUFFIXES else ".wav"

    @property
    def stored(self) -> dict[str, Any]:
        """As a data set stores it."""
        return {"bytes": self.data, "path": self.path}

    def read(self) -> bytes:
        """The bytes of its file."""
        if self.data is not None:
            return self.data
        assert self.path is not None
        return Path(self.path).read_bytes()

    @contextmanager
    def file(self) -> Iterator[Path]:
        """A file of it, for as long as it is needed."""
        if self.data is None:
            assert self.path is not None
            yield Path(self.path)
            return
        with tempfile.NamedTemporaryFile(suffix=self.suffix) as file:
            file.write(self.data)
            file.flush()
            yield Path(file.name)

    def waveform(self, sampling_rate: int) -> Waveform:
        """
        Raises:
            Undecodable: there is no sound in it that can be read.
        """
        with self.file() as file:
            return self._decoded(file, sampling_rate)

    def _decoded(self, file: Path, sampling_rate: int) -> Waveform:
        try:
            return decode(file, sampling_rate)
        except AudioError as error:
            raise Undecodable(f"{self.name}: {error.reason}") from error

    def _native_rate(self, file: Path) -> int:
        try:
            return probe(file).sampling_rate
        except AudioError as error:
            raise Undecodable(f"{self.name}: {error.reason}") from error


def waveform_of(sound: Mapping[str, Any], sampling_rate: int) -> Waveform:
    """A sound of mteb's at a sampling rate in Hz: a `StoredSound`, or samples in memory.

    Args:
        sound: `array`, [n] or as torchcodec has it [channels, n], and its `sampling_rate`.

    Raises:
        Undecodable: there is no sound in it that can be read.
    """
    from alm2vec_search.audio.resampling import MonoResampler

    if isinstance(sound, StoredSound):
        return sound.waveform(sampling_rate)
    frames = np.array(np.atleast_2d(np.asarray(sound["array"])).T, dtype=np.float32)  # [n, c]
    if not frames.size:
        raise Undecodable("a sound in memory has no samples")
    resampler = MonoResampler(sampling_rate)
    parts = [resampler.feed(NativeBlock(frames, int(sound["sampling_rate"]))), resampler.finish()]
    return Waveform(np.concatenate(parts), sampling_rate)


def stored_sound(sound: Mapping[str, Any]) -> StoredSound:
    """A sound of mteb's as a file: samples in memory are written as 16-bit WAV."""
    if isinstance(sound, StoredSound):
        return sound
    if sound.get("bytes") is not None or sound.get("path") is not None:
        return StoredSound(sound.get("path"), sound.get("bytes"))
    rate = int(sound["sampling_rate"])
    samples = waveform_of(sound, rate).samples
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return StoredSound(None, data.getvalue())


@contextmanager
def our_decoders() -> Iterator[None]:
    """While it lasts, rows of data sets hold their sounds as `StoredSound`.

    mteb looks at rows while it loads them, so that asking a data set not to decode comes too late:
    it is the feature itself that decodes otherwise.
    """
    import datasets

    feature: Any = datasets.Audio
    before = feature.decode_example, feature.encode_example
    feature.decode_example, feature.encode_example = _decode_example, _encode_example
    try:
        yield
    finally:
        feature.decode_example, feature.encode_example = before


def _decode_example(feature: Any, value: Any, token_per_repo_id: object = None) -> Any:
    if not isinstance(value, dict):
        return value
    return StoredSound(value.get("path"), value.get("bytes"), feature.sampling_rate)


def _encode_example(feature: Any, value: Any) -> dict[str, Any]:
    if isinstance(value, str | Path):
        return {"bytes": None, "path": str(value)}
    if isinstance(value, bytes | bytearray):
        return {"bytes": bytes(value), "path": None}
    return stored_sound(value).stored

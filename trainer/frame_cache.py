"""What the frozen audio encoder makes of sounds, kept on disk: a small model then trains fast on a
CPU, since most of its work is there.

A sound that is longer than `max_audio_s` is cut once, when it is encoded, and not anew in each
epoch; where, depends on its name, size and stretch.

`FOLDER/*.safetensors` hold some thousand sounds each: a float16 tensor [T, D] a sound, named by a
hash of what it was made of (the encoder, the file's path, size and time of change, the stretch, and
how long it may be). They are written whole, and never changed; the folder may be deleted at any
time, and serves any number of encoders, runs and processes at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from alm2vec_search.audio import reason_of
from alm2vec_search.errors import Alm2VecError, AudioError, DecodeError, TrainingError, one_line
from trainer.hearing import hear
from trainer.seeds import fraction_of, number_of

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from alm2vec_search.domain import Waveform
    from alm2vec_search.model.modeling_alm2vec import ALM2VecModel
    from trainer.pairs import AudioRef

SHARD_SOUNDS = 4096
SHARD_BYTES = 128 << 20
SOUNDS_AT_A_TIME = 16  # in the encoder
OPEN_SHARDS = 512  # maps of memory, no handles
NAMED = 3  # of a file's tensors, in an error

Encode = Callable[["Tensor", "Tensor"], tuple["Tensor", "Tensor"]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Failure:
    """A sound that isn't in the cache, and why."""

    ref: AudioRef
    reason: str


@dataclass(frozen=True, slots=True)
class Filled:
    """What came of filling a cache."""

    encoded: int
    known: int  # from before, and frames that lie in files of the user's
    failed: tuple[Failure, ...]


@dataclass(slots=True)
class _Wanted:
    """What a cache is asked to hold."""

    known: int = 0
    missing: dict[str, AudioRef] = field(default_factory=dict)  # by their keys
    failed: list[Failure] = field(default_factory=list)


class FrameCache:
    """Frames of sounds, encoded once. Another process that gets it can read, and not fill.

    Args:
        folder: of the cache; made when there is something to write.
        encode: waveforms float32 [A, N], padded on the right, and their lengths in samples [A] →
            frames [A, T, D] and their lengths [A].
        fingerprint: of the audio encoder: its weights, and the numeric type it computes in.
        sampling_rate: of the encoder, in Hz.
        frame_size: D.
        max_audio_s: the most of a sound that is encoded, in seconds; None is all.

    Raises:
        TrainingError: there is a damaged file in the folder.
    """

    def __init__(
        self,
        folder: Path,
        encode: Encode,
        fingerprint: str,
        *,
        sampling_rate: int,
        frame_size: int,
        max_audio_s: float | None = None,
    ) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.sampling_rate = sampling_rate
        self.frame_size = frame_size
        self.max_audio_s = max_audio_s
        self._encode: Encode | None = encode
        self._shards: dict[str, Path] = {}  # by the keys of the sounds in them
        self._read: set[Path] = set()
        self._look()

    @classmethod
    def of(cls, model: ALM2VecModel, folder: Path, max_audio_s: float | None = None) -> FrameCache:
        """Of a model's audio encoder, on its device."""
        encoder = model.audio_encoder
        device = model.device

        @torch.no_grad()
        def encode(waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            frames, _ = encoder(waveforms.to(device), lengths.to(device))
            return frames, encoder.num_frames(lengths)

        return cls(
            folder,
            encode,
            weights_fingerprint(encoder),
            sampling_rate=encoder.sampling_rate,
            frame_size=encoder.hidden_size,
            max_audio_s=max_audio_s,
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_encode": None}  # a model is no luggage

    def get(self, ref: AudioRef) -> Tensor:
        """The frames of a sound, float32 [T, D]: a copy, read from a map of the file.

        Raises:
            DecodeError: the sound's file can't be looked at.
            TrainingError: the sound isn't in the cache; or its frames, in a file of the user's,
                aren't there or aren't what the model takes.
        """
        if ref.frames is not None:
            return self._own_frames(ref).to(torch.float32, copy=True)
        key = self.key(ref)
        if key not in self._shards:
            raise TrainingError(
                f"{ref.path} isn't in the frame cache {self.folder}, or was changed since",
                hint="start again: what is missing is encoded first",
            )
        with _explained(self._shards[key]):
            frames: Tensor = _opened(self._shards[key]).get_tensor(key)  # [T, D]
        return frames.to(torch.float32, copy=True)

    def fill(self, refs: Iterable[AudioRef], progress: Progress = lambda done, of: None) -> Filled:
        """Encode what is missing. Sounds that can't be read are told of, and stop nothing.

        A run that is killed loses the sounds since the last shard at most. Several processes may
        fill a folder at once: each waits for the others, and finds what they did.

        Args:
            refs: as often as they come; each is encoded once.
            progress: is called with how many of those that were missing are done, and of how many.

        Raises:
            TrainingError: the folder can't be written, or what the encoder makes isn't `frame_size`
                wide.
        """
        wanted = self._wanted(refs)
        if not wanted.missing:
            return Filled(0, wanted.known, tuple(wanted.failed))
        with self._alone():
            self._look()
            there = wanted.missing.keys() & self._shards.keys()
            missing = {key: ref for key, ref in wanted.missing.items() if key not in there}
            encoded = 0
            shard = _Shard(self.folder)
            try:
                for key, frames in self._encoded(missing, wanted.failed, progress):
                    encoded += 1
                    shard.add(key, frames)
            finally:
                shard.write()  # when interrupted, too
                self._look()
        return Filled(encoded, wanted.known + len(there), tuple(wanted.failed))

    def key(self, ref: AudioRef) -> str:
        """What a sound is called in the cache.

        Raises:
            DecodeError: its file can't be looked at.
        """
        found = _stat(ref.path)
        made_of = (
            self.fingerprint,
            self.sampling_rate,
            self.max_audio_s,
            os.path.abspath(ref.path),
            found.st_size,
            found.st_mtime_ns,
            ref.start_s or 0.0,
            ref.end_s,
        )
        return blake2b(repr(made_of).encode(), digest_size=16).hexdigest()

    def _wanted(self, refs: Iterable[AudioRef]) -> _Wanted:
        wanted, seen = _Wanted(), set[int]()
        for ref in refs:
            number = number_of(str(ref.path), ref.start_s, ref.end_s, ref.frames)
            if number in seen:
                continue
            seen.add(number)
            try:
                if ref.frames is not None:
                    self._own_frames(ref)
                    wanted.known += 1
                elif (key := self.key(ref)) in self._shards:
                    wanted.known += 1
                else:
                    wanted.missing[key] = ref
            except Alm2VecError as error:
                wanted.failed.append(Failure(ref, _reason(error)))
        return wanted

    def _encoded(
        self, missing: dict[str, AudioRef], failed: list[Failure], progress: Progress
    ) -> Iterator[tuple[str, Tensor]]:
        """Keys, and frames float16 [T, D]."""
        items = list(missing.items())
        for done in range(0, len(items), SOUNDS_AT_A_TIME):
            progress(done, len(items))
            heard: dict[str, Waveform] = {}
            for key, ref in items[done : done + SOUNDS_AT_A_TIME]:
                try:
                    heard[key] = self._hear(ref)
                except AudioError as error:
                    failed.append(Failure(ref, error.reason))
            if not heard:
                continue
            for key, frames in zip(heard, self._encode_batch(list(heard.values())), strict=True):
                if frames.isfinite().all():
                    yield key, frames
                else:
                    failed.append(Failure(missing[key], "its frames don't fit float16"))
        progress(len(items), len(items))

    def _hear(self, ref: AudioRef) -> Waveform:
        size = _stat(ref.path).st_size
        position = fraction_of("cut", ref.path.name, size, ref.start_s or 0.0, ref.end_s)
        return hear(ref, self.sampling_rate, self.max_audio_s, position)

    @torch.no_grad()
    def _encode_batch(self, sounds: list[Waveform]) -> list[Tensor]:
        """Sounds → frames of each, float16 [T, D]."""
        if self._encode is None:
            raise RuntimeError("a frame cache that was sent to another process only reads")
        clips = [torch.from_numpy(sound.samples) for sound in sounds]
        lengths = torch.tensor([len(clip) for clip in clips])  # [A]
        waveforms = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)  # [A, N]
        frames, n_frames = self._encode(waveforms, lengths)  # [A, T, D], [A]
        if frames.shape[-1] != self.frame_size:
            raise TrainingError(
                f"the audio encoder makes frames {frames.shape[-1]} wide, not {self.frame_size}"
            )
        frames = frames.to("cpu", torch.float16)
        return [clip[:n].clone() for clip, n in zip(frames, n_frames.tolist(), strict=True)]

    def _own_frames(self, ref: AudioRef) -> Tensor:
        """Frames [T, D] from a file of the user's, not read yet.

        Raises:
            TrainingError: they aren't there, or aren't what the model takes.
        """
        place = f"{ref.path}: the tensor {ref.frames!r}"
        with _explained(ref.path):
            file = _opened(ref.path)
            try:
                frames: Tensor = file.get_tensor(ref.frames)
            except SafetensorError as error:
                some = ", ".join(sorted(file.keys())[:NAMED]) or "none at all"
                raise TrainingError(f"{place} isn't in it", hint=f"there are: {some}") from error
        if frames.ndim != 2 or not len(frames):
            raise TrainingError(
                f"{place} has the shape {list(frames.shape)}", hint="frames are [time, size]"
            )
        if frames.shape[1] != self.frame_size:
            raise TrainingError(
                f"{place} has frames {frames.shape[1]} wide, and the model takes {self.frame_size}",
                hint="make them with the audio encoder of this model",
            )
        if not frames.is_floating_point():
            raise TrainingError(f"{place} holds {frames.dtype}", hint="frames are float numbers")
        return frames

    def _look(self) -> None:
        """Read which sounds lie in shards that weren't seen before."""
        for shard in sorted(set(self.folder.glob("*.safetensors")) - self._read):
            with _explained(shard, hint="delete it: what it held is encoded anew"):
                self._shards.update(dict.fromkeys(_opened(shard).keys(), shard))
            self._read.add(shard)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other process writes into the folder; what a killed one left is cleared away.

        Raises:
            TrainingError: the folder can't be written.
        """
        with _explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock")
            lock.acquire()
        try:
            for unfinished in self.folder.glob("*.unfinished"):
                unfinished.unlink()
            yield
        finally:
            lock.release()


def weights_fingerprint(module: torch.nn.Module) -> str:
    """Of all its numbers, their types and their names, 32 hex digits."""
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


class _Shard:
    """Sounds on their way to disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sounds: dict[str, Tensor] = {}
        self.n_bytes = 0

    def add(self, key: str, frames: Tensor) -> None:
        self.sounds[key] = frames
        self.n_bytes += frames.nbytes
        if len(self.sounds) >= SHARD_SOUNDS or self.n_bytes >= SHARD_BYTES:
            self.write()

    def write(self) -> None:
        """All of them, or none, into a file that is named by what is in it.

        Raises:
            TrainingError: it can't be written.
        """
        sounds, self.sounds, self.n_bytes = self.sounds, {}, 0
        if not sounds:
            return
        name = blake2b("".join(sorted(sounds)).encode(), digest_size=8).hexdigest()
        path = self.folder / f"{name}.safetensors"
        unfinished = path.with_suffix(".unfinished")
        with _explained(path):
            try:
                save_file(sounds, unfinished)
                with unfinished.open("rb") as file:
                    os.fsync(file.fileno())
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)


@lru_cache(OPEN_SHARDS)
def _opened(path: Path) -> Any:
    return safe_open(path, framework="pt")


@contextmanager
def _explained(path: Path, hint: str | None = None) -> Iterator[None]:
    """
    Raises:
        TrainingError: a file of tensors can't be read or written.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(f"{path}: {reason_of(error)}", hint=hint) from error
    except SafetensorError as error:
        raise TrainingError(f"{path}: {one_line(error)}", hint=hint) from error


def _reason(error: Alm2VecError) -> str:
    return error.reason if isinstance(error, AudioError) else str(error)


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except (OSError, ValueError) as error:
        raise DecodeError(path, reason_of(error)) from error

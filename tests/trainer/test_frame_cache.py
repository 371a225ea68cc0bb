"""Frames on disk: encoded once, read by anybody, never half written."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from toy_model import toy_model

from alm2vec_search.errors import DecodeError, TrainingError
from trainer import frame_cache
from trainer.frame_cache import Filled, FrameCache
from trainer.hearing import hear
from trainer.pairs import AudioRef

if TYPE_CHECKING:
    from torch import Tensor

RATE = 16_000  # Hz
STEP = 1600  # samples a frame
DEAFENING = 0.75  # makes frames too large for float16


class Encoder:
    """Frames of 0.1 s, 3 wide, that say what was heard: their first sample, mean, and loudest."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        self.batches.append(len(waveforms))
        assert torch.is_grad_enabled() is False
        frames = waveforms.unfold(1, STEP, STEP)  # [A, T, STEP]
        values = torch.stack([frames[..., 0], frames.mean(-1), frames.amax(-1)], dim=-1)
        values = values * torch.where(frames.mean(-1, keepdim=True) == DEAFENING, 1e6, 1.0)
        return values, lengths // STEP

    @property
    def sounds(self) -> int:
        return sum(self.batches)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


def cache(
    folder: Path, encoder: Encoder, fingerprint: str = "e1", max_audio_s: float | None = None
) -> FrameCache:
    return FrameCache(
        folder / "cache",
        encoder,
        fingerprint,
        sampling_rate=RATE,
        frame_size=3,
        max_audio_s=max_audio_s,
    )


def write_sound(folder: Path, number: int, seconds: float = 0.5) -> AudioRef:
    """A sound of its own, in one format after the other."""
    path = folder / f"{number}.{('wav', 'flac', 'ogg')[number % 3]}"
    samples = np.random.default_rng(number).normal(size=round(seconds * RATE)) * 0.1
    soundfile.write(path, samples.astype(np.float32), RATE)
    return AudioRef(path=path)


@pytest.fixture
def refs(tmp_path: Path) -> list[AudioRef]:
    return [write_sound(tmp_path, n, 0.2 + 0.1 * (n % 4)) for n in range(20)]


def expected(ref: AudioRef) -> Tensor:
    samples = torch.from_numpy(hear(ref, RATE, None, 0.0).samples)
    with torch.no_grad():
        return Encoder()(samples[None], torch.tensor([len(samples)]))[0][0]


def shards(folder: Path) -> list[Path]:
    return sorted((folder / "cache").glob("*.safetensors"))


def test_what_was_encoded_is_read(tmp_path: Path, encoder: Encoder, refs: list[AudioRef]) -> None:
    frames = cache(tmp_path, encoder)
    assert not (tmp_path / "cache").exists()  # nothing is made before there is something to keep
    assert frames.fill([*refs, *refs]) == Filled(encoded=20, known=0, failed=())
    assert encoder.batches == [16, 4]
    for ref in refs:
        got = frames.get(ref)
        assert got.dtype == torch.float32
        assert got.shape == expected(ref).shape
        torch.testing.assert_close(got, expected(ref), atol=1e-3, rtol=1e-3)  # float16


def test_and_not_encoded_again(tmp_path: Path, encoder: Encoder, refs: list[AudioRef]) -> None:
    cache(tmp_path, encoder).fill(refs[:15])
    later = cache(tmp_path, encoder)
    assert later.fill(refs) == Filled(encoded=5, known=15, failed=())
    assert later.fill(iter(refs)) == Filled(encoded=0, known=20, failed=())
    assert encoder.sounds == 20
    assert len(shards(tmp_path)) == 2


def test_what_is_read_is_a_copy(tmp_path: Path, encoder: Encoder, refs: list[AudioRef]) -> None:
    frames = cache(tmp_path, encoder)
    frames.fill(refs)
    own = write_frames(tmp_path / "own.safetensors", a=torch.ones(2, 3))
    for ref in (refs[0], own):
        before = frames.get(ref).clone()
        frames.get(ref).zero_()
        assert torch.equal(frames.get(ref), before)


def test_another_encoder_or_length_is_another_entry(
    tmp_path: Path, encoder: Encoder, refs: list[AudioRef]
) -> None:
    cache(tmp_path, encoder).fill(refs)
    for other in (cache(tmp_path, encoder, "e2"), cache(tmp_path, encoder, max_audio_s=0.3)):
        with pytest.raises(TrainingError, match="isn't in the frame cache") as caught:
            other.get(refs[0])
        assert caught.value.hint
        assert other.fill(refs).encoded == 20


def test_a_changed_file_is_another_entry(
    tmp_path: Path, encoder: Encoder, refs: list[AudioRef]
) -> None:
    frames = cache(tmp_path, encoder)
    frames.fill(refs)
    soundfile.write(refs[0].path, np.full(4800, 0.5, np.float32), RATE)
    with pytest.raises(TrainingError, match="was changed since"):
        frames.get(refs[0])
    assert frames.fill(refs) == Filled(encoded=1, known=19, failed=())
    assert frames.get(refs[0]).shape == (3, 3)
    os.utime(refs[1].path, ns=(1, 1))
    assert frames.fill(refs) == Filled(encoded=1, known=19, failed=())


def test_files_that_differ_by_their_folder(tmp_path: Path, encoder: Encoder) -> None:
    refs = []
    for folder, value in (("a", 0.25), ("b", 0.5)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "1.wav"
        soundfile.write(path, np.full(STEP, value, np.float32), RATE)
        os.utime(path, ns=(1, 1))
        refs.append(AudioRef(path=path))
    frames = cache(tmp_path, encoder)
    assert frames.fill(refs).encoded == 2
    assert [float(frames.get(ref)[0, 0]) for ref in refs] == [0.25, 0.5]


def test_paths_to_the_same_file(tmp_path: Path, encoder: Encoder, refs: list[AudioRef]) -> None:
    frames = cache(tmp_path, encoder)
    frames.fill(refs)
    (tmp_path / "sub").mkdir()
    around = AudioRef(path=tmp_path / "sub" / ".." / refs[0].path.name)
    assert frames.fill([around]).known == 1
    assert torch.equal(frames.get(around), frames.get(refs[0]))


def ramp(folder: Path) -> Path:
    path = folder / "ramp.wav"
    soundfile.write(path, np.arange(10 * RATE, dtype=np.float32) / (10 * RATE), RATE, "FLOAT")
    return path


def test_a_stretch(tmp_path: Path, encoder: Encoder) -> None:
    frames = cache(tmp_path, encoder, max_audio_s=2.0)
    path = ramp(tmp_path)
    stretches = [AudioRef(path=path, start_s=s, end_s=s + 1) for s in (0, 4, 9)]
    assert frames.fill(stretches).encoded == 3
    for ref in stretches:
        assert len(frames.get(ref)) == 10
        assert float(frames.get(ref)[0, 0]) == pytest.approx((ref.start_s or 0) / 10, abs=1e-3)


def test_a_long_sound_is_cut_once(tmp_path: Path, encoder: Encoder) -> None:
    path = ramp(tmp_path)
    refs = [
        AudioRef(path=path),
        AudioRef(path=path, start_s=0, end_s=9),
        AudioRef(path=path, start_s=1),
    ]
    first = cache(tmp_path, encoder, max_audio_s=2.0)
    first.fill(refs)
    starts = [float(first.get(ref)[0, 0]) * 10 for ref in refs]
    assert all(len(first.get(ref)) == 20 for ref in refs)
    assert len(set(starts)) == 3
    assert starts[1] < 7.01
    assert 1 <= starts[2] < 8.01
    moved = tmp_path / "moved"
    moved.mkdir()
    path.rename(moved / path.name)  # elsewhere and later, it is cut at the same place
    os.utime(moved / path.name, ns=(1, 1))
    again = cache(moved, encoder, max_audio_s=2.0)
    there = [ref.model_copy(update={"path": moved / path.name}) for ref in refs]
    again.fill(there)
    assert [float(again.get(ref)[0, 0]) * 10 for ref in there] == starts


def test_what_can_t_be_heard_is_told(
    tmp_path: Path, encoder: Encoder, refs: list[AudioRef]
) -> None:
    (tmp_path / "text.wav").write_text("no sound at all")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "loud.wav", np.full(RATE, DEAFENING, np.float32), RATE)
    bad = [AudioRef(path=tmp_path / n) for n in ("gone.wav", "text.wav", "empty.wav", "loud.wav")]
    frames = cache(tmp_path, encoder)
    for _ in range(2):  # they may be mended meanwhile: each time they are tried again
        filled = frames.fill([bad[0], *refs[:9], *bad[1:], *refs[9:]])
        assert {failure.ref for failure in filled.failed} == set(bad)
        reasons = {failure.ref.path.stem: failure.reason for failure in filled.failed}
        assert reasons["gone"] == "no such file"
        assert reasons["loud"] == "its frames don't fit float16"
        assert not any(str(tmp_path) in reason for reason in reasons.values())
    assert frames.fill(refs).known == 20
    with pytest.raises(DecodeError, match=r"gone\.wav: no such file"):
        frames.get(bad[0])
    with pytest.raises(TrainingError, match=r"text\.wav isn't in the frame cache"):
        frames.get(bad[1])


def test_a_batch_of_nothing_but_failures(tmp_path: Path, encoder: Encoder) -> None:
    for n in range(20):
        (tmp_path / f"{n}.wav").write_text("no sound")
    filled = cache(tmp_path, encoder).fill(AudioRef(path=tmp_path / f"{n}.wav") for n in range(20))
    assert (filled.encoded, len(filled.failed), encoder.sounds) == (0, 20, 0)
    assert shards(tmp_path) == []


def test_progress(tmp_path: Path, encoder: Encoder, refs: list[AudioRef]) -> None:
    frames = cache(tmp_path, encoder)
    frames.fill(refs[:2])
    seen: list[tuple[int, int]] = []
    frames.fill(refs, lambda done, of: seen.append((done, of)))
    assert seen == [(0, 18), (16, 18), (18, 18)]


@pytest.mark.parametrize(("sounds", "n_bytes"), [(6, 1 << 30), (4096, 150)])
def test_many_sounds_lie_in_some_shards(
    tmp_path: Path,
    encoder: Encoder,
    refs: list[AudioRef],
    sounds: int,
    n_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frame_cache, "SHARD_SOUNDS", sounds)
    monkeypatch.setattr(frame_cache, "SHARD_BYTES", n_bytes)
    cache(tmp_path, encoder).fill(refs)
    held = []
    for shard in shards(tmp_path):
        with safe_open(shard, framework="pt") as file:
            held.append(len(file.keys()))
    assert sum(held) == 20
    assert len(held) >= 3
    assert max(held) <= 8
    frames = cache(tmp_path, encoder)
    assert all(frames.get(ref).shape == expected(ref).shape for ref in refs)


def test_an_encoder_that_fails_loses_nothing_before(tmp_path: Path, refs: list[AudioRef]) -> None:
    class Failing(Encoder):
        def __call__(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            if self.batches:
                raise KeyboardInterrupt
            return super().__call__(waveforms, lengths)

    frames = cache(tmp_path, Failing())
    with pytest.raises(KeyboardInterrupt):
        frames.fill(refs)
    later = Encoder()
    assert cache(tmp_path, later).fill(refs) == Filled(encoded=4, known=16, failed=())


def test_an_encoder_of_another_width(
    tmp_path: Path, encoder: Encoder, refs: list[AudioRef]
) -> None:
    frames = FrameCache(tmp_path / "cache", encoder, "e", sampling_rate=RATE, frame_size=4)
    with pytest.raises(TrainingError, match="frames 3 wide, not 4"):
        frames.fill(refs)


KILLED = """
import sys, time
from pathlib import Path
from trainer import frame_cache
from trainer.frame_cache import FrameCache
from trainer.pairs import AudioRef

folder = Path(sys.argv[1])
frame_cache.SHARD_SOUNDS = 4
frame_cache.SOUNDS_AT_A_TIME = 3
save = frame_cache.save_file

def save_slowly(tensors, path):
    save(tensors, path)
    if len(list(path.parent.glob("*.safetensors"))) == 2:  # in the middle of the third
        path.write_bytes(path.read_bytes()[:100])
        print("now", flush=True)
        time.sleep(60)

frame_cache.save_file = save_slowly
encode = lambda waveforms, lengths: (waveforms.unfold(1, 1600, 1600)[..., :3], lengths // 1600)
cache = FrameCache(folder / "cache", encode, "e1", sampling_rate=16000, frame_size=3)
cache.fill(AudioRef(path=path) for path in sorted(folder.glob("*.*")))
"""


def test_a_killed_run_leaves_nothing_half_written(
    tmp_path: Path, encoder: Encoder, refs: list[AudioRef]
) -> None:
    root = Path(frame_cache.__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, cwd=root
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGKILL)
    assert len(list((tmp_path / "cache").glob("*.unfinished"))) == 1
    frames = cache(tmp_path, encoder)
    assert frames.fill(refs) == Filled(encoded=12, known=8, failed=())
    assert all(len(frames.get(ref)) for ref in refs)
    assert list((tmp_path / "cache").glob("*.unfinished")) == []


def test_two_that_fill_at_once(tmp_path: Path, refs: list[AudioRef]) -> None:
    class Slow(Encoder):
        def __call__(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            time.sleep(0.1)
            return super().__call__(waveforms, lengths)

    caches = [cache(tmp_path, Slow()) for _ in range(2)]
    filled: list[Filled] = []
    threads = [threading.Thread(target=lambda c=c: filled.append(c.fill(refs))) for c in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((f.encoded, f.known) for f in filled) == [(0, 20), (20, 0)]
    assert all(torch.equal(caches[0].get(ref), caches[1].get(ref)) for ref in refs)


def test_a_damaged_shard(tmp_path: Path, encoder: Encoder, refs: list[AudioRef]) -> None:
    cache(tmp_path, encoder).fill(refs)
    (shard,) = shards(tmp_path)
    other = shard.with_name("other.safetensors")
    other.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(TrainingError, match=r"other\.safetensors: ") as caught:
        cache(tmp_path, encoder)
    assert caught.value.hint == "delete it: what it held is encoded anew"


def test_a_folder_that_can_t_be_written(
    tmp_path: Path, encoder: Encoder, refs: list[AudioRef]
) -> None:
    (tmp_path / "cache").write_text("a file stands there")
    with pytest.raises(TrainingError, match=r"cache: "):
        cache(tmp_path, encoder).fill(refs)


def test_a_full_disk(
    tmp_path: Path, encoder: Encoder, refs: list[AudioRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: dict[str, Tensor], path: Path) -> None:
        path.write_bytes(b"some of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(frame_cache, "save_file", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        cache(tmp_path, encoder).fill(refs)
    assert [path.name for path in (tmp_path / "cache").iterdir()] in ([], ["lock"])


def test_another_process_reads(tmp_path: Path, encoder: Encoder, refs: list[AudioRef]) -> None:
    frames = cache(tmp_path, encoder)
    frames.fill(refs[:5])
    frames.get(refs[0])  # with a map of the file open, it can be sent as well
    sent = pickle.loads(pickle.dumps(frames))
    assert torch.equal(sent.get(refs[1]), frames.get(refs[1]))
    with pytest.raises(RuntimeError, match="only reads"):
        sent.fill(refs)


def test_with_a_real_encoder(tmp_path: Path) -> None:
    model = toy_model()
    encoder = model.audio_encoder

    def encode(waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        frames, mask = encoder(waveforms, lengths)
        return frames, mask.sum(dim=1)

    refs = [write_sound(tmp_path, n, 0.3 + 0.4 * n) for n in range(4)]
    frames = FrameCache(
        tmp_path / "cache", encode, "toy", sampling_rate=encoder.sampling_rate, frame_size=16
    )
    assert frames.fill(refs).encoded == 4
    for ref in refs:
        samples = torch.from_numpy(hear(ref, RATE, None, 0.0).samples)
        with torch.no_grad():
            alone, mask = encoder(samples[None], torch.tensor([len(samples)]))
        assert frames.get(ref).shape == alone[0][mask[0]].shape
        torch.testing.assert_close(frames.get(ref), alone[0][mask[0]], atol=5e-3, rtol=5e-3)


def write_frames(path: Path, **tensors: Tensor) -> AudioRef:
    """Frames of the user's own; a ref to the first of them."""
    save_file(tensors, path)
    return AudioRef(path=path, frames=next(iter(tensors)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_frames_of_the_users_own(tmp_path: Path, encoder: Encoder, dtype: torch.dtype) -> None:
    values = torch.arange(12.0).reshape(4, 3)
    ref = write_frames(tmp_path / "own.safetensors", a=values.to(dtype), b=torch.ones(1, 3))
    frames = cache(tmp_path, encoder)
    assert frames.fill([ref, ref]) == Filled(encoded=0, known=1, failed=())
    assert torch.equal(frames.get(ref), values)
    assert frames.get(ref).dtype == torch.float32
    assert torch.equal(frames.get(ref.model_copy(update={"frames": "b"})), torch.ones(1, 3))


@pytest.mark.parametrize(
    ("tensor", "complaint"),
    [
        (torch.zeros(4, 5), "has frames 5 wide, and the model takes 3"),
        (torch.zeros(4), r"has the shape \[4\]"),
        (torch.zeros(2, 4, 3), r"has the shape \[2, 4, 3\]"),
        (torch.zeros(0, 3), r"has the shape \[0, 3\]"),
        (torch.zeros(4, 3, dtype=torch.int64), "holds torch.int64"),
    ],
)
def test_frames_that_don_t_fit(
    tmp_path: Path, encoder: Encoder, tensor: Tensor, complaint: str
) -> None:
    ref = write_frames(tmp_path / "own.safetensors", a=tensor)
    frames = cache(tmp_path, encoder)
    with pytest.raises(TrainingError, match=rf"own\.safetensors: the tensor 'a' {complaint}") as e:
        frames.get(ref)
    assert e.value.hint
    (failure,) = frames.fill([ref]).failed
    assert failure.reason == str(e.value)


def test_frames_that_aren_t_there(tmp_path: Path, encoder: Encoder) -> None:
    ref = write_frames(tmp_path / "own.safetensors", a=torch.zeros(1, 3), b=torch.zeros(1, 3))
    frames = cache(tmp_path, encoder)
    with pytest.raises(TrainingError, match="the tensor 'c' isn't in it") as caught:
        frames.get(ref.model_copy(update={"frames": "c"}))
    assert caught.value.hint == "there are: a, b"
    with pytest.raises(TrainingError, match=r"gone\.safetensors: no such file"):
        frames.get(AudioRef(path=tmp_path / "gone.safetensors", frames="a"))
    (tmp_path / "text.safetensors").write_text("no tensors at all")
    with pytest.raises(TrainingError, match=r"text\.safetensors: "):
        frames.get(AudioRef(path=tmp_path / "text.safetensors", frames="a"))

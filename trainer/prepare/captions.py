"""A sound and what is said of it, as pairs that go both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.pairs import AudioRef, Pair, Side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from trainer.prepare.instructions import BothWays


def caption_pairs(
    captions: Sequence[str], sound: Path, *, clip: str, source: str, instructions: BothWays
) -> Iterator[Pair]:
    """Two pairs for each caption, the text asking and the sound asking.

    All are alternatives: one is taken each time round.

    Args:
        captions: none of them blank.
        sound: as the file of pairs has it.
    """
    audio = AudioRef(path=sound)
    for caption in captions:
        yield Pair(
            query=Side(text=caption, instruction=instructions.to_audio),
            document=Side(audio=audio, instruction=instructions.document),
            source=source,
            clip=clip,
            one_of=clip,
        )
        yield Pair(
            query=Side(audio=audio, instruction=instructions.to_text),
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

"""Sounds of one's own, and what they are called: the csv that `alm2vec train prepare labels` reads.

    path,text
    doors/creak_01.wav,creaking door
    doors/slam.wav,slamming door

A text that many sounds have is one query with many right answers, and one document; so that a csv
of classes and one of captions are both measured as they should be. `start_s` and `end_s` mean a
stretch of a file. Intervals draw texts anew for text to audio, and for audio to text whatever the
column `group` says that a sound was cut from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alm2vec_search.evaluation.datasets.captions import (
    AUDIO_TO_TEXT,
    TEXT_TO_AUDIO,
    require_some,
)
from alm2vec_search.evaluation.sets import EvaluationSet, RetrievalTask
from alm2vec_search.terminal import counted
from trainer.pairs import Side
from trainer.prepare.labels import captioned
from trainer.prepare.report import Findings

if TYPE_CHECKING:
    from pathlib import Path

KEY = "labels"


def read(source: Path, *, audio: Path | None = None, name: str | None = None) -> EvaluationSet:
    """
    Args:
        source: the csv, or a folder that has just one.
        audio: where paths start, if it isn't the csv's folder.
        name: what the set is called in reports; None is the csv's own.

    Raises:
        TrainingError, PairError: it can't be read; names the line.
        EvaluationError: no sound of it has a file.
    """
    findings = Findings()
    sounds = list(captioned(source, findings, audio=audio))
    texts = sorted({text for sound in sounds for text in sound.captions})
    number = {text: row for row, text in enumerate(texts)}
    own = [frozenset(number[text] for text in sound.captions) for sound in sounds]
    having: list[list[int]] = [[] for _ in texts]
    for row, numbers in enumerate(own):
        for text in numbers:
            having[text].append(row)
    by_text = RetrievalTask(
        name=TEXT_TO_AUDIO,
        queries=tuple(Side(text=text) for text in texts),
        documents=tuple(Side(audio=sound.sound) for sound in sounds),
        relevant=tuple(frozenset(rows) for rows in having),
        groups=tuple(texts),
    )
    by_sound = RetrievalTask(
        name=AUDIO_TO_TEXT,
        queries=tuple(Side(audio=sound.sound) for sound in sounds),
        documents=tuple(Side(text=text) for text in texts),
        relevant=tuple(own),
        groups=tuple(sound.group for sound in sounds),
    )
    found = EvaluationSet(
        KEY,
        name or source.stem,
        (by_text, by_sound),
        f"{counted(len(sounds), 'sound')}, {counted(len(texts), 'text')}",
        tuple(findings.missing),
        tuple(findings.set_aside),
    )
    return require_some(found, source)

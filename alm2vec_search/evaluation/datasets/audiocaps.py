"""AudioCaps (Kim et al., NAACL 2019): the test split, five captions a clip.

It lists 975 clips. They vanish from YouTube: WavCaps measures on 957, MTEB on 883. The pool's size
is printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alm2vec_search.evaluation.datasets.captions import caption_set, require_some
from trainer.prepare.audiocaps import captioned
from trainer.prepare.instructions import SOUND
from trainer.prepare.report import Findings

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.evaluation.sets import EvaluationSet
    from trainer.prepare.audiocaps import Split

KEY = "audiocaps"


def read(source: Path, *, audio: Path | None = None, split: Split = "test") -> EvaluationSet:
    """
    Args:
        source: the folder of the data set, or one of its csv files.
        audio: the folder of the audio, if it is another.
        split: which csv of a folder.

    Raises:
        TrainingError, PairError: it can't be read; names the line.
        EvaluationError: no clip of it has a file.
    """
    findings = Findings()
    clips = captioned(source, findings, audio=audio, split=split)
    found = caption_set(KEY, f"AudioCaps {split}", clips, findings, instructions=SOUND)
    return require_some(found, source)

"""Clotho 2.1 (Drossos et al., ICASSP 2020): the evaluation split, 1,045 clips of five captions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alm2vec_search.evaluation.datasets.captions import caption_set, require_some
from trainer.prepare.clotho import captioned
from trainer.prepare.instructions import SOUND
from trainer.prepare.report import Findings

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.evaluation.sets import EvaluationSet
    from trainer.prepare.clotho import Split

KEY = "clotho"


def read(source: Path, *, audio: Path | None = None, split: Split = "evaluation") -> EvaluationSet:
    """
    Args:
        source: the folder of the data set, or one of its csv files of captions.
        audio: the folder of the audio, if it is another.
        split: which csv of a folder.

    Raises:
        TrainingError, PairError: it can't be read; names the line.
        EvaluationError: no clip of it has a file.
    """
    findings = Findings()
    clips = captioned(source, findings, audio=audio, split=split)
    found = caption_set(KEY, f"Clotho {split}", clips, findings, instructions=SOUND)
    return require_some(found, source)

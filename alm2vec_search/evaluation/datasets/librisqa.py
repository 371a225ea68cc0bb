"""LibriSQA, Part I, test (Zhao et al., arXiv 2308.10390): questions, and speech with the answers.

2,620 questions to 2,620 utterances of LibriSpeech's test-clean: the question finds the speech, and
the speech its question. Answers aren't used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alm2vec_search.evaluation.datasets.captions import caption_set, require_some
from trainer.prepare.instructions import SPEECH
from trainer.prepare.librisqa import questions
from trainer.prepare.report import Findings

if TYPE_CHECKING:
    from pathlib import Path

    from alm2vec_search.evaluation.sets import EvaluationSet
    from trainer.prepare.librisqa import Split

KEY = "librisqa"
TEXT_TO_SPEECH, SPEECH_TO_TEXT = "text to speech", "speech to text"


def read(source: Path, *, audio: Path | None = None, split: Split = "test") -> EvaluationSet:
    """
    Args:
        source: the folder of the data set, or one of its json files.
        audio: the folder of LibriSpeech, if it is another.
        split: which json files of a folder.

    Raises:
        TrainingError, PairError: it can't be read; names the line.
        EvaluationError: no utterance of it has a file.
    """
    findings = Findings()
    asked = questions(source, findings, audio=audio, split=split)
    found = caption_set(
        KEY,
        f"LibriSQA {split}, Part I",
        asked,
        findings,
        instructions=SPEECH,
        said="question",
        heard="utterance",
        ways=(TEXT_TO_SPEECH, SPEECH_TO_TEXT),
    )
    return require_some(found, source)

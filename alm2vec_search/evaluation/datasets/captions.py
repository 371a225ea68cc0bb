"""Sounds and what is said of them, searched both ways, by the published protocol.

Text to audio: every caption is a query of its own, the pool are all clips, and one is right. Audio
to text: every clip is a query, the pool are all captions of all clips, and the best of its own
counts. That is how WavCaps measures (Mei et al., TASLP 2024), whose figures the paper of ALM2Vec
stands beside. Captions that two clips share stay two documents, as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alm2vec_search.errors import EvaluationError
from alm2vec_search.evaluation.sets import EvaluationSet, RetrievalTask
from alm2vec_search.terminal import counted
from trainer.pairs import Side

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from trainer.prepare.captions import Captioned
    from trainer.prepare.instructions import BothWays
    from trainer.prepare.report import Findings

TEXT_TO_AUDIO, AUDIO_TO_TEXT = "text to audio", "audio to text"


def caption_set(
    key: str,
    name: str,
    clips: Iterable[Captioned],
    findings: Findings,
    *,
    instructions: BothWays,
    said: str = "caption",
    heard: str = "clip",
    ways: tuple[str, str] = (TEXT_TO_AUDIO, AUDIO_TO_TEXT),
) -> EvaluationSet:
    """Both tasks of a set of captioned sounds.

    Args:
        findings: what is missing of the set, filled in while `clips` is gone through.
        said, heard: what a text and a sound are called in the words for the pool.
        ways: the names of the two tasks.
    """
    there = list(clips)
    texts = [(row, caption) for row, clip in enumerate(there) for caption in clip.captions]
    own: list[list[int]] = [[] for _ in there]
    for number, (row, _) in enumerate(texts):
        own[row].append(number)
    by_text = RetrievalTask(
        name=ways[0],
        queries=tuple(
            Side(text=caption, instruction=instructions.to_audio) for _, caption in texts
        ),
        documents=tuple(
            Side(audio=clip.sound, instruction=instructions.document) for clip in there
        ),
        relevant=tuple(frozenset([row]) for row, _ in texts),
        groups=tuple(there[row].group for row, _ in texts),
    )
    by_sound = RetrievalTask(
        name=ways[1],
        queries=tuple(Side(audio=clip.sound, instruction=instructions.to_text) for clip in there),
        documents=tuple(
            Side(text=caption, instruction=instructions.document) for _, caption in texts
        ),
        relevant=tuple(frozenset(rows) for rows in own),
        groups=tuple(clip.group for clip in there),
    )
    return EvaluationSet(
        key=key,
        name=name,
        tasks=(by_text, by_sound),
        pool=f"{counted(len(there), heard)}, {counted(len(texts), said)}",
        missing=tuple(findings.missing),
        set_aside=tuple(findings.set_aside),
    )


def require_some(measured: EvaluationSet, source: Path) -> EvaluationSet:
    """
    Raises:
        EvaluationError: there is nothing to measure with.
    """
    if measured.tasks and measured.tasks[0].queries:
        return measured
    reasons = []
    if measured.missing:
        reasons.append(f"no audio file of {counted(len(measured.missing), 'clip')}")
    if measured.set_aside:
        where, reason = measured.set_aside[0]
        reasons.append(f"{len(measured.set_aside):,} set aside, the first: {where}: {reason}")
    hint = None
    if measured.missing:
        hint = f"--audio names the folder of the audio; the first clip is {measured.missing[0]}"
    why = "; ".join(reasons) or "it lists nothing"
    raise EvaluationError(f"{source}: nothing to measure with: {why}", hint=hint)

"""MMAU-mini (Sakshi et al., ICLR 2025): questions about sounds with a few answers to choose from.

Its file is `mmau-test-mini.json` (github.com/Sakshi113/MMAU), records of `audio_id`, `question`,
`choices`, `answer`, `task` (sound, music or speech): 333, 334 and 333 of them. The question and its
sound ask, every option answers by its bare text, and the nearest is taken, as in the paper of
ALM2Vec. Accuracy is over all questions alike, and by task.

There are two versions of it; that of May 2025 (v05.15.25) changed about a quarter of the questions.
The file doesn't say which it is: say it beside the figures.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from alm2vec_search.errors import PairError
from alm2vec_search.evaluation.datasets.captions import require_some
from alm2vec_search.evaluation.sets import ChoiceTask, EvaluationSet
from alm2vec_search.terminal import counted
from trainer.pairs import AudioRef, Side
from trainer.prepare.captions import readable
from trainer.prepare.choices import choose, label_options
from trainer.prepare.data_set import DataSet
from trainer.prepare.instructions import DOCUMENT, QUESTION
from trainer.prepare.records import read_records, text_of
from trainer.prepare.report import Findings

if TYPE_CHECKING:
    from pathlib import Path

KEY = "mmau-mini"
MULTIPLE_CHOICE = "multiple choice"
PUBLISHED = {"music": 334, "sound": 333, "speech": 333}  # questions
EXPECTED = "a record of audio_id, question, choices, answer and task"


def read(source: Path, *, audio: Path | None = None) -> EvaluationSet:
    """
    Args:
        source: the json, or a folder with one whose name has `mini` in it.
        audio: the folder of the audio, if it is another.

    Raises:
        TrainingError, PairError: it can't be read; names the line.
        EvaluationError: no question of it has a file.
    """
    data = DataSet.open(source, audio)
    findings = Findings(set_aside=list(data.problems))
    files = data.records(source)
    files = [file for file in files if "mini" in file.stem.lower()] or files
    queries, choices, rights, groups, domains = [], [], [], [], []
    for file in files:
        for line, record in read_records(file):
            where = f"{file}:{line}"
            path = _required(record, "audio_id", file, line)
            question = readable(_required(record, "question", file, line))
            answer = _required(record, "answer", file, line)
            domain = _required(record, "task", file, line).strip().lower()
            options = _options(record, file, line)
            right = _right(options, answer)
            if not question or right is None:
                findings.put_aside(where, "the answer is none of the choices")
                continue
            name = PurePosixPath(path.replace("\\", "/")).as_posix()
            sound = findings.only(data.audio.find(name), name, where)
            if sound is None:
                continue
            queries.append(Side(text=question, audio=AudioRef(path=sound), instruction=QUESTION))
            choices.append(tuple(Side(text=o, instruction=DOCUMENT) for o in options))
            rights.append(right)
            groups.append(name)
            domains.append(domain)
    task = ChoiceTask(
        MULTIPLE_CHOICE,
        tuple(queries),
        tuple(choices),
        tuple(rights),
        tuple(groups),
        tuple(domains),
    )
    counts = Counter(domains)
    expected = ", ".join(f"{n} {domain}" for domain, n in PUBLISHED.items())
    parts = ", ".join(f"{counts[domain]:,} {domain}" for domain in sorted(counts))
    found = EvaluationSet(
        KEY,
        "MMAU-mini",
        (task,),
        f"{counted(len(queries), 'question')}: {parts}",
        tuple(findings.missing),
        tuple(findings.set_aside),
        notes=() if counts == PUBLISHED else (f"the published set has {expected}",),
    )
    return require_some(found, source)


def _required(record: Any, field: str, file: Path, line: int) -> str:
    value = text_of(record, field)
    if value is None and isinstance(record, dict):  # some mirrors keep it one level down
        value = text_of(record.get("other_attributes"), field)
    if value is None:
        raise PairError(f"expected {EXPECTED}; no {field}", file=file, line=line)
    return value


def _options(record: Any, file: Path, line: int) -> tuple[str, ...]:
    """The bare texts."""
    listed = record.get("choices")
    if (
        not isinstance(listed, list)
        or len(listed) < 2
        or not all(isinstance(o, str) and o.strip() for o in listed)
    ):
        raise PairError(f"expected {EXPECTED}; choices are two texts or more", file=file, line=line)
    return tuple(label_options([readable(option) for option in listed]).values())


def _right(options: tuple[str, ...], answer: str) -> int | None:
    lettered = {chr(ord("A") + row): option for row, option in enumerate(options)}
    choice = choose(lettered, readable(answer))
    return None if choice is None else options.index(choice.right)

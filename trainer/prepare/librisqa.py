"""LibriSQA: questions about LibriSpeech's read books (Zhao et al., arXiv 2308.10390).

Its files are `LibriSQA-PartI/LibriSQA-PartI-{train,test}.json`, records of `speech_path`,
`question`, `answer`, `text`, `duration`, and `LibriSQA-PartII/LibriSQA-PartII-{train,test}.json`,
records of `speech_path`, `question_and_option`, `answer` (a letter), `answer_and_analysis`
(huggingface.co/datasets/ZihanZhao/LibriSQA). The speech is LibriSpeech's own, train-clean-360 and
test-clean: `train-clean-360/SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac`.

Part I is used as the paper measures by it: the question finds the speech that has its answer, and
the speech the question. Part II is questions with options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from alm2vec_search.errors import PairError
from trainer.pairs import AudioRef
from trainer.prepare.audio_files import stem_of
from trainer.prepare.captions import Captioned, caption_pairs, readable
from trainer.prepare.choices import ANYWHERE, IN_BRACKETS, ON_LINES, split_options
from trainer.prepare.data_set import DataSet, relative_to
from trainer.prepare.instructions import SPEECH
from trainer.prepare.questions import Question, question_pair
from trainer.prepare.records import read_records, text_of
from trainer.prepare.report import Findings, PrepareReport
from trainer.prepare.writing import write_prepared

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from trainer.pairs import Pair

SOURCE = "librisqa"
EXPECTED = "speech_path with question (Part I), or with question_and_option and answer (Part II)"

Split = Literal["train", "test"]
Part = Literal["I", "II"]


def prepare(
    source: Path,
    out: Path,
    *,
    audio: Path | None = None,
    split: Split = "train",
    part: Part | None = None,
) -> PrepareReport:
    """Make pairs of questions and speech.

    Args:
        source: the folder of the data set, or one of its json files.
        audio: the folder of LibriSpeech, if it is another.
        split: which json files of a folder.
        part: one of the two parts; None is both.

    Raises:
        TrainingError: nothing can be made, read or written.
        PairError: a json is another; names the line.
    """
    data = DataSet.open(source, audio)
    files = data.records(out, split=split)
    findings = Findings()
    pairs = _pairs(files, data, out, part, findings)
    return write_prepared(pairs, out, data=data, read=files, findings=findings)


def questions(
    source: Path, findings: Findings, *, audio: Path | None = None, split: Split = "test"
) -> Iterator[Captioned]:
    """The utterances of Part I that are there, each with the questions about it.

    Args:
        source, audio, split: as for `prepare`.
        findings: is told what is missing, once all was taken.

    Raises:
        TrainingError, PairError: as `prepare`.
    """
    data = DataSet.open(source, audio)
    findings.set_aside += data.problems
    asked: dict[str, tuple[str, str, list[str]]] = {}  # clip → where, path, questions
    for file in data.records(source, split=split):
        for line, record in read_records(file):
            path, kind = _kind(record, file, line)
            if kind != "I":
                continue
            where, clip = f"{file}:{line}", stem_of(path)
            if question := readable(record["question"]):
                asked.setdefault(clip, (where, path, []))[2].append(question)
            else:
                findings.put_aside(where, "no question")
    for clip, (where, path, texts) in asked.items():
        if sound := findings.only(data.audio.find(path), clip, where):
            speaker = clip.split("-", 1)[0]
            yield Captioned(clip, AudioRef(path=sound), tuple(texts), group=speaker)


def _pairs(
    files: Sequence[Path], data: DataSet, out: Path, part: Part | None, findings: Findings
) -> Iterator[Pair]:
    relative = relative_to(out)
    for file in files:
        for line, record in read_records(file):
            path, kind = _kind(record, file, line)
            if part not in (kind, None):
                continue
            where, clip = f"{file}:{line}", stem_of(path)
            sound = findings.only(data.audio.find(path), clip, where)
            if sound is None:
                continue
            make = _part_one if kind == "I" else _part_two
            yield from make(record, relative(sound), clip, where, findings)


def _kind(record: Any, file: Path, line: int) -> tuple[str, Part]:
    """The path of the speech, and which part a record is of."""
    path = text_of(record, "speech_path")
    if path and text_of(record, "question_and_option") is not None:
        if text_of(record, "answer") is not None:
            return path, "II"
    elif path and text_of(record, "question") is not None:
        return path, "I"
    raise PairError(f"expected a record of {EXPECTED}", file=file, line=line)


def _part_one(
    record: Mapping[str, str], sound: Path, clip: str, where: str, findings: Findings
) -> Iterator[Pair]:
    question = readable(record["question"])
    if not question:
        findings.put_aside(where, "no question")
        return
    audio = AudioRef(path=sound)
    yield from caption_pairs([question], audio, clip=clip, source=SOURCE, instructions=SPEECH)


def _part_two(
    record: Mapping[str, str], sound: Path, clip: str, where: str, findings: Findings
) -> Iterator[Pair]:
    text, options = split_options(
        readable(record["question_and_option"]), (IN_BRACKETS, ON_LINES, ANYWHERE)
    )
    if not options:
        findings.put_aside(where, "no options A, B, … in question_and_option")
        return
    question = Question(text, readable(record["answer"]), options, where)
    if answers := question.answers(findings):
        right, wrong = answers
        audio = AudioRef(path=sound)
        yield question_pair(text, audio, right, wrong, clip=clip, source=SOURCE)

"""Audio question answering, in the forms that Audio Flamingo's data sets come in.

Audio Flamingo 3 (AudioSkills-XL, LongAudio-XL; github.com/NVIDIA/audio-flamingo, README of
`audio_flamingo_3`): a list of

    {"id": "Y7fmOlUlwoNg", "sound": "Y7fmOlUlwoNg.flac", "duration": 10.0, "conversations": [
        {"from": "human", "value": "<sound>\\nWhat is heard? (A) a dog (B) a cat"},
        {"from": "gpt", "value": "(A) a dog"}]}

Audio Flamingo 2 (`audio_flamingo_2/README.md`): a manifest, its options always in the prompt

    {"split": "train", "split_path": "Clotho-AQA/audio", "flamingo_task": "Clotho-AQA-AQA",
     "data": {"0": {"name": "a.wav", "prompt": "Where? (A) church. (B) hut.", "output": "(B) hut"}}}

And flat records of `sound`, `question`, `answer` and perhaps `choices` (a list), the form of MMAU,
where the sound is `audio_id`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from alm2vec_search.errors import PairError
from trainer.pairs import AudioRef
from trainer.prepare.audio_files import stem_of, without_suffix
from trainer.prepare.captions import readable
from trainer.prepare.choices import label_options, split_options
from trainer.prepare.data_set import DataSet, relative_to
from trainer.prepare.questions import Question, question_pair
from trainer.prepare.records import read_records, text_of
from trainer.prepare.report import Findings, PrepareReport
from trainer.prepare.writing import write_prepared

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from trainer.pairs import Pair

SOUND_KEYS = ("sound", "audio", "audio_path", "audio_id", "path")
EXPECTED = (
    "expected sound and conversations, or sound, question and answer, or a manifest with data of "
    "name, prompt and output"
)
_MARK = re.compile(r"<(?:sound|speech|audio)(?:-\d+)?>", re.IGNORECASE)
_ASKS, _ANSWERS = ("human", "user"), ("gpt", "assistant")

Split = Literal["train", "val", "test"]
"""Of manifests, which name theirs."""


@dataclass(frozen=True)
class Asked:
    """A question and the sounds that it is about, as the data set names them."""

    sounds: tuple[str, ...]
    question: Question
    source: str
    start_s: float | None = None


def prepare(
    source: Path, out: Path, *, audio: Path | None = None, split: Split = "train"
) -> PrepareReport:
    """Make pairs of a question about a sound, and its answer.

    Args:
        source: a folder of json and jsonl files, or one of them.
        audio: the folder of the audio, if it is another.
        split: of manifests; those of other splits are set aside.

    Raises:
        TrainingError: nothing can be made, read or written.
        PairError: a record is of none of the forms; names the line.
    """
    data = DataSet.open(source, audio)
    files = data.records(out)
    findings = Findings()
    pairs = _pairs(files, data, out, split, findings)
    return write_prepared(pairs, out, data=data, read=files, findings=findings)


def _pairs(
    files: Sequence[Path], data: DataSet, out: Path, split: Split, findings: Findings
) -> Iterator[Pair]:
    relative = relative_to(out)
    for file in files:
        for asked in _asked(file, split, findings):
            if len(asked.sounds) != 1:
                reason = f"about {len(asked.sounds)} sounds, and a query has one"
                findings.put_aside(asked.question.where, reason)
                continue
            (name,) = asked.sounds
            clip = without_suffix(name)
            found = data.audio.find(*_file_names(name))
            sound = findings.only(found, clip, asked.question.where)
            answers = asked.question.answers(findings) if sound else None
            if sound and answers:
                yield question_pair(
                    asked.question.text,
                    AudioRef(path=relative(sound), start_s=asked.start_s),
                    *answers,
                    clip=clip,
                    source=asked.source,
                )


def _file_names(name: str) -> Iterator[str]:
    """What the file of a sound may be called: those of YouTube with a Y, or without."""
    yield name
    stem = stem_of(name)
    if len(stem) == 12 and stem.startswith("Y"):
        yield stem[1:]
    elif len(stem) == 11:
        yield f"Y{stem}"


def _asked(file: Path, split: Split, findings: Findings) -> Iterator[Asked]:
    for line, record in read_records(file):
        if isinstance(record, dict) and isinstance(record.get("data"), dict):
            yield from _manifest(record, file, line, split, findings)
        elif isinstance(record, dict) and isinstance(record.get("conversations"), list):
            yield _conversation(record, file, line, findings)
        else:
            yield _flat(record, file, line)


def _manifest(
    manifest: Mapping[str, Any], file: Path, line: int, split: Split, findings: Findings
) -> Iterator[Asked]:
    if manifest.get("split", split) != split:
        findings.put_aside(str(file), f"its split is {manifest['split']}, not {split}")
        return
    task = text_of(manifest, "flamingo_task") or file.stem
    folder = text_of(manifest, "split_path") or text_of(manifest, "dataset_path") or ""
    for key, entry in manifest["data"].items():
        name, prompt, output = (text_of(entry, field) for field in ("name", "prompt", "output"))
        if not name or prompt is None or output is None:
            raise PairError(
                f'data["{key}"]: expected name, prompt and output', file=file, line=line
            )
        text, options = split_options(readable(prompt))
        start_s = entry.get("audio_start")
        yield Asked(
            sounds=(f"{folder}/{name}" if folder else name,),
            question=Question(text, readable(output), options, f'{file}:{line} data["{key}"]'),
            source=task,
            start_s=_seconds(start_s, file, line) if start_s else None,
        )


def _conversation(record: Mapping[str, Any], file: Path, line: int, findings: Findings) -> Asked:
    asks, answers = (
        [
            text
            for turn in record["conversations"]
            if text_of(turn, "from") in roles and (text := text_of(turn, "value")) is not None
        ]
        for roles in (_ASKS, _ANSWERS)
    )
    if not asks or not answers:
        raise PairError(
            "conversations: expected a turn from human, and one from gpt", file=file, line=line
        )
    where = f"{file}:{line}"
    if len(asks) > 1:
        findings.put_aside(where, "later questions of the conversation: they need what was said")
    text, options = split_options(readable(_MARK.sub(" ", asks[0])))
    question = Question(text, readable(answers[0]), options, where)
    return Asked(_sounds(record, file, line), question, source=file.stem)


def _flat(record: Any, file: Path, line: int) -> Asked:
    question, answer = text_of(record, "question"), text_of(record, "answer")
    if question is None or answer is None:
        raise PairError(EXPECTED, file=file, line=line)
    text, options = split_options(readable(_MARK.sub(" ", question)))
    listed = record.get("choices") or record.get("options")
    if isinstance(listed, list) and all(isinstance(option, str) for option in listed):
        options = label_options([readable(option) for option in listed])
    asked = Question(text, readable(answer), options, f"{file}:{line}")
    return Asked(_sounds(record, file, line), asked, source=file.stem)


def _sounds(record: Mapping[str, Any], file: Path, line: int) -> tuple[str, ...]:
    for key in SOUND_KEYS:
        named = record.get(key)
        if isinstance(named, str) and named.strip():
            return (named.strip(),)
        if isinstance(named, list) and named and all(isinstance(one, str) for one in named):
            return tuple(named)
    raise PairError(
        f"expected the path of a sound as {', '.join(SOUND_KEYS)}", file=file, line=line
    )


def _seconds(value: Any, file: Path, line: int) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise PairError(f"audio_start is no number of seconds: {value!r}", file=file, line=line)
    return seconds

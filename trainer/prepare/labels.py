"""Sounds of one's own, and what they are called: a csv of `path,text`.

    path,text
    doors/creak_01.wav,"an old wooden door creaks open, slowly"
    doors/creak_01.wav,haunted house
    doors/slam.wav,heavy door slams shut

A sound may have several rows; they needn't follow each other. Paths start at the csv's folder.
More columns may be there: `start_s` and `end_s`, in seconds, for a stretch of a file, and `group`
for what a sound was cut from, such as a recording or a speaker: measurements draw these anew.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from alm2vec_search.errors import PairError
from trainer.pairs import AudioRef
from trainer.prepare.captions import Captioned, all_pairs, readable
from trainer.prepare.data_set import DataSet, is_same, relative_to
from trainer.prepare.instructions import PLAIN
from trainer.prepare.report import Findings, PrepareReport
from trainer.prepare.tables import read_table
from trainer.prepare.writing import write_prepared

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SOURCE = "labels"
COLUMNS = {"path": ("path",), "text": ("text",)}


@dataclass
class _Labelled:
    """The rows of one sound."""

    where: str  # of the first
    group: str
    texts: list[str] = field(default_factory=list)


_Stretch = tuple[str, float | None, float | None]  # path, start_s, end_s


def prepare(
    source: Path, out: Path, *, audio: Path | None = None, name: str = SOURCE
) -> PrepareReport:
    """Make pairs of texts and sounds, both ways.

    Unlike the clips of a published data set, sounds are taken by their whole path: many of a
    library's files may be called `01.wav`.

    Args:
        source: the csv, or a folder that has just one.
        audio: where paths start, if it isn't the csv's folder.
        name: what the data set is called in the pairs.

    Raises:
        TrainingError: nothing can be made, read or written.
        PairError: the csv is another; names the line.
    """
    data, table = _open(source, audio)
    findings = Findings()
    sounds = _captioned(table, data, findings)
    pairs = all_pairs(sounds, relative_to(out), source=name, instructions=PLAIN)
    return write_prepared(pairs, out, data=data, read=[table], findings=findings)


def captioned(
    source: Path, findings: Findings, *, audio: Path | None = None
) -> Iterator[Captioned]:
    """The sounds that are there, each with its texts.

    Args:
        source, audio: as for `prepare`.
        findings: is told what is missing, once all was taken.

    Raises:
        TrainingError, PairError: as `prepare`.
    """
    data, table = _open(source, audio)
    findings.set_aside += data.problems
    return _captioned(table, data, findings)


def _open(source: Path, audio: Path | None) -> tuple[DataSet, Path]:
    data = DataSet.open(source, audio)
    table = data.table(COLUMNS)
    if audio is None and not is_same(source, table) and not is_same(source, table.parent):
        data = DataSet.open(table)  # its folder lies further down
    return data, table


def _captioned(table: Path, data: DataSet, findings: Findings) -> Iterator[Captioned]:
    for (path, start_s, end_s), labelled in _by_stretch(table, findings).items():
        if sound := findings.only(data.audio.at(path), path, labelled.where):
            audio = AudioRef(path=sound, start_s=start_s, end_s=end_s)
            yield Captioned(path, audio, tuple(labelled.texts), group=labelled.group or path)


def _by_stretch(table: Path, findings: Findings) -> Mapping[_Stretch, _Labelled]:
    labels: dict[_Stretch, _Labelled] = {}
    for line, row in read_table(table, COLUMNS):
        where = f"{table}:{line}"
        path, text = row["path"].strip(), readable(row["text"])
        if not path or not text:
            findings.put_aside(where, "the text is blank" if path else "no path")
            continue
        path = posixpath.normpath(path.replace("\\", "/"))
        stretch = (path, _seconds(row, "start_s", table, line), _seconds(row, "end_s", table, line))
        try:
            AudioRef(path=Path(path), start_s=stretch[1], end_s=stretch[2])
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise PairError(f"no stretch of a sound: {reason}", file=table, line=line) from error
        group = row.get("group", "").strip()
        labels.setdefault(stretch, _Labelled(where, group)).texts.append(text)
    return labels


def _seconds(row: Mapping[str, str], column: str, table: Path, line: int) -> float | None:
    value = row.get(column, "").strip()
    try:
        return float(value) if value else None
    except ValueError as error:
        raise PairError(
            f"{column} is no number of seconds: {value!r}", file=table, line=line
        ) from error

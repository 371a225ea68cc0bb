"""Sounds of one's own, and what they are called: a csv of `path,text`.

    path,text
    doors/creak_01.wav,"an old wooden door creaks open, slowly"
    doors/creak_01.wav,haunted house
    doors/slam.wav,heavy door slams shut

A sound may have several rows; they needn't follow each other. Paths start at the csv's folder.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from trainer.prepare.captions import caption_pairs, readable
from trainer.prepare.data_set import DataSet, is_same, relative_to
from trainer.prepare.instructions import PLAIN
from trainer.prepare.report import Findings, PrepareReport
from trainer.prepare.tables import read_table
from trainer.prepare.writing import write_prepared

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from trainer.pairs import Pair

SOURCE = "labels"
COLUMNS = {"path": ("path",), "text": ("text",)}

Labels = tuple[str, list[str]]  # where its first row is, and its texts


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
    data = DataSet.open(source, audio)
    table = data.table(COLUMNS)
    if audio is None and not is_same(source, table) and not is_same(source, table.parent):
        data = DataSet.open(table)  # its folder lies further down
    findings = Findings()
    pairs = _pairs(_by_path(table, findings), data, out, name, findings)
    return write_prepared(pairs, out, data=data, read=[table], findings=findings)


def _by_path(table: Path, findings: Findings) -> Mapping[str, Labels]:
    labels: dict[str, Labels] = {}
    for line, row in read_table(table, COLUMNS):
        where = f"{table}:{line}"
        path, text = row["path"].strip(), readable(row["text"])
        if not path or not text:
            findings.put_aside(where, "the text is blank" if path else "no path")
            continue
        path = posixpath.normpath(path.replace("\\", "/"))
        labels.setdefault(path, (where, []))[1].append(text)
    return labels


def _pairs(
    labels: Mapping[str, Labels], data: DataSet, out: Path, name: str, findings: Findings
) -> Iterator[Pair]:
    relative = relative_to(out)
    for path, (where, texts) in labels.items():
        found: Sequence[Path] = data.audio.at(path)
        if sound := findings.only(found, path, where):
            yield from caption_pairs(
                texts, relative(sound), clip=path, source=name, instructions=PLAIN
            )

"""Clotho: clips of Freesound, five captions each (Drossos et al., ICASSP 2020).

Its files are `clotho_captions_development.csv`, `…_validation.csv` and `…_evaluation.csv` with
`file_name,caption_1,…,caption_5` (zenodo.org/records/4783391), beside `clotho_metadata_*.csv`; the
audio is unpacked into `development/`, `validation/` and `evaluation/`.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Literal

from trainer.pairs import AudioRef
from trainer.prepare.audio_files import without_suffix
from trainer.prepare.captions import Captioned, all_pairs, readable
from trainer.prepare.data_set import DataSet, relative_to
from trainer.prepare.instructions import SOUND
from trainer.prepare.report import Findings, PrepareReport
from trainer.prepare.tables import read_table
from trainer.prepare.writing import write_prepared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOURCE = "clotho"
COLUMNS = {"file_name": ("file_name",), "caption_1": ("caption_1",)}
_CAPTION = re.compile(r"caption_\d+")

Split = Literal["development", "validation", "evaluation"]


def prepare(
    source: Path, out: Path, *, audio: Path | None = None, split: Split = "development"
) -> PrepareReport:
    """Make pairs of captions and clips, both ways.

    Args:
        source: the folder of the data set, or one of its csv files of captions.
        audio: the folder of the audio, if it is another.
        split: which csv of a folder.

    Raises:
        TrainingError: nothing can be made, read or written.
        PairError: the csv is another; names the line.
    """
    data = DataSet.open(source, audio)
    table = data.table(COLUMNS, split=split)
    findings = Findings()
    clips = _captioned(table, data, findings)
    pairs = all_pairs(clips, relative_to(out), source=SOURCE, instructions=SOUND)
    return write_prepared(pairs, out, data=data, read=[table], findings=findings)


def captioned(
    source: Path, findings: Findings, *, audio: Path | None = None, split: Split = "evaluation"
) -> Iterator[Captioned]:
    """The clips that are there, each with its captions.

    Args:
        source, audio, split: as for `prepare`.
        findings: is told what is missing, once all was taken.

    Raises:
        TrainingError, PairError: as `prepare`.
    """
    data = DataSet.open(source, audio)
    findings.set_aside += data.problems
    return _captioned(data.table(COLUMNS, split=split), data, findings)


def _captioned(table: Path, data: DataSet, findings: Findings) -> Iterator[Captioned]:
    for line, row in read_table(table, COLUMNS):
        where = f"{table}:{line}"
        name = row["file_name"].strip()
        captions = [readable(row[column]) for column in row if _CAPTION.fullmatch(column)]
        if not name or not any(captions):
            findings.put_aside(where, "no caption" if name else "no file_name")
            continue
        for number, caption in enumerate(captions, start=1):
            if not caption:
                findings.put_aside(where, f"caption {number} is blank")
        found = data.audio.find(name, html.unescape(name))  # rain&amp;storm.wav is rain&storm.wav
        if sound := findings.only(found, name, where):
            clip, said = without_suffix(name), tuple(filter(None, captions))
            yield Captioned(clip, AudioRef(path=sound), said, group=clip)

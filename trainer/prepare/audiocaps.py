"""AudioCaps: clips of AudioSet, captioned by people (Kim et al., NAACL 2019).

Its files are `train.csv`, `val.csv` and `test.csv` with `audiocap_id,youtube_id,start_time,caption`
(github.com/cdjkim/audiocaps, `dataset/` and `dataset2.0/`), a caption a row; the rows of one clip
don't follow each other. The audio is fetched by everyone on their own, and named in many ways.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from alm2vec_search.errors import PairError
from trainer.pairs import AudioRef
from trainer.prepare.captions import Captioned, all_pairs, readable
from trainer.prepare.data_set import DataSet, relative_to
from trainer.prepare.instructions import SOUND
from trainer.prepare.report import Findings, PrepareReport
from trainer.prepare.tables import read_table
from trainer.prepare.writing import write_prepared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SOURCE = "audiocaps"
COLUMNS = {
    "youtube_id": ("youtube_id",),
    "start_time": ("start_time", "start_s"),
    "caption": ("caption",),
}
CLIP_S = 10

Split = Literal["train", "val", "test"]


@dataclass
class Clip:
    """The rows of one clip."""

    youtube_id: str
    start_s: int
    where: str  # of the first row
    captions: list[str] = field(default_factory=list)
    caption_ids: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.youtube_id}_{self.start_s}"

    def file_names(self) -> Iterator[str]:
        """What its file may be called."""
        end_s = self.start_s + CLIP_S
        yield self.name
        for prefix in ("", "Y"):  # WavCaps has the Y
            yield f"{prefix}{self.youtube_id}"
            yield f"{prefix}{self.youtube_id}_{self.start_s}"
            yield f"{prefix}{self.youtube_id}_{self.start_s}_{end_s}"
            yield f"{prefix}{self.youtube_id}_{self.start_s * 1000}_{end_s * 1000}"  # AudioSet's
            yield f"{prefix}{self.youtube_id}_{self.start_s:06d}"  # VGGSound's
        yield from self.caption_ids


def prepare(
    source: Path, out: Path, *, audio: Path | None = None, split: Split = "train"
) -> PrepareReport:
    """Make pairs of captions and clips, both ways.

    Args:
        source: the folder of the data set, or one of its csv files.
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
    source: Path, findings: Findings, *, audio: Path | None = None, split: Split = "test"
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
    for clip in _clips(table, findings):
        found = data.audio.find(*clip.file_names())
        if sound := findings.only(found, clip.name, clip.where):
            yield Captioned(
                clip.name, AudioRef(path=sound), tuple(clip.captions), group=clip.youtube_id
            )


def _clips(table: Path, findings: Findings) -> Iterable[Clip]:
    clips: dict[tuple[str, int], Clip] = {}
    for line, row in read_table(table, COLUMNS):
        where = f"{table}:{line}"
        youtube_id = row["youtube_id"].strip()
        caption = readable(row["caption"])
        if not youtube_id or not caption:
            findings.put_aside(where, "the caption is blank" if youtube_id else "no youtube_id")
            continue
        start_s = _seconds(row["start_time"], table, line)
        clip = clips.setdefault((youtube_id, start_s), Clip(youtube_id, start_s, where))
        clip.captions.append(caption)
        if caption_id := row.get("audiocap_id", "").strip():
            clip.caption_ids.append(caption_id)
    return clips.values()


def _seconds(value: str, table: Path, line: int) -> int:
    try:
        return int(float(value))
    except (ValueError, OverflowError) as error:
        raise PairError(
            f"start_time is no number of seconds: {value!r}", file=table, line=line
        ) from error

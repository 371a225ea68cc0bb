"""What is said of files beside them: in lists that lie in their folders, and in their names.

A list is `alm2vec-notes.csv` or `alm2vec-notes.json` in any folder of a library, about the files
in that folder and below:

    path,tags,artist,take          {"rain/roof.wav": {"tags": ["wet", "tin"], "take": 3}}
    rain/roof.wav,wet; tin,Ana,3

Names are read by the Universal Category System, `CATID_Name_Creator_Source`, where they follow it.
Nothing here touches how a file sounds: notes that change are a change of payload, no embedding.
"""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from alm2vec_search.audio import reason_of, to_notes
from alm2vec_search.domain import AudioFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from indexer.walker import WalkProblem

LISTS = ("alm2vec-notes.csv", "alm2vec-notes.json")
_PATH_COLUMNS = ("path", "file", "filename", "file_name")
# An abbreviated category in capitals, its subcategory in up to five letters: DOGBark, AMBForst
_UCS_ID = re.compile(r"[A-Z]{2,6}[A-Z][a-z]{1,5}|[A-Z]{3,6}[a-z]{1,5}")


@dataclass(frozen=True, slots=True)
class NotesProblem:
    """A list that can't be used. What was known of its files stays."""

    path: Path
    reason: str


def with_notes(
    walk: Callable[[Path], Iterator[AudioFile | WalkProblem]],
) -> Callable[[Path], Iterator[AudioFile | WalkProblem | NotesProblem]]:
    """The same walk, with what is said of each file beside it.

    Where a list can't be read, the notes of its files are not known: `AudioFile.notes` is None.
    """

    def walked(root: Path) -> Iterator[AudioFile | WalkProblem | NotesProblem]:
        lists = _Lists()
        for item in walk(root):
            if not isinstance(item, AudioFile):
                yield item
                continue
            told = lists.of(item.path, item.library)
            yield from lists.take_problems()
            if told is None:
                yield replace(item, notes=None)
            else:
                named = [*named_by_ucs(item.path.stem), *told]
                yield replace(item, notes=to_notes(named))

    return walked


def named_by_ucs(stem: str) -> list[tuple[str, str]]:
    """What a file's name says, if it is one of the Universal Category System.

    >>> named_by_ucs("DOGBark_Small Dog_Ana_Farm_take 3")
    [('category', 'DOGBark'), ('title', 'Small Dog'), ('creator', 'Ana'), ('source', 'Farm')]
    >>> named_by_ucs("my_dog_at_home")
    []
    """
    parts = stem.split("_")
    category = parts[0].partition("-")[0]
    if len(parts) < 4 or not _UCS_ID.fullmatch(category):
        return []
    return list(
        zip(("category", "title", "creator", "source"), [category, *parts[1:4]], strict=True)
    )


@dataclass(slots=True)
class _Lists:
    """The lists of a library, each read once."""

    read: dict[Path, dict[str, list[tuple[str, str]]] | None] = field(default_factory=dict)
    problems: list[NotesProblem] = field(default_factory=list)

    def of(self, path: Path, library: Path) -> list[tuple[str, str]] | None:
        """What the lists of all folders from the library's down say of a file; None if one of them
        can't be read."""
        folders = [folder for folder in path.parents if folder.is_relative_to(library)]
        told: list[tuple[str, str]] = []
        for folder in reversed(folders):
            about = self._about(folder)
            if about is None:
                return None
            if about:
                told += about.get(_key(path.relative_to(folder).as_posix()), [])
        return told

    def take_problems(self) -> list[NotesProblem]:
        problems, self.problems = self.problems, []
        return problems

    def _about(self, folder: Path) -> dict[str, list[tuple[str, str]]] | None:
        if folder not in self.read:
            self.read[folder] = self._read(folder)
        return self.read[folder]

    def _read(self, folder: Path) -> dict[str, list[tuple[str, str]]] | None:
        about: dict[str, list[tuple[str, str]]] = {}
        for name in LISTS:
            path = folder / name
            try:
                rows = read_list(path)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                self.problems.append(NotesProblem(path, _why(error)))
                return None
            for file, said in rows:
                about.setdefault(_key(file), []).extend(said)
        return about


def read_list(path: Path) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each file of a list, and what is said of it.

    Raises:
        OSError: it can't be read.
        ValueError: it isn't such a list; says why.
    """
    text = path.read_text(encoding="utf-8-sig")
    return _rows_of_json(text) if path.suffix == ".json" else _rows_of_csv(text)


def _rows_of_csv(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [column.strip() for column in next(reader, [])]
        at = next((i for i, name in enumerate(header) if name.lower() in _PATH_COLUMNS), None)
        if at is None:
            raise ValueError("its first line has no column called path")
        rows = []
        for row in reader:
            if len(row) > at and row[at].strip():
                cells = zip(header, row, strict=False)
                said = [cell for i, cell in enumerate(cells) if i != at]
                rows.append((row[at].strip(), said))
        return rows
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error


def _rows_of_json(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    document = json.loads(text)
    if isinstance(document, list):
        items = [(_path_in(item), item) for item in document]
    elif isinstance(document, dict):
        items = list(document.items())
    else:
        raise ValueError("it is neither an object nor a list of objects")
    return [(file, _said(file, about)) for file, about in items]


def _path_in(item: Any) -> str:
    if not isinstance(item, dict) or not isinstance(item.get("path"), str):
        raise ValueError("an entry of its list has no path")
    return str(item["path"])


def _said(file: str, about: Any) -> list[tuple[str, str]]:
    if not isinstance(about, dict):
        raise ValueError(f"{file}: what is said of it is no object")
    return [
        (key, "; ".join(map(str, value)) if isinstance(value, list) else str(value))
        for key, value in about.items()
        if key != "path" and value is not None
    ]


def _key(path: str) -> str:
    """A path as lists are looked up by: composed, whoever wrote it."""
    return unicodedata.normalize("NFC", path.replace("\\", "/").removeprefix("./"))


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}: no JSON: {error.msg}"
    if isinstance(error, UnicodeDecodeError):
        return "it isn't UTF-8"
    return reason_of(error)

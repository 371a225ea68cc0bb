"""What was indexed, so that an unchanged file costs a `stat`.

A cache in one SQLite file beside the store. The collection is the truth: a manifest that is lost,
damaged or of another version is started anew, and `rebuild` fills it from the collection.

Changes are held back until `commit()`; the caller flushes the collection before it. Between
`begin()` and `finish()` the manifest is marked as being worked on, on disk, so that whoever opens
it after a killed process sees `was_interrupted`, and rebuilds it.

Where others write to the collection, too, each leaves a mark there. A manifest remembers its own;
if the collection has another, the manifest doesn't know all.

SQLite keeps a rollback journal (which, unlike WAL, is sound on network drives and is one file)
and syncs it and its folder, so that what is committed outlives a power cut.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alm2vec_search.domain import Content, Notes, Place
from alm2vec_search.errors import CollectionBusy, CollectionError, CollectionFull

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alm2vec_search.collection.base import StoredContent
    from alm2vec_search.domain import AudioFile

FILE = "manifest.sqlite"  # beside the index
_VERSION = 2
_BUSY_TIMEOUT_S = 5.0
_NO_NOTES = "[[],[]]"
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_TABLES = {"contents", "entries", "state"}
_SCHEMA = f"""
BEGIN;
CREATE TABLE contents (
    content_hash TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    duration_s REAL NOT NULL,
    sampling_rate INTEGER NOT NULL,
    channels INTEGER NOT NULL,
    notes TEXT NOT NULL,       -- what the file says of itself, as JSON
    audio_hash TEXT NOT NULL,
    n_chunks INTEGER NOT NULL,
    n_silent INTEGER,  -- NULL: not known after a rebuild
    note TEXT          -- what is wrong with the file, though it could be read
) WITHOUT ROWID;
CREATE INDEX contents_by_size ON contents (size);
CREATE TABLE entries (
    path BLOB PRIMARY KEY,
    library BLOB NOT NULL,
    size INTEGER NOT NULL,       -- as last tried
    mtime_ns INTEGER NOT NULL,   -- as last tried
    ctime_ns INTEGER,            -- as last tried; NULL: not known after a rebuild
    content_hash TEXT,           -- what of it is in the collection; NULL: nothing
    indexed_mtime_ns INTEGER,    -- when that was read; NULL: nothing is indexed
    notes TEXT NOT NULL DEFAULT '{_NO_NOTES}',  -- what is said of it beside it, as JSON
    failure TEXT,
    transient INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX entries_by_content ON entries (content_hash);
CREATE TABLE mark (text TEXT NOT NULL);  -- not in older ones
CREATE TABLE state (is_dirty INTEGER NOT NULL, needs_rebuild INTEGER NOT NULL);
INSERT INTO state VALUES (0, 1);
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_ENTRY_COLUMNS = "path, library, size, mtime_ns, ctime_ns, content_hash, notes, failure, transient"
_FAILURE_COLUMNS = "path, library, size, mtime_ns, ctime_ns, failure, transient"
_PUT_CONTENT = """
REPLACE INTO contents (
    content_hash, size, duration_s, sampling_rate, channels, notes, audio_hash,
    n_chunks, n_silent, note
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_PUT_INDEXED = """
REPLACE INTO entries (
    path, library, size, mtime_ns, ctime_ns, content_hash, notes, indexed_mtime_ns
) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?4)
"""
_PUT_FAILURE = f"""
INSERT INTO entries ({_FAILURE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET  -- what is indexed of it, and when that was read, stays
    library = excluded.library, size = excluded.size, mtime_ns = excluded.mtime_ns,
    ctime_ns = excluded.ctime_ns, failure = excluded.failure, transient = excluded.transient
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one path."""

    path: Path  # absolute
    library: Path  # absolute
    size: int  # bytes; this and the times are as they were when the file was last tried
    mtime_ns: int
    ctime_ns: int | None  # None: not known, after a rebuild
    content_hash: str | None  # what of it is in the collection, even if it failed since
    failure: str | None  # why it couldn't be read when it was last tried
    transient: bool  # that failure may be gone next time, though the file stays as it is
    notes: Notes = field(default_factory=Notes)  # what is said of it, as the collection has it

    def is_current(self, file: AudioFile) -> bool:
        """Whether nothing is to be done for the file, going by what `stat` says now.

        An indexed file is current while size and mtime are the same. A failed one also moves with
        its ctime, which permissions do, and never is current if its failure was a transient one.
        """
        if (self.size, self.mtime_ns) != (file.size, file.mtime_ns):
            return False
        if self.failure is not None:
            return self.ctime_ns == file.ctime_ns and not self.transient
        return True

    def failed_alike(self, file: AudioFile, reason: str) -> bool:
        """Whether the very same file failed for this reason before."""
        now = (file.size, file.mtime_ns, file.ctime_ns)
        return self.failure == reason and now == (self.size, self.mtime_ns, self.ctime_ns)


@dataclass(frozen=True, slots=True)
class Totals:
    """How much is indexed."""

    files: int  # paths
    contents: int  # copies counted once
    chunks: int
    silent_chunks: int  # as far as known; a rebuild forgets
    duration_s: float  # of the contents
    failures: int  # paths that couldn't be read when last tried


@dataclass(frozen=True, slots=True)
class LibraryTotals:
    """How much of one library is indexed."""

    library: Path
    files: int
    failures: int


class Manifest:
    """The table of what was indexed. Every method may raise a `CollectionError`.

    A context manager. What isn't committed when it closes is dropped.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Use `Manifest.open`."""
        self._path = path
        self._connection = connection
        ((is_dirty, needs_rebuild),) = self._rows("SELECT is_dirty, needs_rebuild FROM state")
        self._is_dirty = bool(is_dirty)
        self._needs_rebuild = bool(needs_rebuild)
        self._mark = self._read_mark()

    @classmethod
    def open(cls, path: Path) -> Manifest:
        """Open the manifest, or start one.

        A file that is damaged or of another version is moved aside, to `<name>.bad`.

        Raises:
            CollectionBusy: another process is writing to it.
            CollectionError: the file can't be opened.
        """
        connection = _connect(path)
        if connection is None:
            _move_aside(path)
            connection = _connect(path)
        if connection is None:
            raise CollectionError(f"{path}: can't be started anew", hint=f"delete {path}")
        try:
            return cls(path, connection)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def in_memory(cls) -> Manifest:
        """An empty one that leaves no trace."""
        return cls.open(Path(":memory:"))

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # The life of a run

    @property
    def needs_rebuild(self) -> bool:
        """It is new, and knows nothing of what may be in the collection. Until `rebuild`."""
        return self._needs_rebuild

    @property
    def was_interrupted(self) -> bool:
        """A run before this one did not get to `finish()`. Ask before `begin()`."""
        return self._is_dirty

    @property
    def mark(self) -> str:
        """What whoever wrote here last left in the collection; "" is none."""
        return self._mark

    def begin(self, mark: str = "") -> None:
        """From here on the collection may be ahead of the manifest. Committed at once.

        Args:
            mark: what was left in the collection, for others to see that we write to it.
        """
        self._change("UPDATE state SET is_dirty = 1")
        self._write_mark(mark)
        self.commit()
        self._is_dirty = True

    def commit(self) -> None:
        """Keep all changes so far. The collection must have been flushed before."""
        with self._errors():
            self._connection.commit()

    def finish(self) -> None:
        """Manifest and collection agree. Committed at once."""
        self._change("UPDATE state SET is_dirty = 0")
        self.commit()
        self._is_dirty = False

    def rebuild(self, stored: Iterable[StoredContent], mark: str = "") -> list[tuple[Path, str]]:
        """Replace what is said to be indexed by what the collection holds; failures stay.

        A path that lies in two contents (a file changed, and the process was killed between
        putting the new content in and taking the old one out) is kept in the newer one.

        All of it is committed, or nothing. Until `finish()` the manifest counts as worked on, so
        that the caller has time to mend the collection.

        Args:
            mark: as the collection had it before.

        Returns:
            Each path that a content should no longer have, with that content's hash.
        """
        with self._errors(), self._connection:
            known = self._rows("SELECT n_silent, note, content_hash, n_chunks FROM contents")
            failed = self._rows(f"SELECT {_FAILURE_COLUMNS} FROM entries WHERE failure IS NOT NULL")
            self._change("DELETE FROM contents")
            self._change("DELETE FROM entries")
            newest, stale = self._put_stored(stored)
            self._change_many(
                "UPDATE contents SET n_silent = ?, note = ?"
                " WHERE content_hash = ? AND n_chunks = ?",
                known,
            )
            self._change_many(_PUT_INDEXED, (lying.row for lying in newest))
            self._change_many(_PUT_FAILURE, failed)
            self._change(
                "DELETE FROM contents WHERE content_hash NOT IN"
                " (SELECT content_hash FROM entries WHERE content_hash IS NOT NULL)"
            )
            self._change("UPDATE state SET is_dirty = 1, needs_rebuild = 0")
            self._write_mark(mark)
        self._is_dirty, self._needs_rebuild = True, False
        return stale

    def _put_stored(
        self, stored: Iterable[StoredContent]
    ) -> tuple[Iterable[_Lying], list[tuple[Path, str]]]:
        newest_at: dict[Path, _Lying] = {}
        stale: list[tuple[Path, str]] = []
        for item in stored:
            self._change(_PUT_CONTENT, *_content_row(item.content), item.n_chunks, None, None)
            for place in item.places:
                here = _Lying(place, item.content)
                older, newest = sorted((newest_at.get(place.path, here), here), key=_Lying.age)
                if older.content.content_hash != newest.content.content_hash:
                    stale.append((place.path, older.content.content_hash))
                newest_at[place.path] = newest
        return newest_at.values(), stale

    # What one file came to

    def record(
        self, file: AudioFile, content: Content, *, n_chunks: int, n_silent: int, note: str | None
    ) -> None:
        """The file was read, and all of it is in the collection.

        Args:
            note: what is wrong with the file, though it could be read.
        """
        text = None if note is None else _text(note)
        self._change(_PUT_CONTENT, *_content_row(content), n_chunks, n_silent, text)
        self.record_copy(file, content.content_hash)

    def record_copy(self, file: AudioFile, content_hash: str) -> None:
        """The file's content was known already, and the collection has its place now.

        Raises:
            KeyError: no such content is known.
        """
        if not self._rows("SELECT 1 FROM contents WHERE content_hash = ?", content_hash):
            raise KeyError(content_hash)
        path = os.fsencode(file.path)
        before = self._hash_at(path)
        status = (file.size, file.mtime_ns, file.ctime_ns)
        said = _notes_to_text(file.notes or Notes())
        self._change(_PUT_INDEXED, path, os.fsencode(file.library), *status, content_hash, said)
        if before is not None and before != content_hash:
            self._drop_if_unused(before)

    def renote(self, path: Path, notes: Notes) -> None:
        """Something else is said of a file beside it, and the collection has it now."""
        text = _notes_to_text(notes)
        self._change("UPDATE entries SET notes = ? WHERE path = ?", text, os.fsencode(path))

    def fail(self, file: AudioFile, reason: str, *, transient: bool) -> None:
        """The file couldn't be read. What is in the collection of it stays.

        Args:
            transient: it may work next time though the file stays as it is.
        """
        where = (os.fsencode(file.path), os.fsencode(file.library))
        status = (file.size, file.mtime_ns, file.ctime_ns)
        self._change(_PUT_FAILURE, *where, *status, _text(reason), transient)

    def forget(self, path: Path) -> None:
        """The file is gone. Its content is too, if this was its last path."""
        before = self._hash_at(os.fsencode(path))
        self._change("DELETE FROM entries WHERE path = ?", os.fsencode(path))
        if before is not None:
            self._drop_if_unused(before)

    # Paths

    def entry(self, path: Path) -> Entry | None:
        rows = self._select("WHERE path = ?", os.fsencode(path))
        return _entry(rows[0]) if rows else None

    def entries_under(self, root: Path) -> dict[Path, Entry]:
        """Everything at `root` and below it, by path."""
        at = os.fsencode(root)
        below = os.path.join(at, b"")
        rows = self._select("WHERE path = ?", at) if at != below else []
        rows += self._select("WHERE path >= ? AND path < ?", below, _next(below))
        libraries: dict[bytes, Path] = {}
        entries = (_entry(row, libraries) for row in rows)
        return {entry.path: entry for entry in entries}

    def failures(self) -> list[Entry]:
        """What couldn't be read when it was last tried, by path."""
        return [_entry(row) for row in self._select("WHERE failure IS NOT NULL ORDER BY path")]

    def damaged(self) -> list[tuple[Path, str]]:
        """Files that are indexed, but have something wrong with them: path and note, by path."""
        rows = self._rows(
            "SELECT path, note FROM entries JOIN contents USING (content_hash)"
            " WHERE note IS NOT NULL ORDER BY path"
        )
        return [(_path(path), note) for path, note in rows]

    # Contents

    def content(self, content_hash: str) -> Content | None:
        """What is known of a content; `None` once it has no path any more."""
        rows = self._rows(
            "SELECT content_hash, size, duration_s, sampling_rate, channels, notes, audio_hash"
            " FROM contents WHERE content_hash = ?",
            content_hash,
        )
        if not rows:
            return None
        [[content_hash, size, duration_s, sampling_rate, channels, notes, audio_hash]] = rows
        return Content(
            content_hash,
            size,
            duration_s,
            sampling_rate,
            channels,
            notes=_text_to_notes(notes),
            audio_hash=audio_hash,
        )

    def entries_of(self, content_hash: str) -> list[Entry]:
        """All paths of a content, in order."""
        return [
            _entry(row)
            for row in self._select("WHERE content_hash = ? ORDER BY path", content_hash)
        ]

    def places_of(self, content_hash: str) -> tuple[Place, ...]:
        """All places of a content as the collection should have them, by path."""
        rows = self._rows(
            "SELECT path, library, indexed_mtime_ns, notes FROM entries WHERE content_hash = ?"
            " ORDER BY path",
            content_hash,
        )
        return tuple(
            Place(_path(path), _path(library), mtime_ns, _text_to_notes(notes))
            for path, library, mtime_ns, notes in rows
        )

    def has_size(self, size: int) -> bool:
        """Whether some content has this many bytes: if not, no hash is needed to know it is new."""
        return bool(self._rows("SELECT 1 FROM contents WHERE size = ? LIMIT 1", size))

    # Sums

    def totals(self) -> Totals:
        ((files, failures),) = self._rows("SELECT count(content_hash), count(failure) FROM entries")
        ((contents, chunks, silent, duration_s),) = self._rows(
            "SELECT count(*), total(n_chunks), total(n_silent), total(duration_s) FROM contents"
        )
        return Totals(files, contents, int(chunks), int(silent), duration_s, failures)

    def libraries(self) -> list[LibraryTotals]:
        """Sums for each library, by path."""
        rows = self._rows(
            "SELECT library, count(content_hash), count(failure) FROM entries"
            " GROUP BY library ORDER BY library"
        )
        return [LibraryTotals(_path(library), *counts) for library, *counts in rows]

    # SQL

    def _read_mark(self) -> str:
        named = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'mark'"
        rows = self._rows("SELECT text FROM mark") if self._rows(named) else []
        return str(rows[0][0]) if rows else ""

    def _write_mark(self, mark: str) -> None:
        if mark != self._mark:
            self._change("CREATE TABLE IF NOT EXISTS mark (text TEXT NOT NULL)")
            self._change("DELETE FROM mark")
            self._change("INSERT INTO mark VALUES (?)", mark)
            self._mark = mark

    def _hash_at(self, path: bytes) -> str | None:
        rows = self._rows("SELECT content_hash FROM entries WHERE path = ?", path)
        return rows[0][0] if rows else None

    def _drop_if_unused(self, content_hash: str) -> None:
        self._change(
            "DELETE FROM contents WHERE content_hash = ?1"
            " AND NOT EXISTS (SELECT 1 FROM entries WHERE content_hash = ?1)",
            content_hash,
        )

    def _select(self, where: str, *values: object) -> list[Any]:
        return self._rows(f"SELECT {_ENTRY_COLUMNS} FROM entries {where}", *values)

    def _rows(self, sql: str, *values: object) -> list[Any]:
        with self._errors():
            return self._connection.execute(sql, values).fetchall()

    def _change(self, sql: str, *values: object) -> None:
        with self._errors():
            self._connection.execute(sql, values)

    def _change_many(self, sql: str, rows: Iterable[tuple[object, ...]]) -> None:
        with self._errors():
            self._connection.executemany(sql, rows)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _collection_error(self._path, error) from error


@dataclass(frozen=True, slots=True)
class _Lying:
    """A content at one of its places."""

    place: Place
    content: Content

    def age(self) -> tuple[int, str]:
        return self.place.mtime_ns, self.content.content_hash

    @property
    def row(self) -> tuple[object, ...]:
        where = (os.fsencode(self.place.path), os.fsencode(self.place.library))
        status = (self.content.size, self.place.mtime_ns, None)
        return (*where, *status, self.content.content_hash, _notes_to_text(self.place.notes))


def _connect(path: Path) -> sqlite3.Connection | None:
    """A connection to a manifest of this version; `None` if the file isn't one."""
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S)
    except sqlite3.Error as error:
        raise _collection_error(path, error) from error
    is_sound = False
    try:
        connection.execute("PRAGMA synchronous = EXTRA")
        is_sound = _is_started(connection)
    except sqlite3.Error as error:
        if _code(error) not in _DAMAGE:
            raise _collection_error(path, error) from error
    finally:
        if not is_sound:
            connection.close()
    return connection if is_sound else None


def _is_started(connection: sqlite3.Connection) -> bool:
    """Whether it is a sound manifest of this version. An empty file is made one."""
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    if not names:
        connection.executescript(_SCHEMA)
        return True
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != _VERSION or not _TABLES.issubset(name for (name,) in names):
        return False
    (n_states,) = connection.execute("SELECT count(*) FROM state").fetchone()
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return bool(n_states == 1 and verdict == "ok")


def _move_aside(path: Path) -> None:
    # Its journal needn't go along: SQLite knows that it doesn't belong to the new file.
    try:
        path.replace(path.with_name(f"{path.name}.bad"))
    except OSError as error:
        raise CollectionError(
            f"{path}: damaged, and can't be moved aside: {error.strerror}",
            hint=f"delete {path}; the next run rebuilds it",
        ) from error


def _code(error: sqlite3.Error) -> int:
    """What kind of error SQLite reported; 0 if it was Python's module."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _collection_error(path: Path, error: sqlite3.Error) -> CollectionError:
    code = _code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return CollectionBusy(str(path), holder="another process")
    if code == sqlite3.SQLITE_FULL:
        return CollectionFull(f"{path}: no room left on the disk", hint="make room, and run again")
    if code in _DAMAGE:
        hint = f"delete {path}; the next run rebuilds it"
        return CollectionError(f"{path}: damaged: {error}", hint=hint)
    hint = f"check that {path.parent} is there, and that you may write to it"
    return CollectionError(f"{path}: {error}", hint=hint)


def _entry(row: tuple[Any, ...], libraries: dict[bytes, Path] | None = None) -> Entry:
    """An entry from its row. Paths of libraries are made once if there is a place to keep them."""
    path, library, size, mtime_ns, ctime_ns, content_hash, notes, failure, transient = row
    known = {} if libraries is None else libraries
    if library not in known:
        known[library] = _path(library)
    return Entry(
        path=_path(path),
        library=known[library],
        size=size,
        mtime_ns=mtime_ns,
        ctime_ns=ctime_ns,
        content_hash=content_hash,
        notes=_text_to_notes(notes),
        failure=failure,
        transient=bool(transient),
    )


def _content_row(content: Content) -> tuple[object, ...]:
    sound = (content.duration_s, content.sampling_rate, content.channels)
    said = (_notes_to_text(content.notes), content.audio_hash)
    return (content.content_hash, content.size, *sound, *said)


def _notes_to_text(notes: Notes) -> str:
    return json.dumps([notes.tags, notes.named], separators=(",", ":"))


def _text_to_notes(text: str) -> Notes:
    if text == _NO_NOTES:  # most of them, and a library may have a million
        return Notes()
    tags, named = json.loads(text)
    return Notes(tuple(tags), tuple((name, said) for name, said in named))


def _path(stored: bytes) -> Path:
    return Path(os.fsdecode(stored))


def _text(message: str) -> str:
    """A message as SQLite takes it: names of files that aren't UTF-8 may be quoted in it."""
    return message.encode("utf-8", "backslashreplace").decode("utf-8")


def _next(prefix: bytes) -> bytes:
    """The first bytes that are behind everything with this prefix."""
    return prefix[:-1] + bytes([prefix[-1] + 1])

"""The index run: walk → (unchanged: a stat) → embed → upsert → commit, and a report at the end.

The order of steps is what makes a killed run harmless. A file's new chunks go in before its old
ones go; what the manifest says was flushed before; what is deleted was missing in a finished walk.
Run again, and the index is as if nothing had happened.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from alm2vec_search.domain import AudioFile, Notes, Place
from alm2vec_search.errors import AudioError
from indexer.embedding import Advance, Embedded, Failed, Job, Retold, StageSeconds, hash_file
from indexer.notes import NotesProblem
from indexer.walker import WalkProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from alm2vec_search.collection.base import Collection, StoredContent
    from alm2vec_search.domain import Content, EmbeddedChunk
    from indexer.embedding import Outcome
    from indexer.manifest import Entry, Manifest

    Embed = Callable[[Iterable[list[Job]]], Generator[Outcome | Advance]]
    Walk = Callable[[Path], Iterator[AudioFile | WalkProblem | NotesProblem]]

UNIT_FILES = (8, 64)  # at least and at most, for a worker at a time
UNIT_BYTES = 32 << 20  # a unit is closed by the file that reaches this
UNITS_A_RUN = 16  # if there are files enough: so that the workers end together
COMMIT_EVERY_S = 2.0  # flushing costs 20 syncs and more, so that many files share one


@dataclass(slots=True)
class IndexReport:
    """What a run came to. Counts are of files unless they say otherwise."""

    indexed: int = 0  # embedded, and new in the index
    changed: int = 0  # embedded again, for their bytes are others
    recognised: int = 0  # moved, renamed, copied or touched: known bytes, not embedded
    retold: int = 0  # something else is said of them: tags, a list; known sound, not embedded
    unchanged: int = 0
    removed: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)  # not readable now, and why
    still_skipped: int = 0  # the same as last time, and unchanged since
    damaged: list[tuple[Path, str]] = field(default_factory=list)  # read in part, and how much
    not_walked: list[tuple[Path, str]] = field(default_factory=list)  # folders, and why
    kept: list[Path] = field(default_factory=list)  # libraries that look empty, and weren't
    lists: list[tuple[Path, str]] = field(default_factory=list)  # of notes; not usable, and why
    chunks: int = 0
    silent_chunks: int = 0
    audio_s: float = 0.0
    seconds: StageSeconds = field(default_factory=StageSeconds)  # CPU, of all workers
    upsert_s: float = 0.0  # CPU
    wall_s: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Nothing was met that somebody should look at."""
        return not (self.skipped or self.not_walked or self.kept or self.lists)


class Progress(Protocol):
    """Who wants to know how a run goes. Methods may be called often."""

    def walked(self, n_files: int) -> None:
        """So many audio files were seen until now."""

    def started(self, n_files: int) -> None:
        """Now so many files are going to be read."""

    def advanced(self, n_chunks: int, audio_s: float) -> None:
        """So many more chunks, of so many seconds, were embedded."""

    def finished(self, path: Path, note: str | None) -> None:
        """This file is done; `note` says what was wrong with it."""


@dataclass(slots=True)
class Plan:
    """What a walk found that there is to do."""

    to_read: list[AudioFile] = field(default_factory=list)
    to_retell: list[AudioFile] = field(default_factory=list)  # unchanged, but not its notes
    missing: list[Entry] = field(default_factory=list)


class IndexPipeline:
    """Brings a collection up to date with folders of audio.

    Args:
        collection: open, and filled by the encoder behind `embed`.
        manifest: open; of this collection.
        walk: the audio below a root.
        embed: units of jobs → their outcomes.
    """

    def __init__(
        self,
        collection: Collection,
        manifest: Manifest,
        *,
        walk: Walk,
        embed: Embed,
        progress: Progress,
    ) -> None:
        self._collection = collection
        self._manifest = manifest
        self._walk = walk
        self._embed = embed
        self._progress = progress
        self._report = IndexReport()
        self._committed_at = time.monotonic()

    def run(self, roots: Sequence[Path], *, retry_skipped: bool = False) -> IndexReport:
        """Index what is new or changed below the roots, forget what is gone.

        What was done stays done when this is interrupted, by Ctrl-C or an error.

        Raises:
            CollectionError: the collection or the manifest can't be written.
            Exception: what the encoder raises.
        """
        started = time.monotonic()
        mend(self._collection, self._manifest)
        plan = find_work(
            roots,
            self._walk,
            self._manifest,
            self._report,
            self._progress,
            retry_skipped=retry_skipped,
        )
        if plan.to_read or plan.to_retell or plan.missing:
            self._manifest.begin(self._collection.leave_mark())
            try:
                for file in plan.to_retell:
                    self._retell(file)
                self._read(plan.to_read)
            finally:  # whatever happened: what is in the collection is known to be
                self._commit()
            for entry in plan.missing:
                self._forget(entry)
            self._commit()
            finish(self._collection, self._manifest)
        self._report.wall_s = time.monotonic() - started
        return self._report

    def _read(self, files: list[AudioFile]) -> None:
        self._progress.started(len(files))
        twins: list[Job] = []
        self._embed_unknown(self._hashed(files, twins), len(files))
        self._embed_unknown(twins, len(twins))  # known by now, unless the first couldn't be read

    def _embed_unknown(self, jobs: Iterable[Job], n_jobs: int) -> None:
        with closing(self._embed(units_of(self._unknown(jobs), n_jobs))) as outcomes:
            for outcome in outcomes:
                self._take(outcome)

    def _hashed(self, files: list[AudioFile], twins: list[Job]) -> Iterator[Job]:
        """Hash the files that may be known: those of a size that something known or waiting has.

        Those with the same bytes as one that is under way are put with the twins.
        """
        crowded = {size for size, n in Counter(file.size for file in files).items() if n > 1}
        under_way: set[str] = set()
        for file in files:
            before = self._before(file)
            if file.size not in crowded and not self._manifest.has_size(file.size):
                yield Job(file, before=before)
                continue
            try:
                job = Job(file, hash_file(file.path), before)
            except AudioError as error:
                self._take(Failed(file, error.reason, transient=True))
                continue
            if job.content_hash in under_way:
                twins.append(job)
            else:
                under_way.add(str(job.content_hash))
                yield job

    def _before(self, file: AudioFile) -> Content | None:
        """What lay at this path when it was last read."""
        entry = self._manifest.entry(file.path)
        if entry is None or entry.content_hash is None:
            return None
        return self._manifest.content(entry.content_hash)

    def _unknown(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Put down the files whose bytes are in the collection; the others have to be embedded."""
        for job in jobs:
            if job.content_hash and self._manifest.content(job.content_hash):
                self._recognise(job.file, job.content_hash)
            else:
                yield job

    def _take(self, outcome: Outcome | Advance) -> None:
        match outcome:
            case Advance():
                self._report.chunks += outcome.n_chunks
                self._report.audio_s += outcome.audio_s
                self._progress.advanced(outcome.n_chunks, outcome.audio_s)
            case Failed():
                self._skip(outcome)
            case Embedded():
                self._put(outcome)
                self._progress.finished(outcome.file.path, outcome.note)
            case Retold():
                self._put_retold(outcome)
                self._progress.finished(outcome.file.path, outcome.note)
        if time.monotonic() - self._committed_at > COMMIT_EVERY_S:
            self._commit()

    def _skip(self, failed: Failed) -> None:
        """Remember and report it; what was known and tried again in vain isn't news."""
        entry = self._manifest.entry(failed.file.path)
        is_news = entry is None or not entry.failed_alike(failed.file, failed.reason)
        self._manifest.fail(failed.file, failed.reason, transient=failed.transient)
        if is_news:
            self._report.skipped.append((failed.file.path, failed.reason))
        else:
            self._report.still_skipped += 1
        self._progress.finished(failed.file.path, failed.reason if is_news else None)

    def _put(self, done: Embedded) -> None:
        is_change = self._put_chunks(done.file, done.content, done.chunks, done.note)
        self._report.changed += is_change
        self._report.indexed += not is_change
        self._report.silent_chunks += sum(chunk.silent for chunk in done.chunks)
        self._report.seconds.add(done.seconds)

    def _put_retold(self, done: Retold) -> None:
        """The same chunks once more, under the hash of the new bytes."""
        chunks = self._collection.chunks(done.before)
        self._put_chunks(done.file, done.content, chunks, done.note)
        self._report.retold += 1
        self._report.seconds.add(done.seconds)

    def _put_chunks(
        self,
        file: AudioFile,
        content: Content,
        chunks: Sequence[EmbeddedChunk],
        note: str | None,
    ) -> bool:
        """Put a file's new content in and its old one out; whether there was an old one."""
        started = time.process_time()
        places = _with(self._manifest.places_of(content.content_hash), file)
        self._collection.upsert(content, places, chunks)
        is_change = self._leave_old_content(file.path, content.content_hash)
        n_silent = sum(chunk.silent for chunk in chunks)
        self._manifest.record(file, content, n_chunks=len(chunks), n_silent=n_silent, note=note)
        if note:
            self._report.damaged.append((file.path, note))
        self._report.upsert_s += time.process_time() - started
        return is_change

    def _retell(self, file: AudioFile) -> None:
        """Something else is said of an unchanged file."""
        entry = self._manifest.entry(file.path)
        assert entry is not None
        assert entry.content_hash is not None
        lying = self._manifest.places_of(entry.content_hash)
        notes = file.notes or Notes()
        told = [replace(p, notes=notes) if p.path == file.path else p for p in lying]
        self._collection.set_places(entry.content_hash, told)
        self._manifest.renote(file.path, notes)
        self._report.retold += 1

    def _recognise(self, file: AudioFile, content_hash: str) -> None:
        places = _with(self._manifest.places_of(content_hash), file)
        self._collection.set_places(content_hash, places)
        self._leave_old_content(file.path, content_hash)
        self._manifest.record_copy(file, content_hash)
        self._report.recognised += 1
        self._progress.finished(file.path, None)

    def _leave_old_content(self, path: Path, new_hash: str | None) -> bool:
        """Take a path out of the content it lay in, if that is another one; whether it was."""
        entry = self._manifest.entry(path)
        if entry is None or entry.content_hash in (None, new_hash):
            return False
        assert entry.content_hash is not None
        take_out(self._collection, self._manifest, entry.content_hash, path)
        return True

    def _forget(self, entry: Entry) -> None:
        self._leave_old_content(entry.path, None)
        self._manifest.forget(entry.path)
        self._report.removed += entry.content_hash is not None

    def _commit(self) -> None:
        started = time.process_time()
        self._collection.flush()
        self._manifest.commit()
        self._committed_at = time.monotonic()
        self._report.upsert_s += time.process_time() - started


def find_work(
    roots: Sequence[Path],
    walk: Walk,
    manifest: Manifest,
    report: IndexReport,
    progress: Progress,
    *,
    retry_skipped: bool = False,
) -> Plan:
    """Walk the roots and compare with the manifest. Changes nothing but the report."""
    plan = Plan()
    seen: set[Path] = set()
    missing: dict[Path, Entry] = {}
    for root in roots:
        known = manifest.entries_under(root)
        problems: list[WalkProblem] = []
        n_before = len(seen)
        for item in walk(root):
            if isinstance(item, WalkProblem):
                problems.append(item)
            elif isinstance(item, NotesProblem):
                report.lists.append((item.path, item.reason))
            elif item.path not in seen:
                seen.add(item.path)
                _sort(item, known.get(item.path), plan, report, retry_skipped=retry_skipped)
                progress.walked(len(seen))
        report.not_walked += [(problem.path, problem.reason) for problem in problems]
        gone = {
            path: entry
            for path, entry in known.items()
            if path not in seen and not any(problem.covers(path) for problem in problems)
        }
        if len(seen) == n_before and any(entry.content_hash for entry in gone.values()):
            report.kept.append(root)  # an unplugged disk looks just like this
        else:
            missing |= gone
    plan.missing = [entry for path, entry in missing.items() if path not in seen]
    plan.to_read.sort(key=lambda file: file.size, reverse=True)  # so that the last ones are short
    return plan


def _sort(
    file: AudioFile,
    entry: Entry | None,
    plan: Plan,
    report: IndexReport,
    *,
    retry_skipped: bool,
) -> None:
    """Put a file to what there is to do with it. Notes that aren't known are as they were."""
    if file.notes is None:
        file = replace(file, notes=entry.notes if entry else Notes())
    if entry is None or not entry.is_current(file) or (entry.failure and retry_skipped):
        plan.to_read.append(file)
    elif entry.failure:
        report.still_skipped += 1
    elif entry.notes != file.notes:
        plan.to_retell.append(file)
    else:
        report.unchanged += 1


def mend(collection: Collection, manifest: Manifest) -> None:
    """Make the two agree again, if the last run was killed, the manifest was lost, or somebody
    else wrote to the collection."""
    if is_trusted(collection, manifest):
        return
    mark = collection.mark()  # before looking: whoever writes meanwhile leaves another
    broken: list[str] = []

    def whole() -> Iterator[StoredContent]:
        for stored in collection.contents():
            if stored.is_complete:
                yield stored
            else:
                broken.append(stored.content.content_hash)

    stale = manifest.rebuild(whole(), mark)
    if stale or broken:
        manifest.begin(collection.leave_mark())
    for path, content_hash in stale:
        take_out(collection, manifest, content_hash, path)
    for content_hash in broken:  # half put in: its file is read again
        collection.delete(content_hash)
    collection.flush()
    finish(collection, manifest)


def is_trusted(collection: Collection, manifest: Manifest) -> bool:
    """Whether the manifest says what is in the collection.

    On a server the chunks are counted, too: it may have been set back to what it was before.
    """
    mark = collection.mark()
    return (
        not manifest.needs_rebuild
        and not manifest.was_interrupted
        and manifest.mark == mark
        and (not mark or manifest.totals().chunks == collection.count())
    )


def finish(collection: Collection, manifest: Manifest) -> None:
    """The two agree, unless somebody else wrote, too: then neither's manifest knows all."""
    if collection.mark() != manifest.mark:
        collection.leave_mark()
    manifest.finish()


def take_out(collection: Collection, manifest: Manifest, content_hash: str, path: Path) -> None:
    """A content doesn't lie at this path any more; where it lies nowhere, it goes."""
    rest = [place for place in manifest.places_of(content_hash) if place.path != path]
    if rest:
        collection.set_places(content_hash, rest)
    else:
        collection.delete(content_hash)


def forget_under(collection: Collection, manifest: Manifest, path: Path) -> int:
    """Forget a file, or all files below a folder; how many it were."""
    mend(collection, manifest)
    entries = manifest.entries_under(path)
    manifest.begin(collection.leave_mark())
    for entry in entries.values():
        if entry.content_hash is not None:
            take_out(collection, manifest, entry.content_hash, entry.path)
        manifest.forget(entry.path)
    collection.flush()
    manifest.commit()
    finish(collection, manifest)
    return len(entries)


def job_of(stored: StoredContent) -> Job:
    """What is indexed, to be read once more, at the first of its places."""
    place = min(stored.places, key=lambda place: place.path)
    size = stored.content.size
    return Job(AudioFile(place.path, place.library, size, place.mtime_ns, ctime_ns=0))


def units_of(jobs: Iterable[Job], n_jobs: int) -> Iterator[list[Job]]:
    """Group jobs as they come: enough for full batches, few enough for the cores to share."""
    fewest, most = UNIT_FILES
    n_files = min(most, max(fewest, n_jobs // UNITS_A_RUN))
    unit: list[Job] = []
    n_bytes = 0
    for job in jobs:
        unit.append(job)
        n_bytes += job.file.size
        if len(unit) >= n_files or n_bytes >= UNIT_BYTES:
            yield unit
            unit, n_bytes = [], 0
    if unit:
        yield unit


def _with(places: Iterable[Place], file: AudioFile) -> list[Place]:
    """These places, and the file's."""
    here = Place(file.path, file.library, file.mtime_ns, file.notes or Notes())
    return [*(place for place in places if place.path != file.path), here]

"""What the manifest says after everything that can happen to a file, a process and a disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from alm2vec_search.collection.base import StoredContent
from alm2vec_search.domain import AudioFile, Content, Place
from alm2vec_search.errors import CollectionBusy, CollectionError, CollectionFull
from indexer import manifest as manifest_module
from indexer.manifest import Entry, LibraryTotals, Manifest, Totals

if TYPE_CHECKING:
    from collections.abc import Iterator

LIBRARY = Path("/library")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifest.sqlite"


@pytest.fixture
def manifest(path: Path) -> Iterator[Manifest]:
    with Manifest.open(path) as opened:
        yield opened


def a_file(
    name: str, *, size: int = 5, mtime_ns: int = 100, ctime_ns: int = 200, library: Path = LIBRARY
) -> AudioFile:
    return AudioFile(library / name, library, size, mtime_ns, ctime_ns)


def a_content(content_hash: str, *, size: int = 5, duration_s: float = 12.5) -> Content:
    return Content(content_hash, size, duration_s, 44100, 2)


def record(
    manifest: Manifest, file: AudioFile, content_hash: str, *, note: str | None = None
) -> None:
    content = a_content(content_hash, size=file.size)
    manifest.record(file, content, n_chunks=3, n_silent=1, note=note)


def stored(content_hash: str, *places: tuple[str, int], n_chunks: int = 3) -> StoredContent:
    lying = tuple(Place(LIBRARY / name, LIBRARY, mtime_ns) for name, mtime_ns in places)
    return StoredContent(a_content(content_hash), lying, n_chunks)


class TestIsCurrent:
    indexed = Entry(LIBRARY / "x.wav", LIBRARY, 5, 100, 200, "h", None, False)

    @pytest.mark.parametrize(
        ("entry", "current"),
        [
            (indexed, True),
            (replace(indexed, size=6), False),
            (replace(indexed, mtime_ns=99), False),
            (replace(indexed, ctime_ns=201), True),
            (replace(indexed, ctime_ns=None), True),
            (replace(indexed, failure="no decoder"), True),
            (replace(indexed, failure="no decoder", content_hash=None), True),
            (replace(indexed, failure="no decoder", size=6), False),
            (replace(indexed, failure="no decoder", mtime_ns=101), False),
            (replace(indexed, failure="no decoder", ctime_ns=201), False),
            (replace(indexed, failure="no decoder", ctime_ns=None), False),
            (replace(indexed, failure="permission denied", transient=True), False),
        ],
    )
    def test_is_current(self, entry: Entry, current: bool) -> None:
        assert entry.is_current(a_file("x.wav")) is current


class TestFiles:
    def test_an_indexed_file(self, manifest: Manifest) -> None:
        record(manifest, a_file("x.wav"), "h")
        entry = Entry(LIBRARY / "x.wav", LIBRARY, 5, 100, 200, "h", None, False)
        assert manifest.entry(LIBRARY / "x.wav") == entry
        assert manifest.entries_of("h") == [entry]
        assert manifest.content("h") == a_content("h")
        assert manifest.places_of("h") == (Place(LIBRARY / "x.wav", LIBRARY, 100),)
        assert manifest.has_size(5)
        assert not manifest.has_size(6)

    def test_what_nobody_told(self, manifest: Manifest) -> None:
        assert manifest.entry(LIBRARY / "x.wav") is None
        assert manifest.entries_of("h") == []
        assert manifest.content("h") is None
        assert manifest.places_of("h") == ()
        assert manifest.entries_under(Path("/")) == {}
        assert manifest.totals() == Totals(0, 0, 0, 0, 0.0, 0)
        manifest.forget(LIBRARY / "x.wav")

    def test_a_copy_and_a_move(self, manifest: Manifest) -> None:
        record(manifest, a_file("b.wav"), "h")
        manifest.record_copy(a_file("a.wav", mtime_ns=7), "h")
        assert manifest.places_of("h") == (
            Place(LIBRARY / "a.wav", LIBRARY, 7),
            Place(LIBRARY / "b.wav", LIBRARY, 100),
        )
        manifest.forget(LIBRARY / "b.wav")
        assert [entry.path.name for entry in manifest.entries_of("h")] == ["a.wav"]
        assert manifest.content("h") is not None

    def test_a_copy_of_what_is_not_known(self, manifest: Manifest) -> None:
        with pytest.raises(KeyError, match="h"):
            manifest.record_copy(a_file("x.wav"), "h")
        assert manifest.entry(LIBRARY / "x.wav") is None

    def test_a_content_goes_with_its_last_path(self, manifest: Manifest) -> None:
        record(manifest, a_file("a.wav"), "h")
        record(manifest, a_file("b.wav"), "h")
        manifest.forget(LIBRARY / "a.wav")
        assert manifest.content("h") is not None
        manifest.forget(LIBRARY / "b.wav")
        assert manifest.content("h") is None
        assert not manifest.has_size(5)

    def test_a_content_goes_when_its_last_path_gets_another(self, manifest: Manifest) -> None:
        record(manifest, a_file("x.wav"), "old")
        record(manifest, a_file("x.wav", size=6, mtime_ns=101), "new")
        assert manifest.content("old") is None
        assert manifest.places_of("new") == (Place(LIBRARY / "x.wav", LIBRARY, 101),)

    def test_a_failure_keeps_what_is_indexed(self, manifest: Manifest) -> None:
        record(manifest, a_file("x.wav"), "h")
        changed = a_file("x.wav", size=9, mtime_ns=900, ctime_ns=901)
        manifest.fail(changed, "no decoder", transient=False)
        entry = manifest.entry(LIBRARY / "x.wav")
        assert entry == Entry(changed.path, LIBRARY, 9, 900, 901, "h", "no decoder", False)
        assert entry.is_current(changed)
        # The collection knows nothing of the change, and must not be told that it does.
        assert manifest.places_of("h") == (Place(LIBRARY / "x.wav", LIBRARY, 100),)
        assert manifest.content("h") == a_content("h")

    def test_a_failure_ends_when_the_file_is_read(self, manifest: Manifest) -> None:
        manifest.fail(a_file("x.wav"), "permission denied", transient=True)
        assert manifest.failures() == [
            Entry(LIBRARY / "x.wav", LIBRARY, 5, 100, 200, None, "permission denied", True)
        ]
        record(manifest, a_file("x.wav"), "h")
        assert manifest.failures() == []

    def test_failures_and_damage_are_listed_by_path(self, manifest: Manifest) -> None:
        for name in ("b.wav", "a.wav"):
            manifest.fail(a_file(name), f"{name} is broken", transient=False)
            record(manifest, a_file(f"damaged {name}"), name, note=f"{name} ends early")
        record(manifest, a_file("fine.wav"), "fine")
        reasons = [entry.failure for entry in manifest.failures()]
        assert reasons == ["a.wav is broken", "b.wav is broken"]
        assert manifest.damaged() == [
            (LIBRARY / "damaged a.wav", "a.wav ends early"),
            (LIBRARY / "damaged b.wav", "b.wav ends early"),
        ]

    def test_names_may_be_any_bytes(self, manifest: Manifest, path: Path) -> None:
        name = os.fsdecode(b"new\nline \xff\xfe.wav")
        library = LIBRARY / os.fsdecode(b"\x80")
        manifest.fail(a_file(name, library=library), f"can't read {name}", transient=False)
        record(manifest, a_file("y" + name, library=library), "h", note=f"{name} is short")
        manifest.commit()
        with Manifest.open(path) as again:
            entries = again.entries_under(library)
            assert set(entries) == {library / name, library / f"y{name}"}
            assert entries[library / name].library == library
            assert [*again.libraries()] == [LibraryTotals(library, files=1, failures=1)]
            ((_, note),) = again.damaged()
            assert note == "new\nline \\udcff\\udcfe.wav is short"

    def test_sums(self, manifest: Manifest) -> None:
        other = Path("/other")
        record(manifest, a_file("a.wav"), "h")
        manifest.record_copy(a_file("b.wav", library=other), "h")
        record(manifest, a_file("c.wav"), "i")
        manifest.fail(a_file("c.wav"), "gone bad", transient=False)
        manifest.fail(a_file("d.wav"), "never was good", transient=False)
        assert manifest.totals() == Totals(
            files=3, contents=2, chunks=6, silent_chunks=2, duration_s=25.0, failures=2
        )
        assert manifest.libraries() == [
            LibraryTotals(LIBRARY, files=2, failures=2),
            LibraryTotals(other, files=1, failures=0),
        ]


class TestEntriesUnder:
    def test_a_folder_is_not_its_namesakes(self, manifest: Manifest) -> None:
        names = ["b/x.wav", "b/c/y.wav", "b", "bc/x.wav", "b.wav", "b x.wav", "b0", "a/b/x.wav"]
        for name in names:
            manifest.fail(a_file(name), "", transient=False)
        under = manifest.entries_under(LIBRARY / "b")
        assert {str(path.relative_to(LIBRARY)) for path in under} == {"b", "b/x.wav", "b/c/y.wav"}
        assert {path: entry.path for path, entry in under.items()} == {path: path for path in under}

    def test_the_root_of_the_machine(self, manifest: Manifest) -> None:
        for library in (Path("/"), Path("/a/b"), Path("/\U0010ffff")):
            manifest.fail(a_file("x.wav", library=library), "", transient=False)
        assert len(manifest.entries_under(Path("/"))) == 3

    part = st.sampled_from([os.fsdecode(name) for name in (b"a", b"b", b".", b"0", b"\xff", b"\n")])
    paths = st.lists(part.filter(lambda name: name != "."), min_size=1, max_size=3).map(
        lambda parts: Path("/", *parts)
    )

    @settings(deadline=None, max_examples=50)
    @given(known=st.sets(paths, max_size=12), root=paths)
    def test_it_is_what_lies_at_or_below(self, known: set[Path], root: Path) -> None:
        with tempfile.TemporaryDirectory() as folder, Manifest.open(Path(folder, "m")) as manifest:
            for path in known:
                manifest.fail(a_file(path.name, library=path.parent), "", transient=False)
            under = {path for path in known if path == root or root in path.parents}
            assert set(manifest.entries_under(root)) == under


class TestTheLifeOfARun:
    def test_a_new_one_needs_a_rebuild_until_it_had_one(self, path: Path) -> None:
        with Manifest.open(path) as manifest:
            assert manifest.needs_rebuild
        with Manifest.open(path) as manifest:
            assert manifest.needs_rebuild
            manifest.begin()
            manifest.rebuild([])
            assert not manifest.needs_rebuild
            manifest.finish()
        with Manifest.open(path) as manifest:
            assert not manifest.needs_rebuild
            assert not manifest.was_interrupted

    def test_what_is_not_committed_is_dropped(self, path: Path) -> None:
        with Manifest.open(path) as manifest:
            record(manifest, a_file("a.wav"), "h")
            manifest.commit()
            record(manifest, a_file("b.wav"), "h")
        with Manifest.open(path) as manifest:
            assert set(manifest.entries_under(LIBRARY)) == {LIBRARY / "a.wav"}

    def test_a_run_that_finishes(self, path: Path) -> None:
        with Manifest.open(path) as manifest:
            manifest.begin()
            record(manifest, a_file("a.wav"), "h")
            manifest.finish()
        with Manifest.open(path) as manifest:
            assert not manifest.was_interrupted
            assert manifest.entry(LIBRARY / "a.wav") is not None

    def test_a_run_that_does_not_finish(self, path: Path) -> None:
        with Manifest.open(path) as manifest:
            manifest.begin()
        with Manifest.open(path) as manifest:
            assert manifest.was_interrupted

    def test_a_run_that_breaks_off_and_another_in_the_same_process(
        self, manifest: Manifest
    ) -> None:
        manifest.begin()
        assert manifest.was_interrupted

    def test_a_run_that_is_killed(self, path: Path) -> None:
        child = os.fork()
        if child == 0:
            manifest = Manifest.open(path)
            manifest.begin()
            for n in range(200):
                record(manifest, a_file(f"{n}.wav"), f"{n}")
            manifest.commit()
            for n in range(200, 20_000):  # more than stays in memory until it is committed
                record(manifest, a_file(f"{n}.wav"), f"{n}")
            os.kill(os.getpid(), signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        with Manifest.open(path) as manifest:
            assert manifest.was_interrupted
            assert manifest.totals().files == 200
            manifest.rebuild([stored("h", ("a.wav", 1))])
            assert manifest.was_interrupted
            manifest.finish()
            assert not manifest.was_interrupted
        with Manifest.open(path) as manifest:
            assert not manifest.was_interrupted
        assert not path.with_name(f"{path.name}.bad").exists()


class TestRebuild:
    def test_it_is_what_the_collection_says(self, manifest: Manifest) -> None:
        record(manifest, a_file("gone.wav"), "gone")
        stale = manifest.rebuild(
            [stored("h", ("a.wav", 1), ("b.wav", 2)), stored("i", ("c.wav", 3))]
        )
        assert stale == []
        entries = manifest.entries_under(Path("/"))
        assert [path.name for path in entries] == ["a.wav", "b.wav", "c.wav"]
        assert entries[LIBRARY / "b.wav"] == Entry(
            LIBRARY / "b.wav", LIBRARY, 5, 2, None, "h", None, False
        )
        assert entries[LIBRARY / "b.wav"].is_current(a_file("b.wav", mtime_ns=2))
        assert manifest.places_of("h") == stored("h", ("a.wav", 1), ("b.wav", 2)).places
        assert manifest.content("gone") is None
        assert manifest.totals() == Totals(
            files=3, contents=2, chunks=6, silent_chunks=0, duration_s=25.0, failures=0
        )

    @pytest.mark.parametrize("swapped", [False, True])
    def test_a_path_in_two_contents_is_kept_in_the_newer_one(
        self, manifest: Manifest, swapped: bool
    ) -> None:
        contents = [stored("old", ("x.wav", 1), ("y.wav", 1)), stored("new", ("x.wav", 2))]
        if swapped:
            contents.reverse()
        assert manifest.rebuild(contents) == [(LIBRARY / "x.wav", "old")]
        assert manifest.places_of("old") == (Place(LIBRARY / "y.wav", LIBRARY, 1),)
        assert manifest.places_of("new") == (Place(LIBRARY / "x.wav", LIBRARY, 2),)

    def test_a_content_without_a_path_left_is_dropped(self, manifest: Manifest) -> None:
        contents = [stored(f"{n}", ("x.wav", n)) for n in (2, 3, 1)]
        stale = manifest.rebuild(contents)
        assert sorted(stale) == [(LIBRARY / "x.wav", "1"), (LIBRARY / "x.wav", "2")]
        assert manifest.content("1") is None
        assert manifest.places_of("2") == ()
        assert manifest.content("3") is not None

    def test_of_equal_age_the_same_one_is_kept_each_time(self, path: Path) -> None:
        contents = [stored("a", ("x.wav", 1)), stored("b", ("x.wav", 1))]
        with Manifest.open(path) as manifest:
            assert manifest.rebuild(contents) == manifest.rebuild(contents[::-1])

    def test_failures_stay(self, manifest: Manifest) -> None:
        record(manifest, a_file("was good.wav"), "h")
        for name in ("was good.wav", "never was.wav", "lost.wav"):
            manifest.fail(a_file(name, mtime_ns=900), "bad", transient=name == "lost.wav")
        before = manifest.failures()
        manifest.rebuild([stored("h", ("was good.wav", 100)), stored("i", ("fine.wav", 1))])
        assert manifest.failures() == before
        assert [entry.content_hash for entry in before] == [None, None, "h"]
        assert manifest.places_of("h") == (Place(LIBRARY / "was good.wav", LIBRARY, 100),)

    def test_a_failure_whose_content_is_lost_stays_a_failure(self, manifest: Manifest) -> None:
        record(manifest, a_file("x.wav"), "h")
        manifest.fail(a_file("x.wav"), "bad", transient=False)
        manifest.rebuild([])
        (entry,) = manifest.failures()
        assert entry.content_hash is None
        assert manifest.content("h") is None

    def test_what_the_collection_does_not_know_of_a_content_stays(self, manifest: Manifest) -> None:
        record(manifest, a_file("x.wav"), "h", note="ends early")
        record(manifest, a_file("y.wav"), "i", note="ends early")
        manifest.rebuild([stored("h", ("x.wav", 1)), stored("i", ("y.wav", 1), n_chunks=2)])
        assert manifest.damaged() == [(LIBRARY / "x.wav", "ends early")]
        assert manifest.totals().silent_chunks == 1

    def test_it_is_all_or_nothing(self, path: Path) -> None:
        def breaks() -> Iterator[StoredContent]:
            yield stored("i", ("y.wav", 1))
            raise CollectionError("gone")

        with Manifest.open(path) as manifest:
            record(manifest, a_file("x.wav"), "h")
            manifest.commit()
            with pytest.raises(CollectionError, match="gone"):
                manifest.rebuild(breaks())
            assert manifest.needs_rebuild
            assert set(manifest.entries_under(Path("/"))) == {LIBRARY / "x.wav"}

    def test_the_caller_has_time_to_mend_the_collection(self, path: Path) -> None:
        with Manifest.open(path) as manifest:
            manifest.rebuild([])
        with Manifest.open(path) as manifest:
            assert manifest.was_interrupted


class TestTheFile:
    def fill(self, path: Path, n_entries: int = 1000) -> None:
        with Manifest.open(path) as manifest:
            for n in range(n_entries):
                record(manifest, a_file(f"{n}.wav"), f"{n}")
            manifest.rebuild([])
            for n in range(n_entries):
                record(manifest, a_file(f"{n}.wav"), f"{n}")
            manifest.finish()

    def assert_started_anew(self, path: Path) -> None:
        before = path.read_bytes()
        with Manifest.open(path) as manifest:
            assert manifest.needs_rebuild
            assert manifest.totals().files == 0
            record(manifest, a_file("x.wav"), "h")
            manifest.commit()
        assert path.with_name(f"{path.name}.bad").read_bytes() == before
        with Manifest.open(path) as manifest:
            assert manifest.totals().files == 1

    def test_what_is_no_database(self, path: Path) -> None:
        path.write_bytes(b"not a database at all" * 500)
        self.assert_started_anew(path)

    def test_a_torn_one(self, path: Path) -> None:
        self.fill(path)
        os.truncate(path, path.stat().st_size // 2)
        self.assert_started_anew(path)

    @pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
    def test_one_with_a_spoilt_page(self, path: Path, where: float) -> None:
        self.fill(path)
        page = int(path.stat().st_size * where) // 4096
        with path.open("r+b") as file:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
        self.assert_started_anew(path)

    def test_one_of_another_version(self, path: Path) -> None:
        self.fill(path, n_entries=1)
        _execute(path, "PRAGMA user_version = 99")
        self.assert_started_anew(path)

    @pytest.mark.parametrize("version", [0, 1])
    def test_a_database_of_something_else(self, path: Path, version: int) -> None:
        _execute(path, "CREATE TABLE songs (title)", f"PRAGMA user_version = {version}")
        self.assert_started_anew(path)

    def test_one_without_its_state(self, path: Path) -> None:
        self.fill(path, n_entries=1)
        _execute(path, "DELETE FROM state")
        self.assert_started_anew(path)

    def test_a_second_bad_one_replaces_the_first(self, path: Path) -> None:
        for spoilt in (b"first" * 1000, b"second" * 1000):
            path.write_bytes(spoilt)
            self.assert_started_anew(path)

    @pytest.mark.parametrize("spoilt", [b"", b"not a database at all" * 500])
    def test_its_journal_is_not_played_back_into_the_new_one(
        self, path: Path, spoilt: bytes
    ) -> None:
        self.fill(path)
        journal = path.with_name(f"{path.name}-journal")
        child = os.fork()
        if child == 0:
            connection = sqlite3.connect(path)
            connection.execute("PRAGMA cache_size = 1")
            connection.execute("DELETE FROM entries")
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert journal.stat().st_size > 4096
        path.write_bytes(spoilt)
        with Manifest.open(path) as manifest:
            assert manifest.needs_rebuild
            assert manifest.totals().files == 0
            record(manifest, a_file("x.wav"), "h")
            manifest.commit()
        assert not journal.exists()
        with Manifest.open(path) as manifest:
            assert manifest.totals().files == 1

    def test_an_empty_file_is_a_new_one(self, path: Path) -> None:
        path.touch()
        with Manifest.open(path) as manifest:
            assert manifest.needs_rebuild
        assert not path.with_name(f"{path.name}.bad").exists()

    def test_one_that_somebody_writes_to_is_left_alone(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(manifest_module, "_BUSY_TIMEOUT_S", 0.01)
        self.fill(path, n_entries=1)
        other = sqlite3.connect(path)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CollectionBusy) as caught:
            Manifest.open(path)
        other.close()
        assert caught.value.store == str(path)
        with Manifest.open(path) as manifest:
            assert manifest.totals().files == 1

    def test_without_its_folder(self, tmp_path: Path) -> None:
        with pytest.raises(CollectionError, match="nowhere") as caught:
            Manifest.open(tmp_path / "nowhere" / "manifest")
        assert caught.value.hint is not None

    def test_a_folder_in_its_place(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(CollectionError):
            Manifest.open(path)

    def test_a_full_disk(self, path: Path) -> None:
        with Manifest.open(path) as manifest:
            record(manifest, a_file("x.wav"), "h")
            manifest.commit()
            ((n_pages,),) = manifest._rows("PRAGMA page_count")
            manifest._rows(f"PRAGMA max_page_count = {n_pages}")
            with pytest.raises(CollectionFull) as caught:
                record(manifest, a_file("y" * 200_000 + ".wav"), "i")
            assert str(path) in str(caught.value)
        with Manifest.open(path) as manifest:
            assert manifest.totals().files == 1

    def test_damage_that_shows_later_has_a_way_out(self, path: Path) -> None:
        self.fill(path)
        with Manifest.open(path) as manifest:
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.seek(4096)
                file.write(b"\xa5" * (size - 4096))
            _execute(path, "PRAGMA schema_version = 77")  # so that caches are let go
            with pytest.raises(CollectionError) as caught:
                manifest.entries_under(LIBRARY)
            assert caught.value.hint is not None


def _execute(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    try:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    finally:
        connection.close()


class AgainstADictionary(RuleBasedStateMachine):
    """Any sequence of events leaves the manifest as it leaves a dictionary."""

    names = st.sampled_from(["a.wav", "b.wav", "c/d.wav"])
    hashes = st.sampled_from(["h", "i", "j"])
    times = st.integers(1, 3)

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.manifest = Manifest.open(Path(self.folder.name, "manifest"))
        self.indexed: dict[Path, tuple[str, int]] = {}
        self.failed: dict[Path, int] = {}

    def teardown(self) -> None:
        self.manifest.close()
        self.folder.cleanup()

    @rule(name=names, content_hash=hashes, mtime_ns=times)
    def record(self, name: str, content_hash: str, mtime_ns: int) -> None:
        record(self.manifest, a_file(name, mtime_ns=mtime_ns), content_hash)
        self.indexed[LIBRARY / name] = content_hash, mtime_ns
        self.failed.pop(LIBRARY / name, None)

    @rule(name=names, content_hash=hashes, mtime_ns=times)
    def copy(self, name: str, content_hash: str, mtime_ns: int) -> None:
        if content_hash in {known for known, _ in self.indexed.values()}:
            self.manifest.record_copy(a_file(name, mtime_ns=mtime_ns), content_hash)
            self.indexed[LIBRARY / name] = content_hash, mtime_ns
            self.failed.pop(LIBRARY / name, None)

    @rule(name=names, mtime_ns=times)
    def fail(self, name: str, mtime_ns: int) -> None:
        self.manifest.fail(a_file(name, mtime_ns=mtime_ns), "bad", transient=False)
        self.failed[LIBRARY / name] = mtime_ns

    @rule(name=names)
    def forget(self, name: str) -> None:
        self.manifest.forget(LIBRARY / name)
        self.indexed.pop(LIBRARY / name, None)
        self.failed.pop(LIBRARY / name, None)

    @rule()
    def reopen(self) -> None:
        self.manifest.commit()
        self.manifest.close()
        self.manifest = Manifest.open(Path(self.folder.name, "manifest"))

    @rule()
    def rebuild(self) -> None:
        hashes = {content_hash for content_hash, _ in self.indexed.values()}
        contents = [
            StoredContent(a_content(content_hash), self.manifest.places_of(content_hash), 3)
            for content_hash in hashes
        ]
        assert self.manifest.rebuild(contents) == []

    @invariant()
    def agree(self) -> None:
        entries = self.manifest.entries_under(LIBRARY)
        assert set(entries) == set(self.indexed) | set(self.failed)
        for path, entry in entries.items():
            content_hash, read_ns = self.indexed.get(path, (None, 0))
            assert entry.content_hash == content_hash
            assert entry.mtime_ns == self.failed.get(path, read_ns)
            assert (entry.failure is not None) == (path in self.failed)
            if content_hash is not None:
                assert Place(path, LIBRARY, read_ns) in self.manifest.places_of(content_hash)
        hashes = {content_hash for content_hash, _ in self.indexed.values()}
        for content_hash in ("h", "i", "j"):
            assert (self.manifest.content(content_hash) is not None) == (content_hash in hashes)
        totals = self.manifest.totals()
        assert (totals.files, totals.contents) == (len(self.indexed), len(hashes))
        assert (totals.chunks, totals.failures) == (3 * len(hashes), len(self.failed))


TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(deadline=None, max_examples=30, stateful_step_count=20)

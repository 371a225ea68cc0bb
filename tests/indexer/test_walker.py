"""Real folders, with everything in them that a disk can hold."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alm2vec_search.domain import AudioFile
from alm2vec_search.errors import ConfigError, LibraryError
from indexer.walker import IGNORE_FILE, WalkProblem, library_root, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUFFIXES = frozenset({".wav", ".flac"})
NOBODY = 65534


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "library"
    folder.mkdir()
    return folder


@pytest.fixture
def open_library() -> Iterator[Path]:
    """A library that users other than the one who runs the tests can get at."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder).resolve()


@contextmanager
def without_privileges() -> Iterator[None]:
    """Permissions mean nothing to root: be nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


def put(library: Path, *names: str) -> None:
    for name in names:
        path = library / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"sound")


def names(library: Path, exclude: Sequence[str] = ()) -> list[str]:
    """What a walk finds, as paths below the library. A problem is a failure."""
    found = list(walk(library, suffixes=SUFFIXES, exclude=exclude))
    assert [seen for seen in found if isinstance(seen, WalkProblem)] == []
    return [str(seen.path.relative_to(library)) for seen in found]


def parted(found: Iterator[AudioFile | WalkProblem]) -> tuple[list[Path], list[WalkProblem]]:
    seen = list(found)
    files = [item.path for item in seen if isinstance(item, AudioFile)]
    return files, [item for item in seen if isinstance(item, WalkProblem)]


class TestWhatIsFound:
    def test_a_file_is_what_stat_says(self, library: Path) -> None:
        put(library, "a/x.wav")
        (file,) = walk(library, suffixes=SUFFIXES)
        status = (library / "a/x.wav").stat()
        assert file == AudioFile(
            path=library / "a/x.wav",
            library=library,
            size=5,
            mtime_ns=status.st_mtime_ns,
            ctime_ns=status.st_ctime_ns,
        )

    def test_audio_is_known_by_its_suffix_in_any_case(self, library: Path) -> None:
        put(library, "a.wav", "b.WAV", "c.FlAc", "d.txt", "e.wav.part", "wav", "f.mp3")
        assert names(library) == ["a.wav", "b.WAV", "c.FlAc"]

    def test_each_folder_comes_in_the_order_of_its_names(self, library: Path) -> None:
        put(library, "b/z.wav", "b/a.wav", "a.wav", "c.wav", "b.wav", "b/c/x.wav", "B.wav")
        in_order = ["B.wav", "a.wav", "b/a.wav", "b/c/x.wav", "b/z.wav", "b.wav", "c.wav"]
        assert names(library) == in_order

    def test_names_may_be_any_bytes(self, library: Path) -> None:
        folder = os.fsencode(library) + b"/new\nline \xff\xfe"
        os.mkdir(folder)
        Path(os.fsdecode(folder + b"/\x80 \n.wav")).touch()
        (file,) = walk(library, suffixes=SUFFIXES)
        assert os.fsencode(file.path) == folder + b"/\x80 \n.wav"

    def test_nothing_is_opened(self, open_library: Path) -> None:
        put(open_library, "closed.wav")
        with mode(open_library / "closed.wav", 0), without_privileges():
            assert names(open_library) == ["closed.wav"]

    def test_folders_may_be_deeper_than_python_recurses(self, library: Path) -> None:
        depth = sys.getrecursionlimit() + 200
        folders = [str(library) + "/d" * n for n in range(1, depth + 1)]
        if len(folders[-1]) > 4000:
            pytest.skip("the temporary folder has too long a name")
        for folder in folders:
            os.mkdir(folder)
        deepest = Path(folders[-1], "x.wav")
        deepest.touch()
        try:
            assert parted(walk(library, suffixes=SUFFIXES)) == ([deepest], [])
        finally:
            deepest.unlink()
            for folder in reversed(folders):
                os.rmdir(folder)

    def test_times_that_no_database_holds_are_brought_into_range(self, library: Path) -> None:
        put(library, "future.wav")
        year_2400_ns = 13_569_465_600 * 10**9
        os.utime(library / "future.wav", ns=(year_2400_ns, year_2400_ns))
        if (library / "future.wav").stat().st_mtime_ns != year_2400_ns:
            pytest.skip("this file system doesn't know the year 2400")
        (file,) = walk(library, suffixes=SUFFIXES)
        assert isinstance(file, AudioFile)
        assert file.mtime_ns == 2**63 - 1

    def test_the_root_of_the_machine_is_a_root(self, library: Path) -> None:
        put(library, "x.wav")
        ways = [library, *library.parents[:-1]]
        exclude = [line for way in reversed(ways) for line in (f"{way.parent}/*", f"!{way}")]
        exclude = [line.replace("//", "/") for line in exclude]
        files, _ = parted(walk(Path("/"), suffixes=SUFFIXES, exclude=exclude))
        assert files == [library / "x.wav"]


class TestWhatIsPassedOver:
    def test_hidden_files_and_the_litter_of_operating_systems(self, library: Path) -> None:
        put(library, "x.wav", ".x.wav", "._x.wav", ".hidden/x.wav", "a/.b/c/x.wav")
        put(library, "System Volume Information/x.wav", "$RECYCLE.BIN/x.wav", "@eaDir/x.wav")
        put(library, "lost+found/x.wav", "$Recycle.Bin/x.wav", "a/@eaDir/x.wav")
        assert names(library) == ["x.wav"]

    def test_a_hidden_library_is_the_users_wish(self, library: Path) -> None:
        put(library, ".samples/x.wav")
        assert names(library / ".samples") == ["x.wav"]

    def test_what_is_not_a_regular_file(self, library: Path) -> None:
        os.mkfifo(library / "pipe.wav")
        put(library, "folder.wav/x.wav")
        with socket.socket(socket.AF_UNIX) as unix, _inside(library):
            unix.bind("socket.wav")
        assert names(library) == ["folder.wav/x.wav"]

    def test_broken_links_and_links_to_themselves(self, library: Path) -> None:
        put(library, "file")
        (library / "broken.wav").symlink_to(library / "nowhere.wav")
        (library / "broken").symlink_to("nowhere")
        (library / "through-a-file.wav").symlink_to("file/x.wav")
        (library / "self.wav").symlink_to("self.wav")
        (library / "self").symlink_to("self")
        assert names(library) == []


class TestLinks:
    def test_links_to_files_and_folders_are_followed(self, library: Path, tmp_path: Path) -> None:
        put(tmp_path, "elsewhere/album/x.wav", "elsewhere/y.wav")
        (library / "album").symlink_to(tmp_path / "elsewhere/album")
        (library / "link.wav").symlink_to(tmp_path / "elsewhere/y.wav")
        files = list(walk(library, suffixes=SUFFIXES))
        assert [file.path for file in files] == [library / "album/x.wav", library / "link.wav"]
        assert isinstance(files[1], AudioFile)
        assert files[1].size == 5

    def test_a_folder_inside_itself_is_entered_once(self, library: Path) -> None:
        put(library, "a/b/x.wav")
        (library / "a/b/up").symlink_to("..")
        (library / "a/self").symlink_to(".")
        (library / "top").symlink_to(library)
        assert names(library) == ["a/b/x.wav"]

    def test_two_folders_inside_each_other_are_a_loop_from_both_sides(self, library: Path) -> None:
        put(library, "a/x.wav", "b/y.wav")
        (library / "a/b").symlink_to(library / "b")
        (library / "b/a").symlink_to(library / "a")
        assert names(library) == ["a/b/y.wav", "a/x.wav", "b/a/x.wav", "b/y.wav"]

    def test_the_same_folder_twice_is_no_loop(self, library: Path) -> None:
        put(library, "a/x.wav")
        (library / "b").symlink_to("a")
        assert names(library) == ["a/x.wav", "b/x.wav"]


class TestExclusion:
    def test_patterns_speak_about_their_own_folder(self, library: Path) -> None:
        put(library, "a/x.wav", "a/b/x.wav", "a/b/y.wav", "x.wav", "b/x.wav")
        (library / "a" / IGNORE_FILE).write_text("/x.wav\nb/y.wav\n")
        assert names(library) == ["a/b/x.wav", "b/x.wav", "x.wav"]

    def test_the_nearest_file_decides_and_in_it_the_last_line(self, library: Path) -> None:
        put(library, "x.wav", "y.wav", "a/x.wav", "a/y.wav", "a/z.wav")
        (library / IGNORE_FILE).write_text("*.wav\n!z.wav\n!y.wav\n")
        (library / "a" / IGNORE_FILE).write_text("!x.wav\nz.wav\n")
        assert names(library) == ["a/x.wav", "a/y.wav", "y.wav"]

    def test_the_command_line_has_the_last_word(self, library: Path) -> None:
        put(library, "x.wav", "a/y.wav", "a/z.wav")
        (library / "a" / IGNORE_FILE).write_text("y.wav\n!z.wav\n")
        assert names(library, exclude=["z.wav", "!/a/y.wav"]) == ["a/y.wav", "x.wav"]

    def test_all_but_one_kind(self, library: Path) -> None:
        put(library, "x.wav", "x.flac", "a/x.wav", "a/x.flac")
        (library / IGNORE_FILE).write_text("*\n!*/\n!*.flac\n")
        assert names(library) == ["a/x.flac", "x.flac"]

    def test_what_is_excluded_is_not_entered(self, open_library: Path) -> None:
        put(open_library, "x.wav", "private/y.wav")
        (open_library / IGNORE_FILE).write_text("private/\n!y.wav\n")
        with mode(open_library / "private", 0), without_privileges():
            assert names(open_library) == ["x.wav"]

    def test_names_with_any_bytes_can_be_excluded(self, library: Path) -> None:
        Path(os.fsdecode(os.fsencode(library) + b"/new\nline")).mkdir()
        for name in (b"/new\nline/\xff.wav", b"/new\nline/\xfe.wav", b"/new\nline/a\nb.wav"):
            Path(os.fsdecode(os.fsencode(library) + name)).touch()
        (library / IGNORE_FILE).write_bytes(b"/**/\xff.wav\na*b.wav\n")
        assert [os.fsencode(name) for name in names(library)] == [b"new\nline/\xfe.wav"]

    def test_a_file_from_windows(self, library: Path) -> None:
        put(library, "x.wav", "ü.wav")
        (library / IGNORE_FILE).write_bytes("\ufeffx.wav\r\nü.wav\r\n".encode())
        assert names(library) == []

    @pytest.mark.parametrize(
        "rules", [b"ok.wav\n[ab.wav\n", b"\\", b"[b-a]", "x.wav".encode("utf-16")]
    )
    def test_a_folder_with_rules_nobody_can_use_is_left_alone(
        self, library: Path, rules: bytes
    ) -> None:
        put(library, "a/x.wav", "a/b/y.wav", "z.wav")
        (library / "a" / IGNORE_FILE).write_bytes(rules)
        files, (problem,) = parted(walk(library, suffixes=SUFFIXES))
        assert files == [library / "z.wav"]
        assert problem.path == library / "a"
        assert IGNORE_FILE in problem.reason
        assert problem.covers(library / "a/b/y.wav")

    def test_a_folder_with_rules_that_cannot_be_read_is_left_alone(
        self, open_library: Path
    ) -> None:
        put(open_library, "a/x.wav", "z.wav", f"a/{IGNORE_FILE}")
        with mode(open_library / "a" / IGNORE_FILE, 0), without_privileges():
            files, (problem,) = parted(walk(open_library, suffixes=SUFFIXES))
        assert files == [open_library / "z.wav"]
        assert problem.path == open_library / "a"
        assert "permission denied" in problem.reason

    @pytest.mark.parametrize("pattern", ["[a", "a\\", "[[:alpha:]]", "[]"])
    def test_a_bad_pattern_on_the_command_line(self, library: Path, pattern: str) -> None:
        with pytest.raises(ConfigError, match="can't exclude by") as caught:
            walk(library, suffixes=SUFFIXES, exclude=[pattern])
        assert caught.value.hint is not None


GIT_PATTERNS = (
    "* */ !*/ !*.wav *.wav /a a a/ !a !a/ a/* !a/b a/** !a/** **/b b/ !/a/ /* !/a/b/ !/a/b.wav "
    "b.wav !b.wav a/b/ !b/ **/ a/**/b.wav ? !? [ab] !a* a** a/**/ /**/b **/a/** \\a [!a] [^a] "
    "[a-b].wav *[.]wav b.wav/ # ! / *.wa[u-w] !**/a.wav []a] [a-] [--b] [\\a] a\\* b?* /** "
    "!/** ** !**"
).split(" ")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rules=st.lists(st.sampled_from(GIT_PATTERNS), max_size=5),
    nested=st.lists(st.sampled_from(GIT_PATTERNS), max_size=3),
)
def test_patterns_mean_what_they_mean_to_git(rules: list[str], nested: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder).resolve()
        put(library, "a.wav", "b.wav", "a/b.wav", "a/a.wav", "a/b/a.wav", "b/a.wav", "b/a/b.wav")
        put(library, "c/b/a/b.wav", "a*.wav", "]/b.wav", "-.wav")
        for name in (IGNORE_FILE, ".gitignore"):
            (library / name).write_text("\n".join(rules))
            (library / "a" / name).write_text("\n".join(nested))
        git = ["git", "-c", "core.quotePath=false", "-C", folder]
        subprocess.run([*git, "init", "--quiet"], check=True)
        kept = subprocess.run(
            [*git, "ls-files", "--others", "--exclude-standard"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        assert sorted(names(library)) == sorted(name for name in kept if name.endswith(".wav"))


class TestProblems:
    def test_a_folder_that_cannot_be_listed(self, open_library: Path) -> None:
        put(open_library, "a/x.wav", "b/y.wav", "b/c/z.wav")
        with mode(open_library / "b", 0), without_privileges():
            files, problems = parted(walk(open_library, suffixes=SUFFIXES))
        assert files == [open_library / "a/x.wav"]
        assert problems == [WalkProblem(open_library / "b", "permission denied")]

    def test_a_folder_whose_files_cannot_be_looked_at(self, open_library: Path) -> None:
        put(open_library, "b/c/z.wav", "b/y.wav", "b/readme.txt")
        with mode(open_library / "b", 0o644), without_privileges():
            files, problems = parted(walk(open_library, suffixes=SUFFIXES))
        assert files == []
        assert [problem.path for problem in problems] == [
            open_library / "b/c",
            open_library / "b/y.wav",
        ]

    def test_a_link_to_where_one_may_not_look(self, open_library: Path) -> None:
        put(open_library, "closed/x.wav")
        (open_library / "link.wav").symlink_to("closed/x.wav")
        with mode(open_library / "closed", 0), without_privileges():
            _, problems = parted(walk(open_library, suffixes=SUFFIXES))
        assert [problem.path.name for problem in problems] == ["closed", "link.wav"]

    def test_a_folder_that_goes_away_during_the_walk(self, library: Path) -> None:
        put(library, "a/x.wav", "b/y.wav")
        found = walk(library, suffixes=SUFFIXES)
        next(found)
        shutil.rmtree(library / "b")
        assert list(found) == [WalkProblem(library / "b", "no such file")]

    def test_a_file_that_goes_away_during_the_walk(self, library: Path) -> None:
        put(library, "a.wav", "b.wav")
        found = walk(library, suffixes=SUFFIXES)
        next(found)
        (library / "b.wav").unlink()
        assert list(found) == [WalkProblem(library / "b.wav", "no such file")]

    def test_a_library_that_goes_away_before_the_walk(self, library: Path) -> None:
        found = walk(library, suffixes=SUFFIXES)
        library.rmdir()
        (problem,) = found
        assert isinstance(problem, WalkProblem)
        assert problem.covers(library / "a/x.wav")

    def test_a_problem_covers_what_is_below_it(self) -> None:
        problem = WalkProblem(Path("/a/b"), "")
        assert problem.covers(Path("/a/b"))
        assert problem.covers(Path("/a/b/c/d.wav"))
        assert not problem.covers(Path("/a/bc"))
        assert not problem.covers(Path("/a"))


class TestLibraryRoot:
    def test_a_folder_with_its_links_resolved(self, library: Path, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(library)
        assert library_root(tmp_path / "link") == library
        with _inside(library.parent):
            assert library_root(Path("library/../library")) == library

    def test_a_file_keeps_its_own_name(self, library: Path, tmp_path: Path) -> None:
        put(library, "x.wav")
        (library / "link.wav").symlink_to("x.wav")
        (tmp_path / "link").symlink_to(library)
        assert library_root(tmp_path / "link/link.wav") == library / "link.wav"
        with _inside(library):
            assert library_root(Path("x.wav")) == library / "x.wav"

    def test_where_nothing_is(self, library: Path) -> None:
        with pytest.raises(LibraryError, match="no such folder") as caught:
            library_root(library / "nowhere")
        assert caught.value.path == library / "nowhere"
        assert caught.value.hint is not None

    def test_what_is_neither_a_folder_nor_a_file(self, library: Path) -> None:
        os.mkfifo(library / "pipe.wav")
        with pytest.raises(LibraryError, match="neither"):
            library_root(library / "pipe.wav")

    @pytest.mark.parametrize("bits", [0, 0o644, 0o311])
    def test_a_folder_one_may_not_read(self, open_library: Path, bits: int) -> None:
        put(open_library, "a/x.wav")
        with mode(open_library / "a", bits), without_privileges():
            with pytest.raises(LibraryError, match="permission denied") as caught:
                library_root(open_library / "a")
        assert caught.value.hint is not None


class TestOneFile:
    def test_is_a_walk_whose_library_is_its_folder(self, library: Path) -> None:
        put(library, "a/x.wav", "a/y.wav")
        (file,) = walk(library / "a/x.wav", suffixes=SUFFIXES)
        assert isinstance(file, AudioFile)
        assert (file.path, file.library) == (library / "a/x.wav", library / "a")

    def test_is_meant_even_if_a_walk_would_pass_it_over(self, library: Path) -> None:
        put(library, ".hidden.wav")
        (library / IGNORE_FILE).write_text("*")
        found = walk(library / ".hidden.wav", suffixes=SUFFIXES, exclude=["*"])
        assert [file.path for file in found] == [library / ".hidden.wav"]

    def test_that_is_not_audio(self, library: Path) -> None:
        put(library, "x.txt")
        with pytest.raises(LibraryError, match="not an audio file") as caught:
            walk(library / "x.txt", suffixes=SUFFIXES)
        assert caught.value.hint is not None
        assert ".flac .wav" in caught.value.hint


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)

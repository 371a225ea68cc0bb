"""Only what was indexed is served, whatever has become of its path."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from audio_files import WAV, make_sound

from alm2vec_search.domain import Content, Place
from alm2vec_search.errors import MediaError, SoundForbidden, SoundGone
from alm2vec_search.serving import indexed_files
from alm2vec_search.serving.indexed_files import open_indexed

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = Path("/etc/passwd")
NOT_TEXT = os.fsdecode(b"caf\xe9 \xff.wav")
SOUND = make_sound(0.5, 16_000)


@pytest.fixture(params=["by place", "by path"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Linux, and as on systems that have no O_PATH and no /proc."""
    if request.param == "by place":
        if indexed_files._PLACE_ONLY is None:
            pytest.skip("needs O_PATH")
        return
    readlink = os.readlink

    def no_proc(path: str) -> str:
        if path.startswith("/proc/"):
            raise FileNotFoundError(path)
        return readlink(path)

    monkeypatch.setattr(indexed_files, "_PLACE_ONLY", None)
    monkeypatch.setattr(indexed_files.os, "readlink", no_proc)


pytestmark = pytest.mark.usefixtures("_way")


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    WAV.write(path.with_name("draft.wav"), SOUND, 16_000).rename(path)
    return path


def content_of(path: Path) -> Content:
    return Content("hash", path.stat().st_size, 0.5, 16_000, 1)


def place_of(path: Path, library: Path) -> Place:
    return Place(path, library, path.stat().st_mtime_ns)


def read(content: Content, places: list[Place], libraries: list[Path]) -> bytes:
    with open_indexed(content, places, libraries) as sound:
        assert (sound.identity, sound.duration_s) == ("hash", 0.5)
        return sound.source.read_at(0, 1 << 20)


def n_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def in_time(task: Callable[[], None]) -> None:
    """Fails where it waits: for the other end of a pipe, say."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            task()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


class TestServed:
    @pytest.mark.parametrize(
        "name",
        ["a.wav", "line\nbreak.wav", "x (deleted)", "[b]\x1b[31m.wav", NOT_TEXT, "ü/ß/a b.wav"],
    )
    def test_what_was_indexed(self, library: Path, name: str) -> None:
        path = write(library / name)
        data = read(content_of(path), [place_of(path, library)], [library])
        assert data == path.read_bytes()

    def test_the_first_place_that_can_be(self, library: Path) -> None:
        path = write(library / "b.wav")
        places = [
            Place(library / "gone.wav", library, 1),
            Place(SECRET, library, SECRET.stat().st_mtime_ns),
            place_of(path, library),
        ]
        with open_indexed(content_of(path), places, [library]) as sound:
            assert sound.source.path == path

    def test_a_library_that_is_a_link(self, tmp_path: Path, library: Path) -> None:
        path = write(library / "a.wav")
        link = tmp_path / "link"
        link.symlink_to(library)
        content, there = content_of(path), place_of(path, library)
        assert read(content, [there], [link])
        assert read(content, [place_of(link / "a.wav", link)], [link])

    def test_a_library_of_one_file(self, library: Path) -> None:
        path = write(library / "a.wav")
        write(library / "b.wav")
        content = content_of(path)
        assert read(content, [place_of(path, path)], [path])
        with pytest.raises(SoundForbidden):
            read(content, [place_of(library / "b.wav", path)], [path])

    def test_a_link_into_another_library(self, tmp_path: Path, library: Path) -> None:
        other = tmp_path / "other"
        target = write(other / "a.wav")
        (library / "link.wav").symlink_to(target)
        place = place_of(library / "link.wav", library)
        assert read(content_of(target), [place], [library, other]) == target.read_bytes()
        with pytest.raises(SoundForbidden):
            read(content_of(target), [place], [library])

    def test_a_link_within_the_library(self, library: Path) -> None:
        target = write(library / "deep" / "a.wav")
        (library / "link").symlink_to(library / "deep")
        place = place_of(library / "link" / "a.wav", library)
        assert read(content_of(target), [place], [library])

    def test_a_hard_link(self, tmp_path: Path, library: Path) -> None:
        target = write(tmp_path / "elsewhere" / "a.wav")
        (library / "hard.wav").hardlink_to(target)
        place = place_of(library / "hard.wav", library)
        assert read(content_of(target), [place], [library])

    def test_a_library_that_is_gone_keeps_none_else_from_being_served(self, library: Path) -> None:
        path = write(library / "a.wav")
        assert read(content_of(path), [place_of(path, library)], [Path("/nowhere"), library])

    def test_the_root_of_all(self, library: Path) -> None:
        path = write(library / "a.wav")
        assert read(content_of(path), [place_of(path, library)], [Path("/")])


class TestForbidden:
    def test_a_link_to_a_secret(self, library: Path) -> None:
        path = write(library / "a.wav")
        path.unlink()
        path.symlink_to(SECRET)
        status = SECRET.stat()  # even if it were as large and as old
        content = Content("hash", status.st_size, 1, 16_000, 1)
        with pytest.raises(SoundForbidden) as error:
            read(content, [Place(path, library, status.st_mtime_ns)], [library])
        assert str(SECRET) not in str(error.value)

    def test_a_folder_replaced_by_a_link(self, tmp_path: Path, library: Path) -> None:
        path = write(library / "folder" / "a.wav")
        content, place = content_of(path), place_of(path, library)
        (library / "folder").rename(tmp_path / "away")
        (library / "folder").symlink_to(tmp_path / "away")
        with pytest.raises(SoundForbidden):
            read(content, [place], [library])

    @pytest.mark.parametrize("dots", ["../outside/a.wav", "deep/../../outside/a.wav"])
    def test_dots_that_lead_out(self, tmp_path: Path, library: Path, dots: str) -> None:
        path = write(tmp_path / "outside" / "a.wav")
        (library / "deep").mkdir()
        place = Place(library / dots, library, path.stat().st_mtime_ns)
        with pytest.raises(SoundForbidden):
            read(content_of(path), [place], [library])

    def test_a_folder_whose_name_begins_like_the_library(self, library: Path) -> None:
        path = write(library.with_name(f"{library.name} 2") / "a.wav")
        with pytest.raises(SoundForbidden):
            read(content_of(path), [place_of(path, library)], [library])

    @pytest.mark.skipif(os.path.exists("/ETC"), reason="a system that ignores case")
    def test_another_case_is_another_folder(self, tmp_path: Path, library: Path) -> None:
        path = write(tmp_path / library.name.upper() / "a.wav")
        with pytest.raises(SoundForbidden):
            read(content_of(path), [place_of(path, library)], [library])

    def test_nothing_without_libraries(self, library: Path) -> None:
        path = write(library / "a.wav")
        with pytest.raises(SoundForbidden):
            read(content_of(path), [place_of(path, library)], [])


class TestGone:
    def test_no_such_file(self, library: Path) -> None:
        path = write(library / "a.wav")
        content, place = content_of(path), place_of(path, library)
        path.unlink()
        with pytest.raises(SoundGone, match="no such file") as error:
            read(content, [place], [library])
        assert "alm2vec index" in str(error.value.hint)

    def test_no_place_at_all(self, library: Path) -> None:
        with pytest.raises(SoundGone):
            read(Content("hash", 1, 1, 16_000, 1), [], [library])

    def test_another_size(self, library: Path) -> None:
        path = write(library / "a.wav")
        content, place = content_of(path), place_of(path, library)
        with path.open("ab") as file:
            file.write(b"more")
        os.utime(path, ns=(place.mtime_ns, place.mtime_ns))
        with pytest.raises(SoundGone, match="changed since"):
            read(content, [place], [library])

    def test_another_time(self, library: Path) -> None:
        path = write(library / "a.wav")
        content, place = content_of(path), place_of(path, library)
        os.utime(path, ns=(place.mtime_ns, place.mtime_ns + 1000))
        with pytest.raises(SoundGone, match="changed since"):
            read(content, [place], [library])

    def test_changed_while_it_is_read(self, library: Path) -> None:
        path = write(library / "a.wav")
        with open_indexed(content_of(path), [place_of(path, library)], [library]) as sound:
            sound.check_unchanged()
            with path.open("ab") as file:
                file.write(b"more")
            with pytest.raises(SoundGone):
                sound.check_unchanged()

    def test_replaced_while_it_is_read(self, library: Path) -> None:
        """The open file is the old one, to its end."""
        path = write(library / "a.wav")
        before = path.read_bytes()
        with open_indexed(content_of(path), [place_of(path, library)], [library]) as sound:
            path.unlink()
            path.symlink_to(SECRET)
            assert sound.source.read_at(0, 1 << 20) == before

    @pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket", "link to a device"])
    def test_no_file_any_more_and_nobody_waits(self, library: Path, kind: str) -> None:
        path = write(library / "a.wav")
        content, place = content_of(path), place_of(path, library)
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            if os.geteuid() != 0:
                pytest.skip("only the superuser makes devices")
            try:
                os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero
            except PermissionError:
                pytest.skip("no devices can be made here")
        elif kind == "folder":
            path.mkdir()
        elif kind == "socket":
            import socket

            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        else:
            path.symlink_to("/dev/zero")

        def look() -> None:
            with pytest.raises(SoundGone, match="not a file"):
                read(content, [place], [library])

        in_time(look)

    def test_a_circle_of_links(self, library: Path) -> None:
        path = write(library / "a.wav")
        content, place = content_of(path), place_of(path, library)
        path.unlink()
        path.symlink_to(path)
        with pytest.raises(SoundGone):
            read(content, [place], [library])

    @pytest.mark.parametrize("name", ["a\0b", "x" * 300, "a/" * 3000])
    def test_names_that_cannot_be(self, library: Path, name: str) -> None:
        place = Place(library / name, library, 1)
        with pytest.raises(SoundGone):
            read(Content("hash", 1, 1, 16_000, 1), [place], [library])


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs Linux's /proc")
def test_no_descriptor_is_left(library: Path) -> None:
    path = write(library / "a.wav")
    content, place = content_of(path), place_of(path, library)
    wrong = [Place(SECRET, library, 1), Place(library, library, 1), Place(path, library, 1)]
    before = n_descriptors()
    for _ in range(20):
        read(content, [place], [library])
        for other in wrong:
            with pytest.raises(MediaError):
                read(content, [other], [library])
    assert n_descriptors() == before


def test_a_race_serves_the_sound_or_nothing(tmp_path: Path, library: Path) -> None:
    """A path that is swapped all the time for a link to something as large and as old."""
    path = write(library / "a.wav")
    content, place = content_of(path), place_of(path, library)
    sound = path.read_bytes()
    evil = tmp_path / "evil"
    evil.write_bytes(b"x" * len(sound))
    os.utime(evil, ns=(place.mtime_ns, place.mtime_ns))
    keep = tmp_path / "keep"
    keep.hardlink_to(path)
    done = threading.Event()

    def swap() -> None:
        draft = library / "draft"
        while not done.is_set():
            draft.symlink_to(evil)
            draft.replace(path)
            draft.hardlink_to(keep)
            draft.replace(path)

    swapper = threading.Thread(target=swap)
    swapper.start()
    outcomes = set()
    try:
        for _ in range(1500):
            try:
                assert read(content, [place], [library]) == sound
                outcomes.add("served")
            except MediaError as error:
                outcomes.add(type(error).__name__)
    finally:
        done.set()
        swapper.join()
    assert "served" in outcomes
    assert outcomes <= {"served", "SoundForbidden", "SoundGone"}
